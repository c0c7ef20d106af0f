"""A bank in host memory feeds a GPU: pieces are copied while the ones before are summed.

Two buffers: while the main stream sums one piece, a stream of its own copies the next one; the
piece after that waits until the first is summed. From page-locked memory the two truly overlap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from evolution.bank.bank import Bank
from evolution.bank.task_vectors import Dense
from evolution.errors import EngineError
from evolution.materialise.sums import Piece

STAGED = 1 << 24
"""Elements of a piece that travels: large enough for full speed, small beside a model."""

_WORTH_LOCKING = 1 << 20
"""Bytes from which a tensor has memory pages of its own."""


def staged(pieces: Iterable[Piece], device: torch.device) -> Iterator[Piece]:
    """The pieces with all their terms on the GPU, each to be evaluated before the next is taken.

    Args:
        pieces: with `out` on the GPU, their terms in host memory.
        device: the GPU.
    """
    copying = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    computing = torch.cuda.current_stream(device)
    summed: torch.cuda.Event | None = None
    ahead: tuple[Piece, torch.cuda.Event] | None = None
    for piece in pieces:
        if summed is not None:
            summed.synchronize()
        with torch.cuda.stream(copying):
            arriving = moved(piece, device), copying.record_event()
        if ahead is not None:
            yield _arrived(*ahead, computing)
            summed = computing.record_event()
        ahead = arriving
    if ahead is not None:
        yield _arrived(*ahead, computing)


def moved(piece: Piece, device: torch.device) -> Piece:
    """The piece with its terms on another device; without waiting, where they are page-locked.

    What a GPU sends to the host is waited for: the CPU would read it before it is there.
    """

    def to(tensor: Tensor) -> Tensor:
        return tensor.to(device, non_blocking=device.type != "cpu")

    return replace(
        piece,
        base=to(piece.base),
        vectors=tuple(to(vector) for vector in piece.vectors),
        residuals=tuple((c, to(index), to(part)) for c, index, part in piece.residuals),
        up=None if piece.up is None else to(piece.up),
        down=None if piece.down is None else to(piece.down),
    )


def page_lock(bank: Bank) -> None:
    """Lock a bank's large tensors in host memory, where they are, so that copies need no detour.

    Raises:
        EngineError: the system does not allow that much locked memory.
    """
    cudart = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    for tensor in _held(bank):
        if tensor.nbytes < _WORTH_LOCKING or tensor.is_pinned():
            continue
        status = cudart.cudaHostRegister(tensor.data_ptr(), tensor.nbytes, 0)
        if int(status) != 0:
            raise EngineError(
                f"{tensor.nbytes / 2**20:.0f} MiB of host memory cannot be locked (CUDA error "
                f"{int(status)}): raise the limit (ulimit -l unlimited), or free memory"
            )


def _held(bank: Bank) -> Iterator[Tensor]:
    yield from bank.base.values()
    for anchor in bank.anchors:
        for vector in anchor.held:
            if isinstance(vector, Dense):
                yield vector.values


def _arrived(piece: Piece, arrival: torch.cuda.Event, computing: torch.cuda.Stream) -> Piece:
    """The piece once the main stream may read it; its memory is not reused before that has."""
    computing.wait_event(arrival)
    parts = [part for _, *pair in piece.residuals for part in pair]
    for tensor in (piece.base, *piece.vectors, *parts, piece.up, piece.down):
        if tensor is not None:
            tensor.record_stream(computing)
    return piece
