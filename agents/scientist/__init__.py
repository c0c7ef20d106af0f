"""The scientist: an agent that proposes a task family and refines it.

    subgraph  propose, trial, critique, refine: one assignment as a LangGraph subgraph
    messages  the conversation of a round, made from the records alone

It owns the table of drafts: every round is kept, with what gates, experts and critic found.
"""
