"""What keeps a submission from running inside its scorer, where it could give itself a score.

Two defences: a look at the program's text, whose refusal says what to write in its place, and a
hook on what the interpreter executes while a submission is scored, which no program gets around by
naming things otherwise. The hook lets through what a scorer may well do with a text: read a literal
or a formula of sympy's, import a module that is installed, make a named tuple.
"""

from __future__ import annotations

import ast
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import _bootstrap
from typing import Any

from .ending import SCRATCH
from .faults import Fault

EXECUTING = frozenset({"eval", "exec", "compile"})
BUILTINS = frozenset({"builtins", "__builtins__"})
PARSING = frozenset({"sympify", "parse_expr"})
"""Of sympy: they run whatever text they are given through `eval`."""
LOADING = frozenset({"unsafe_load", "UnsafeLoader", "unsafe_load_all"})
"""Of yaml: they call what a text names."""
BUILDING = frozenset({"pickle.find_class", "marshal.loads", "code.__new__", "function.__new__"})
"""Events by which data becomes code without being compiled."""
GENERATING = ("collections", "dataclasses", "sympy.polys.monomials")
"""Modules that execute text of their own making, from names that they checked, or from numbers."""
FORMULAS = "sympy.parsing.sympy_parser"
ADVICE = (
    "an answer must not run inside the scorer; run programs with sandbox_helpers.run_submission, "
    "read data with ast.literal_eval, numbers with fractions.Fraction"
)


def executing(node: ast.AST) -> str:
    """What a node of a program executes texts with, or ""."""
    if isinstance(node, ast.Name) and node.id in EXECUTING | PARSING:
        return node.id
    if isinstance(node, ast.Attribute):
        of_builtins = isinstance(node.value, ast.Name) and node.value.id in BUILTINS
        refused = PARSING | LOADING | {"eval"}
        if node.attr in refused or (of_builtins and node.attr in EXECUTING):
            return node.attr
    if isinstance(node, ast.ImportFrom):
        refused = PARSING | LOADING | {"eval"}
        refused |= EXECUTING if node.module in BUILTINS else frozenset()
        return next((alias.name for alias in node.names if alias.name in refused), "")
    return ""


def refuse_execution(code: str) -> None:
    """Refuse task code that may execute a submission inside the scorer.

    Raises:
        Fault: it names what executes texts.
    """
    for node in ast.walk(ast.parse(code)):
        if name := executing(node):
            raise Fault(
                "executes_submission", f"line {getattr(node, 'lineno', 0)} uses {name}: {ADVICE}"
            )


class Execution(RuntimeError):
    """A submission, or something made of it, was about to be executed."""


class _Guard:
    """Whether execution is refused now. A hook cannot be taken off again, only be silent."""

    installed = False
    active = False


@contextmanager
def no_execution() -> Iterator[None]:
    """Refuse what a scorer has no reason to execute, for as long as the block lasts.

    The refusal is an exception where the text would have run: a scorer may take it for a wrong
    answer, as it does with any text that it cannot read.
    """
    if not _Guard.installed:
        sys.addaudithook(_hook)
        _Guard.installed = True
    _Guard.active = True
    try:
        yield
    finally:
        _Guard.active = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _Guard.active or (event != "exec" and event not in BUILDING):
        return
    caller = sys._getframe(1)
    if event == "exec" and _may_run(arguments[0], caller):
        return
    if event != "exec" and _is_importing(caller):
        return
    raise Execution(f"{event} while a submission is scored: {ADVICE}")


def _may_run(code: types.CodeType, caller: types.FrameType) -> bool:
    if caller.f_globals is vars(_bootstrap):
        return not code.co_filename.startswith(f"{SCRATCH}/")
    if _is_importing(caller):
        return True
    names = _names(code)
    if not names or any(caller.f_globals is _namespace(module) for module in GENERATING):
        return True
    if caller.f_globals is not _namespace(FORMULAS):
        return False
    symbols = caller.f_locals.get("local_dict") or {}
    return all(_is_formula(name, symbols.get(name)) for name in names)


def _is_importing(frame: types.FrameType | None) -> bool:
    """Whether a module is being imported in one of the calls that led here."""
    while frame is not None:
        if frame.f_globals is vars(_bootstrap):
            return True
        frame = frame.f_back
    return False


def _namespace(module: str) -> dict[str, Any] | None:
    found = sys.modules.get(module)
    return None if found is None else vars(found)


def _names(code: types.CodeType) -> set[str]:
    """All names that code looks up, as globals, attributes or imports; none are in a literal."""
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _is_formula(name: str, symbol: Any) -> bool:
    """Whether a name stands for a kind of sympy's expressions, for one of them, or for a root.

    Args:
        name: in a text that sympy has parsed.
        symbol: what its caller lets the name stand for; None if nothing.
    """
    sympy = sys.modules["sympy"]
    found = getattr(sympy, name, None) if symbol is None else symbol
    if isinstance(found, type):
        return issubclass(found, sympy.Basic)
    # The parser begins with `from sympy import *`.
    return isinstance(found, sympy.Basic) or name in ("sqrt", "cbrt", "root", "sympy")
