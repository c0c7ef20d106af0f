"""Modules of the user's own that register operators."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

from evolution.errors import OperatorError
from evolution.registry import BUILT_IN
from memory.hashing import text_hash

_BROKEN = (
    ImportError,
    SyntaxError,
    NameError,
    AttributeError,
    TypeError,
    ValueError,
    LookupError,
    OSError,
)
"""What a module that is not ready to be imported usually raises."""


def load_plugin(name: str) -> None:
    """Import a module of the user's that registers operators, once.

    Args:
        name: dotted name of an installed module, or path of a .py file.

    Raises:
        OperatorError: it does not exist, takes the name of a built-in operator, or fails; its own
            error is the cause.
    """
    # Else those that come later would take the place of the user's.
    for built_in in BUILT_IN.values():
        importlib.import_module(built_in)
    if not name.endswith(".py"):
        module, spec = name, importlib.util.find_spec(name) if _importable(name) else None
    else:
        file = Path(name).resolve()
        module = f"acdc_plugin_{text_hash(str(file))}"
        spec = importlib.util.spec_from_file_location(module, file) if file.is_file() else None
    if spec is None or spec.loader is None:
        raise OperatorError(f"there is no module {name}")
    if module in sys.modules:
        return
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[module] = loaded
    try:
        spec.loader.exec_module(loaded)
    except OperatorError as error:
        del sys.modules[module]
        raise OperatorError(f"{name}: {error}") from error
    except _BROKEN as error:
        del sys.modules[module]
        raise OperatorError(f"{name} fails: {type(error).__name__}: {error}") from error


def _importable(name: str) -> bool:
    """Whether a dotted name can be looked up: its parents are packages that exist."""
    parent = name.rpartition(".")[0]
    return not parent or (_importable(parent) and importlib.util.find_spec(parent) is not None)
