"""The race of a generation's children, and what generative families are graded on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from agents.config import RunConfig
from agents.context import RunContext
from agents.judge.node import competitors, judge_generation
from agents.judge.race import rungs
from agents.sandbox import Score
from agents.settings import JudgeSettings, PoolSettings, PopulationSettings
from evolution.engines.base import Ask
from evolution.genome.genome import Genome
from memory.hashing import text_hash
from memory.records import ArchiveEntry, Expert, Reply, Skill
from memory.store import RunStore
from tests.agents.cases import ScriptedChat, ScriptedSandbox, family, generative, run_context

FAMILIES = 12


class Knowing:
    """Answers as an expert that is right on a share of all questions."""

    profile = "knowing"

    def __init__(self) -> None:
        self.right: dict[str, float] = {}
        self.asked: dict[str, list[str]] = {}

    async def answer(self, genome_id: str, genome: Genome, ask: Ask) -> list[Reply]:
        said = []
        for prompt in ask.prompts:
            question = prompt[-1].content
            self.asked.setdefault(genome_id, []).append(question)
            draw = np.random.default_rng(int(text_hash(genome_id + question), 16)).random()
            word = "right" if draw < self.right[genome_id] else "wrong"
            said.append(
                Reply(
                    text=f"Answer: {word}",
                    tokens_in=1,
                    tokens_out=1,
                    finish_reason="stop",
                    seconds=0.0,
                )
            )
        return said


@pytest.fixture
def broker() -> Knowing:
    return Knowing()


@pytest.fixture
def run(tmp_path: Path, broker: Knowing) -> Iterator[RunContext]:
    genome = Genome(np.zeros((1, 1), np.float32))

    async def opened() -> Knowing:
        return broker

    population: Any = SimpleNamespace(broker=opened, decode=lambda *_: genome)
    config = RunConfig(
        population=PopulationSettings(capacity=3),
        pool=PoolSettings(adapt_every=2),
        judge=JudgeSettings(racing=0.02),
    )
    sandbox: Any = ScriptedSandbox({"right": Score(1.0)})
    with RunStore.open(tmp_path) as store:
        for number in range(FAMILIES):
            store.put_family(generative(number))
        for name, birth, right in (("a", 0, 0.6), ("b", 1, 0.7), ("c", 2, 0.8)):
            put(store, broker, name, 0, birth, right)
        chat = ScriptedChat(store, {})
        yield run_context(store, config, chat=chat, population=population, sandbox=sandbox)


def put(
    store: RunStore, broker: Knowing, name: str, generation: int, birth: int, right: float
) -> None:
    broker.right[name] = right
    store.put_genome(name, b"genome of " + name.encode())
    store.put_expert(
        Expert(id=name, genome_id=name, generation=generation, birth=birth, operator="linear")
    )


def keep(run: RunContext, generation: int) -> None:
    entries = [
        ArchiveEntry(expert=name, rank=rank, fitness=0.0, novelty=0.0)
        for rank, name in enumerate("abc")
    ]
    run.store.put_archive(generation, entries)


def test_rungs_double_up_to_all() -> None:
    assert [list(rungs(count)) for count in (1, 2, 4, 5)] == [[1], [1, 2], [1, 2, 4], [1, 2, 4, 5]]


async def test_everybody_of_a_period_is_asked_the_same_new_questions(
    run: RunContext, broker: Knowing
) -> None:
    await judge_generation(run, 0)
    first = {name: sorted(broker.asked[name]) for name in "abc"}
    assert first["a"] == first["b"] == first["c"]
    assert len(set(first["a"])) == 4 * FAMILIES
    keep(run, 0)
    broker.asked.clear()
    put(run.store, broker, "d", 1, 0, 0.9)
    await judge_generation(run, 1)
    assert sorted(broker.asked.pop("d")) == first["a"], "the same period"
    assert broker.asked == {}, "nobody is asked twice"
    keep(run, 1)
    await judge_generation(run, 2)
    second = {name: sorted(broker.asked[name]) for name in "abc"}
    assert second["a"] == second["b"] == second["c"]
    assert not set(first["a"]) & set(second["a"]), "a new period"


async def test_counts_are_kept_by_period(run: RunContext) -> None:
    await judge_generation(run, 0)
    keep(run, 0)
    before = run.store.skill_counts("a", 0)
    assert {skill.asked for skill in before.values()} == {4}
    keep(run, 1)
    await judge_generation(run, 2)
    assert run.store.skill_counts("a", 0) == before
    assert run.store.skill_counts("a", 1) == run.store.skill_counts("a") != before
    [one] = run.candidates([run.store.expert("a")], 1)
    assert one.skills == run.store.skill_counts("a", 1)


async def test_who_can_hardly_survive_is_not_asked_the_rest(
    run: RunContext, broker: Knowing
) -> None:
    await judge_generation(run, 0)
    keep(run, 0)
    for birth, (name, right) in enumerate((("lost", 0.0), ("strong", 1.0))):
        put(run.store, broker, name, 1, birth, right)
    await judge_generation(run, 1)
    assert len(broker.asked["lost"]) == FAMILIES
    assert len(broker.asked["strong"]) == 4 * FAMILIES
    out = run.store.eliminated()
    assert set(out) == {"lost"}
    assert (out["lost"].asked, out["lost"].survival) == (FAMILIES, 0.0)
    assert [expert.id for expert in competitors(run, 1)] == ["a", "b", "c", "strong"]
    assert set(run.store.skill_counts("lost").values()) == {Skill(passes=0, asked=1)}
    asked = {name: len(questions) for name, questions in broker.asked.items()}
    await judge_generation(run, 1)
    assert {name: len(questions) for name, questions in broker.asked.items()} == asked


async def test_founders_do_not_race(run: RunContext, broker: Knowing) -> None:
    """However few of them survive: base and seeds are baselines, and parents of a next merge."""
    population = run.config.population.model_copy(update={"capacity": 1})
    run.config = run.config.model_copy(update={"population": population})
    await judge_generation(run, 0)
    assert run.store.eliminated() == {}
    assert {len(questions) for questions in broker.asked.values()} == {4 * FAMILIES}


async def test_without_racing_all_are_asked_everything(run: RunContext, broker: Knowing) -> None:
    judge = run.config.judge.model_copy(update={"racing": 0.0})
    run.config = run.config.model_copy(update={"judge": judge})
    await judge_generation(run, 0)
    keep(run, 0)
    put(run.store, broker, "lost", 1, 0, 0.0)
    await judge_generation(run, 1)
    assert len(broker.asked["lost"]) == 4 * FAMILIES
    assert run.store.eliminated() == {}


async def test_a_closed_family_stays_passed_or_failed_over_periods(
    run: RunContext, broker: Knowing
) -> None:
    run.store.put_family(family(99))
    await judge_generation(run, 0)
    verdict = run.store.skill_counts("c", 0)["f99"]
    keep(run, 0)
    keep(run, 1)
    broker.asked.clear()
    await judge_generation(run, 2)
    assert not {"a", "b"} & set(broker.asked["c"]), "its two questions"
    assert run.store.skill_counts("c", 1)["f99"] == verdict
