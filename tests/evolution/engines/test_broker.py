"""Broker, and pool of one worker: concurrent callers share swaps and batches, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from evolution.engines import Broker
from evolution.engines.base import Ask
from evolution.engines.pool.pool import Pool
from evolution.engines.pool.settings import ClusterSettings
from evolution.errors import EngineError
from evolution.genome.genome import Genome
from memory.records import Sampling
from tests.evolution.engines.recording import ALPHA, BETA, GREEDY, RecordingEngine, chats

Opened = Callable[[RecordingEngine], Awaitable[Broker | Pool]]


@pytest.fixture
def engine() -> RecordingEngine:
    return RecordingEngine()


@pytest.fixture(params=["broker", "pool"])
def opened(request: pytest.FixtureRequest) -> Opened:
    async def in_front_of(engine: RecordingEngine) -> Broker | Pool:
        if request.param == "broker":
            return Broker(engine)
        pool = Pool([engine], ClusterSettings(kind="local"))
        await pool.start()
        return pool

    return in_front_of


@pytest.fixture
async def broker(opened: Opened, engine: RecordingEngine) -> AsyncIterator[Broker | Pool]:
    broker = await opened(engine)
    yield broker
    await broker.close()


async def texts(
    broker: Broker | Pool, genome: Genome, *questions: str, seeds: Sequence[int] | None = None
) -> list[str]:
    name = str(genome.coefficients[0, 0])
    replies = await broker.answer(name, genome, Ask(chats(*questions), GREEDY, seeds))
    return [reply.text for reply in replies]


async def test_callers_for_one_expert_share_a_batch(
    broker: Broker | Pool, engine: RecordingEngine
) -> None:
    answers = await asyncio.gather(*(texts(broker, ALPHA, f"q{i}", f"r{i}") for i in range(5)))
    assert answers == [[f"1 q{i}", f"1 r{i}"] for i in range(5)]
    assert engine.swaps == [1.0]
    assert len(engine.batches) == 1


async def test_the_expert_with_most_waiting_goes_first(
    broker: Broker | Pool, engine: RecordingEngine
) -> None:
    await asyncio.gather(
        texts(broker, ALPHA, "a"), texts(broker, BETA, "b", "c", "d"), texts(broker, ALPHA, "e")
    )
    assert engine.swaps == [2.0, 1.0]
    assert engine.batches == [["b", "c", "d"], ["a", "e"]]


async def test_what_is_urgent_goes_before_what_is_more(
    broker: Broker | Pool, engine: RecordingEngine
) -> None:
    urgent = broker.answer("1", ALPHA, Ask(chats("a"), GREEDY, urgent=True))
    await asyncio.gather(texts(broker, BETA, "b", "c", "d"), urgent)
    assert engine.batches == [["a"], ["b", "c", "d"]]


async def test_work_for_the_expert_at_hand_comes_before_a_swap(
    broker: Broker | Pool, engine: RecordingEngine
) -> None:
    async def conversation(genome: Genome) -> None:
        for turn in range(4):
            await texts(broker, genome, f"turn {turn}")

    await asyncio.gather(conversation(ALPHA), conversation(BETA))
    assert engine.swaps == [1.0, 2.0]


async def test_a_steady_caller_does_not_starve_the_others(
    broker: Broker | Pool, engine: RecordingEngine
) -> None:
    async def ever(genome: Genome) -> None:
        while True:
            await texts(broker, genome, "again")

    steady = asyncio.create_task(ever(ALPHA))
    await asyncio.sleep(0.05)
    assert await asyncio.wait_for(texts(broker, BETA, "me"), 5) == ["2 me"]
    steady.cancel()


async def test_an_error_reaches_only_the_caller_at_fault(
    broker: Broker | Pool, engine: RecordingEngine
) -> None:
    good, bad, other = await asyncio.gather(
        texts(broker, ALPHA, "a", "b"),
        texts(broker, ALPHA, "poison"),
        texts(broker, BETA, "c"),
        return_exceptions=True,
    )
    assert good == ["1 a", "1 b"]
    assert isinstance(bad, EngineError)
    assert other == ["2 c"]


async def test_an_expert_that_does_not_load_fails_its_callers_only(
    broker: Broker | Pool, engine: RecordingEngine
) -> None:
    engine.broken = {1.0}
    outcomes = await asyncio.gather(
        texts(broker, ALPHA, "a"),
        texts(broker, ALPHA, "b"),
        texts(broker, BETA, "c"),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [EngineError, EngineError, list]
    engine.broken = set()
    assert await texts(broker, ALPHA, "a") == ["1 a"]


async def test_sampling_and_seeds_stay_with_their_caller(
    broker: Broker | Pool, engine: RecordingEngine
) -> None:
    short, long = Sampling(max_tokens=3), Sampling(max_tokens=9)
    one, two, three = await asyncio.gather(
        broker.answer("1", ALPHA, Ask(chats("a", "b"), short, [7, 8])),
        broker.answer("1", ALPHA, Ask(chats("c"), long, [9])),
        broker.answer("1", ALPHA, Ask(chats("d"), short)),
    )
    assert [(r.text, r.tokens_out) for r in one] == [("1 a 7", 3), ("1 b 8", 3)]
    assert [(r.text, r.tokens_out) for r in two] == [("1 c 9", 9)]
    assert [(r.text, r.tokens_out) for r in three] == [("1 d", 3)]
    assert engine.swaps == [1.0]


async def test_a_caller_that_leaves_does_not_disturb_the_others(
    broker: Broker | Pool, engine: RecordingEngine
) -> None:
    engine.seconds = 0.1
    leaving = asyncio.create_task(texts(broker, ALPHA, "a"))
    staying = asyncio.create_task(texts(broker, ALPHA, "b"))
    await asyncio.sleep(0.06)
    assert engine.batches == [["a", "b"]]
    leaving.cancel()
    assert await staying == ["1 b"]
    assert engine.cancelled == 0


async def test_work_that_nobody_waits_for_is_stopped(
    broker: Broker | Pool, engine: RecordingEngine
) -> None:
    engine.seconds = 30.0
    leaving = [asyncio.create_task(texts(broker, ALPHA, name)) for name in "ab"]
    await asyncio.sleep(0.06)
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    engine.seconds = 0.0
    assert await asyncio.wait_for(texts(broker, BETA, "c"), 5) == ["2 c"]
    assert engine.cancelled == 1


async def test_requests_cancelled_while_waiting_are_never_asked(
    broker: Broker | Pool, engine: RecordingEngine
) -> None:
    leaving = asyncio.create_task(texts(broker, ALPHA, "a"))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await texts(broker, BETA, "b") == ["2 b"]
    assert engine.batches == [["b"]]


async def test_closing_answers_what_waits_and_refuses_what_comes(
    opened: Opened, engine: RecordingEngine
) -> None:
    broker = await opened(engine)
    waiting = [asyncio.create_task(texts(broker, who, "a")) for who in (ALPHA, BETA)]
    await asyncio.sleep(0)
    await broker.close()
    assert await asyncio.gather(*waiting) == [["1 a"], ["2 a"]]
    assert engine.closed
    with pytest.raises(EngineError, match="closed"):
        await texts(broker, ALPHA, "b")


async def test_nothing_asked_is_nothing_answered(
    broker: Broker | Pool, engine: RecordingEngine
) -> None:
    assert await texts(broker, ALPHA) == []
    assert engine.swaps == []


async def test_a_broker_whose_work_was_cancelled_closes_its_engine(
    opened: Opened, engine: RecordingEngine
) -> None:
    engine.seconds = 60.0
    broker = await opened(engine)
    asking = asyncio.create_task(broker.answer("a", ALPHA, Ask(chats("?"), GREEDY)))
    while not engine.batches:
        await asyncio.sleep(0.01)
    # As the loop does with everything at once, when a signal ends it.
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await broker.close()
    assert engine.closed
    assert asking.cancelled() or asking.exception()
