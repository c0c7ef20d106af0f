"""What a run says of itself while it goes: events for a live display, plain lines or nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

EventKind = Literal["phase", "step", "line", "pulse"]


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """One thing that happened.

    Attributes:
        kind: `phase` begins a phase, `step` moves its bar, `line` is worth a line of its own,
            `pulse` sums up a generation.
        text: what to show.
        done: steps done in this phase, for `step`.
        total: steps that this phase has, 0 where it is not known.
    """

    kind: EventKind
    text: str
    done: int = 0
    total: int = 0


Progress = Callable[[ProgressEvent], None]


def silent(event: ProgressEvent) -> None:
    """A progress sink that shows nothing."""
