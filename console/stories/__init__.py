"""Stories of a run, each read from its store and shown in the terminal or as JSON.

names        families by name: which one is meant, and how it is called where names repeat
assignment   what a scientist was asked for, its rounds, and what came of them
family       a family in short: levels, who passes it, its nearest, its children
families     all families: who solves what
expert       parents, recipe, what was gained and lost, and what it answered
anchors      what the parts of a merge are, by which recipes are told
answer       one answer: the question, the reference, the grades, what others said
telling      words, marks and tables that the others share

Each has a function that reads (it gives JSON) and one that prints it for a person.
"""
