"""What a run says of itself while it goes: events for a live display, plain lines or nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

ProgressKind = Literal["phase", "step", "line", "pulse", "accepted", "rejected", "waiting"]


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """One thing that happened.

    Attributes:
        kind: `phase` begins a phase, `done` is the generation that it belongs to, of `total` (0
            where it belongs to none), `step` moves its bar, `line` is worth a line of its own,
            `pulse` sums up a generation, `accepted` and `rejected` tell of a family,
            `waiting` names what takes long: `done` are the seconds, 0 once it has ended.
        text: what to show.
        done: steps done in this phase, for `step`.
        total: steps that this phase has, 0 where it is not known.
        measures: of a `pulse`, name -> value, for whoever draws curves; `done` is the generation.
    """

    kind: ProgressKind
    text: str
    done: int = 0
    total: int = 0
    measures: Mapping[str, float] = field(default_factory=dict)


Progress = Callable[[ProgressEvent], None]


def silent(event: ProgressEvent) -> None:
    """A progress sink that shows nothing."""


def steps_shown(progress: Progress) -> Callable[[str, int, int], None]:
    """Reports the steps of one long computation: which, how many are done, of how many."""

    def report(step: str, done: int, total: int) -> None:
        progress(ProgressEvent("step", step, done, total))

    return report


class DraftProgress:
    """Where the scientists at work stand, in one line.

    Args:
        progress: where it is reported.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._at: Counter[str] = Counter()
        self._done = self._total = 0

    def expect(self, done: int, total: int) -> None:
        """So many assignments there are, of which so many are done with."""
        self._done, self._total = done, total

    @contextmanager
    def at(self, stage: str) -> Iterator[None]:
        """One scientist is at a stage."""
        self._at[stage] += 1
        self._tell()
        try:
            yield
        finally:
            self._at[stage] -= 1
            self._tell()

    def finished(self, outcome: str, done: int, total: int) -> None:
        """One more is done with, so many of so many."""
        self.expect(done, total)
        self._progress(ProgressEvent("step", f"draft: {outcome}", done, total))

    def _tell(self) -> None:
        where = ", ".join(f"{count} {stage}" for stage, count in self._at.items() if count)
        text = f"draft: {where or 'scientists and critics at work'}"
        self._progress(ProgressEvent("step", text, self._done, self._total))
