"""Reading prompts: the first pass over their tokens, in batches of a fixed shape.

The opening that prompts share (the system message) is read once per expert; every prompt then only
reads its own tokens behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

import torch
from torch import Tensor

from evolution.engines.attention import score
from evolution.engines.encoding import Prompt
from evolution.engines.slots import RecordingLayer, Span

_KEPT_OPENINGS = 8

Item = TypeVar("Item")


@dataclass(frozen=True)
class Read:
    """A batch that was read.

    Attributes:
        logits: (rows, vocabulary) scores of the first token of each reply; rows beyond the batch
            are padding.
        opening: keys and values of the opening, per layer; empty if there is none.
        spans: keys and values of the prompts' own tokens, per layer, padded on the left.
    """

    logits: Tensor
    opening: Sequence[Span]
    spans: Sequence[Span]

    def spans_of(self, row: int, prompt: Prompt) -> list[Sequence[Span]]:
        """What a slot cache needs of one prompt, without padding."""
        own = slice(self.spans[0][0].shape[2] - len(prompt.rest), None)
        one = slice(row, row + 1)
        added = [(keys[one, :, own], values[one, :, own]) for keys, values in self.spans]
        return [self.opening, added] if self.opening else [added]


class Reader:
    """Reads prompts with one model.

    Args:
        model: a transformers causal language model; its weights may change between calls.
        tokens: tokens side by side, padding included: gives the rows of each bucket.
    """

    def __init__(self, model: Any, tokens: int) -> None:
        self._model = model
        self._tokens = tokens
        self._openings: dict[tuple[int, ...], Sequence[Span]] = {}

    def forget(self) -> None:
        """Drop what was read with the weights before: to be called after each change."""
        self._openings.clear()

    def batches(self, items: Sequence[tuple[Item, Prompt]]) -> Iterator[list[Item]]:
        """What is to be read together: same opening, same bucket; the longest first."""

        def shape(pair: tuple[Item, Prompt]) -> tuple[int, tuple[int, ...]]:
            return (-pair[1].bucket, pair[1].opening)

        for (bucket, _), same in groupby(sorted(items, key=shape), key=shape):
            group, size = [item for item, _ in same], self._rows(-bucket)
            for start in range(0, len(group), size):
                yield group[start : start + size]

    def read(self, batch: Sequence[Prompt]) -> Read:
        """Read prompts of one opening and one bucket.

        Prompts are padded on the left, so that all end at the last position.
        """
        width = batch[0].bucket
        tokens = torch.zeros(self._rows(width), width, dtype=torch.long)
        lengths = torch.zeros(len(tokens), 1, dtype=torch.long)
        for row, prompt in enumerate(batch):
            tokens[row, width - len(prompt.rest) :] = torch.tensor(prompt.rest)
            lengths[row] = len(prompt.rest)
        opening = self._opening(batch[0].opening)
        logits, spans = self._extend(tokens, lengths, opening)
        return Read(logits, opening, spans)

    def _rows(self, bucket: int) -> int:
        return max(self._tokens // bucket, 1)

    def _opening(self, tokens: tuple[int, ...]) -> Sequence[Span]:
        if not tokens:
            return ()
        if tokens not in self._openings:
            if len(self._openings) >= _KEPT_OPENINGS:
                self._openings.clear()
            lengths = torch.tensor([[len(tokens)]])
            _, self._openings[tokens] = self._extend(torch.tensor([tokens]), lengths, ())
        return self._openings[tokens]

    def _extend(
        self, tokens: Tensor, lengths: Tensor, opening: Sequence[Span]
    ) -> tuple[Tensor, list[Span]]:
        """Scores and spans of left-padded tokens that follow an opening."""
        rows, width = tokens.shape
        before = opening[0][0].shape[2] if opening else 0
        column = torch.arange(width)
        real = column >= width - lengths
        # A padding position sees itself: with nothing to see at all it would not be finite.
        own = ((column <= column[:, None]) & real[:, None, :]) | torch.eye(width, dtype=torch.bool)
        visible = torch.cat([torch.ones(rows, width, before, dtype=torch.bool), own], 2)
        positions = (before + column - (width - lengths)).clamp(min=0)
        count = self._model.config.num_hidden_layers
        layers = [RecordingLayer(opening[index] if opening else None) for index in range(count)]
        device = self._model.device
        logits = score(
            self._model,
            tokens.to(device),
            visible[:, None].to(device),
            positions.to(device),
            layers,
        )
        return logits, [layer.added for layer in layers if layer.added is not None]
