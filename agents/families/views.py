"""What prompts show of records: the facts an agent needs, as plain JSON objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agents.families.exchanges import ANSWER_LENGTH, cut_middle, exchanges_of, shortened
from agents.families.proposal import Proposal
from agents.settings import CalibrationSettings
from memory.records import (
    Assignment,
    Audience,
    Critique,
    Draft,
    Exchange,
    Family,
    GateReport,
    Json,
    LevelRate,
    Skill,
    SkillCounts,
    TrialAnswer,
)
from memory.store import RunStore

View = dict[str, Json]
AT_ONCE = 64
"""Tokens that leave no room to reason before the answer."""
REPLY_LENGTH = 2000


def rule_view(rule: CalibrationSettings) -> View:
    """The rule on difficulty, its shares in percent."""
    return {
        "low": round(100 * rule.low),
        "high": round(100 * rule.high),
        "instances": rule.instances,
    }


def assignment_view(assignment: Assignment) -> View:
    """What is asked for. The index lets parallel scientists take different parts of a catalogue."""
    return {
        "id": assignment.id,
        "kind": assignment.kind,
        "generation": assignment.generation,
        "index": assignment.index,
        "field": assignment.field,
    }


def audience_view(audience: Audience) -> View:
    """Who answers."""
    at_once = audience.max_tokens < AT_ONCE
    return {
        "parameters": in_words(audience.parameters),
        "experts": audience.experts,
        "tokens_of_an_answer": audience.max_tokens,
        "at_once": at_once,
        "questions_and_replies": [exchange_view(exchange) for exchange in audience.exchanges],
        "habits": [f"{habit.share:.0%} of {habit.of} {habit.what}" for habit in audience.habits],
    }


def in_words(parameters: int) -> str:
    """A number of parameters as people say it: 135 million, 7.2 billion."""
    for size, name in ((10**9, "billion"), (10**6, "million"), (10**3, "thousand")):
        if parameters >= size:
            return f"{parameters / size:.3g} {name}"
    return str(parameters)


def exchange_view(exchange: Exchange) -> View:
    """A question with replies and verdicts."""
    return {
        "question": exchange.question,
        "right_answer": exchange.reference,
        "replies": [
            {"expert": said.expert, "answer": said.answer, "passed": said.passed}
            for said in exchange.replies
        ],
    }


def family_view(family: Family) -> View:
    """A family of the pool without its code."""
    return {
        "name": family.name,
        "description": family.description,
        "capability": family.capability,
        "difficulty": family.difficulty,
        "example_instruction": family.example_instruction,
    }


def parent_view(family: Family, archive: Mapping[str, SkillCounts]) -> View:
    """A parent family without its code: what it asks, and how many of the archive pass it.

    Args:
        family: the parent.
        archive: skill vectors of the archive's experts.
    """
    graded = [skills[family.id] for skills in archive.values() if family.id in skills]
    passed = [skill.passed if isinstance(skill, Skill) else skill for skill in graded]
    return {
        **family_view(family),
        "level": family.level,
        "levels": family.levels,
        "curve": list(curve_view(family.curve)),
        "experts_graded": len(graded),
        "experts_that_pass": sum(passed),
    }


def proposal_view(proposal: Proposal) -> View:
    """A drafted family without its code."""
    view: View = proposal.model_dump(mode="json", by_alias=True, exclude={"code"})
    return view


def gates_view(gates: GateReport) -> View:
    """What the gates found, and the two instances as the program states them."""
    return {
        "passed": gates.passed,
        "code": gates.code,
        "detail": gates.detail,
        "levels": gates.levels,
        "level": gates.level,
        "instructions": dict(gates.instructions),
        "reference_answers": dict(gates.references),
    }


def curve_view(curve: Sequence[LevelRate]) -> list[View]:
    """What the panel passed at each level that it was asked, the easiest first."""
    return [
        {
            "level": rate.level,
            "asked": rate.asked,
            "passed": rate.passed,
            "chance": f"{rate.chance:.0%}",
            "passed_beyond_chance": f"{rate.rate:.0%}",
        }
        for rate in curve
    ]


def answers_view(
    answers: Sequence[TrialAnswer], instructions: Mapping[str, str] | None = None
) -> list[View]:
    """What current experts answered to which question, and what the program made of it.

    Args:
        answers: of the panel.
        instructions: instance -> its question, for answers that do not hold theirs.
    """
    asked = instructions or {}
    return [
        {
            "expert": answer.expert,
            "level": answer.level,
            "instance": answer.instance,
            "question": answer.question or asked.get(answer.instance, ""),
            "reference": cut_middle(answer.reference, REPLY_LENGTH),
            "extracted": cut_middle(answer.extracted, REPLY_LENGTH),
            "passed": answer.passed,
            "text": cut_middle(answer.text, REPLY_LENGTH),
        }
        for answer in answers
    ]


def critique_view(critique: Critique) -> View:
    """A critic's verdict and reasons."""
    return {"verdict": critique.verdict, "problems": list(critique.problems)}


def rounds_view(drafts: Sequence[Draft]) -> list[View]:
    """What became of earlier rounds, in short: what was drafted, and why it was not accepted."""
    return [_round_view(draft) for draft in drafts]


def _round_view(draft: Draft) -> View:
    view: View = {"round": draft.round}
    if draft.problem:
        view["unreadable"] = draft.problem
    if draft.proposal is not None:
        proposal = Proposal.of(draft)
        view |= {"name": proposal.name, "difficulty": proposal.difficulty}
    if draft.gates is not None:
        view["instructions"] = {
            number: cut_middle(text, 3 * ANSWER_LENGTH)
            for number, text in draft.gates.instructions.items()
        }
        view |= {"gate": draft.gates.code, "detail": draft.gates.detail}
    if draft.curve:
        view["curve"] = list(curve_view(draft.curve))
    if draft.critique is not None:
        view |= critique_view(draft.critique)
    return view


def parent_of(store: RunStore, assignment: Assignment) -> Family | None:
    """The family that an assignment starts from, None for a novel one."""
    return store.family(assignment.parent) if assignment.parent is not None else None


def parent_shown(store: RunStore, assignment: Assignment) -> dict[str, object]:
    """The variables `parent` and `parent_answers` of a prompt; a novel family has no use for any.

    Both agents are shown the same: the parent, how many pass it, and what they answered.
    """
    parent = parent_of(store, assignment) if assignment.kind != "novel" else None
    if parent is None:
        return {"parent": None, "parent_answers": []}
    experts = store.archive_experts()
    archive = {expert.id: store.skills(expert.id) for expert in experts}
    answered = exchanges_of(store, parent, experts)
    return {
        "parent": parent_view(parent, archive),
        "parent_answers": [exchange_view(shortened(exchange)) for exchange in answered],
    }
