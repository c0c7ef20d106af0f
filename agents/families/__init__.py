"""Task families: programs in the form of METR's task standard, drafted and accepted.

    proposal   Proposal: a family as a scientist writes it
    candidate  from an assignment's last draft to the record of a family
    items      Item, Rubric: gradable instances
    folders    tasks/<id>/task.py and task.json, written from the run store
    lifecycle  active, held, retired: the status of a family, as a state machine
    exchanges  questions with the replies of experts, as the store has them
    views      what prompts show of records

It owns the form of a family and its status; `agents.pool` decides which are accepted, and programs
run in `agents.sandbox` only.
"""
