"""Learning in the loop: a short LoRA run from an expert, whose factors join the bank as an anchor.

settings  TutorSettings
lesson    teach: examples in, an anchor of low rank out
factors   the low-rank factors, added by hooks
packing   examples side by side in one row, and where they are learnt
"""
