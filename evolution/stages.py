"""Progress of loading models, which takes seconds to minutes."""

from __future__ import annotations

from collections.abc import Callable

Stages = Callable[[str, int, int], None]
"""Called with the name of a stage, the steps that are done, and all of its steps (0: not known)."""


def no_stages(stage: str, done: int, total: int) -> None:
    """Ignore the progress."""
