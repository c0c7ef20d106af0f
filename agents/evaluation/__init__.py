"""What the collective of a run can do on held-out tasks, against baselines of equal budget."""

from agents.evaluation.elsewhere import measure_logs
from agents.evaluation.rows import (
    Difference,
    Place,
    Row,
    RunRows,
    between,
    differences,
    intervals,
    recovered,
)
from agents.evaluation.run import Plan, evaluate_run
from agents.evaluation.sample_logs import Log, is_log, read_logs
from agents.evaluation.tasks import Task, read_tasks

__all__ = [
    "Difference",
    "Log",
    "Place",
    "Plan",
    "Row",
    "RunRows",
    "Task",
    "between",
    "differences",
    "evaluate_run",
    "intervals",
    "is_log",
    "measure_logs",
    "read_logs",
    "read_tasks",
    "recovered",
]
