"""The finals: who is examined, on what, and what is known afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.context import RunContext
from agents.errors import JudgingError
from agents.families.lifecycle import move
from agents.judge.instances import draw_instances
from agents.task_force.field import force_in, standing_of
from agents.task_force.finals import by_lot, finalists_of, hold_finals
from agents.task_force.report import summarise_run
from memory.records import FINALS, ArchiveEntry, GibberishFound, Voice
from tests.agents.cases import generative
from tests.agents.task_force.players import Interrupted, before_finals, players_of

WARM = 0.7


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunContext]:
    with before_finals(tmp_path) as context:
        yield context


def ids(run: RunContext) -> set[str]:
    return {expert.id for expert in finalists_of(run)}


async def test_base_seeds_their_merge_and_the_fittest_of_the_archive_are_examined(
    run: RunContext,
) -> None:
    assert ids(run) == {"base", "seed", "merge", "weak", "bred"}, "babble is not in the archive"
    run.config = run.config.model_copy(
        update={"finals": run.config.finals.model_copy(update={"experts": 1})}
    )
    assert ids(run) == {"base", "seed", "merge", "bred"}, "by posterior fitness, not by rank"


async def test_gibberish_is_not_examined(run: RunContext) -> None:
    run.store.add_event(GibberishFound(expert="bred", reason="one token, repeated"))
    assert "bred" not in ids(run)


async def test_instances_are_those_of_no_period(run: RunContext) -> None:
    for period in (0, 1):
        await draw_instances(run, run.store.families("active"), period, 4)
    await hold_finals(run)
    fresh = run.store.instances(period=FINALS)
    assert len(fresh) == 3 * run.config.finals.instances
    others = {each.instructions for period in (0, 1) for each in run.store.instances(period=period)}
    others |= {text for family in run.store.families() for text in family.instructions.values()}
    assert not {each.instructions for each in fresh} & others
    asked = {text for _, _, text, _ in (await players_of(run)).asked}
    own = {"first of family 3", "second of family 3"}
    assert asked == {each.instructions for each in fresh} | own, "a closed one asks all it has"


async def test_everybody_answers_greedily_and_sampled_with_seeds_of_their_own(
    run: RunContext,
) -> None:
    await hold_finals(run)
    asked = (await players_of(run)).asked
    greedy = [each for each in asked if not each[1]]
    sampled = [each for each in asked if each[1]]
    assert {each[1] for each in sampled} == {WARM}
    assert len(greedy) == 5 * 8
    assert len(sampled) == len({seed for *_, seed in sampled}) == 5 * 8 * 2
    assert not {seed for *_, seed in sampled} & {seed for *_, seed in greedy}


async def test_outcomes_are_counted_by_voice_and_instance(run: RunContext) -> None:
    await summarise_run(run)
    outcomes = run.store.outcomes()
    assert len(outcomes) == 5 * 8 * 2
    rates = standing_of(run.store).rates
    assert rates[Voice("seed")] == {"f0": 1.0, "f1": 0.0, "f2": 0.0, "f3": 0.0}
    assert rates[Voice("seed", WARM)] == {"f0": 1.0, "f1": 0.5, "f2": 0.5, "f3": 0.0}
    assert rates[Voice("merge")] == {"f0": 1.0, "f1": 0.0, "f2": 0.0, "f3": 1.0}
    greedy_answer = run.store.answer_to("seed", _hash(run, "f1"))
    assert greedy_answer is not None
    assert greedy_answer.sample == 0, "where one answer is wanted, it is the greedy one"


def _hash(run: RunContext, family: str) -> str:
    from agents.judge.instances import fresh_items

    return fresh_items(run, run.store.family(family), FINALS)[0].instance_hash


async def test_without_samples_all_voices_are_greedy(tmp_path: Path) -> None:
    with before_finals(tmp_path, {"finals": {"samples": 0}}) as run:
        await summarise_run(run)
        assert all(each.temperature == 0 for each in run.store.outcomes())
        force = force_in(run.store, 3)
        assert len({voice.expert for voice in force.voices}) == 3


async def test_after_an_interruption_only_the_rest_is_asked(run: RunContext) -> None:
    players = await players_of(run)
    players.silent = {"merge"}
    with pytest.raises(Interrupted):
        await hold_finals(run)
    before = list(players.asked)
    assert before
    assert standing_of(run.store).marks.keys() == {
        Voice(name) for name in ("base", "seed", "merge", "bred", "weak", "babble")
    }, "what is not over is not told"
    players.silent = set()
    await summarise_run(run)
    assert len(set(players.asked)) == len(players.asked) == 5 * 8 * 3
    again = len(players.asked)
    await summarise_run(run)
    assert len(players.asked) == again


async def test_a_run_that_went_on_keeps_instances_and_adds_finalists(run: RunContext) -> None:
    await summarise_run(run)
    players = await players_of(run)
    before, instances = len(players.asked), run.store.instances(period=FINALS)
    run.store.put_meta("finished", False)
    assert all(voice.greedy for voice in standing_of(run.store).marks), "the current force"
    run.store.put_family(generative(4))
    entry = ArchiveEntry(expert="babble", rank=0, fitness=1.0, novelty=1.0)
    run.store.put_archive(2, [entry])
    await summarise_run(run)
    assert ids(run) == {"base", "seed", "merge", "weak", "bred", "babble"}
    kept = [each for each in run.store.instances(period=FINALS) if each.family != "f4"]
    assert kept == instances
    assert len(players.asked) - before == (8 + 6 * 2) * 3, "one on all, six on what is new"
    assert len(standing_of(run.store).places) == 10


async def test_a_run_that_goes_on_may_ask_more_instances_and_keeps_the_old(
    run: RunContext,
) -> None:
    await summarise_run(run)
    players = await players_of(run)
    before, instances = list(players.asked), run.store.instances(period=FINALS)
    more = run.config.finals.model_copy(update={"instances": 5})
    run.config = run.config.model_copy(update={"finals": more})
    await summarise_run(run)
    drawn = run.store.instances(period=FINALS)
    assert len(drawn) == len({each.instructions for each in drawn}) == 3 * 5
    assert set(instances) < set(drawn)
    assert players.asked[: len(before)] == before
    assert len(players.asked) - len(before) == 5 * 3 * 3 * 3, "five experts, on what is new alone"
    assert len(standing_of(run.store).places) == 3 * 5 + 2


async def test_a_family_with_fewer_questions_than_the_finals_want_still_asks(
    run: RunContext,
) -> None:
    run.sandbox.variety = 1  # type: ignore[attr-defined]
    few = await hold_finals(run)
    drawn = run.store.instances(period=FINALS)
    assert len(drawn) == 3 * 2, "the program has no third question"
    more = run.config.finals.model_copy(update={"instances": 9})
    run.config = run.config.model_copy(update={"finals": more})
    assert await hold_finals(run) == few
    assert run.store.instances(period=FINALS) == drawn


async def test_a_family_that_fails_when_more_are_asked_keeps_what_it_has(run: RunContext) -> None:
    await summarise_run(run)
    places = standing_of(run.store).places
    run.sandbox.faulty = {family.code for family in run.store.families()}  # type: ignore[attr-defined]
    more = run.config.finals.model_copy(update={"instances": 9})
    run.config = run.config.model_copy(update={"finals": more})
    await summarise_run(run)
    assert standing_of(run.store).places == places


async def test_of_a_long_history_the_active_ones_ask_and_others_by_lot(tmp_path: Path) -> None:
    with before_finals(tmp_path, {"finals": {"families": 6}}) as run:
        for number in range(4, 12):
            run.store.put_family(generative(number))
            if number >= 5:
                run.store.set_family_status(f"f{number}", "retired", "impossible")
        chosen = [family.id for family in by_lot(run)[: run.config.finals.families]]
        assert len(chosen) == 6
        assert set(chosen[:5]) == {"f0", "f1", "f2", "f3", "f4"}
        assert [family.id for family in by_lot(run)[: run.config.finals.families]] == chosen
        lots = set()
        for seed in range(12):
            run.config = run.config.model_copy(update={"seed": seed})
            lots |= {family.id for family in by_lot(run)[: run.config.finals.families]}
        assert len(lots) > 7


async def test_a_family_whose_scorer_breaks_in_the_finals_counts_for_nobody(
    run: RunContext,
) -> None:
    move(run.store, run.store.family("f1"), "least_discriminating", rate=0.5)
    run.sandbox.broken = frozenset({run.store.family("f1").code})  # type: ignore[attr-defined]
    await summarise_run(run)
    assert {family for family, _ in standing_of(run.store).places} == {"f0", "f2", "f3"}
    summary: Any = run.store.meta("summary")
    assert summary["families"] == 3


async def test_an_engine_that_fails_is_asked_again_and_then_the_run_is_not_over(
    run: RunContext,
) -> None:
    players = await players_of(run)
    players.ill["bred"] = 1
    await summarise_run(run)
    assert Voice("bred") in standing_of(run.store).marks, "the second try"
    with before_finals(run.folder / "other") as other:
        (await players_of(other)).ill["bred"] = 100
        with pytest.raises(JudgingError, match="finals: bred could not be graded on 90 %"):
            await summarise_run(other)
        assert not other.store.meta("finished")


async def test_what_is_missing_for_one_voice_is_no_failure_of_it(run: RunContext) -> None:
    await summarise_run(run)
    before = standing_of(run.store)
    place = next(p for p, mark in before.marks[Voice("bred")].items() if mark)
    run.store._write(
        "DELETE FROM finals WHERE expert = 'bred' AND family = ? AND instance = ?", place
    )
    after = standing_of(run.store)
    assert set(before.places) - set(after.places) == {place}
    assert all(place not in marks for marks in after.marks.values())


async def test_who_has_nothing_new_makes_room_in_the_finals(tmp_path: Path) -> None:
    with before_finals(tmp_path, {"finals": {"families": 1}}) as run:
        first = by_lot(run)[0]
        if not first.generative:
            first = next(family for family in by_lot(run) if family.generative)
        run.sandbox.variety = 1  # type: ignore[attr-defined]
        for period in range(2):
            await draw_instances(run, [first], period, 4)
        asked = await hold_finals(run)
        assert len(asked) == 1
        assert asked != [first.id]
