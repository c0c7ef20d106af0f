"""The task force: N voices answer, and one answer is chosen (best-of-N).

    field         who may be in a force, and on what it is chosen
    finals        the end of a run: its best answer fresh instances
    collective    Collective, ask: a force that answers
    roster        Roster: forces and experts under the names that a server offers
    methods       Method, Aids, select: the interface of best-of-N methods, and how to add one
    agreement     when enough voices agree, no others are asked
    voting, confidence, chooser, reward_model   the methods
    ballot        Ballot, Choice: answers that are compared, and what was chosen
    routing       SkillRouter: who is good at questions like this one
    asked         questions that the run itself has asked, and what answers them
    report        the summary: Coverage of forces of 1..N, and an example

It owns no table: answers to questions are not recorded in the run.
"""
