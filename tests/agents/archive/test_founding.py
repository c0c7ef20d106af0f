"""The founders of a run: base, seeds, their merges, and children up to the wanted number."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agents.archive.founding import FOUNDERS, make_founders, make_seeds
from agents.config import RunConfig
from agents.context import RunContext
from agents.settings import PopulationSettings
from evolution.bank.settings import SpectralSettings
from evolution.engines.settings import EngineSettings
from evolution.population import Population
from memory.store import RunStore
from tests.agents.cases import run_context
from tests.conftest import TinyFamily
from tests.evolution.conftest import models_of


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore.open(tmp_path / "run") as opened:
        yield opened


@pytest.fixture
async def run(
    store: RunStore, tiny_family: TinyFamily, tmp_path: Path
) -> AsyncIterator[RunContext]:
    config = RunConfig(
        models=models_of(tiny_family),
        spectral=SpectralSettings(rank=4),
        engine=EngineSettings(compute="float32"),
        population=PopulationSettings(founders=6),
    )
    population = Population(config.models, config.spectral, config.engine, tmp_path / "cache")
    yield run_context(store, config, population=population)
    await population.close()


async def test_base_and_seeds_come_first_and_children_of_seeds_fill_up(run: RunContext) -> None:
    await make_seeds(run)
    bank = await run.population.bank()
    assert [e.id for e in run.store.experts(0)] == list(bank.seed_names)
    assert not run.store.step_done(FOUNDERS, 0)
    await make_founders(run)
    assert run.store.step_done(FOUNDERS, 0)
    founders = run.store.experts(0)
    assert [e.id for e in founders[: len(bank.seed_names)]] == list(bank.seed_names)
    assert [e.operator for e in founders[: len(bank.seed_names)]].count("base") == 1
    bred = founders[len(bank.seed_names) :]
    assert len(founders) == 6
    assert all(len(set(child.parents)) == 2 for child in bred)
    assert all(bank.base_name not in child.parents for child in bred), "it adds nothing to a merge"
    assert len({expert.genome_id for expert in founders}) == 6
    assert [expert.birth for expert in founders] == list(range(6))


async def test_founding_again_changes_nothing(run: RunContext) -> None:
    for _ in range(2):
        await make_seeds(run)
        await make_founders(run)
        assert len(run.store.experts()) == 6
        assert len(run.store.events()) == 1, "nobody was graded: no merge, and said once"
