"""The pages of a run, each a function from the run and a URL to plain values.

overview    how far it is: pulse, Coverage, what happens now, time; outcome: what it achieves
tasks       families and rejected proposals; family: one of them with its transcript
experts     archive and history; expert: one of them; lineage; skills as a heat map;
            recipe: what one is made of
answers     one task, all experts side by side
agents      calls by role, rejections by reason; call: one of them
operators   children, survivors, gain
comparison  two experts, of one run or of two
embedding   families as points
settings    configuration and provenance
asking      a question to the task force
"""
