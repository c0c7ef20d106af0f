"""Lessons in a run: about what, from which answers, what is recorded, and what stays apart."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.archive.founding import make_seeds
from agents.archive.grafting import restore
from agents.archive.tutoring import lesson_steps, tutor
from agents.config import RunConfig
from agents.context import RunContext
from agents.families.items import asked_before, items_of
from agents.judge.instances import draw_instances, fresh_items
from agents.lessons.cluster import choose_cluster
from agents.lessons.examples import labelled, replayed
from agents.lessons.record import lessons_about, lessons_of
from agents.progress import ProgressEvent
from agents.sandbox import Score
from agents.settings import JudgeSettings, PoolSettings, PopulationSettings
from evolution.bank.bank import load_bank
from evolution.bank.settings import SpectralSettings
from evolution.breeding.settings import BreedingSettings
from evolution.engines.settings import EngineSettings
from evolution.materialise.weights import expected_checksum
from evolution.population import Population
from memory.records import (
    FINALS,
    OWN,
    Answer,
    ArchiveEntry,
    Family,
    Grade,
    Graft,
    Reply,
    Skill,
    learning,
)
from memory.store import RunStore
from tests.agents.archive.test_grafting import refusals
from tests.agents.cases import ScriptedSandbox, family, generative, run_context
from tests.conftest import TinyFamily
from tests.evolution.conftest import models_of

TUTOR: Mapping[str, Any] = {"steps": 2, "every": 2, "instances": 4, "families": 2, "batch": 4}
RATES = {"base": "0000", "alpha": "4100", "beta": "0200", "gamma": "0000"}
"""Expert -> passes, of four instances, of the families f0, f1, ..."""


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore.open(tmp_path / "run") as opened:
        yield opened


@pytest.fixture
def said() -> list[ProgressEvent]:
    return []


def config_of(tiny_family: TinyFamily, **given: Any) -> RunConfig:
    merges = {"regmean": {"founding": False, "adapting": False}, "graft": {"every": 0}}
    breeding = BreedingSettings.model_validate({**merges, "tutor": {**TUTOR, **given}})
    return RunConfig(
        models=models_of(tiny_family),
        spectral=SpectralSettings(rank=4),
        engine=EngineSettings(compute="float32"),
        population=PopulationSettings(children=3),
        pool=PoolSettings(adapt_every=2),
        judge=JudgeSettings(max_tokens=24),
        breeding=breeding,
    )


@pytest.fixture
async def run(
    store: RunStore, tiny_family: TinyFamily, cache: Path, said: list[ProgressEvent]
) -> AsyncIterator[RunContext]:
    """Base and seeds are the archive of the first two generations; four families that draw."""
    config = config_of(tiny_family)
    for number in range(4):
        store.put_family(generative(number))
    population = Population(config.models, config.spectral, config.engine, cache)
    context = run_context(
        store, config, population=population, progress=said.append, sandbox=ScriptedSandbox()
    )
    await make_seeds(context)
    grade(store, RATES)
    names = [expert.id for expert in store.experts(0)]
    entries = [
        ArchiveEntry(expert=n, rank=r, fitness=0.0, novelty=0.0) for r, n in enumerate(names)
    ]
    for generation in (0, 1, 2):
        store.put_archive(generation, entries)
    yield context
    await population.close()


def grade(store: RunStore, rates: Mapping[str, str], period: int = 0) -> None:
    for name, passes in rates.items():
        for number, passed in enumerate(passes):
            store.set_skill(name, f"f{number}", Skill(passes=int(passed), asked=4), period)


def configured(run: RunContext, **given: Any) -> None:
    tutor = run.config.breeding.tutor.model_copy(update=given)
    breeding = run.config.breeding.model_copy(update={"tutor": tutor})
    run.config = run.config.model_copy(update={"breeding": breeding})


def put_answer(run: RunContext, name: str, of: Family, period: int, text: str, **more: Any) -> str:
    """A right answer to the first instance of a period; gives its question."""
    asked = items_of(of) if period == OWN else fresh_items(run, of, period)
    item, expert = asked[0], run.store.expert(name)
    given = {"finish_reason": "stop", **more}
    reply = Reply(text=text, tokens_in=9, tokens_out=3, seconds=0.1, **given)
    key = f"{expert.genome_id}{item.instance_hash}"
    answer = Answer(
        key=key,
        genome_id=expert.genome_id,
        instance_hash=item.instance_hash,
        sample=0,
        reply=reply,
        extracted=text,
        unmarked="Answer:" not in text,
    )
    run.store.put_answers([answer])
    run.store.put_grades([Grade(key=key, answer_key=key, code_hash="c", vote=0, passed=True)])
    return item.instructions


def grafts(store: RunStore) -> list[Graft]:
    return [Graft.model_validate(event.payload) for event in store.events("graft")]


async def test_what_nobody_solves_is_taught_to_the_best_and_joins_bank_and_generation(
    run: RunContext, said: list[ProgressEvent]
) -> None:
    await tutor(run, 1)
    bank = await run.population.bank()
    [kept] = grafts(run.store)
    assert (kept.anchor, kept.method, kept.parents) == ("tutor-g1", "tutor", ("alpha",))
    assert (run.folder / kept.path).is_file()
    expert = run.store.expert("g1-5")
    assert (expert.operator, expert.birth, expert.parents) == ("tutor", 5, ("alpha",))
    column = [anchor.name for anchor in bank.anchors].index("tutor-g1")
    coefficients = run.genome(expert).coefficients
    assert coefficients[:, column].tolist() == [1.0] * len(bank.blocks)
    assert np.delete(coefficients, column, 1).tolist() == (
        bank.seed_genome("alpha").coefficients[:, :column].tolist()
    )
    [lesson] = lessons_of(run.store)
    assert lesson.tutors == {"f2": "", "f3": ""}
    assert (lesson.steps, lesson.examples, lesson.own, lesson.generation) == (2, 8, 0, 1)
    assert [len(run.store.instances(f"f{n}", learning(1))) for n in range(4)] == [0, 0, 4, 4]
    assert [event.text for event in said if event.kind == "line"][-1].startswith(
        "lesson of generation 1: alpha learnt f2, f3 from 8 examples, loss "
    )
    before = run.store.experts(), grafts(run.store), run.store.instances()
    await tutor(run, 1)
    assert (run.store.experts(), grafts(run.store), run.store.instances()) == before


async def test_a_loaded_run_has_the_anchor_again(run: RunContext) -> None:
    await tutor(run, 1)
    bank, expert = await run.population.bank(), run.store.expert("g1-5")
    fresh = load_bank(run.config.models, run.config.spectral, bank.origin.cache_dir)
    restore(run.store, run.folder, 9, fresh)
    assert fresh.content_hash == bank.content_hash
    genome = run.genome(expert)
    assert expected_checksum(fresh, genome) == expected_checksum(bank, genome)


async def test_a_lesson_that_was_cut_off_is_given_again_with_the_same_bits(
    run: RunContext, tiny_family: TinyFamily, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off with all that it writes before its transaction: instances, answers, the file."""

    def cut(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("agents.archive.tutoring._record", cut)
        with pytest.raises(KeyboardInterrupt):
            await tutor(run, 1)
    assert grafts(run.store) == []
    [file] = (run.folder / "anchors").iterdir()
    drawn = run.store.instances()
    population = Population(run.config.models, run.config.spectral, run.config.engine, cache)
    again = run_context(run.store, run.config, population=population, sandbox=ScriptedSandbox())
    await tutor(again, 1)
    assert [run.folder / kept.path for kept in grafts(run.store)] == [file]
    assert run.store.instances() == drawn
    await population.close()


async def test_lessons_are_given_as_often_as_configured_and_only_where_there_are_steps(
    run: RunContext,
) -> None:
    await tutor(run, 2)
    assert grafts(run.store) == []
    for steps in (None, 0):
        configured(run, steps=steps)
        assert lesson_steps(run.config) == 0, "on a CPU"
        await tutor(run, 1)
    assert run.store.events() == []


async def test_what_had_a_lesson_waits_for_what_had_none(run: RunContext) -> None:
    configured(run, families=1)
    await tutor(run, 1)
    assert lessons_about(run.store) == {"f2": 1}
    # Nobody was asked anything new: f3 lacks as much as f2.
    grade(run.store, RATES, period=1)
    chosen = choose_cluster(run, 3, lessons_about(run.store), 1)
    assert chosen is not None
    assert [each.id for each in chosen.families] == ["f3"]


async def test_a_cluster_is_of_one_field_and_of_what_the_same_experts_pass(
    run: RunContext,
) -> None:
    chosen = choose_cluster(run, 1, {}, 3)
    assert chosen is not None
    assert [each.id for each in chosen.families] == ["f2", "f3", "f1"], "f0 is solved"
    assert chosen.parent.id == "beta"
    assert {name: expert and expert.id for name, expert in chosen.tutors.items()} == {
        "f2": None,
        "f3": None,
        "f1": "beta",
    }
    other = generative(7).model_copy(update={"field": "logic"})
    run.store.put_family(other)
    run.store.put_family(family(8))
    for name in RATES:
        run.store.set_skill(name, "f7", Skill(passes=0, asked=4), 0)
        run.store.set_skill(name, "f8", False)
    chosen = choose_cluster(run, 1, {"f2": 1}, 3)
    assert chosen is not None
    assert [each.id for each in chosen.families] == ["f3", "f2", "f1"], "of another field, closed"


async def test_where_all_is_solved_there_is_no_lesson(run: RunContext) -> None:
    grade(run.store, {"alpha": "4444"})
    for _ in range(2):
        await tutor(run, 1)
    assert refusals(run.store) == ["the archive solves every generative family"]
    assert run.store.experts(1) == []


async def test_a_family_with_too_few_questions_keeps_them(run: RunContext) -> None:
    run.sandbox.variety = 1  # type: ignore[attr-defined]
    await tutor(run, 1)
    [reason] = refusals(run.store)
    assert reason == "f2, f3 give no fresh instance with an answer to learn"
    assert run.store.instances() == []
    assert [each.id for each in run.store.families("active")] == ["f0", "f1", "f2", "f3"]


async def test_a_program_that_cannot_draw_is_left_to_the_judge(run: RunContext) -> None:
    run.sandbox.faulty = {generative(2).code}  # type: ignore[attr-defined]
    await tutor(run, 1)
    [lesson] = lessons_of(run.store)
    assert list(lesson.tutors) == ["f3"]
    assert run.store.family_status("f2") == "active"


async def test_right_answers_of_the_best_come_before_references(run: RunContext) -> None:
    configured(run, families=3)
    replies: dict[str, Score | Exception] = {}
    run.sandbox.scores = replies  # type: ignore[attr-defined]
    families = run.store.families("active")[1:2]
    await draw_instances(run, families, learning(1), 4)
    text = "It is so. Answer: right"
    question = put_answer(run, "beta", families[0], learning(1), text)
    bank, beta = await run.population.bank(), run.store.expert("beta")
    items = fresh_items(run, families[0], learning(1))
    found, own = labelled(run, bank, [(item, [beta.genome_id]) for item in items])
    assert own == 1
    read = [bank.tokenizer.decode(each.tokens) for each in found]
    answers = [bank.tokenizer.decode(each.tokens[each.prompt :]) for each in found]
    assert question in read[0]
    assert answers == [f"{text}<|im_end|>", *["Answer: right<|im_end|>"] * 3]
    without, none = labelled(run, bank, [(item, []) for item in items])
    assert none == 0
    assert [each.learnt for each in without] == [found[1].learnt] * 4


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("no marker", {}),
        ("Answer: right", {"finish_reason": "length"}),
    ],
)
async def test_answers_without_a_mark_or_an_end_are_not_learnt(
    run: RunContext, text: str, more: dict[str, Any]
) -> None:
    families = run.store.families("active")[1:2]
    await draw_instances(run, families, learning(1), 1)
    put_answer(run, "beta", families[0], learning(1), text, **more)
    bank, beta = await run.population.bank(), run.store.expert("beta")
    [item] = fresh_items(run, families[0], learning(1))
    assert labelled(run, bank, [(item, [beta.genome_id])])[1] == 0


async def test_a_reference_that_would_be_read_otherwise_or_is_too_long_is_left_out(
    run: RunContext,
) -> None:
    bank = await run.population.bank()
    [item, _] = items_of(run.store.family("f0"))
    for reference in ("", "one\n\ntwo", "word " * 40):
        odd = type(item)(**{**vars(item), "reference": reference})
        assert labelled(run, bank, [(odd, [])])[0] == []


async def test_replay_is_what_the_parent_passed_before_with_its_own_replies(
    run: RunContext,
) -> None:
    families = run.store.families("active")
    await draw_instances(run, families, 0, 1)
    await draw_instances(run, families, 1, 1)
    await draw_instances(run, families, learning(1), 1)
    put_answer(run, "alpha", families[0], 0, "Answer: before")
    put_answer(run, "alpha", families[0], OWN, "Answer: own")
    put_answer(run, "alpha", families[1], 1, "Answer: now")
    put_answer(run, "alpha", families[2], learning(1), "Answer: learnt")
    put_answer(run, "alpha", families[3], 0, "Answer: cut off", finish_reason="length")
    bank, alpha = await run.population.bank(), run.store.expert("alpha")
    found = replayed(run, bank, alpha, 9, 2, np.random.default_rng(0))
    said = [bank.tokenizer.decode(each.tokens[each.prompt :]) for each in found]
    assert said == ["Answer: before<|im_end|>", "Answer: own<|im_end|>"]


@pytest.mark.parametrize("variety", [2**40, 40])
async def test_no_question_is_learnt_and_asked(run: RunContext, variety: int) -> None:
    """By content: over families, periods, finals, drafts, and in whatever order they are drawn.

    With few questions, families of different programs come upon the same ones.
    """
    run.sandbox.variety = variety  # type: ignore[attr-defined]
    families = run.store.families("active")
    await draw_instances(run, families[:2], 0, 4)
    await tutor(run, 1)
    for period in (1, FINALS, 2):
        await draw_instances(run, run.store.families("active"), period, 4)
    grade(run.store, RATES, period=1)
    await tutor(run, 3)
    for period in (3, 4):
        await draw_instances(run, run.store.families("active"), period, 4)
    assert len(lessons_of(run.store)) == 2
    every = run.store.instances()
    learnt = [each.instructions for each in every if each.period <= learning(0)]
    asked = {each.instructions for each in every if each.period >= 0}
    asked |= {text for each in families for text in each.instructions.values()}
    assert len(learnt) == len(set(learnt)) > 8
    assert not set(learnt) & asked
    for each in families:
        before = asked_before(run.store, each, 5)
        assert not {item.instructions for item in before} & set(learnt), "no merge reads it"
