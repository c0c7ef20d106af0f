"""A worker's process for `scale --real`: the program of a pool, with an engine that only sleeps.

Channel, host, bank and leases are the real ones. Questions say as JSON what the costs are.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.scale_costs import Costs, Workload, chunk_seconds
from evolution.bank.bank import Bank
from evolution.engines.base import Ask, Chat
from evolution.engines.held import HeldEngine
from evolution.engines.pool import host, serve
from evolution.engines.settings import EngineSettings
from evolution.genome.genome import Genome
from memory.records import Reply

SWAP = 0.4
"""Seconds in which an expert is loaded."""
_REPLY = Reply(text="Answer: 1", tokens_in=9, tokens_out=3, finish_reason="stop", seconds=0.1)


class SleepingEngine(HeldEngine):
    """Takes as long as its questions say, and computes nothing."""

    def __init__(self, bank: Bank) -> None:
        super().__init__(bank)
        self._rng = np.random.default_rng(os.getpid())

    @property
    def profile(self) -> str:
        return '{"engine": "sleeping"}'

    def _swap(self, genome: Genome) -> None:
        time.sleep(SWAP)

    def _complete(self, ask: Ask, stop: threading.Event) -> list[Reply]:
        said = json.loads(ask.prompts[0][-1].content)
        costs, work = Costs(**said["costs"]), Workload(**said["work"])
        stop.wait(chunk_seconds(costs, work, len(ask.prompts), self._rng))
        return [_REPLY] * len(ask.prompts)

    def _judge(self, prompts: Sequence[Chat], texts: Sequence[str]) -> list[list[float]]:
        return [[] for _ in prompts]


def _opened(bank: Bank, settings: EngineSettings) -> SleepingEngine:
    return SleepingEngine(bank)


if __name__ == "__main__":
    host.open_engine = _opened  # type: ignore[attr-defined]
    asyncio.run(serve._serve(sys.argv[1], int(sys.argv[2])))
