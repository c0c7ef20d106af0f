"""One scientist at work on one assignment, as a LangGraph subgraph.

    propose -> trial -> critique -> (refine -> trial -> critique)* -> candidate | rejected

The state holds ids and counters; proposals, gate reports, trial answers and critiques are kept in
the run store as drafts. A scientist that is run again after a kill finds its calls in the chat
cache and writes the same drafts again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache, wraps
from typing import Any, Literal, NotRequired, Protocol, Self, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from agents.chat.client import ChatClient, Place, messages_of
from agents.chat.structured import Completion
from agents.context import RunContext
from agents.critic.critique import criticise
from agents.critic.novelty import novelty_verdict
from agents.errors import ContextLengthError, EndpointError, FamilyFault
from agents.families.candidate import candidate_family, has_level_left
from agents.families.proposal import Proposal
from agents.families.views import parent_of
from agents.judge.examiner import rater_of
from agents.scientist.messages import (
    Extent,
    conversation,
    extents,
    shown_to_proposer,
    shown_to_refiner,
)
from agents.settings import CalibrationSettings, ScientistSettings
from agents.trial import run_gates
from agents.trial.levels import Calibrated
from agents.trial.panel import answer_trial
from memory.openinference import SpanKind
from memory.randomness import SEED_RANGE, derive_seed
from memory.records import (
    Assignment,
    Critique,
    Draft,
    Family,
    GateReport,
    Rejection,
)
from memory.spans import span
from memory.store import RunStore

__all__ = ["ScientistContext", "build_scientist", "candidate_family"]

NextStep = Literal["trial", "critique", "refine", "done"]


class ScientistState(TypedDict):
    """State between steps: which assignment, which round, and what comes next."""

    assignment: str
    round: int
    step: NotRequired[NextStep]


@dataclass(frozen=True, slots=True)
class ScientistContext:
    """Services and settings of a scientist.

    Attributes:
        gates: runs the gates on a proposal, in the sandbox.
        trial: lets current experts answer a proposal that passed them, and finds its level.
        novelty: compares a family with the pool; None for a new one.
        can_rate: whether a rater grades rated families.
        calibration: the rule on difficulty, of which both agents are told.
    """

    store: RunStore
    chat: ChatClient
    settings: ScientistSettings
    gates: Callable[[Assignment, Proposal], Awaitable[GateReport]]
    trial: Callable[[Assignment, Proposal, GateReport], Awaitable[Calibrated]]
    novelty: Callable[[Assignment, Family], Awaitable[Rejection | None]]
    can_rate: bool = False
    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)

    @classmethod
    def of_run(cls, run: RunContext) -> Self:
        """The context of a scientist in a run."""

        async def gates(assignment: Assignment, proposal: Proposal) -> GateReport:
            with run.drafts.at("at gates"):
                seed = derive_seed(assignment.rng_seed, 0, "instances", 0) % SEED_RANGE
                return await run_gates(
                    run.sandbox, proposal, run.config.gates, rater_of(run), seed=seed
                )

        async def trial(
            assignment: Assignment, proposal: Proposal, report: GateReport
        ) -> Calibrated:
            with run.drafts.at("in trial"):
                parent = parent_of(run.store, assignment)
                return await answer_trial(run, proposal, report, parent, assignment)

        async def novelty(assignment: Assignment, family: Family) -> Rejection | None:
            return await novelty_verdict(run, assignment, family)

        config = run.config
        return cls(
            run.store,
            run.chat,
            config.scientist,
            gates,
            trial,
            novelty,
            run.has_rater,
            config.calibration,
        )


ScientistRuntime = Runtime[ScientistContext]


class ScientistNode(Protocol):
    """A step of a scientist; it says which one is next."""

    __name__: str

    async def __call__(self, state: ScientistState, runtime: ScientistRuntime) -> dict[str, Any]:
        """Take the step."""
        ...


@cache
def build_scientist() -> CompiledStateGraph[
    ScientistState, ScientistContext, ScientistState, ScientistState
]:
    """Compile the subgraph. It keeps no checkpoints: the run store finds everything again."""
    graph = StateGraph(ScientistState, context_schema=ScientistContext)
    graph.add_node("propose", _turn("agent", propose))
    graph.add_node("trial", _turn("step", trial))
    graph.add_node("critique", _turn("agent", critique))
    graph.add_node("refine", _turn("agent", refine))
    graph.add_edge(START, "propose")
    graph.add_conditional_edges("propose", next_step, ["trial", "refine", END])
    graph.add_conditional_edges("trial", next_step, ["critique", "refine", END])
    graph.add_conditional_edges("critique", next_step, ["refine", END])
    graph.add_conditional_edges("refine", next_step, ["trial", "refine", END])
    return graph.compile(checkpointer=False, name="scientist")


def _turn(kind: SpanKind, node: ScientistNode) -> ScientistNode:
    """A node within its span."""

    @wraps(node)
    async def turn(state: ScientistState, runtime: ScientistRuntime) -> dict[str, Any]:
        number = state["round"] + (node is refine)
        with span(kind, node.__name__, assignment=state["assignment"], round=number) as work:
            found = await node(state, runtime)
            work.set(output=found["step"])
            return found

    return turn


def next_step(state: ScientistState) -> str:
    """The next node, as chosen by the last step."""
    step = state.get("step", "done")
    return END if step == "done" else step


async def propose(state: ScientistState, runtime: ScientistRuntime) -> dict[str, Any]:
    """Ask for the first draft of the family, or move the parent's own program to another level."""
    context = runtime.context
    assignment = context.store.assignment(state["assignment"])
    parent = parent_of(context.store, assignment)
    if parent is not None and has_level_left(parent, assignment.kind):
        own = Proposal.of(parent).to_json()
        context.store.put_draft(Draft(assignment=assignment.id, round=0, proposal=own))
        return {"round": 0, "step": "trial"}

    async def ask(extent: Extent) -> Completion[Proposal]:
        shown = _opening(context, extent.assignment)
        place = _place(assignment, 0, "propose")
        return await context.chat.ask("propose", place, shown, Proposal)

    return await _write(context, assignment, 0, ask)


async def refine(state: ScientistState, runtime: ScientistRuntime) -> dict[str, Any]:
    """Ask for a changed draft, given the results of the last one."""
    context, number = runtime.context, state["round"] + 1
    assignment = context.store.assignment(state["assignment"])
    drafts, rounds = context.store.drafts(assignment.id), context.settings.max_refinements
    *earlier, last = [draft for draft in drafts if draft.round < number]

    async def ask(extent: Extent) -> Completion[Proposal]:
        prompts, whole = context.chat.prompts, extent.whole
        opening = messages_of(prompts.render("propose", **_opening(context, extent.assignment)))
        return await context.chat.ask(
            "refine",
            _place(assignment, number, "refine"),
            shown_to_refiner(last, rounds - number, () if whole else earlier),
            Proposal,
            before=conversation(
                prompts, context.store, opening, [*earlier, last], rounds, whole=whole
            ),
        )

    return await _write(context, assignment, number, ask)


async def trial(state: ScientistState, runtime: ScientistRuntime) -> dict[str, Any]:
    """Run the gates, let current experts answer what passes, and compare it with the pool.

    What these find is not put to the critic. A parent's own program at another level has been
    reviewed already.
    """
    context, draft = runtime.context, _draft(runtime.context, state)
    proposal, assignment = Proposal.of(draft), context.store.assignment(draft.assignment)
    try:
        gates = await context.gates(assignment, proposal)
    except (EndpointError, ContextLengthError) as error:  # of the rater, for a rated family
        return _reject(context, draft.assignment, await _unanswered(context, error))
    draft = draft.model_copy(update={"gates": gates})
    context.store.put_draft(draft)
    if gates.code is not None:
        return _again(context, draft, Rejection(reason=gates.code, detail=gates.detail))
    try:
        found = await context.trial(assignment, proposal, gates)
    except FamilyFault as fault:  # an expert's answer triggered what no gate had tried
        failed = {"code": fault.code, "detail": fault.detail}
        draft = draft.model_copy(update={"gates": gates.model_copy(update=failed)})
        context.store.put_draft(draft)
        return _again(context, draft, Rejection(reason=fault.code, detail=fault.detail))
    draft = draft.model_copy(
        update={"gates": found.report, "curve": found.curve, "answers": found.answers}
    )
    context.store.put_draft(draft)
    if found.report.code is not None:
        rejection = Rejection(reason=found.report.code, detail=found.report.detail)
        return _again(context, draft, rejection)
    parent = parent_of(context.store, assignment)
    if draft.round == 0 and parent is not None and has_level_left(parent, assignment.kind):
        return _accept(context, draft)
    return await _compare(context, assignment, draft)


async def _compare(
    context: ScientistContext, assignment: Assignment, draft: Draft
) -> dict[str, Any]:
    """Compare a draft with the pool before anybody reviews it."""
    rejection = await context.novelty(assignment, candidate_family(context.store, assignment))
    if rejection is None:
        return {"step": "critique"} if context.settings.critic else _accept(context, draft)
    if rejection.reason not in ("duplicate", "not_novel"):  # the endpoint said nothing
        return _reject(context, assignment.id, rejection)
    assert draft.gates is not None
    failed = {"code": rejection.reason, "detail": rejection.detail}
    draft = draft.model_copy(update={"gates": draft.gates.model_copy(update=failed)})
    context.store.put_draft(draft)
    return _again(context, draft, rejection)


async def critique(state: ScientistState, runtime: ScientistRuntime) -> dict[str, Any]:
    """Ask the critic for a verdict."""
    context, draft = runtime.context, _draft(runtime.context, state)
    assignment = context.store.assignment(draft.assignment)
    try:
        left = context.settings.max_refinements - draft.round
        reply = await criticise(
            context.chat,
            context.store,
            assignment,
            draft,
            rounds_left=left,
            rule=context.calibration,
        )
    except (EndpointError, ContextLengthError) as error:
        return _reject(context, assignment.id, await _unanswered(context, error))
    if reply.parsed is None:
        problem = f"critic: {reply.problem}"
        return _reject(context, draft.assignment, Rejection(reason="malformed", detail=problem))
    verdict = Critique(verdict=reply.parsed.verdict, problems=reply.parsed.problems)
    draft = draft.model_copy(update={"critique": verdict})
    context.store.put_draft(draft)
    return _follow(context, draft, verdict)


def _follow(context: ScientistContext, draft: Draft, verdict: Critique) -> dict[str, Any]:
    """Act on the critic's verdict."""
    problems = " ".join(verdict.problems)
    if verdict.verdict == "accept":
        return _accept(context, draft)
    if verdict.verdict == "refine":
        return _again(context, draft, Rejection(reason="rounds_exhausted", detail=problems))
    return _reject(context, draft.assignment, Rejection(reason="critic_reject", detail=problems))


async def _write(
    context: ScientistContext,
    assignment: Assignment,
    number: int,
    ask: Callable[[Extent], Awaitable[Completion[Proposal]]],
) -> dict[str, Any]:
    """Ask the scientist, and store its proposal as the draft of this round.

    A conversation that is too long for the model is sent again in a shorter form; if the shortest
    is still too long, the assignment is rejected.
    """
    *longer, shortest = extents(assignment, number)
    reply: Completion[Proposal] | None = None
    try:
        for extent in longer:
            with contextlib.suppress(ContextLengthError):
                reply = await ask(extent)
                break
        if reply is None:
            reply = await ask(shortest)
    except (EndpointError, ContextLengthError) as error:
        return _reject(context, assignment.id, await _unanswered(context, error))
    proposal = reply.parsed.to_json() if reply.parsed else None
    problem = None if reply.parsed else reply.problem
    draft = Draft(assignment=assignment.id, round=number, proposal=proposal, problem=problem)
    context.store.put_draft(draft)
    if proposal is None:
        return _again(context, draft, Rejection(reason="malformed", detail=problem or ""))
    return {"round": number, "step": "trial"}


def _opening(context: ScientistContext, assignment: Assignment) -> dict[str, object]:
    """What the conversation begins with."""
    rounds = context.settings.max_refinements
    return shown_to_proposer(
        context.store,
        assignment,
        can_rate=context.can_rate,
        rounds_left=rounds,
        rule=context.calibration,
    )


def _place(assignment: Assignment, number: int, purpose: str) -> Place:
    seed = derive_seed(assignment.rng_seed, number, purpose, 0)
    return Place(assignment.id, number, seed=seed)


def _draft(context: ScientistContext, state: ScientistState) -> Draft:
    drafts = context.store.drafts(state["assignment"])
    return next(draft for draft in drafts if draft.round == state["round"])


def _again(context: ScientistContext, draft: Draft, rejection: Rejection) -> dict[str, Any]:
    """Another round if there is one left, else the rejection."""
    if draft.round < context.settings.max_refinements:
        return {"round": draft.round, "step": "refine"}
    return _reject(context, draft.assignment, rejection)


def _accept(context: ScientistContext, draft: Draft) -> dict[str, Any]:
    context.store.finish_assignment(draft.assignment, "candidate")
    return {"step": "done"}


def _reject(context: ScientistContext, assignment: str, rejection: Rejection) -> dict[str, Any]:
    context.store.finish_assignment(assignment, "rejected", rejection)
    return {"step": "done"}


async def _unanswered(
    context: ScientistContext, error: EndpointError | ContextLengthError
) -> Rejection:
    """The rejection of an assignment whose call failed.

    Raises:
        EndpointError: the endpoint is down. The assignment stays open, for the same command.
    """
    if isinstance(error, ContextLengthError):
        return Rejection(reason="context_length", detail=str(error))
    await context.chat.raise_if_down(error)
    return Rejection(reason="endpoint", detail=str(error))
