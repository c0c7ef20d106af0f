"""Who thinks: the run as a state machine, its agents, and the services that they use.

    graph       the run, top to bottom; read this first
    scientist   proposes task families and refines them
    critic      accepts, refines or rejects a draft; says whether a family is new
    trial       gates that a draft must pass, and current experts that answer it
    pool        which families grade now: assignments, admission, curation
    judge       experts answer the families, and the answers are graded
    archive     which experts stay and breed: founders, children, selection, grafts
    task_force  N experts chosen for Coverage; one answer out of N
    evaluation  held-out tasks, baselines, intervals, audits
    families    what a task family is, drafted and accepted
    rejections  why an assignment came to nothing, in words
    context     what nodes and commands are handed: configuration, store, services
    config      RunConfig: every setting of a run in one tree
    chat, sandbox, offline   services: any model, any code, neither

Folders import downwards only; `tests/test_architecture.py` has the order.
"""
