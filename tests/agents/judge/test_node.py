"""The judge node: what is asked of an expert, and what is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from agents.context import RunContext
from agents.judge.node import examine_experts
from agents.sandbox import Score
from evolution.genome.genome import Genome
from memory.records import OWN, Expert, Family
from memory.store import RunStore
from tests.agents.cases import ScriptedBroker, ScriptedSandbox, family, run_context

EXPERTS = [
    Expert(id=name, genome_id=name, generation=0, birth=birth, operator="seed")
    for birth, name in enumerate(("one", "two"))
]


@pytest.fixture
def families() -> list[Family]:
    return [
        family(number).model_copy(
            update={"instructions": {"1": f"first of {number}?", "2": f"second of {number}?"}}
        )
        for number in range(3)
    ]


@pytest.fixture
def run(tmp_path: Path, families: list[Family]) -> Iterator[RunContext]:
    broker = ScriptedBroker()
    sandbox = ScriptedSandbox({"right": Score(1.0)})
    genome = Genome(np.zeros((1, 1), np.float32))

    async def opened() -> ScriptedBroker:
        return broker

    population: Any = SimpleNamespace(broker=opened, decode=lambda *_: genome)
    with RunStore.open(tmp_path) as store:
        for each in families:
            store.put_family(each)
        for expert in EXPERTS:
            store.put_genome(expert.genome_id, genome.to_bytes())
            store.put_expert(expert)
        yield run_context(store, population=population, sandbox=sandbox)


async def broker_of(run: RunContext) -> Any:
    return await run.population.broker()


def scored(run: RunContext) -> list[Any]:
    return run.sandbox.requests  # type: ignore[attr-defined,no-any-return]


async def test_who_fails_the_first_instance_is_not_asked_the_second(
    run: RunContext, families: list[Family]
) -> None:
    broker = await broker_of(run)
    broker.replies = {
        "first of 0?": "Answer: right",
        "second of 0?": "Answer: right",
        "first of 1?": "Answer: right",
        "second of 1?": "Answer: wrong",
        "first of 2?": "Answer: wrong",
        "second of 2?": "Answer: right",
    }
    await examine_experts(run, EXPERTS[:1], families, OWN, 2)
    assert run.store.skills("one") == {
        families[0].id: True,
        families[1].id: False,
        families[2].id: False,
    }
    assert broker.asked == [
        [f"first of {number}?" for number in range(3)],
        ["second of 0?", "second of 1?"],
    ]


async def test_nothing_is_asked_twice(run: RunContext, families: list[Family]) -> None:
    broker = await broker_of(run)
    await examine_experts(run, EXPERTS[:1], families, OWN, 2)
    asked = len(broker.asked)
    await examine_experts(run, EXPERTS[:1], families, OWN, 2)
    assert len(broker.asked) == asked


async def test_equal_answers_are_scored_once(run: RunContext, families: list[Family]) -> None:
    broker = await broker_of(run)
    broker.replies = {f"first of {number}?": "Answer: wrong" for number in range(3)}
    await examine_experts(run, EXPERTS[:1], families, OWN, 2)
    requests = len(scored(run))
    assert requests == 3
    await examine_experts(run, EXPERTS[1:], families, OWN, 2)
    assert run.store.skills("two") == run.store.skills("one")
    assert len(scored(run)) == requests, "another expert's equal answers have their scores"


async def test_scores_that_a_model_may_have_a_say_in_are_made_anew(
    run: RunContext, families: list[Family]
) -> None:
    asking = families[0].model_copy(update={"code": "import sandbox_helpers", "code_hash": "x"})
    broker = await broker_of(run)
    broker.replies = {"first of 0?": "Answer: wrong"}
    for expert in EXPERTS:
        await examine_experts(run, [expert], [asking], OWN, 2)
    assert len(scored(run)) == 2


async def test_what_is_missing_is_no_fail(run: RunContext, families: list[Family]) -> None:
    broker = await broker_of(run)
    broker.refused = {"first of 1?"}
    await examine_experts(run, EXPERTS[:1], families, OWN, 2)
    assert families[1].id not in run.store.skills("one")
    assert run.store.family_status(families[1].id) == "retired", "nobody can be asked that"
