"""Foreign code, called: a family is loaded, described and asked for a score."""

from __future__ import annotations

import ast
import copy
import json
import math
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any

DETAIL_LENGTH = 400


class Fault(Exception):
    """The family broke a rule of the format; `code` is the reason code."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def attempt(foreign: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """The result of foreign code, or what it raised.

    Foreign code may raise anything, SystemExit and classes of its own included, and to the process
    that exists to run it all of that is a result.
    """
    try:
        return foreign(), None
    except BaseException as raised:
        return None, raised


EXECUTING = frozenset({"eval", "exec", "compile"})
BUILTINS = frozenset({"builtins", "__builtins__"})
PARSING = frozenset({"sympify", "parse_expr"})
"""Of sympy: they run whatever text they are given through `eval`."""


def executing(node: ast.AST) -> str:
    """What a node of a program executes texts with, or ""."""
    if isinstance(node, ast.Name) and node.id in EXECUTING | PARSING:
        return node.id
    if isinstance(node, ast.Attribute):
        of_builtins = isinstance(node.value, ast.Name) and node.value.id in BUILTINS
        if node.attr in PARSING or (of_builtins and node.attr in EXECUTING):
            return node.attr
    if isinstance(node, ast.ImportFrom):
        refused = PARSING | EXECUTING if node.module in BUILTINS else PARSING
        return next((alias.name for alias in node.names if alias.name in refused), "")
    return ""


def refuse_execution(code: str) -> None:
    """Refuse task code that may execute a submission inside the scorer.

    An answer that runs there can give itself whatever score it likes.
    """
    for node in ast.walk(ast.parse(code)):
        if name := executing(node):
            raise Fault(
                "executes_submission",
                f"line {getattr(node, 'lineno', 0)} uses {name}: an answer must not run inside the "
                f"scorer; run programs with sandbox_helpers.run_submission, read data with "
                f"ast.literal_eval, numbers with fractions.Fraction",
            )


def load(code: str) -> Any:
    """The `TaskFamily` that the code defines."""
    module = types.ModuleType("task")
    sys.modules["task"] = module
    exec(compile(code, "task.py", "exec"), module.__dict__)
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
    return number(family.score(tasks[instance], text))


def perform(family: Any, step: dict[str, Any]) -> dict[str, Any]:
    """The result of one step."""
    if step["op"] == "inspect":
        return inspect(family)
    if step["op"] == "score_all":
        tasks = tasks_of(family)
        # A scorer may change the task that it is given.
        scored = [score(family, copy.deepcopy(tasks), *pair) for pair in step["pairs"]]
        return {"values": scored}
    return {"value": score(family, tasks_of(family), step["instance"], step["text"])}


def result_of(code: str, step: dict[str, Any]) -> bytes:
    """The result of one step as JSON, or the fault that foreign code amounts to."""
    otherwise = "import_error"
    raised: BaseException | None = None
    if step["op"] == "inspect":
        _, raised = attempt(lambda: refuse_execution(code))
    if raised is None:
        family, raised = attempt(lambda: load(code))
    if raised is None:
        otherwise = "crash"
        result, raised = attempt(lambda: json.dumps(perform(family, step)).encode())
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
