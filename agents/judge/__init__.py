"""The judge: every expert answers the active families, and the answers are graded.

    node        who is examined in a generation, and what becomes of it
    examiner    Examiner: asks the engine for answers, and has them graded
    extraction  the final answer in a reply
    grader      Grader: the program's score, and for rated families the rater's votes
    rater       Rater: blind votes of a language model by a rubric
    consult     scorers that ask a language model
    instances   fresh instances of an adaptation period, the finals, or a lesson
    passed      what an expert is right on, of all that it was asked before
    gibberish   experts that have lost their language
    votes       majority and agreement

It owns the tables of answers, grades and skill vectors. What cannot be graded is missing, never
failed.
"""
