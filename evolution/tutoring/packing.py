"""Examples side by side in one row, and the places at which their answers are learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from evolution.merging.layerwise import Pack, opening_of, packs


@dataclass(frozen=True)
class Example:
    """A question with an answer that is right.

    Attributes:
        tokens: of the prompt, then of the answer with its end token.
        learnt: how many of them are the answer's: at least one, and not all.
    """

    tokens: Sequence[int]
    learnt: int

    @property
    def prompt(self) -> int:
        """Tokens of the prompt."""
        return len(self.tokens) - self.learnt


@dataclass(frozen=True)
class Row:
    """Some examples of a batch in one row.

    Attributes:
        pack: the row.
        places: after which of its tokens something is learnt.
        targets: which token comes there.
    """

    pack: Pack
    places: Int[Tensor, " learnt"]
    targets: Int[Tensor, " learnt"]


def rows_of(examples: Sequence[Example]) -> list[Row]:
    """A batch in rows, the opening that all prompts have in common once in each."""
    # What is learnt comes after a token that is no part of the opening.
    most = min(example.prompt for example in examples) - 1
    texts = [example.tokens for example in examples]
    opening = opening_of(texts, most)
    rows: list[Row] = []
    waiting = iter(examples)
    for pack in packs(texts, opening=opening):
        places: list[int] = []
        targets: list[int] = []
        start, end = opening, pack.tokens.shape[1]
        while start < end:
            example = next(waiting)
            last = start + len(example.tokens) - opening - 1
            places += range(last - example.learnt, last)
            targets += example.tokens[example.prompt :]
            start = last + 1
        rows.append(Row(pack, torch.tensor(places), torch.tensor(targets)))
    return rows
