"""Key-value caches of fixed shape.

A slot cache has one row per reply and one slot per position; a row is taken over by the next prompt
when its reply has ended. Shapes never change while replies come and go, so a row is computed as if
it were alone.
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
        rows = keys.shape[0]
        before_keys, before_values = (part.expand(rows, -1, -1, -1) for part in self._opening)
        return torch.cat([before_keys, keys], 2), torch.cat([before_values, values], 2)


class SlotLayer:
    """Cache layer for decoding: every row writes at its own position."""

    def __init__(self, keys: Keys, values: Keys) -> None:
        self.keys, self.values = keys, values
        self.at: tuple[Int[Tensor, " rows"], Int[Tensor, " rows"]] | None = None

    def update(self, keys: Keys, values: Keys, *args: Any, **kwargs: Any) -> Span:
        """Called by the model: stores one position per row and returns all slots."""
        assert self.at is not None
        row, position = self.at
        self.keys[row, :, position] = keys[:, :, 0]
        self.values[row, :, position] = values[:, :, 0]
        return self.keys, self.values


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

    def layers(self, positions: Int[Tensor, " rows"]) -> list[SlotLayer]:
        """The caches for one step in which each row writes at its position."""
        for layer in self._layers:
            layer.at = (self._every_row, positions)
        return self._layers
