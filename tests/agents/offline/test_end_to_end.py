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
from agents.offline.author import write
from agents.offline.sketches import Sketch
from agents.sandbox import Sandbox, open_sandbox
from agents.scientist.subgraph import ScientistContext, build_scientist, candidate_family
from agents.settings import GateSettings, SandboxSettings, ScientistSettings
from agents.trial import run_gates
from agents.trial.levels import Calibrated
from memory.records import Assignment, AssignmentKind, Family, GateReport, TrialAnswer
from memory.store import RunStore
from prompts import worked_example
from tests.agents.cases import report_of, unlike_all
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


def all_pass(proposal: Proposal, expert: str, instance: str) -> bool:
    return True


def none_passes(proposal: Proposal, expert: str, instance: str) -> bool:
    return False


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
            played(proposal, expert, instance, passes) for expert in EXPERTS for instance in "12"
        )
        return Calibrated(report, (), answers)

    store.put_assignment(assignment)
    chat = ChatClient(EndpointsSettings(), store, transport=OfflineTransport())
    settings = ScientistSettings(critic=critic)
    context = ScientistContext(store, chat, settings, gates, trial, unlike_all)
    await build_scientist().ainvoke({"assignment": assignment.id, "round": 0}, context=context)
    await chat.close()
    return store.assignment_status(assignment.id).status


def played(proposal: Proposal, expert: str, instance: str, passes: Passes) -> TrialAnswer:
    """An expert's answer that is right or wrong as the play demands."""
    passed = passes(proposal, expert, instance)
    right, wrong = proposal.references[instance], proposal.wrong[instance][0]
    text = right if passed else wrong
    return TrialAnswer(
        expert=expert, instance=instance, text=f"Answer: {text}", extracted=text, passed=passed
    )


def novel(index: int, rng_seed: int = 7) -> Assignment:
    return Assignment(
        id=f"g0-a{index:02d}", generation=0, index=index, kind="novel", rng_seed=rng_seed
    )


def child_of(parent: Family, kind: AssignmentKind) -> Assignment:
    return Assignment(id="g2-a00", generation=2, index=0, kind=kind, parent=parent.id, rng_seed=5)


def stored(store: RunStore, sketch: Sketch) -> Family:
    """A family of the pool that the offline scientist wrote earlier."""
    proposal = Proposal.model_validate(write(sketch))
    family = proposal.to_family(report_of(proposal), id="g0-a99-parent", scientist=MODEL)
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


async def test_what_nobody_passes_is_made_easier(store: RunStore, sandbox: Sandbox) -> None:
    parent = stored(store, Sketch(("chain_sum",), 5, "plain", 3, own_scorer=True))
    assignment = child_of(parent, "easier")

    def passes(proposal: Proposal, expert: str, instance: str) -> bool:
        return proposal.difficulty <= 2 and expert == "numbers"

    assert await work(store, sandbox, assignment, passes) == "candidate"
    levels = [draft.proposal["difficulty"] for draft in store.drafts("g2-a00") if draft.proposal]
    assert levels == [4, 3, 2]


ALL_TOO_EASY = "Chain sums: five three-digit numbers"
"""The hardest rung, set as a harder child while every expert passes it."""
TOO_HARD_ANYWAY = "Caesar cipher by example: two words, shifted by one"
"""The easiest rung with a solved example, set as an easier child while no expert passes it."""


@pytest.mark.parametrize(
    ("name", "parent", "kind", "passes"),
    [
        (
            ALL_TOO_EASY,
            Sketch(("chain_sum",), 4, "plain", 3, own_scorer=True),
            "harder",
            all_pass,
        ),
        (
            TOO_HARD_ANYWAY,
            Sketch(("caesar_cipher",), 1, "plain", 3, own_scorer=True),
            "easier",
            none_passes,
        ),
    ],
)
async def test_switching_the_critic_off_lets_a_flawed_family_into_the_pool(
    store: RunStore,
    sandbox: Sandbox,
    tmp_path: Path,
    name: str,
    parent: Sketch,
    kind: AssignmentKind,
    passes: Passes,
) -> None:
    """Each passes every gate, and tells no two experts apart: only the critic keeps it out."""
    assignment = child_of(stored(store, parent), kind)
    assert await work(store, sandbox, assignment, passes, critic=True) == "rejected"
    assert store.rejection_counts() == {"critic_reject": 1}
    with RunStore.open(tmp_path / "without.db") as without:
        stored(without, parent)
        assert await work(without, sandbox, assignment, passes, critic=False) == "candidate"
        assert candidate_family(without, assignment).name == name
