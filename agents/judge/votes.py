"""What several votes on one answer come to."""

from __future__ import annotations

from collections.abc import Sequence


def majority(votes: Sequence[bool]) -> bool | None:
    """Whether more than half of the votes say yes; None without a vote."""
    return 2 * sum(votes) > len(votes) if votes else None


def agreement(votes: Sequence[bool]) -> float | None:
    """Share of the votes that agree with their majority; None without a vote."""
    return max(sum(votes), len(votes) - sum(votes)) / len(votes) if votes else None
