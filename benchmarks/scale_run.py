"""A run in simulated time: the real pool and its queue, with workers that only let time pass.

What `evolution.engines.pool` does with chunks, stragglers and lost workers is carried out by its
own code. Around it stands a model of the graph: drafting, breeding, judging and selecting one after
another as in `agents.graph`, or drafts beside the judge; in the judge all experts at once, graded
while others answer. Prompts are handed out in blocks of as many as divide both an expert's prompts
and a chunk, which changes nothing but the simulation's own time.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import numpy as np

from benchmarks.scale_clock import simulate
from benchmarks.scale_costs import Costs, Workload, chunk_seconds, noise
from evolution.engines.base import Ask, Chat
from evolution.engines.held import HeldLease
from evolution.engines.pool.pool import Pool
from evolution.engines.pool.settings import ClusterSettings
from evolution.errors import EngineError, WorkerLostError
from evolution.genome.genome import Genome
from memory.records import ChatMessage, Reply, Sampling

USEFUL = ("answering", "swapping")
"""What an engine does that counts as use."""
_REPLY = Reply(text="", tokens_in=0, tokens_out=0, finish_reason="stop", seconds=0.0)
_PAIRS = 1 / (1024**2 * 2000)
"""Seconds of selection for a pair of experts and a family (`benchmarks.dns`: 1 s for so many)."""


@dataclass(frozen=True)
class Scenario:
    """What is simulated.

    Attributes:
        engines: workers of the pool.
        costs: of everything.
        workload: of each generation.
        cluster: chunks, reissue and restarts of the pool.
        generations: how many; a multiple of `workload.adapt_every` shows a run in the long term.
        seed: of what is drawn.
    """

    engines: int
    costs: Costs
    workload: Workload = field(default_factory=Workload)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    generations: int = 2
    seed: int = 0

    @property
    def children(self) -> int:
        """Bred in a generation."""
        return self.engines * self.workload.children


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        seconds: of all generations, without the start of the engines.
        phases: seconds of each.
        spent: seconds of all engines together by what they did; they add up to `seconds` times
            `engines`.
        answered: prompts; `missing` those over which the pool lost too many engines, which a run
            asks again.
        held: seconds in which the run's process, and the sandbox's processes, were busy.
    """

    scenario: Scenario
    seconds: float
    phases: dict[str, float]
    spent: dict[str, float]
    answered: int
    missing: int
    held: dict[str, float]

    def share(self, *what: str) -> float:
        """Of the engines' time."""
        total = self.seconds * self.scenario.engines
        return sum(self.spent.get(each, 0.0) for each in what) / total if total else 0.0

    @property
    def utilisation(self) -> float:
        """Share of the engines' time in which they load experts or answer, to some effect."""
        return self.share(*USEFUL)

    @property
    def bottleneck(self) -> str:
        """What takes the most of the engines' time, besides answering."""
        shares = {each: self.share(each) for each in self.spent if each != "answering"}
        longest = max(shares, key=shares.__getitem__)
        if longest != "idle: judge":
            return longest
        busiest = max(self.held, key=self.held.__getitem__)
        return busiest if self.held[busiest] > self.phases["judge"] / 2 else "the last chunks"

    @property
    def kept(self) -> float:
        """Experts that entered the archive."""
        return self.scenario.generations * self.scenario.children * self.scenario.workload.kept

    @property
    def engine_seconds_per_kept(self) -> float:
        """Of all engines, for an expert that entered the archive."""
        return self.seconds * self.scenario.engines / self.kept


def run(scenario: Scenario) -> Outcome:
    """Simulate generations.

    Raises:
        NoWorkerError: all engines failed for good.
    """
    return simulate(_Run(scenario).carry_out())


class _Resource:
    """Some of a kind, for which whoever needs one waits in line."""

    def __init__(self, count: int) -> None:
        self._free = asyncio.Semaphore(count)
        self._count = count
        self.held = 0.0
        """Seconds of all of them, divided by how many there are."""

    async def use(self, seconds: float) -> None:
        if seconds:
            async with self._free:
                self.held += seconds / self._count
                await asyncio.sleep(seconds)


class _Worker:
    """An engine that takes its time; it is what a pool asks of a worker."""

    profile = "{}"

    def __init__(self, name: str, run: _Run) -> None:
        self.name = name
        self._run = run
        self._holds: Genome | None = None
        self._dies = math.inf

    async def start(self) -> None:
        costs = self._run.scenario.costs
        self._holds = None
        with self._run.counting("starting"):
            await asyncio.sleep(costs.start)
        hours = self._run.rng.exponential(1 / costs.failing) if costs.failing else math.inf
        self._dies = _now() + hours * 3600

    @asynccontextmanager
    async def lease(self, genome: Genome) -> AsyncIterator[HeldLease]:
        if genome is not self._holds:
            self._holds = None
            with self._run.counting("swapping"):
                await self._work(self._run.scenario.costs.swap)
            self._holds = genome
        yield HeldLease(self._answer, self._score)

    async def close(self) -> None:
        pass

    async def _answer(self, ask: Ask) -> list[Reply]:
        with self._run.counting("answering"):
            await self._work(self._run.seconds_of(sum(map(_size, ask.prompts))))
        return [_REPLY] * len(ask.prompts)

    async def _score(self, prompts: Sequence[Chat], texts: Sequence[str]) -> list[list[float]]:
        raise EngineError("nothing in a simulation asks for scores")

    async def _work(self, seconds: float) -> None:
        if self._dies > _now() + seconds:
            await asyncio.sleep(seconds)
            return
        await asyncio.sleep(max(0.0, self._dies - _now()))
        raise WorkerLostError(f"{self.name} failed")


class _Run:
    """The state of a simulation; made inside or outside of its loop, used inside."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.rng = np.random.default_rng(scenario.seed)
        self.spent = defaultdict[str, float](float)
        self._phases = defaultdict[str, float](float)
        self._answered = 0
        self._missing = 0
        self._experts = 0
        self._block = math.gcd(scenario.workload.prompts, scenario.cluster.chunk)

    async def carry_out(self) -> Outcome:
        """All generations."""
        scenario, costs = self.scenario, self.scenario.costs
        self._process = _Resource(1)
        self._sandbox = _Resource(costs.guests)
        self._endpoint = _Resource(costs.concurrency)
        self._archive = [
            self._expert() for _ in range(math.ceil(scenario.children * scenario.workload.archive))
        ]
        workers = [_Worker(f"worker {n}", self) for n in range(scenario.engines)]
        blocks = scenario.cluster.chunk // self._block
        self._pool = Pool(workers, scenario.cluster.model_copy(update={"chunk": blocks}))
        await self._pool.start()
        begun = _now()
        self.spent.clear()
        drafts: asyncio.Task[None] | None = None
        for generation in range(1, scenario.generations + 1):
            drafts = await self._generation(generation, drafts)
        # What is still under way ends after all that was waited for.
        seconds, spent = _now() - begun, dict(self.spent)
        if drafts is not None:
            drafts.cancel()
        await self._pool.close()
        held = {"run's process": self._process.held, "sandbox": self._sandbox.held}
        return Outcome(
            scenario=scenario,
            seconds=seconds,
            phases=dict(self._phases),
            spent=spent,
            answered=self._answered,
            missing=self._missing,
            held=held,
        )

    async def _generation(
        self, generation: int, drafts: asyncio.Task[None] | None
    ) -> asyncio.Task[None] | None:
        """One generation; what it drafts ahead is given to the next."""
        work, costs = self.scenario.workload, self.scenario.costs
        adapts = generation % work.adapt_every == 0
        if adapts:
            with self._phase("draft"):
                await (drafts or asyncio.create_task(self._draft()))
                await self._process.use(costs.admit * work.assignments)
            drafts = None
        with self._phase("evolution"):
            await self._process.use(costs.breed * self.scenario.children)
        if work.draft_ahead and (generation + 1) % work.adapt_every == 0:
            drafts = asyncio.create_task(self._draft())
        children = [self._expert() for _ in range(self.scenario.children)]
        with self._phase("judge"):
            if adapts:
                await self._sandbox.use(costs.draw * work.families)
            asked = [*children, *self._archive] if adapts else children
            await asyncio.gather(*(self._examine(expert, work.prompts) for expert in asked))
        with self._phase("selection"):
            compared = len(children) + len(self._archive)
            await self._process.use(costs.select + compared**2 * work.families * _PAIRS)
        return drafts

    async def _draft(self) -> None:
        await asyncio.gather(
            *(self._assignment() for _ in range(self.scenario.workload.assignments))
        )

    async def _assignment(self) -> None:
        """Propose, trial, critique; once more where it is refined."""
        work, costs = self.scenario.workload, self.scenario.costs
        for _ in range(1 + int(self.rng.random() < costs.refined)):
            await self._endpoint.use(costs.call * noise(costs, self.rng))
            await self._sandbox.use(costs.gates)
            panel = self._archive[: work.panel]
            prompts = work.trial_prompts
            await asyncio.gather(*(self._ask(expert, prompts, urgent=True) for expert in panel))
            await self._endpoint.use(costs.call * noise(costs, self.rng))

    async def _examine(self, expert: Genome, prompts: int) -> None:
        await self._ask(expert, prompts)
        costs = self.scenario.costs
        await self._process.use(costs.answer * prompts)
        families = self.scenario.workload.families
        parts = min(costs.guests, families)
        scores = (self._sandbox.use(costs.score * families / parts) for _ in range(parts))
        await asyncio.gather(*scores)

    async def _ask(self, expert: Genome, prompts: int, urgent: bool = False) -> None:
        whole, rest = divmod(prompts, self._block)
        chats = [_block(self._block)] * whole + [_block(rest)] * bool(rest)
        sampling = Sampling(max_tokens=self.scenario.workload.max_tokens)
        ask = Ask(chats, sampling, urgent=urgent)
        name = str(int(expert.coefficients[0, 0]))
        try:
            await self._pool.answer(name, expert, ask)
        except EngineError:
            self._missing += prompts
        else:
            self._answered += prompts

    def _expert(self) -> Genome:
        self._experts += 1
        return Genome(np.full((1, 1), self._experts, np.float32))

    def seconds_of(self, prompts: int) -> float:
        """Of a chunk."""
        return chunk_seconds(self.scenario.costs, self.scenario.workload, prompts, self.rng)

    @contextmanager
    def counting(self, what: str) -> Iterator[None]:
        """Count the seconds of an engine; what is not carried to its end is lost."""
        begun = _now()
        try:
            yield
        except BaseException:
            what = "lost"
            raise
        finally:
            self.spent[what] += _now() - begun

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        """Count a phase; what its engines do not spend they are idle."""
        begun, before = _now(), sum(self.spent.values())
        yield
        seconds = _now() - begun
        self._phases[name] += seconds
        idle = seconds * self.scenario.engines - (sum(self.spent.values()) - before)
        self.spent[f"idle: {name}"] += idle


def _block(prompts: int) -> Chat:
    """So many prompts as one."""
    return (ChatMessage(role="user", content=str(prompts)),)


def _size(block: Chat) -> int:
    return int(block[0].content)


def _now() -> float:
    return asyncio.get_running_loop().time()
