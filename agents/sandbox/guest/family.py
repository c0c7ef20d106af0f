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
MOST_LEVELS = 10
"""As in `agents.sandbox.base`, which a guest cannot import."""


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


def levels_of(family: Any) -> int | None:
    """How many levels a generative family has; None for a closed one, without `reference`."""
    if not hasattr(family, "reference"):
        return None
    for name in ("reference", "wrong"):
        if not callable(getattr(family, name, None)):
            raise Fault("import_error", f"TaskFamily has no method {name}")
    levels = getattr(family, "levels", 1)
    if type(levels) is not int or not 1 <= levels <= MOST_LEVELS:
        raise Fault(
            "levels_malformed",
            f"levels is {levels!r:.40}, not a whole number from 1 to {MOST_LEVELS}",
        )
    return levels


def tasks_of(family: Any, draw: str = "") -> dict[str, Any]:
    """Instance -> task data, of a draw (`level.seed`) or of a closed family.

    The keys are the names of the instances in the host: `1`, or `1@level.seed`.
    """
    if draw:
        level, seed = map(int, draw.split("."))
        tasks = family.get_tasks(seed=seed, level=level)
    else:
        tasks = family.get_tasks()
    if not isinstance(tasks, dict):
        raise Fault("instance_count", f"get_tasks returned {type(tasks).__name__}, not a dict")
    return {f"{key}@{draw}" if draw else str(key): value for key, value in tasks.items()}


def plain(value: Any) -> Any:
    """The value if JSON can carry it, else its `repr`."""
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
    return value


def inspect(family: Any, seeds: list[int], downwards: bool, level: int | None) -> dict[str, Any]:
    """What the family says about itself, for each seed at each level, or at one.

    Args:
        family: a `TaskFamily`.
        seeds: from which a generative family draws.
        downwards: whether the hardest level comes first: the order must not matter.
        level: the only one that is drawn; None for all.
    """
    levels = levels_of(family)
    draws = [""]
    if levels is not None:
        order = range(levels, 0, -1) if downwards else range(1, levels + 1)
        asked = order if level is None else [level]
        draws = [f"{each}.{seed}" for each in asked for seed in seeds]
    told: dict[str, Any] = {"tasks": {}, "instructions": {}, "references": {}, "wrong": {}}
    for draw in draws:
        for instance, task in tasks_of(family, draw).items():
            told["instructions"][instance] = _text(
                family.get_instructions(task), "instruction_empty", "get_instructions", instance
            )
            if levels is not None:
                told["references"][instance] = _text(
                    family.reference(task), "levels_malformed", "reference", instance
                )
                told["wrong"][instance] = _texts(family.wrong(task), instance)
            # Last: what is done to it shows in the data.
            told["tasks"][instance] = plain(task)
    return {"levels": levels, **told}


def _text(value: Any, code: str, method: str, instance: str) -> str:
    if not isinstance(value, str):
        kind = type(value).__name__
        raise Fault(code, f"{method} returned {kind} for instance {instance}, not a text")
    return value


def _texts(value: Any, instance: str) -> list[str]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(text, str) for text in value):
        detail = f"wrong returned {value!r:.80} for instance {instance}, not a list of texts"
        raise Fault("levels_malformed", detail)
    return list(value)


def number(value: Any) -> float:
    """The score as a float; numpy scalars count, anything that is no finite number does not."""
    if not isinstance(value, (bool, int, float)) and hasattr(value, "item"):
        value = value.item()
    try:
        if isinstance(value, (bool, int, float)) and math.isfinite(value):
            return float(value)
    except OverflowError:
        raise Fault("score_range", "score returned an integer beyond all floats") from None
    raise Fault("score_range", f"score returned {value!r:.80}, not a number")


def score(family: Any, tasks: dict[str, Any], instance: str, text: str) -> float:
    """The score of one submission."""
    if instance not in tasks:
        raise Fault("instance_count", f"get_tasks has no instance {instance}")
    with no_execution(text):
        return number(family.score(tasks[instance], text))


def perform(family: Any, work: dict[str, Any], pairs: list[list[str]]) -> dict[str, Any]:
    """The scores of submissions, or the description of the family where there are none."""
    if not pairs:
        return inspect(family, work["seeds"], work["downwards"], work["level"])
    drawn = {draw: tasks_of(family, draw) for draw in dict.fromkeys(draw_of(p[0]) for p in pairs)}
    # A scorer may change the task that it is given.
    give = copy.deepcopy if len(pairs) > 1 else _same
    return {
        "values": [
            score(family, give(drawn[draw_of(pairs[0][0])]), *pairs.pop(0)) for _ in pairs[:]
        ]
    }


def draw_of(instance: str) -> str:
    """`level.seed` of an instance's name; "" for an instance of a closed family."""
    return instance.partition("@")[2]


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
        result, raised = attempt(lambda: json.dumps(perform(family, work, pairs)).encode())
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
