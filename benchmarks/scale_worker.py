"""A worker's process for `scale --real`: the program of a pool, with an engine that only sleeps.

Channel, host, bank and leases are the real ones. What `ACDC_SCALE` holds as JSON says how long an
expert takes to load and a chunk to be answered.
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

VARIABLE = "ACDC_SCALE"
_REPLY = Reply(text="Answer: 1", tokens_in=9, tokens_out=3, finish_reason="stop", seconds=0.1)


class SleepingEngine(HeldEngine):
    """Takes as long as is said, and computes nothing."""

    def __init__(self, bank: Bank) -> None:
        super().__init__(bank)
        said = json.loads(os.environ[VARIABLE])
        self._costs, self._work = Costs(**said["costs"]), Workload(**said["work"])
        self._rng = np.random.default_rng(said["seed"])

    @property
    def profile(self) -> str:
        return '{"engine": "sleeping"}'

    def _swap(self, genome: Genome) -> None:
        time.sleep(self._costs.swap)

    def _complete(self, ask: Ask, stop: threading.Event) -> list[Reply]:
        stop.wait(chunk_seconds(self._costs, self._work, len(ask.prompts), self._rng))
        return [_REPLY] * len(ask.prompts)

    def _judge(self, prompts: Sequence[Chat], texts: Sequence[str]) -> list[list[float]]:
        return [[] for _ in prompts]


def _opened(bank: Bank, settings: EngineSettings) -> SleepingEngine:
    return SleepingEngine(bank)


if __name__ == "__main__":
    host.open_engine = _opened  # type: ignore[attr-defined]
    asyncio.run(serve._serve(sys.argv[1], int(sys.argv[2])))
