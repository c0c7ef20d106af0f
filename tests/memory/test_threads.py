"""How PyTorch's threads wait for each other."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable

import psutil
import pytest

from memory.threads import done_in_own_thread, in_own_thread


def test_how_threads_wait_is_set_before_pytorch_is_loaded() -> None:
    """OpenMP reads it once, when it is loaded; what a user has set stays."""
    program = (
        "import sys, os, memory; assert 'torch' not in sys.modules; "
        "print(os.environ['GOMP_SPINCOUNT'])"
    )
    plain = {key: value for key, value in os.environ.items() if key != "GOMP_SPINCOUNT"}
    for given, found in ((plain, "1000"), ({**plain, "GOMP_SPINCOUNT": "7"}, "7")):
        done = subprocess.run([sys.executable, "-c", program], env=given, stdout=subprocess.PIPE)
        assert done.stdout.decode().strip() == found


def waited(work: Callable[[], bytes]) -> bytes:
    return asyncio.run(done_in_own_thread(work))


@pytest.mark.parametrize("way", [in_own_thread, waited])
def test_what_a_thread_freed_does_not_stay_with_the_process(
    way: Callable[[Callable[[], bytes]], bytes],
) -> None:
    """The last of many pieces is kept, behind all those that are freed."""

    def work() -> bytes:
        return [bytes(100_000) for _ in range(3_000)][-1]

    way(work)
    held = psutil.Process().memory_info().rss
    kept = [way(work) for _ in range(3)]
    grown = psutil.Process().memory_info().rss - held
    assert len(kept) == 3
    assert grown < 100e6, f"{grown / 1e6:.0f} MB of 900 stayed"
