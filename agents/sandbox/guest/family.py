"""Foreign code, called: a family is loaded, described and asked for a score."""

from __future__ import annotations

import copy
import json
import math
import sys
import traceback
import types
from typing import Any

from .execution import no_execution, refuse_execution
from .faults import Fault, attempt

DETAIL_LENGTH = 400


def load(work: dict[str, Any]) -> Any:
    """The `TaskFamily` that the code defines, which is taken out of `work`."""
    module = types.ModuleType("task")
    sys.modules["task"] = module
    exec(compile(work.pop("code"), "task.py", "exec"), module.__dict__)
    if not hasattr(module, "TaskFamily"):
        raise Fault("import_error", "the code defines no class TaskFamily")
    family = module.TaskFamily()
    for name in ("get_tasks", "get_instructions", "score"):
        if not callable(getattr(family, name, None)):
            raise Fault("import_error", f"TaskFamily has no method {name}")
    return family


def tasks_of(family: Any) -> dict[str, Any]:
    """Instance -> task data."""
    tasks = family.get_tasks()
    if not isinstance(tasks, dict):
        raise Fault("instance_count", f"get_tasks returned {type(tasks).__name__}, not a dict")
    return {str(key): value for key, value in tasks.items()}


def plain(value: Any) -> Any:
    """The value if JSON can carry it, else its `repr`."""
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
    return value


def inspect(family: Any) -> dict[str, Any]:
    """What the family says about itself."""
    tasks = tasks_of(family)
    instructions = {}
    for instance, task in tasks.items():
        text = family.get_instructions(task)
        if not isinstance(text, str):
            raise Fault(
                "instruction_empty",
                f"get_instructions returned {type(text).__name__} for instance {instance}",
            )
        instructions[instance] = text
    return {
        "tasks": {instance: plain(task) for instance, task in tasks.items()},
        "instructions": instructions,
    }


def number(value: Any) -> float:
    """The score as a float; numpy scalars count, anything that is no finite number does not."""
    if not isinstance(value, (bool, int, float)) and hasattr(value, "item"):
        value = value.item()
    if not isinstance(value, (bool, int, float)) or not math.isfinite(value):
        raise Fault("score_range", f"score returned {value!r:.80}, not a number")
    return float(value)


def score(family: Any, tasks: dict[str, Any], instance: str, text: str) -> float:
    """The score of one submission."""
    if instance not in tasks:
        raise Fault("instance_count", f"get_tasks has no instance {instance}")
    with no_execution(text):
        return number(family.score(tasks[instance], text))


def perform(family: Any, pairs: list[list[str]]) -> dict[str, Any]:
    """The scores of submissions, or the description of the family where there are none."""
    if not pairs:
        return inspect(family)
    tasks = tasks_of(family)
    # A scorer may change the task that it is given.
    give = copy.deepcopy if len(pairs) > 1 else _same
    return {"values": [score(family, give(tasks), *pairs.pop(0)) for _ in pairs[:]]}


def _same(tasks: dict[str, Any]) -> dict[str, Any]:
    return tasks


def result_of(work: dict[str, Any]) -> bytes:
    """The result of one step as JSON, or the fault that foreign code amounts to.

    Whatever was sent is taken out of `work` before foreign code runs, and each submission when its
    turn comes: a scorer can look through the frames of its callers.
    """
    otherwise = "import_error"
    raised: BaseException | None = None
    pairs = work.pop("pairs")
    if not pairs:
        _, raised = attempt(lambda: refuse_execution(work["code"]))
    if raised is None:
        family, raised = attempt(lambda: load(work))
    if raised is None:
        otherwise = "crash"
        result, raised = attempt(lambda: json.dumps(perform(family, pairs)).encode())
        if raised is None:
            return bytes(result)
    return json.dumps(fault_of(raised, otherwise)).encode()


def fault_of(raised: BaseException, otherwise: str) -> dict[str, str]:
    """The fault that an exception of the family amounts to."""
    if isinstance(raised, Fault):
        return {"fault": raised.code, "detail": str(raised)}
    if isinstance(raised, MemoryError):
        return {"fault": "memory", "detail": "the memory limit was reached"}
    return {"fault": otherwise, "detail": described(raised)}


def described(raised: BaseException) -> str:
    """One line about an exception of the family, with its line in `task.py`."""
    text, unprintable = attempt(lambda: " ".join(str(raised).split())[:DETAIL_LENGTH])
    lines = [f for f in traceback.extract_tb(raised.__traceback__) if f.filename == "task.py"]
    place = f" (task.py line {lines[-1].lineno}, in {lines[-1].name})" if lines else ""
    return f"{type(raised).__name__}: {'' if unprintable else text}{place}"
