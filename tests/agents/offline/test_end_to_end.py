"""Scientist and critic through the real chat client, the offline model and the real sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from agents.chat.client import ChatClient
from agents.chat.endpoints import EndpointsSettings
from agents.families.proposal import Proposal
from agents.offline import MODEL, OfflineTransport
from agents.offline.author import name_of, write
from agents.offline.sketches import Sketch
from agents.sandbox import Sandbox, open_sandbox
from agents.scientist.subgraph import ScientistContext, build_scientist, candidate_family
from agents.settings import GateSettings, SandboxSettings, ScientistSettings
from agents.trial import run_gates
from agents.trial.levels import Calibrated
from memory.records import Assignment, AssignmentKind, Family, GateReport, TrialAnswer
from memory.store import RunStore
from prompts import worked_example
from tests.agents.cases import unlike_all
from tests.conftest import anything

Passes = Callable[[Proposal, str, str], bool]
EXPERTS = ("numbers", "words", "logic")
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    """Its guests import reasoning-gym, which takes seconds: the same for all cases."""
    sandbox = open_sandbox(SandboxSettings(), ours=anything)
    yield sandbox
    await sandbox.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore.open(tmp_path / "run.db") as store:
        yield store


def numbers_passes(proposal: Proposal, expert: str, instance: str) -> bool:
    return expert == "numbers"


async def work(
    store: RunStore,
    sandbox: Sandbox,
    assignment: Assignment,
    passes: Passes,
    *,
    critic: bool = True,
) -> str:
    """Let the offline scientist work on an assignment; the outcome is its status."""

    async def gates(assignment: Assignment, proposal: Proposal) -> GateReport:
        return await run_gates(sandbox, proposal, GateSettings())

    async def trial(assignment: Assignment, proposal: Proposal, report: GateReport) -> Calibrated:
        answers = tuple(
            played(proposal, report, expert, instance, passes)
            for expert in EXPERTS
            for instance in "12"
        )
        return Calibrated(report, (), answers)

    store.put_assignment(assignment)
    chat = ChatClient(EndpointsSettings(), store, transport=OfflineTransport())
    settings = ScientistSettings(critic=critic)
    context = ScientistContext(store, chat, settings, gates, trial, unlike_all)
    await build_scientist().ainvoke({"assignment": assignment.id, "round": 0}, context=context)
    await chat.close()
    return store.assignment_status(assignment.id).status


def played(
    proposal: Proposal, report: GateReport, expert: str, instance: str, passes: Passes
) -> TrialAnswer:
    """An expert's answer that is right or wrong as the play demands."""
    passed = passes(proposal, expert, instance)
    text = report.references[instance] if passed else report.wrong[instance][0]
    return TrialAnswer(
        expert=expert,
        level=report.level,
        instance=instance,
        question=report.instructions[instance],
        reference=report.references[instance],
        text=f"Answer: {text}",
        extracted=text,
        passed=passed,
    )


def novel(index: int, rng_seed: int = 7) -> Assignment:
    return Assignment(
        id=f"g0-a{index:02d}", generation=0, index=index, kind="novel", rng_seed=rng_seed
    )


def child_of(parent: Family, kind: AssignmentKind) -> Assignment:
    return Assignment(id="g2-a00", generation=2, index=0, kind=kind, parent=parent.id, rng_seed=5)


def stored(store: RunStore, sketch: Sketch, level: int = 1) -> Family:
    """A family of the pool that the offline scientist wrote earlier."""
    proposal = Proposal.model_validate(write(sketch))
    drawn = {"1": "first", "2": "second"}
    report = GateReport(
        code=None,
        instructions=drawn,
        references=drawn,
        wrong={number: ["none"] for number in drawn},
        levels=5,
        level=level,
        seed=1,
    )
    family = proposal.to_family(report, id="g0-a99-parent", scientist=MODEL)
    store.put_family(family)
    return family


async def test_the_worked_example_of_the_prompt_passes_all_gates(sandbox: Sandbox) -> None:
    report = await run_gates(sandbox, Proposal.model_validate(worked_example()), GateSettings())
    assert report.passed, report.detail


async def test_founding_gives_varied_families_and_changes_what_gates_turn_down(
    store: RunStore, sandbox: Sandbox
) -> None:
    assignments = [novel(index) for index in range(12)]
    for assignment in assignments:
        assert await work(store, sandbox, assignment, numbers_passes) == "candidate"
    families = [candidate_family(store, assignment) for assignment in assignments]
    assert len({family.generator.split(", ")[0] for family in families}) == 12
    assert {family.scientist for family in families} == {"offline"}
    changed = [family for family in families if family.revisions]
    assert len(changed) >= 3
    failed = [
        draft.gates.code
        for assignment in assignments
        for draft in store.drafts(assignment.id)
        if draft.gates is not None and draft.gates.code is not None
    ]
    assert "score_range" in failed


async def test_a_run_that_is_repeated_asks_nothing_again(store: RunStore, sandbox: Sandbox) -> None:
    await work(store, sandbox, novel(1), numbers_passes)
    family, calls = candidate_family(store, novel(1)), len(store.calls())
    await work(store, sandbox, novel(1), numbers_passes)
    assert candidate_family(store, novel(1)) == family
    assert len(store.calls()) == calls


@pytest.mark.parametrize("kind", ["related", "harder", "easier"])
async def test_children_differ_from_their_parent_and_pass_the_gates(
    store: RunStore, sandbox: Sandbox, kind: AssignmentKind
) -> None:
    # Where its own levels end: otherwise no scientist is asked.
    parent = stored(store, Sketch(("chain_sum",)), level=5 if kind == "harder" else 1)
    assignment = child_of(parent, kind)
    assert await work(store, sandbox, assignment, numbers_passes) == "candidate"
    child = candidate_family(store, assignment)
    assert child.name != parent.name
    assert child.generator.split(", ")[0] == "chain_sum"
    assert (child.levels, child.generative) == (5, True)


async def test_switching_the_critic_off_lets_a_child_in_that_misses_its_assignment(
    store: RunStore, sandbox: Sandbox, tmp_path: Path
) -> None:
    """It passes every gate and is its parent's example again: only the critic keeps it out."""
    parent = Sketch(("chain_sum",), "shown")
    assignment = child_of(stored(store, parent), "easier")
    assert await work(store, sandbox, assignment, numbers_passes, critic=True) == "rejected"
    assert store.rejection_counts() == {"critic_reject": 1}
    with RunStore.open(tmp_path / "without.db") as without:
        stored(without, parent)
        assert await work(without, sandbox, assignment, numbers_passes, critic=False) == "candidate"
        assert candidate_family(without, assignment).name == name_of(parent)
