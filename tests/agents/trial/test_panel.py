"""What current experts answer to a draft, as the critic gets to see it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agents.config import RunConfig
from agents.errors import FamilyFault
from agents.families.items import Item
from agents.judge.examiner import Examiner, Result
from agents.sandbox import Fault, FaultCode
from agents.settings import PopulationSettings
from agents.trial.panel import _answers, _panel
from evolution.genome.genome import Genome
from memory.records import ArchiveEntry, Expert
from memory.store import RunStore
from tests.agents.cases import family, run_context

ITEM = Item(code="", code_hash="h", instance="1", instructions="What is 1 + 1?")


class Examining:
    """Gives results that were made before."""

    def __init__(self, *results: Result) -> None:
        self._results = list(results)

    async def examine(self, *_: Any) -> Sequence[Result]:
        return self._results


async def tried(*results: Result) -> list[Any]:
    examiner = cast(Examiner, Examining(*results))
    return list(await _answers(examiner, "words", "g", cast(Genome, None), [ITEM]))


async def test_what_an_engine_could_not_answer_is_left_out() -> None:
    assert await tried(Result(ITEM, None, None, error="the engine has gone")) == []


@pytest.mark.parametrize("code", ["crash", "timeout", "prompt_too_long"])
async def test_what_the_judge_would_condemn_is_a_fault_already(code: FaultCode) -> None:
    detail = "KeyError: 'x' (task.py line 3, in score)"
    with pytest.raises(FamilyFault) as caught:
        await tried(Result(ITEM, None, None, detail, condemned=Fault(code, detail)))
    assert (caught.value.code, caught.value.detail) == (code, f"an answer of words: {detail}")


class Bank:
    base_name = "base"
    seed_names = ("base", "numbers", "words", "logic")

    def seed_genome(self, name: str) -> str:
        return f"genome of {name}"

    def genome_id(self, genome: str) -> str:
        return genome.removeprefix("genome of ")


async def test_before_there_is_an_archive_trained_seeds_answer(tmp_path: Path) -> None:
    async def bank() -> Bank:
        return Bank()

    config = RunConfig(population=PopulationSettings(trial_panel=2))
    with RunStore.open(tmp_path) as store:
        run = run_context(store, config, population=SimpleNamespace(bank=bank))
        assert [name for name, _, _ in await _panel(run)] == ["numbers", "words"]


async def test_later_experts_answer_that_complement_each_other(tmp_path: Path) -> None:
    skills = {"fit": "1110", "alike": "1100", "other": "0001"}
    config = RunConfig(population=PopulationSettings(trial_panel=2))
    with RunStore.open(tmp_path) as store:
        for number in range(4):
            store.put_family(family(number))
        for birth, (name, passes) in enumerate(skills.items()):
            store.put_genome(name, name.encode())
            store.put_expert(
                Expert(id=name, genome_id=name, generation=0, birth=birth, operator="seed")
            )
            for number, passed in enumerate(passes):
                store.set_skill(name, f"f{number}", passed == "1")
        entries = [
            ArchiveEntry(expert=name, rank=rank, fitness=0.5, novelty=1.0)
            for rank, name in enumerate(skills)
        ]
        store.put_archive(0, entries)
        population = SimpleNamespace(decode=lambda genome_id, payload: payload.decode())
        panel = await _panel(run_context(store, config, population=population))
        assert [(name, str(genome)) for name, _, genome in panel] == [
            ("fit", "fit"),
            ("other", "other"),
        ]
