"""What keeps a submission from running inside its scorer, where it could give itself a score.

Two defences: a look at the program's text, whose refusal says what to write in its place, and a
hook on what the interpreter executes while a submission is scored, which no program gets around by
naming things otherwise. Code that shares a word with the submission may have been made of it, and
is refused, but for formulas that sympy parses; whatever else scorers and their libraries generate
runs.
"""

from __future__ import annotations

import ast
import opcode
import re
import sys
import types
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import _bootstrap
from typing import Any

from .ending import SCRATCH
from .faults import Fault

EXECUTING = frozenset({"eval", "exec", "compile"})
BUILTINS = frozenset({"builtins", "__builtins__"})
PARSING = frozenset({"sympify", "parse_expr"})
"""Of sympy: they run whatever text they are given through `eval`."""
LOADING = frozenset({"unsafe_load", "unsafe_load_all", "UnsafeLoader", "CUnsafeLoader"})
"""Of yaml: they call what a text names."""
QUERYING = frozenset({"eval", "query"})
"""Methods of pandas and others that evaluate a text by themselves."""
GENERATING = ("collections", "dataclasses", "sympy.polys.monomials")
"""Modules that execute text of their own making, from names that they checked, or from numbers."""
FORMULAS = "sympy.parsing.sympy_parser"
FUNCTIONS = frozenset(
    {"sqrt", "cbrt", "root", "binomial", "abs", "max", "min", "expand", "factor", "simplify"}
    | {"cancel", "together", "apart", "collect", "diff", "integrate", "limit", "gcd", "lcm"}
)
"""What a formula may call beside sympy's own kinds of expressions."""
STEPS = (
    "BINARY_OP",
    "BUILD_LIST",
    "BUILD_TUPLE",
    "CACHE",
    "CALL",
    "CALL_KW",
    "COMPARE_OP",
    "COPY",
    "EXTENDED_ARG",
    "KW_NAMES",
    "LIST_EXTEND",
    "LOAD_CONST",
    "LOAD_GLOBAL",
    "LOAD_NAME",
    "LOAD_SMALL_INT",
    "NOP",
    "PRECALL",
    "PUSH_NULL",
    "RESUME",
    "RETURN_",
    "SWAP",
    "UNARY_",
)
"""Beginnings of the steps that a formula is made of: no attribute, no function of its own."""
NOT_STEPS = ("CALL_FUNCTION_EX", "CALL_INTRINSIC")
INSTALLED = ("<frozen ", f"{sys.prefix}/", f"{sys.base_prefix}/")
"""Beginnings of the file names of modules that may be imported, wherever scratch files are."""
SHORT = 3
"""Letters from which on a word of a submission is looked for across its blanks and signs."""
KEYWORDS = ("evaluate",)
"""The keyword that sympy itself writes into a formula."""
ADVICE = (
    "an answer must not run inside the scorer; run programs with sandbox_helpers.run_submission, "
    "read data with ast.literal_eval, numbers with fractions.Fraction"
)


def executing(node: ast.AST) -> str:
    """What a node of a program executes texts with, or ""."""
    if isinstance(node, ast.Name) and node.id in EXECUTING | PARSING:
        return node.id
    if isinstance(node, ast.Attribute):
        of = node.value.id if isinstance(node.value, ast.Name) else ""
        if node.attr in PARSING | LOADING | QUERYING:
            return node.attr
        if of in BUILTINS and node.attr in EXECUTING:
            return node.attr
        return node.attr if of == "yaml" and node.attr in ("Loader", "CLoader") else ""
    if isinstance(node, ast.ImportFrom):
        refused = PARSING | LOADING | QUERYING
        refused |= EXECUTING if node.module in BUILTINS else frozenset()
        refused |= {"Loader", "CLoader"} if node.module == "yaml" else frozenset()
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


class Execution(ValueError):
    """A submission, or something made of it, was about to be executed: it is no text to read."""


class _Guard:
    """What is refused now. A hook cannot be taken off again, only be silent."""

    installed = False
    active = False
    words: frozenset[str] = frozenset()
    letters = ""


@contextmanager
def no_execution(submission: str) -> Iterator[None]:
    """Refuse to execute what was made of a submission, for as long as the block lasts.

    The refusal is an exception where the text would have run: a scorer may take it for a wrong
    answer, as it does with any text that it cannot read.
    """
    if not _Guard.installed:
        sys.addaudithook(_hook)
        _Guard.installed = True
    text = unicodedata.normalize("NFKC", submission).casefold()
    _Guard.words = frozenset(re.findall(r"\w+", text))
    _Guard.letters = "".join(re.findall(r"\w", text))
    _Guard.active = True
    try:
        yield
    finally:
        _Guard.active = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _Guard.active:
        return
    if event in ("exec", "function.__new__"):
        refused = not _may_run(arguments[0], sys._getframe(1))
    elif event == "pickle.find_class":
        refused = any(map(_is_submitted, arguments))
    else:
        return
    if refused:
        raise Execution(f"{event} while a submission is scored: {ADVICE}")


def _may_run(code: types.CodeType, caller: types.FrameType) -> bool:
    if caller.f_globals is vars(_bootstrap):
        place = code.co_filename
        # What is installed has an absolute path; a family can only write to the scratch folder.
        return place.startswith(INSTALLED) or (
            place.startswith("/") and not place.startswith(f"{SCRATCH}/")
        )
    if _is_importing(caller) or not any(map(_is_submitted, _words(code))):
        return True
    if any(caller.f_globals is _namespace(module) for module in GENERATING):
        return True
    return caller.f_globals is _namespace(FORMULAS) and _is_formula(
        code, caller.f_locals.get("local_dict") or {}
    )


def _is_submitted(word: str) -> bool:
    """Whether a word of code may come from the submission, blanks and signs within it left out."""
    word = unicodedata.normalize("NFKC", word).casefold()
    return word in _Guard.words if len(word) < SHORT else word in _Guard.letters


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


def _words(code: types.CodeType) -> set[str]:
    """What code names, and the words in its texts; none if it names nothing, as a literal."""
    names: set[str] = set()
    texts: set[str] = set()
    waiting: list[Any] = [code]
    while waiting:
        part = waiting.pop()
        if isinstance(part, types.CodeType):
            names.update(part.co_names, part.co_varnames)
            waiting.extend(part.co_consts)
        elif isinstance(part, str):
            texts.update(re.findall(r"[^\W\d]\w*", part))
        elif isinstance(part, tuple | frozenset):
            waiting.extend(part)
    return names | texts if names else names


def _is_formula(code: types.CodeType, symbols: Mapping[str, Any]) -> bool:
    """Whether code is a formula over sympy's expressions, and over the symbols of its caller."""
    for operation in code.co_code[::2]:
        step = opcode.opname[operation]
        if not step.startswith(STEPS) or step.startswith(NOT_STEPS):
            return False
    keywords = [c for c in code.co_consts if isinstance(c, tuple) and c and isinstance(c[0], str)]
    plain = all(given == KEYWORDS for given in keywords)
    return plain and all(_is_expression(name, symbols.get(name)) for name in code.co_names)


def _is_expression(name: str, symbol: Any) -> bool:
    """Whether a name stands for a kind of sympy's expressions, for one of them, or a function.

    Args:
        name: in a text that sympy has parsed.
        symbol: what its caller lets the name stand for; None if nothing.
    """
    sympy = sys.modules["sympy"]
    found = getattr(sympy, name, None) if symbol is None else symbol
    if isinstance(found, type):
        return issubclass(found, sympy.Basic)
    # The parser begins with `from sympy import *`.
    return isinstance(found, sympy.Basic) or name in FUNCTIONS or name == "sympy"
