"""PyTorch's threads: how many compute, and that they go when the work is done.

OpenMP keeps a team of threads for every thread that has computed with several. Once all teams have
more threads than there are cores, each of them sleeps at every barrier and has to be woken again,
which takes longer than most operations do. So one thread of a run has a team for good, that of the
engine; everything else that is heavy is done in a thread that ends with it, and its team with it.

Threads that wait for each other spin for a while before they sleep. Where a sandbox computes beside
them, one spins on a core that the other needs, and a pass takes ten times as long; so they are made
to sleep soon. OpenMP reads this when PyTorch is loaded: this module comes first.

What a thread has freed glibc keeps for the next one in an arena of its own: a run that merges and
teaches in turn would hold the working memory of all of them. So it is given back when work ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import ctypes
import functools
import gc
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

os.environ.setdefault("GOMP_SPINCOUNT", "1000")


@functools.cache
def usual_threads() -> int:
    """Threads that PyTorch takes where nothing is set."""
    import torch

    return torch.get_num_threads()


def in_own_thread(work: Callable[[], T]) -> T:
    """Do something in a thread that ends with it, and wait.

    For what is done often: reference cycles that it leaves wait for the collector, whose pass over
    everything that is loaded takes longer (0.3 s) than an embedding.
    """
    with ThreadPoolExecutor(1, "acdc-own") as pool:
        return pool.submit(_with_usual_threads, work, _trim).result()


async def done_in_own_thread(work: Callable[[], T]) -> T:
    """Do something heavy in a thread that ends with it, while others go on."""
    pool = ThreadPoolExecutor(1, "acdc-own")
    within = contextvars.copy_context()
    try:
        return await asyncio.get_running_loop().run_in_executor(
            pool, within.run, _with_usual_threads, work, return_freed_memory
        )
    finally:
        pool.shutdown(wait=False)


def return_freed_memory() -> None:
    """Give freed memory back to the system, that of reference cycles too."""
    gc.collect()
    _trim()


def _trim() -> None:
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _with_usual_threads(work: Callable[[], T], tidy: Callable[[], None]) -> T:
    import torch

    # What a thread begins with is what another one has set last.
    torch.set_num_threads(usual_threads())
    try:
        return work()
    finally:
        tidy()
