"""Families find the standard library and installed packages, and nothing of this project."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

PROJECT = ("acdc", "agents", "benchmarks", "console", "evolution", "memory", "prompts", "seeds")
"""What an installation of the project puts where it is imported from."""


class HiddenProject(MetaPathFinder):
    """Raises for modules of the project where it is installed, from a wheel or as a checkout.

    A submission may have a file of the same name, which is found.

    Args:
        root: the folder that holds the packages of the project.
    """

    def __init__(self, root: str) -> None:
        self._root = os.path.realpath(root)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `MetaPathFinder.find_spec`.

        Raises:
            ModuleNotFoundError: the module that would be found is one of the project.
        """
        if fullname not in PROJECT:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None:
            return None
        found = spec.submodule_search_locations or [spec.origin or ""]
        if any(os.path.dirname(os.path.realpath(place)) == self._root for place in found):
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return spec


def hide_project() -> None:
    """Hide the project of which this guest program is a part."""
    root = os.path.realpath(__file__).rsplit(os.sep, 4)[0]
    sys.meta_path.insert(0, HiddenProject(root))
