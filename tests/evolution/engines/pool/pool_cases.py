"""What tests of real workers share: a pool whose links can be reached, and what it must answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from evolution.bank.bank import Bank
from evolution.engines import Broker, open_engine
from evolution.engines.base import Ask
from evolution.engines.pool.pool import Pool
from evolution.engines.pool.settings import ClusterSettings
from evolution.engines.pool.worker import AnchorFiles, Link, Worker
from memory.records import Sampling
from memory.threads import usual_threads
from tests.evolution.engines.engine_cases import SETTINGS, genomes, questions

LONG = Sampling(temperature=1.5, max_tokens=120)
ENGINE = SETTINGS["transformers"].model_copy(
    update={"compute": "float32", "threads": usual_threads()}
)


def workers_of(links: Sequence[Link], bank: Bank, settings: ClusterSettings) -> list[Worker]:
    files = AnchorFiles()
    return [
        Worker(f"worker {number}", link, bank, files, ENGINE, settings)
        for number, link in enumerate(links)
    ]


@asynccontextmanager
async def pool_of(
    links: Sequence[Link], bank: Bank, settings: ClusterSettings
) -> AsyncIterator[Pool]:
    pool = Pool(workers_of(links, bank, settings), settings)
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


async def everything(answerer: Broker | Pool, bank: Bank) -> list[list[str]]:
    """What each of five experts says to twelve questions, at length."""
    prompts = questions(12)
    asked = (
        answerer.answer(bank.genome_id(genome), genome, Ask(prompts, LONG, range(12)))
        for genome in genomes(bank).values()
    )
    return [[reply.text for reply in replies] for replies in await asyncio.gather(*asked)]


async def expected(bank: Bank) -> list[list[str]]:
    """The same from one engine in this process."""
    broker = Broker(open_engine(bank, ENGINE))
    try:
        return await everything(broker, bank)
    finally:
        await broker.close()


async def all_busy(pool: Pool) -> None:
    """Wait until every worker has begun to answer."""
    while len(pool._queue._running) < pool._left:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
