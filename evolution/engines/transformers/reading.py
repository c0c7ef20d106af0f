"""Reading prompts: the first pass over their tokens.

The opening that prompts share (the system message) is read once per expert; behind it the prompts
lie one after the other in a single row, and each attends to the opening and to itself alone. No
position is computed that no prompt needs, but for what fills a pass up to its size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, groupby
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from evolution.engines.encoding import EncodedPrompt
from evolution.engines.transformers.attention import Segments, score
from evolution.engines.transformers.passes import PassSizes
from evolution.engines.transformers.slots import RecordingLayer, Span

_KEPT_OPENINGS = 8

T = TypeVar("T")


@dataclass(frozen=True)
class Read:
    """A batch that was read.

    Attributes:
        logits: (rows, vocabulary) scores of the first token of each reply; rows beyond the batch
            are padding.
        opening: keys and values of the opening, per layer; empty if there is none.
        spans: keys and values of the prompts' own tokens, per layer, one behind the other.
        ends: place behind the last token of each prompt.
    """

    logits: Tensor
    opening: Sequence[Span]
    spans: Sequence[Span]
    ends: Sequence[int]

    def spans_of(self, place: int, prompt: EncodedPrompt) -> list[Sequence[Span]]:
        """What a slot cache needs of one prompt."""
        own = slice(self.ends[place] - len(prompt.rest), self.ends[place])
        added = [(keys[:, :, own], values[:, :, own]) for keys, values in self.spans]
        return [self.opening, added] if self.opening else [added]


class Reader:
    """Reads prompts with one model.

    Args:
        model: a transformers causal language model; its weights may change between calls.
        sizes: of its passes.
        side_by_side: whether it attends by segments; if not, prompts are read one by one.
    """

    def __init__(self, model: Any, sizes: PassSizes, side_by_side: bool) -> None:
        self._model = model
        self._sizes = sizes
        self._side_by_side = side_by_side
        self._openings: dict[tuple[int, ...], Sequence[Span]] = {}

    def forget(self) -> None:
        """Drop what was read with the weights before: to be called after each change."""
        self._openings.clear()

    def batches(self, items: Sequence[tuple[T, EncodedPrompt]]) -> Iterator[list[T]]:
        """What is to be read together: of the same opening, the longest first."""

        def rank(pair: tuple[T, EncodedPrompt]) -> tuple[tuple[int, ...], int]:
            return (pair[1].opening, -len(pair[1].rest))

        most_tokens = self._sizes.tokens[-1]
        most_prompts = self._sizes.rows[-1] if self._side_by_side else 1
        ordered = sorted(items, key=rank)
        for _, same in groupby(ordered, key=lambda pair: pair[1].opening):
            batch: list[T] = []
            taken = 0
            for item, prompt in same:
                full = len(batch) == most_prompts or taken + len(prompt.rest) > most_tokens
                if batch and full:
                    yield batch
                    batch, taken = [], 0
                batch.append(item)
                taken += len(prompt.rest)
            yield batch

    def read(self, batch: Sequence[EncodedPrompt]) -> Read:
        """Read prompts of one opening that together fit a pass, or one that alone exceeds it."""
        opening = self._opening(batch[0].opening)
        logits, spans = self._extend([prompt.rest for prompt in batch], opening)
        ends = list(accumulate(len(prompt.rest) for prompt in batch))
        return Read(logits, opening, spans, ends)

    def _opening(self, tokens: tuple[int, ...]) -> Sequence[Span]:
        if not tokens:
            return ()
        if tokens not in self._openings:
            if len(self._openings) >= _KEPT_OPENINGS:
                self._openings.clear()
            _, spans = self._extend([tokens], ())
            length = len(tokens)
            self._openings[tokens] = [(k[:, :, :length], v[:, :, :length]) for k, v in spans]
        return self._openings[tokens]

    def _extend(
        self, texts: Sequence[Sequence[int]], opening: Sequence[Span]
    ) -> tuple[Tensor, list[Span]]:
        total = sum(map(len, texts))
        size = self._sizes.tokens_for(total) if self._side_by_side else total
        rows = self._sizes.rows_for(len(texts))
        return read_texts(self._model, texts, opening, size, rows, self._side_by_side)


def read_texts(
    model: Any,
    texts: Sequence[Sequence[int]],
    opening: Sequence[Span],
    size: int,
    rows: int,
    side_by_side: bool,
) -> tuple[Float[Tensor, "rows vocabulary"], list[Span]]:
    """One pass over texts that lie one behind the other.

    Args:
        model: a transformers causal language model.
        texts: their tokens; one only, unless the model attends by segments.
        opening: keys and values, per layer, of what all of them follow.
        size: tokens of the pass; what the texts leave is filler.
        rows: of the scores.
        side_by_side: whether the model attends by segments.

    Returns:
        Scores behind each text, then dummies; and keys and values of all texts, per layer.
    """
    before = opening[0][0].shape[2] if opening else 0
    segments = Segments(before, tuple(map(len, texts)))
    filler = [0] * (size - sum(segments.lengths))
    tokens = [*chain.from_iterable(texts), *filler]
    positions = [*chain.from_iterable(range(before, before + n) for n in segments.lengths), *filler]
    places = [end - 1 for end in accumulate(segments.lengths)]
    places += [0] * (rows - len(places))
    count = model.config.num_hidden_layers
    layers = [RecordingLayer(opening[index] if opening else None) for index in range(count)]
    device = model.device
    visible = None
    if not side_by_side:
        visible = torch.ones(size, before + size, dtype=torch.bool, device=device).tril(before)
    logits = score(
        model,
        torch.tensor([tokens], device=device),
        None if visible is None else visible[None, None],
        torch.tensor([positions], device=device),
        layers,
        segments if side_by_side else None,
        torch.tensor(places, device=device),
    )
    return logits, [layer.added for layer in layers if layer.added is not None]
