"""Sizes of forward passes.

A processor may multiply a matrix of 5 rows in another order than one of 8, and the fifth of 5 rows
in another order than the first. A reply would then depend on what else is computed beside it. So
passes have one of a few sizes that give the same bits (`proof`), and dummies fill them up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_FEWEST_ROWS, _FEWEST_TOKENS = 4, 32
"""Fewer rows are computed by code of their own, more often than not."""
_SLOTS = (64, 96, 128, 192, 256)


@dataclass(frozen=True, slots=True)
class PassSizes:
    """Sizes that a model's passes may have.

    Attributes:
        rows: replies that take a step side by side, ascending.
        tokens: tokens of prompts that are read side by side, ascending.
        slots: cached positions that a step attends to, ascending.
    """

    rows: tuple[int, ...]
    tokens: tuple[int, ...]
    slots: tuple[int, ...]

    def rows_for(self, count: int) -> int:
        """The smallest step that holds so many replies."""
        return _smallest(self.rows, count)

    def tokens_for(self, count: int) -> int:
        """The smallest pass that holds so many tokens; what exceeds all of them is its own size."""
        return _smallest(self.tokens, count)

    def slots_for(self, count: int, held: int) -> int:
        """How many cached positions to attend to, of which so many have been written.

        Caches of another length than was tried are attended to as a whole.
        """
        return _smallest(self.slots, count) if held == self.slots[-1] else held


def candidates(rows: int, tokens: int) -> PassSizes:
    """Sizes to be tried: powers of two, with one size between two of them, or for tokens three.

    Args:
        rows: most replies side by side; the largest size holds them.
        tokens: most tokens side by side, likewise.
    """
    return PassSizes(_ladder(_FEWEST_ROWS, rows, 2), _ladder(_FEWEST_TOKENS, tokens, 4), _SLOTS)


def _ladder(first: int, most: int, steps: int) -> tuple[int, ...]:
    """Ascending sizes, so many to a doubling, up to a power of two that holds the most.

    What others are compared with has no remainder that a processor might compute otherwise.
    """
    sizes, power = {first}, first
    while power < most:
        sizes |= {power + power * step // steps for step in range(1, steps + 1)}
        power *= 2
    return tuple(sorted(sizes))


def _smallest(sizes: Sequence[int], count: int) -> int:
    return next((size for size in sizes if size >= count), count)
