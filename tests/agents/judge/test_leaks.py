"""Nobody is ranked on what it was merged by, and what fails is asked again."""

from __future__ import annotations

import pytest

from agents.context import RunContext
from agents.families.lifecycle import move
from agents.judge.instances import draw_instances
from agents.judge.node import examine_experts, judge_generation
from memory.records import OWN, Family, Skill
from tests.agents.cases import ScriptedSandbox, generative
from tests.agents.judge.test_race import FAMILIES, Knowing, broker, run

__all__ = ["broker", "run"]


@pytest.mark.parametrize("instances", [1, 2, 4])
async def test_the_instances_before_a_merge_rank_nobody(
    run: RunContext, broker: Knowing, instances: int
) -> None:
    judge = run.config.judge.model_copy(update={"instances": instances})
    run.config = run.config.model_copy(update={"judge": judge})
    broker.right["a"] = 1.0
    everybody = [run.store.expert(name) for name in "abc"]
    await examine_experts(run, everybody, run.store.families("active"), OWN, 2)
    broker.right["a"] = 0.0
    broker.asked.clear()
    await judge_generation(run, 0)
    assert len(broker.asked["a"]) == instances * FAMILIES
    [candidate] = run.candidates(everybody[:1], 0)
    assert set(candidate.skills.values()) == {Skill(passes=0, asked=instances)}


async def test_a_parent_that_comes_back_while_the_pool_is_judged_is_asked_too(
    run: RunContext, broker: Knowing
) -> None:
    child: Family = generative(50).model_copy(update={"kind": "harder", "parents": ("f0",)})
    run.store.put_family(child)
    move(run.store, run.store.family("f0"), "harder_tried")
    sandbox: ScriptedSandbox = run.sandbox  # type: ignore[assignment]
    sandbox.faulty = {child.code}
    await judge_generation(run, 0)
    assert run.store.family_status("f0") == "active"
    assert run.store.skill_counts("a", 0)["f0"].asked == 4


async def test_families_of_one_program_do_not_ask_each_others_questions(run: RunContext) -> None:
    twin = generative(60).model_copy(update={"code": generative(0).code})
    twin = twin.model_copy(update={"code_hash": generative(0).code_hash})
    run.store.put_family(twin)
    run.sandbox.variety = 6  # type: ignore[attr-defined]
    for period in range(2):
        await draw_instances(run, [run.store.family("f0"), twin], period, 2)
    asked = [i.instructions for name in ("f0", "f60") for i in run.store.instances(name)]
    assert len(asked) == len(set(asked)) > 2
