"""Wiping what an expert leaves in vLLM's key-value cache.

vLLM reuses blocks as they are, and its attention multiplies what lies behind the end of a sequence
by zero. If that is NaN, since the weights of the previous expert overflowed, the next expert's
results are NaN too.
"""

from __future__ import annotations

from itertools import chain
from typing import Any


class UsedBlocks:
    """Remembers which blocks are written to, from now on.

    Args:
        runner: vLLM's model runner.
    """

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self._used: set[int] = set()
        self._execute = runner.execute_model
        runner.execute_model = self._execute_model

    def wipe(self) -> None:
        """Set what was written since the last time to zero."""
        if not self._used:
            return
        used = sorted(self._used)
        for cache in self._runner.kv_caches:
            if cache.device.type == "cpu":
                # Of every layer: what vLLM itself would wipe here leaves out sliding windows.
                cache[used] = 0
            else:
                # A GPU wipes its whole cache in less time than it takes to name the blocks.
                cache.zero_()
        self._used.clear()

    def _execute_model(self, scheduled: Any, *args: Any, **kwargs: Any) -> Any:
        new = [request.block_ids for request in scheduled.scheduled_new_reqs]
        more = [ids for ids in scheduled.scheduled_cached_reqs.new_block_ids if ids]
        for groups in (*new, *more):
            self._used.update(chain(*groups))
        return self._execute(scheduled, *args, **kwargs)
