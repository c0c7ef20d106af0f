"""Who answers what next: the queue chooses as one would who looked at everything each time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evolution.engines.base import Ask
from evolution.engines.pool.queue import Job, WorkQueue
from evolution.engines.pool.waiting import Request, WaitingPrompts
from evolution.genome.genome import Genome
from memory.records import Reply, Sampling
from tests.evolution.engines.recording import chats

CHUNK, TURNS = 3, 16
REPLY = Reply(text="", tokens_in=1, tokens_out=1, finish_reason="stop", seconds=0.0)
WHO = [f"expert {number}" for number in range(4)]
WORKERS = ["one", "two", "three"]
GENOME = Genome(np.ones((1, 1), np.float32), {})

PUT = st.tuples(st.sampled_from(["put", "urge"]), st.sampled_from(WHO), st.integers(1, 8))
TURN = st.tuples(st.just("turn"), st.sampled_from(WORKERS), st.just(0))
GONE = st.tuples(st.just("gone"), st.sampled_from(WHO), st.just(0))


def request(expert: str, prompts: int, max_tokens: int = 8, urgent: bool = False) -> Request:
    replies = asyncio.get_running_loop().create_future()
    sampling = Sampling(max_tokens=max_tokens)
    ask = Ask(chats(*map(str, range(prompts))), sampling, urgent=urgent)
    return Request(expert, GENOME, ask, replies)


@dataclass
class Plain:
    """The same choice, made by looking at everything."""

    waiting: dict[str, list[Request]] = field(default_factory=dict)
    turns: dict[str, int] = field(default_factory=dict)

    def choose(self, worker: str, holds: str | None, served: Sequence[str]) -> str | None:
        sizes = {
            expert: (any(each.ask.urgent for each in prompts), len(prompts))
            for expert, prompts in self.waiting.items()
        }
        unserved = {expert: size for expert, size in sizes.items() if expert not in served}
        others = unserved.keys() - {holds}
        chosen: str | None
        if holds in sizes and (self.turns.get(worker, 0) < TURNS or not others):
            chosen = holds
        else:
            pool = {expert: unserved[expert] for expert in unserved if expert in others} or sizes
            chosen = max(pool, key=pool.__getitem__, default=None)
        if chosen is not None:
            self.turns[worker] = self.turns.get(worker, 0) + 1 if chosen == holds else 0
            waiting = self.waiting[chosen]
            first = [each for each in waiting if each.ask.urgent] or waiting
            for each in first[:CHUNK]:
                waiting.remove(each)
            if not self.waiting[chosen]:
                del self.waiting[chosen]
        return chosen


@settings(deadline=None)
@given(steps=st.lists(st.one_of(PUT, TURN, GONE), max_size=60))
def test_the_queue_chooses_as_one_who_looks_at_everything(
    steps: list[tuple[str, str, int]],
) -> None:
    asyncio.run(_compare(steps))


async def _compare(steps: list[tuple[str, str, int]]) -> None:
    queue, plain = WorkQueue(CHUNK, reissue_after=1e9), Plain()
    having: dict[str, Job] = {}
    holds: dict[str, str] = {}
    asked: list[Request] = []
    for number, (what, who, count) in enumerate(steps):
        if what in ("put", "urge"):
            asked.append(request(who, count, urgent=what == "urge"))
            queue.put(asked[-1])
            plain.waiting.setdefault(who, []).extend([asked[-1]] * count)
        elif what == "gone":
            for each in asked:
                if each.genome_id == who:
                    each.replies.cancel()
            plain.waiting.pop(who, None)
            await asyncio.sleep(0)  # the queue hears of it
        else:
            if (done := having.pop(who, None)) is not None:
                queue.finish(done, who, [REPLY] * len(done.places))
            served = [job.genome_id for job in having.values()]
            wanted = plain.choose(who, holds.get(who), served)
            job = queue.take(who, holds.get(who), float(number))
            assert (job and job.genome_id) == wanted
            if job is not None:
                job.runners[who] = lambda: None
                having[who], holds[who] = job, job.genome_id
    for worker, job in having.items():
        queue.finish(job, worker, [REPLY] * len(job.places))
    while (job := queue.take("last", None, 1e6)) is not None:
        job.runners["last"] = lambda: None
        queue.finish(job, "last", [REPLY] * len(job.places))
    assert queue.idle
    assert all(each.replies.done() for each in asked), "nothing is lost"
    await asyncio.sleep(0)


async def test_prompts_of_one_expert_are_cut_by_manner_in_the_order_asked() -> None:
    waiting = WaitingPrompts()
    first, second = request("one", 3), request("one", 2, max_tokens=9)
    waiting.put(first)
    waiting.put(second)
    waiting.put(request("two", 4))
    assert waiting.longest(served=False) == "one"
    assert waiting.longest(served=False, besides="one") == "two"
    assert [place.number for place in waiting.cut("one", 2)] == [0, 1]
    assert waiting.longest(served=False) == "two"
    waiting.serve("two", 1)
    assert waiting.longest(served=False) == "one"
    assert waiting.longest(served=True) == "two"
    assert [place.request for place in waiting.cut("one", 9)] == [first]
    assert [place.request for place in waiting.cut("one", 9)] == [second, second]
    assert "one" not in waiting
    assert len(list(waiting)) == 4
