"""Frames over pipes: a length of four bytes, then as many bytes."""

from __future__ import annotations

import os
import select
import struct
import time
from collections.abc import Sequence


class Interrupted(Exception):
    """Another descriptor became readable while a frame was awaited."""


def await_ready(
    readable: Sequence[int], writable: Sequence[int], deadline: float | None, unless: int | None
) -> None:
    """Wait until one of the descriptors is ready.

    Args:
        readable: descriptors to read from.
        writable: descriptors to write to.
        deadline: of `time.monotonic`; None waits for ever.
        unless: a descriptor that should stay silent meanwhile.

    Raises:
        TimeoutError: the deadline passed.
        Interrupted: `unless` became readable, or was closed by the other side.
    """
    watched = list(readable) if unless is None else [*readable, unless]
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    can_read, can_write, _ = select.select(watched, writable, [], left)
    if unless in can_read:
        raise Interrupted
    if not can_read and not can_write:
        raise TimeoutError


def read_exactly(
    descriptor: int, size: int, deadline: float | None = None, unless: int | None = None
) -> bytes | None:
    """`size` bytes, or None if the other side closed; raises as `await_ready` does."""
    pieces = []
    while size:
        if deadline is not None:
            await_ready([descriptor], [], deadline, unless)
        piece = os.read(descriptor, min(size, 1 << 20))
        if not piece:
            return None
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def read_frame(
    descriptor: int,
    deadline: float | None = None,
    limit: int | None = None,
    unless: int | None = None,
) -> bytes | None:
    """The next frame, or None if the other side closed; raises as `await_ready` does.

    Raises:
        OverflowError: the frame is longer than the limit.
    """
    head = read_exactly(descriptor, 4, deadline, unless)
    if head is None:
        return None
    (size,) = struct.unpack(">I", head)
    if limit is not None and size > limit:
        raise OverflowError
    return read_exactly(descriptor, size, deadline, unless)


def write_frame(
    descriptor: int, payload: bytes, deadline: float | None = None, unless: int | None = None
) -> None:
    """Write one frame, however many pieces the pipe takes it in.

    With a deadline the descriptor has to be non-blocking, since the reader may never read; raises
    as `await_ready` does.
    """
    view = memoryview(struct.pack(">I", len(payload)) + payload)
    while view:
        if deadline is not None:
            await_ready([], [descriptor], deadline, unless)
        view = view[os.write(descriptor, view) :]
