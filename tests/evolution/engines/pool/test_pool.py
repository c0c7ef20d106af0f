"""The pool: many workers share one queue, and nothing is lost when one of them is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from evolution.engines.base import Ask
from evolution.engines.pool.pool import Pool
from evolution.engines.pool.settings import ClusterSettings
from evolution.errors import EngineError, NoWorkerError
from evolution.genome.genome import Genome
from tests.evolution.engines.recording import ALPHA, BETA, GREEDY, RecordingEngine, chats, genome

GAMMA = genome(3)


@asynccontextmanager
async def pool_of(
    workers: Sequence[RecordingEngine], chunk: int = 64, late: float = 60.0, restarts: int = 3
) -> AsyncIterator[Pool]:
    settings = ClusterSettings(kind="local", chunk=chunk, reissue_after=late, restarts=restarts)
    pool = Pool(workers, settings)
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()
        assert all(worker.closed for worker in workers)


async def texts(pool: Pool, genome: Genome, *questions: str) -> list[str]:
    replies = await pool.answer(
        str(genome.coefficients[0, 0]), genome, Ask(chats(*questions), GREEDY)
    )
    return [reply.text for reply in replies]


def pair() -> tuple[RecordingEngine, RecordingEngine]:
    return RecordingEngine("one"), RecordingEngine("two")


def numbered(count: int) -> list[str]:
    return [f"q{number}" for number in range(count)]


async def test_experts_answer_side_by_side_the_longest_first() -> None:
    one, two = pair()
    one.seconds = two.seconds = 0.1
    async with pool_of((one, two)) as pool:
        await asyncio.gather(
            texts(pool, ALPHA, "a"), texts(pool, BETA, "b", "c"), texts(pool, GAMMA, "d", "e", "f")
        )
    first = {one.swaps[0], two.swaps[0]}
    assert first == {2.0, 3.0}
    assert sorted([*one.swaps, *two.swaps]) == [1.0, 2.0, 3.0]


async def test_large_requests_are_cut_and_put_together_in_order() -> None:
    one, two = pair()
    one.seconds = two.seconds = 0.05
    async with pool_of((one, two), chunk=3) as pool:
        assert await texts(pool, ALPHA, *numbered(10)) == [f"1 {each}" for each in numbered(10)]
    asked = [question for batch in [*one.batches, *two.batches] for question in batch]
    assert sorted(asked) == sorted(numbered(10)), "each once"
    assert max(len(batch) for batch in [*one.batches, *two.batches]) == 3
    assert one.batches, "a worker that is free helps with what is waiting"
    assert two.batches


async def test_a_worker_keeps_the_expert_that_it_holds() -> None:
    one, two = pair()
    one.seconds = two.seconds = 0.01
    async with pool_of((one, two), chunk=2) as pool:
        await asyncio.gather(texts(pool, ALPHA, *numbered(12)), texts(pool, BETA, *numbered(12)))
    assert len(one.swaps) + len(two.swaps) <= 3


async def test_what_a_lost_worker_had_is_answered_by_another_once() -> None:
    one, two = pair()
    one.losing, one.seconds, two.seconds = 1, 0.05, 0.05
    async with pool_of((one, two), chunk=2) as pool:
        assert await texts(pool, ALPHA, *numbered(8)) == [f"1 {each}" for each in numbered(8)]
        assert one.starts == 2


async def test_a_worker_that_does_not_come_back_is_given_up_and_the_others_go_on() -> None:
    one, two = pair()
    one.losing = 1
    async with pool_of((one, two), restarts=1) as pool:
        one.starting = [EngineError("no device")]
        two.seconds = 1.2
        answers = await asyncio.gather(texts(pool, ALPHA, "a"), texts(pool, BETA, "b"))
        assert [*answers] == [["1 a"], ["2 b"]]
        assert await texts(pool, GAMMA, "c") == ["3 c"]
        assert one.starts == 2


async def test_without_any_worker_nobody_waits() -> None:
    one, two = pair()
    async with pool_of((one, two), restarts=0) as pool:
        one.losing = two.losing = 5
        asked = [texts(pool, who, "a") for who in (ALPHA, BETA, GAMMA)]
        outcomes = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 10)
        assert [type(outcome) for outcome in outcomes] == [NoWorkerError] * 3
        with pytest.raises(NoWorkerError, match="run the same command"):
            await texts(pool, ALPHA, "b")


async def test_losses_in_between_answers_do_not_add_up() -> None:
    one = RecordingEngine("one")
    async with pool_of([one], restarts=1) as pool:
        for _ in range(4):
            one.losing = 1
            assert await texts(pool, ALPHA, "a") == ["1 a"]
    assert one.starts == 5


async def test_a_prompt_over_which_workers_are_lost_is_given_up() -> None:
    one, two = pair()
    async with pool_of((one, two)) as pool:
        with pytest.raises(EngineError, match="3 workers were lost over the same prompts"):
            await texts(pool, ALPHA, "deadly")
        assert await texts(pool, ALPHA, "a") == ["1 a"]


async def test_a_straggler_is_overtaken_and_stopped() -> None:
    one, two = pair()
    one.seconds, two.seconds = 60.0, 0.0
    async with pool_of((one, two), late=0.2) as pool:
        outcomes = await asyncio.wait_for(
            asyncio.gather(texts(pool, ALPHA, "a"), texts(pool, BETA, "b")), 10
        )
        assert [*outcomes] == [["1 a"], ["2 b"]]
        assert one.cancelled == 1
        one.seconds = 0.0
        two.seconds = 60.0
        assert await asyncio.wait_for(texts(pool, GAMMA, "c"), 10) == ["3 c"]


async def test_workers_that_are_not_alike_are_refused() -> None:
    workers = RecordingEngine("one", "{}"), RecordingEngine("two", '{"rows": 3}')
    with pytest.raises(EngineError, match="have to be alike"):
        async with pool_of(workers):
            pass
    assert all(worker.closed for worker in workers)


async def test_a_worker_that_comes_back_as_another_is_not_asked() -> None:
    one, two = pair()
    async with pool_of((one, two), restarts=1) as pool:
        one.losing, one.profile = 1, '{"rows": 3}'
        answers = await asyncio.gather(*(texts(pool, who, "a") for who in (ALPHA, BETA, GAMMA)))
        assert answers == [["1 a"], ["2 a"], ["3 a"]]
    assert len(one.batches) == 1


async def test_a_pool_starts_with_those_that_come_and_the_others_follow() -> None:
    one, two = pair()
    one.starting = [EngineError("not yet")]
    async with pool_of((one, two)) as pool:
        two.seconds = 0.5
        answers = await asyncio.gather(texts(pool, ALPHA, "a"), texts(pool, BETA, "b"))
        assert [*answers] == [["1 a"], ["2 b"]]
    assert one.starts == 2
    assert one.batches
    nobody = RecordingEngine("three")
    nobody.starting = [EngineError("no device")]
    with pytest.raises(EngineError, match="no device"):
        async with pool_of([nobody]):
            pass
