"""One expert out of a task force: what it learns, and how it is exported."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from agents.context import RunContext
from agents.errors import AnsweringError
from agents.lessons.distil import distil
from agents.sandbox import Score
from agents.task_force.collective import Collective
from evolution.exporting import About, Sources, export_expert
from evolution.materialise.weights import materialise
from evolution.population import Population
from memory.records import Reply
from memory.store import RunStore
from tests.agents.archive.test_tutoring import RATES, config_of, grade
from tests.agents.cases import ScriptedBroker, ScriptedSandbox, generative, run_context
from tests.conftest import TinyFamily


class HalfRight(ScriptedBroker):
    """Says yes to first questions, no to second ones."""

    cut = False

    async def answer(self, genome_id: str, genome: Any, ask: Any) -> list[Reply]:
        self.replies |= {
            prompt[-1].content: f"Answer: {'yes' if '1 of' in prompt[-1].content else 'no'}"
            for prompt in ask.prompts
        }
        replies = await super().answer(genome_id, genome, ask)
        finish: Any = "length" if self.cut else "stop"
        return [reply.model_copy(update={"finish_reason": finish}) for reply in replies]


class Answering(Population):
    """A bank of real models, whose experts say what a test wants."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.said = HalfRight()

    async def broker(self) -> Any:
        return self.said


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore.open(tmp_path / "run") as opened:
        yield opened


@pytest.fixture
async def run(store: RunStore, tiny_family: TinyFamily, cache: Path) -> AsyncIterator[RunContext]:
    from agents.archive.founding import make_seeds

    config = config_of(tiny_family)
    for number in range(4):
        store.put_family(generative(number))
    population = Answering(config.models, config.spectral, config.engine, cache)
    sandbox = ScriptedSandbox(scores={"yes": Score(1.0)})
    context = run_context(store, config, population=population, sandbox=sandbox)
    await make_seeds(context)
    grade(store, RATES)
    yield context
    await population.close()


async def test_the_best_of_the_force_learns_what_is_chosen_and_right(
    run: RunContext, tmp_path: Path
) -> None:
    force = Collective.open(run, 2, "majority")
    before = run.store.experts(), run.store.instances(), run.store.events()
    found = await distil(force, run.sandbox, 6, 5)
    assert (found.asked, found.right) == (24, 12)
    assert found.losses[1] < found.losses[0]
    assert found.expert.parents == tuple(member.expert.id for member in force.members)
    assert (run.store.experts(), run.store.instances(), run.store.events()) == before
    bank = await run.population.bank()
    about = About(found.expert, "run")
    out = tmp_path / "out"
    export_expert(bank, found.genome, about, Sources(None, {}), out)
    recipe = json.loads((out / "recipe.json").read_text())
    assert recipe["expert"]["parameters"]["distil"]["right"] == 12
    ours, theirs = bank.model(), AutoModelForCausalLM.from_pretrained(out)
    materialise(bank, found.genome, ours)
    tokens = torch.tensor([[1, 40, 50]])
    with torch.no_grad():
        assert torch.equal(ours(tokens).logits, theirs(tokens).logits)


async def test_no_question_of_the_run_is_asked_again(run: RunContext) -> None:
    run.sandbox.variety = 8  # type: ignore[attr-defined]
    from agents.judge.instances import draw_instances

    await draw_instances(run, run.store.families("active"), 0, 3)
    population: Any = run.population
    await distil(Collective.open(run, 1, "majority"), run.sandbox, 3, 1)
    asked = {text for texts in population.said.asked for text in texts}
    assert asked
    assert not asked & {each.instructions for each in run.store.instances()}


async def test_of_an_answer_that_was_cut_off_its_mark_is_learnt(run: RunContext) -> None:
    population: Any = run.population
    population.said.cut = True
    found = await distil(Collective.open(run, 1, "majority"), run.sandbox, 2, 1)
    assert found.right == 4


async def test_a_force_that_is_right_nowhere_and_a_run_without_questions_are_named(
    run: RunContext,
) -> None:
    run.sandbox.scores.clear()  # type: ignore[attr-defined]
    force = Collective.open(run, 1, "majority")
    with pytest.raises(AnsweringError, match="of 8 fresh questions the task force solves none"):
        await distil(force, run.sandbox, 2, 1)
    for each in run.store.families("active"):
        run.store.set_family_status(each.id, "retired", "old")
    with pytest.raises(AnsweringError, match="no active family that draws fresh instances"):
        await distil(force, run.sandbox, 2, 1)
