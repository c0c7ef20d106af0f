"""Merges in a run: of whom, of which texts, what is recorded, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.archive.calibration import passed_texts
from agents.archive.founding import make_founders, make_seeds
from agents.archive.grafting import FOLDER, graft, graft_founder, keep_most_used, restore
from agents.config import RunConfig
from agents.context import RunContext
from agents.families.items import items_of
from agents.progress import ProgressEvent
from agents.settings import PoolSettings, PopulationSettings
from evolution.bank.anchors import StoredVectors
from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import SpectralSettings
from evolution.breeding.settings import BreedingSettings
from evolution.engines.settings import EngineSettings
from evolution.errors import BankError
from evolution.materialise.weights import expected_checksum
from evolution.population import Population
from memory.records import (
    Answer,
    ArchiveEntry,
    Expert,
    Family,
    Grade,
    Graft,
    GraftRefused,
    Reply,
)
from memory.store import RunStore
from tests.agents.cases import family, run_context
from tests.conftest import TinyFamily
from tests.evolution.conftest import models_of

SKILLS = {"base": "0000", "alpha": "1100", "beta": "0010", "gamma": "1000"}
"""Expert -> passes on the families f0, f1, ..."""

MERGES: Mapping[str, Any] = {"regmean": {"texts": 3}, "graft": {"every": 0}}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore.open(tmp_path / "run") as opened:
        yield opened


@pytest.fixture
def said() -> list[ProgressEvent]:
    return []


@pytest.fixture
async def run(
    store: RunStore, tiny_family: TinyFamily, cache: Path, said: list[ProgressEvent]
) -> AsyncIterator[RunContext]:
    """Base and seeds, who have not been graded; four families."""
    config = RunConfig(
        models=models_of(tiny_family),
        spectral=SpectralSettings(rank=4),
        engine=EngineSettings(compute="float32"),
        population=PopulationSettings(founders=6, children=3),
        pool=PoolSettings(adapt_every=2),
        breeding=BreedingSettings.model_validate(MERGES),
    )
    for number in range(4):
        texts = {each: f"Question {each} of family {number}?" for each in ("1", "2")}
        store.put_family(family(number).model_copy(update={"instructions": texts}))
    population = Population(config.models, config.spectral, config.engine, cache)
    context = run_context(store, config, population=population, progress=said.append)
    await make_seeds(context)
    yield context
    await population.close()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def configured(run: RunContext, **breeding: Any) -> None:
    """Change how the run breeds."""
    given = {key: {**MERGES.get(key, {}), **value} for key, value in breeding.items()}
    settings = BreedingSettings.model_validate({**MERGES, **given})
    run.config = run.config.model_copy(update={"breeding": settings})


def grade(store: RunStore, skills: Mapping[str, str]) -> None:
    """Write skill vectors, and the answers that they are of; all else is failed."""
    for expert in store.experts():
        for each in store.families():
            if each.id not in store.skills(expert.id):
                store.set_skill(expert.id, each.id, False)
    for name, passes in skills.items():
        expert = store.expert(name)
        for number, passed in enumerate(passes):
            store.set_skill(name, f"f{number}", passed == "1")
            for instance in ("1", "2"):
                put_answer(store, expert, store.family(f"f{number}"), instance, passed == "1")


def put_answer(
    store: RunStore,
    expert: Expert,
    of: Family,
    instance: str,
    passed: bool = True,
    text: str | None = None,
) -> None:
    item = next(item for item in items_of(of) if item.instance == instance)
    own = f"{expert.id} says {instance} to {of.id}" if text is None else text
    reply = Reply(text=own, tokens_in=9, tokens_out=3, finish_reason="stop", seconds=0.1)
    answer = Answer(
        key=f"{expert.genome_id}{item.instance_hash}",
        genome_id=expert.genome_id,
        instance_hash=item.instance_hash,
        sample=0,
        reply=reply,
        extracted=own,
        unmarked=True,
    )
    store.put_answers([answer])
    graded = Grade(key=answer.key, answer_key=answer.key, code_hash="c", vote=0, passed=passed)
    store.put_grades([graded])


async def texts_of(run: RunContext, name: str, most: int, seed: int = 0) -> list[str]:
    bank = await run.population.bank()
    rng = np.random.default_rng(seed)
    found = passed_texts(run, bank, run.store.expert(name), most, 1, rng)
    return [bank.tokenizer.decode(tokens) for tokens in found]


async def said_in(run: RunContext, name: str, most: int, seed: int = 0) -> list[tuple[str, str]]:
    """(family, instance) of each text."""
    found = []
    for text in await texts_of(run, name, most, seed):
        [place] = [
            (family, instance)
            for family in ("f0", "f1", "f2", "f3")
            for instance in ("1", "2")
            if f"{name} says {instance} to {family}" in text
        ]
        assert f"Question {place[1]} of family {place[0][1]}?" in text
        found.append(place)
    return found


def refusals(store: RunStore) -> list[str]:
    events = store.events("graft refused")
    return [GraftRefused.model_validate(event.payload).reason for event in events]


def grafts(store: RunStore) -> list[Graft]:
    return [Graft.model_validate(event.payload) for event in store.events("graft")]


async def test_texts_are_questions_that_were_passed_with_the_expert_s_own_replies(
    run: RunContext,
) -> None:
    grade(run.store, {"alpha": "1011", "beta": "0100"})
    found = await said_in(run, "alpha", 10)
    assert sorted(found) == [(f, i) for f in ("f0", "f2", "f3") for i in ("1", "2")]
    assert [instance for _, instance in found] == ["1"] * 3 + ["2"] * 3
    assert await said_in(run, "beta", 10) == [("f1", "1"), ("f1", "2")]
    assert await said_in(run, "gamma", 10) == []
    run.store.set_family_status("f2", "retired", "old")
    assert {family for family, _ in await said_in(run, "alpha", 10)} == {"f0", "f3"}


async def test_no_more_texts_than_wanted_and_families_are_drawn(run: RunContext) -> None:
    grade(run.store, {"alpha": "1111"})
    for most in (1, 3, 5):
        found = await said_in(run, "alpha", most)
        assert len(found) == most
        assert len({family for family, _ in found}) == min(most, 4), "each before any twice"
    assert await said_in(run, "alpha", 5) == await said_in(run, "alpha", 5)
    orders = {tuple(await said_in(run, "alpha", 4, seed)) for seed in range(8)}
    assert len(orders) > 1


async def test_what_has_no_answer_or_no_room_is_left_out(run: RunContext) -> None:
    grade(run.store, {"alpha": "11"})
    alpha = run.store.expert("alpha")
    run.store.set_skill("alpha", "f2", True)
    run.store.set_skill("alpha", "f3", True)
    put_answer(run.store, alpha, run.store.family("f3"), "1", text="one two " * 2000)
    assert {family for family, _ in await said_in(run, "alpha", 10)} == {"f0", "f1"}


async def test_the_founding_merge_has_another_name_where_a_seed_has_its_own(
    run: RunContext,
) -> None:
    gamma = run.store.expert("gamma")
    run.store.put_expert(gamma.model_copy(update={"id": "regmean", "birth": 4}))
    grade(run.store, SKILLS)
    await make_founders(run)
    [merge] = [expert for expert in run.store.experts(0) if expert.operator == "regmean"]
    assert (merge.id, merge.birth) == ("g0-5", 5)


async def test_seeds_that_complement_each_other_are_merged_as_a_founder(run: RunContext) -> None:
    grade(run.store, SKILLS)
    await make_founders(run)
    bank = await run.population.bank()
    expert = run.store.expert("regmean")
    assert expert.operator == "regmean"
    assert expert.parents == ("alpha", "beta"), "gamma passes nothing that alpha does not"
    assert expert.birth == 4
    [merge] = grafts(run.store)
    assert (merge.anchor, merge.method, merge.parents) == (
        "regmean-g0+rest",
        "regmean",
        ("alpha", "beta"),
    )
    assert expert.parameters == {"regmean": {"anchors": ["regmean-g0+rest"], "method": "regmean"}}
    column = run.genome(expert).coefficients[:, bank.merge_names.index("regmean-g0+rest") + 3]
    assert column.tolist() == [np.float32(1.2)] * len(bank.blocks)
    assert (run.folder / merge.path).is_file()
    assert [each.birth for each in run.store.experts(0)] == list(range(6))
    [bred] = run.store.experts(0)[5:]
    assert set(bred.parents) <= {"alpha", "beta", "gamma", "regmean"}
    before = run.store.experts(), grafts(run.store)
    await make_founders(run)
    assert (run.store.experts(), grafts(run.store)) == before


async def test_no_more_members_than_configured(run: RunContext) -> None:
    grade(run.store, {"base": "0000", "alpha": "1000", "beta": "0110", "gamma": "0001"})
    configured(run, regmean={"members": 2})
    await make_founders(run)
    assert run.store.expert("regmean").parents == ("beta", "alpha")


@pytest.mark.parametrize(
    ("skills", "reason"),
    [
        ({}, "regmean: no expert passes a family"),
        ({"alpha": "0000", "beta": "0000"}, "regmean: no expert passes a family"),
        (
            {"alpha": "1110", "beta": "0100", "gamma": "1110"},
            "regmean: no expert passes a family that the best one fails",
        ),
    ],
)
async def test_where_nobody_adds_anything_no_merge_is_made(
    run: RunContext, skills: Mapping[str, str], reason: str, said: list[ProgressEvent]
) -> None:
    grade(run.store, skills)
    for _ in range(2):
        await make_founders(run)
    assert refusals(run.store) == [reason]
    assert grafts(run.store) == []
    assert not (run.folder / FOLDER).exists()
    assert len(run.store.experts(0)) == 6, "a child takes its place"
    assert [event.text for event in said].count(f"no merge in generation 0: {reason}") == 1


async def test_a_member_without_texts_is_named(run: RunContext) -> None:
    grade(run.store, {name: SKILLS[name] for name in ("alpha", "beta")})
    for number in range(4):
        run.store.set_skill("gamma", f"f{number}", number == 3)
    await make_founders(run)
    assert refusals(run.store) == ["regmean-g0: gamma passes no family that is active"]


async def test_without_merges_founders_are_seeds_and_children(run: RunContext) -> None:
    grade(run.store, SKILLS)
    configured(run, regmean={"founding": False, "adapting": False})
    await make_founders(run)
    kept(run, 1)
    for generation in (1, 2):
        await graft(run, generation)
    assert run.store.events() == []
    assert [each.operator for each in run.store.experts(0)][:4] == ["base", *["seed"] * 3]


def kept(run: RunContext, *generations: int) -> None:
    """The founders are the archive of some generations, and of the first."""
    names = [expert.id for expert in run.store.experts(0)]
    entries = [
        ArchiveEntry(expert=n, rank=r, fitness=0.0, novelty=0.0) for r, n in enumerate(names)
    ]
    for generation in (0, *generations):
        run.store.put_archive(generation, entries)


async def test_members_of_the_archive_are_merged_when_the_pool_has_adapted(run: RunContext) -> None:
    grade(run.store, SKILLS)
    configured(run, regmean={"founding": False})
    await make_founders(run)
    kept(run, 1, 2, 3)
    for generation in (1, 2, 3):
        await graft(run, generation)
        assert len(grafts(run.store)) == int(generation >= 2), "every other generation"
    expert = run.store.expert("g2-4")
    assert (expert.operator, expert.parents, expert.birth) == ("regmean", ("alpha", "beta"), 4)
    await graft(run, 2)
    assert len(grafts(run.store)) == 1


async def test_the_same_merge_again_is_refused(run: RunContext) -> None:
    grade(run.store, {"alpha": "1000", "beta": "0100"})
    # Both instances of the only family: the texts are the same whatever is drawn.
    await make_founders(run)
    kept(run, 1)
    await graft(run, 2)
    assert len(grafts(run.store)) == 1
    [reason] = refusals(run.store)
    assert reason == "graft 'regmean-g2' is the same as an anchor that is there already"
    assert run.store.experts(2) == []


async def test_two_parents_are_merged_by_regmean_with_settings_of_their_own(
    run: RunContext,
) -> None:
    grade(run.store, SKILLS)
    own = {"every": 1, "probability": 1.0, "methods": {"regmean": {"scale": 0.5}}}
    configured(run, regmean={"founding": False, "adapting": False}, graft=own)
    await make_founders(run)
    kept(run)
    await graft(run, 1)
    expert = run.store.expert("g1-3")
    assert (expert.operator, expert.birth, len(set(expert.parents))) == ("regmean", 3, 2)
    [merge] = grafts(run.store)
    assert (merge.method, merge.parameters) == ("regmean", {"scale": 0.5})
    assert merge.anchor == "graft-g1+rest"
    coefficients = run.genome(expert).coefficients
    assert sorted(set(coefficients.flat)) == [0.0, 0.5]
    assert expert.parameters == {
        "regmean": {"anchors": ["graft-g1+rest"], "method": "regmean", "scale": 0.5}
    }


async def test_a_parent_that_passes_nothing_is_refused(run: RunContext) -> None:
    own = {"every": 1, "probability": 1.0}
    configured(run, regmean={"founding": False, "adapting": False}, graft=own)
    grade(run.store, {"alpha": "0000", "beta": "0000", "gamma": "0000"})
    await make_founders(run)
    kept(run)
    await graft(run, 1)
    [reason] = refusals(run.store)
    assert reason.startswith("graft-g1: ")
    assert reason.endswith("passes no family that is active")


async def two_merges(run: RunContext) -> Bank:
    """One of the seeds, then, when all can do something else, one of the archive."""
    grade(run.store, SKILLS)
    await graft_founder(run, [run.store.expert(name) for name in ("alpha", "beta", "gamma")])
    kept(run, 1)
    grade(run.store, {"gamma": "1001", "beta": "0000"})
    await graft(run, 2)
    assert [merge.anchor for merge in grafts(run.store)] == ["regmean-g0+rest", "regmean-g2+rest"]
    return await run.population.bank()


async def test_merges_beyond_the_cap_stay_in_their_files_the_least_used_first(
    run: RunContext,
) -> None:
    configured(run, regmean={"anchors": 1})
    bank = await two_merges(run)
    aside = [each.name for each in bank.anchors if isinstance(each.vectors, StoredVectors)]
    assert aside == ["regmean-g2+rest"], "the archive holds an expert of the first merge"
    expert = run.store.expert("g2-4")
    assert bank.genome_id(run.genome(expert)) == expert.genome_id
    fresh = load_bank(run.config.models, run.config.spectral, bank.origin.cache_dir)
    measured = sorted((bank.origin.cache_dir / "gram").iterdir())
    restore(run.store, run.folder, 9, fresh)
    assert sorted((bank.origin.cache_dir / "gram").iterdir()) == measured, (
        "nothing is measured anew"
    )
    assert [each.content_hash for each in fresh.anchors] == [e.content_hash for e in bank.anchors]
    assert not [each for each in fresh.anchors if isinstance(each.vectors, StoredVectors)]
    for each in run.store.experts():
        genome = run.genome(each)
        assert expected_checksum(bank, genome) == expected_checksum(fresh, genome)


async def test_what_the_archive_comes_to_use_is_brought_back_into_memory(run: RunContext) -> None:
    configured(run, regmean={"anchors": 1})
    bank = await two_merges(run)
    entry = ArchiveEntry(expert="g2-4", rank=0, fitness=1.0, novelty=1.0)
    run.store.put_archive(2, [entry])
    keep_most_used(run.store, run.folder, 1, bank)
    aside = [each.name for each in bank.anchors if isinstance(each.vectors, StoredVectors)]
    assert aside == ["regmean-g0+rest"]
    fresh = load_bank(run.config.models, run.config.spectral, bank.origin.cache_dir)
    restore(run.store, run.folder, 1, fresh)
    assert [type(each.vectors) for each in fresh.anchors] == [type(e.vectors) for e in bank.anchors]
    for each in run.store.experts():
        genome = run.genome(each)
        assert expected_checksum(bank, genome) == expected_checksum(fresh, genome)


async def test_of_merges_that_nobody_uses_the_newest_stays_in_memory(run: RunContext) -> None:
    configured(run, regmean={"anchors": 1})
    bank = await two_merges(run)
    run.store.put_archive(2, [ArchiveEntry(expert="alpha", rank=0, fitness=1.0, novelty=1.0)])
    keep_most_used(run.store, run.folder, 1, bank)
    aside = [each.name for each in bank.anchors if isinstance(each.vectors, StoredVectors)]
    assert aside == ["regmean-g0+rest"]


async def test_a_merge_whose_file_is_gone_is_named(run: RunContext) -> None:
    bank = await two_merges(run)
    first, _ = grafts(run.store)
    (run.folder / first.path).unlink()
    fresh = load_bank(run.config.models, run.config.spectral, bank.origin.cache_dir)
    with pytest.raises(BankError, match="is missing or damaged, and experts of this run"):
        restore(run.store, run.folder, 9, fresh)
