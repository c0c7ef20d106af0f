"""Key-value caches of fixed shape.

A slot cache has one row per reply and one slot per position; a row is taken over by the next prompt
when its reply has ended. A step is computed for the first rows only, as many as hold replies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

Keys = Float[Tensor, "rows heads length head_dim"]
Span = tuple[Keys, Keys]
"""Keys and values of one layer."""


class RecordingLayer:
    """Cache layer for reading prompts: sees an opening, and keeps what the prompts add to it."""

    def __init__(self, opening: Span | None) -> None:
        self._opening = opening
        self.added: Span | None = None

    def update(self, keys: Keys, values: Keys, *args: Any, **kwargs: Any) -> Span:
        """Called by the model: returns all that these queries may attend to."""
        self.added = (keys, values)
        if self._opening is None:
            return keys, values
        before_keys, before_values = self._opening
        return torch.cat([before_keys, keys], 2), torch.cat([before_values, values], 2)


class SlotLayer:
    """Cache layer for decoding: every row writes at its own position."""

    def __init__(self, keys: Keys, values: Keys) -> None:
        self.keys, self.values = keys, values
        self.at: tuple[Int[Tensor, " rows"], Int[Tensor, " rows"]] | None = None
        self.seen = keys.shape[2]

    def update(self, keys: Keys, values: Keys, *args: Any, **kwargs: Any) -> Span:
        """Called by the model: stores one position per row; what these rows may attend to."""
        assert self.at is not None
        row, position = self.at
        self.keys[row, :, position] = keys[:, :, 0]
        self.values[row, :, position] = values[:, :, 0]
        return self.keys[: len(row), :, : self.seen], self.values[: len(row), :, : self.seen]


class Slots:
    """The caches of all layers.

    Args:
        like: one layer's keys and values, for heads, dimensions, dtype and device, per layer.
        rows: replies side by side.
        length: slots per row.
    """

    def __init__(self, like: Sequence[Span], rows: int, length: int) -> None:
        self.rows, self.length = rows, length
        self._layers = [
            SlotLayer(
                *(part.new_zeros(rows, part.shape[1], length, part.shape[3]) for part in span)
            )
            for span in like
        ]
        self._every_row = torch.arange(rows, device=like[0][0].device)

    def install(self, row: int, spans: Sequence[Sequence[Span]]) -> None:
        """Give a row to a new prompt, whose spans (per layer) follow each other.

        The rest of the row is cleared: whatever the former reply left there, were it not finite,
        would get past the mask.
        """
        for index, layer in enumerate(self._layers):
            for slots, part in ((layer.keys, 0), (layer.values, 1)):
                pieces = [span[index][part][0] for span in spans]
                filled = torch.cat(pieces, 1)
                slots[row, :, : filled.shape[1]] = filled
                slots[row, :, filled.shape[1] :] = 0

    def move(self, row: int, to: int) -> None:
        """Let a reply go on in another row."""
        for layer in self._layers:
            layer.keys[to] = layer.keys[row]
            layer.values[to] = layer.values[row]

    def layers(self, positions: Int[Tensor, " rows"], seen: int) -> list[SlotLayer]:
        """The caches for one step in which each of the first rows writes at its position.

        Args:
            positions: one per row.
            seen: slots that the rows may attend to, those positions among them.
        """
        for layer in self._layers:
            layer.at = (self._every_row[: len(positions)], positions)
            layer.seen = seen
        return self._layers
