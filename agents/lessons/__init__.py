"""Lessons: what experts learn from, and what is learnt of a whole task force.

    cluster   which families a lesson is about, and who is taught
    examples  questions with right answers, in tokens: what is new, and what is replayed
    record    what a run has recorded of its lessons
    once      all that a run has taught, taught once to its best seed: a baseline
    distil    one expert out of the answers that the task force chooses

When a lesson is due, and how it joins the run: `agents.archive.tutoring`.
"""
