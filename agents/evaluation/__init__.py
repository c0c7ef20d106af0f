"""Evaluation: what a run can do on held-out tasks, against baselines of equal budget.

    tasks        Task, read_tasks: lines of a task file
    contenders   who is compared, all chosen on the history and never on the test
    bench        Bench: contenders answer tasks, and every answer is kept
    scoring      TaskScorer: plain rules, reasoning-gym's scorers, or the rater
    run          Plan, evaluate_run: the evaluation of one run
    chance       guesses: the best constant answer, and Coverage in excess of it
    transfer     Known: how far tasks lie from what a run has asked
    kept         datasets that no two processes draw alike
    rows         Row, RunRows: Coverage and best-of-N; differences between rows
    comparison   two sides on the same items, and where they differ
    intervals    bootstrap intervals over generators and runs
    sample_logs  answers that were made elsewhere (lm-evaluation-harness)
    endpoint     a model behind an endpoint as one more contender
    leakage, overlap, diversity, annecs   the audit: repeated benchmarks, variety, open-endedness

It owns the book of an evaluation, which is kept apart from the run.
"""
