"""The critic: an agent that reviews what a scientist drafted.

critique  the verdict on a draft: accept, refine or reject, with problems
novelty   whether a family is interestingly new beside its nearest neighbours
"""
