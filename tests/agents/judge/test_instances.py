"""Fresh instances: drawn once for all experts, never asked before, and never of another period."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.context import RunContext
from agents.families.items import all_asked, asked_before
from agents.judge.instances import draw_instances, fresh_items
from memory.records import FINALS, Assignment, Draft, Family, TrialAnswer
from memory.store import RunStore
from tests.agents.cases import ScriptedSandbox, family, generative, run_context

PERIODS = (0, 1, 2, FINALS)


@pytest.fixture
def sandbox() -> ScriptedSandbox:
    return ScriptedSandbox()


@pytest.fixture
def run(tmp_path: Path, sandbox: Any) -> Iterator[RunContext]:
    with RunStore.open(tmp_path) as store:
        for each in (generative(0), generative(1), family(2)):
            store.put_family(each)
        yield run_context(store, sandbox=sandbox)


def families(run: RunContext) -> list[Family]:
    return run.store.families("active")


async def test_a_period_has_so_many_instances_at_the_family_s_level(
    run: RunContext, sandbox: ScriptedSandbox
) -> None:
    assert await draw_instances(run, families(run), 0, 4) == families(run)
    for each in families(run)[:2]:
        items = fresh_items(run, each, 0)
        assert len(items) == len({item.instructions for item in items}) == 4
        assert all(item.instance[1:4] == "@3." for item in items)
        assert all(item.reference == "right" for item in items)
    assert {level for _, _, level in sandbox.drawn} == {3}


async def test_a_closed_family_asks_its_own_two(run: RunContext) -> None:
    await draw_instances(run, families(run), 0, 4)
    assert [item.instance for item in fresh_items(run, families(run)[2], 0)] == ["1", "2"]


async def test_what_was_drawn_stays(run: RunContext, sandbox: ScriptedSandbox) -> None:
    await draw_instances(run, families(run), 0, 4)
    before, drawn = run.store.instances(), len(sandbox.drawn)
    await draw_instances(run, families(run), 0, 4)
    assert (run.store.instances(), len(sandbox.drawn)) == (before, drawn)


async def test_periods_and_families_never_share_a_seed(
    run: RunContext, sandbox: ScriptedSandbox
) -> None:
    for period in PERIODS:
        await draw_instances(run, families(run), period, 4)
    for code in {code for code, _, _ in sandbox.drawn}:
        seeds = [seed for own, group, _ in sandbox.drawn if own == code for seed in group]
        assert len(seeds) == len(set(seeds)) == 2 * len(PERIODS)
    first = [group for code, group, _ in sandbox.drawn if code == families(run)[0].code]
    second = [group for code, group, _ in sandbox.drawn if code == families(run)[1].code]
    assert not set(first) & set(second)


async def test_another_run_seed_draws_others(run: RunContext, sandbox: ScriptedSandbox) -> None:
    await draw_instances(run, families(run)[:1], 0, 4)
    run.config = run.config.model_copy(update={"seed": 1})
    await draw_instances(run, families(run)[:1], 1, 4)
    run.config = run.config.model_copy(update={"seed": 0})
    again: Any = ScriptedSandbox()
    run.sandbox = again
    await draw_instances(run, families(run)[:1], 2, 4)
    assert len({group for _, group, _ in [*sandbox.drawn, *again.drawn]}) == 3


async def test_no_question_is_asked_again_by_content(
    run: RunContext, sandbox: ScriptedSandbox
) -> None:
    """The family's own, those of its trial, those of earlier periods: however they are named."""
    sandbox.variety = 12
    seen = {f"What is {n} of {seed} at level 3?" for seed in (0, 1, 2) for n in "12"}
    own = dict(zip("12", sorted(seen)[:2], strict=True))
    asked = generative(3).model_copy(update={"instructions": own})
    run.store.put_assignment(Assignment(id="a0", generation=0, index=0, kind="novel", rng_seed=0))
    trial = tuple(
        TrialAnswer(expert="e", instance="1@3.0", question=text, text="", extracted="", passed=True)
        for text in sorted(seen)[2:]
    )
    run.store.put_draft(Draft(assignment="a0", round=0, proposal=None, answers=trial))
    run.store.put_family(asked)
    run.store.finish_assignment("a0", "accepted", family_id=asked.id)
    for period in PERIODS:
        await draw_instances(run, [asked], period, 4)
    texts = [instance.instructions for instance in run.store.instances(asked.id)]
    assert len(texts) == len(set(texts)) > 4
    assert not seen & set(texts)


async def test_a_family_without_a_new_question_is_retired_but_not_by_the_finals(
    run: RunContext, sandbox: ScriptedSandbox
) -> None:
    sandbox.variety = 1
    one = families(run)[0]
    assert await draw_instances(run, [one], 0, 4) == [one]
    assert len(fresh_items(run, one, 0)) == 2, "as many as there are"
    assert await draw_instances(run, [one], FINALS, 4) == []
    assert run.store.family_status(one.id) == "active"
    assert await draw_instances(run, [one], 1, 4) == []
    assert run.store.family_status(one.id) == "retired"
    assert run.store.family_events(one.id)[-1].reason == "no new question left"


async def test_a_program_that_cannot_draw_is_condemned(
    run: RunContext, sandbox: ScriptedSandbox
) -> None:
    broken, sound, closed = families(run)
    sandbox.faulty = {broken.code}
    assert await draw_instances(run, [broken, sound, closed], 0, 4) == [sound, closed]
    assert run.store.family_events(broken.id)[-1].reason == "condemned: crash: it cannot draw"


async def test_what_came_before_is_told_apart(run: RunContext) -> None:
    one = families(run)[0]
    for period in PERIODS:
        await draw_instances(run, [one], period, 2)
    drawn = {p: [i.name for i in run.store.instances(one.id, p)] for p in PERIODS}
    own = ["1@3.5", "2@3.5"]
    before = [item.instance for item in asked_before(run.store, one, 2)]
    assert before == [*drawn[1], *drawn[0], *own]
    everything = [item.instance for item in all_asked(run.store, one)]
    assert everything == own + [name for period in PERIODS for name in drawn[period]]
