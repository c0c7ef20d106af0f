"""What prompts show of records: the facts an agent needs, as plain JSON objects."""

from __future__ import annotations

from collections.abc import Sequence

from agents.families.proposal import Proposal
from memory.records import Assignment, Critique, Family, GateReport, Json, TrialAnswer
from memory.store import RunStore

View = dict[str, Json]


def assignment_view(assignment: Assignment) -> View:
    """What is asked for. The index lets parallel scientists take different parts of a catalogue."""
    return {
        "id": assignment.id,
        "kind": assignment.kind,
        "generation": assignment.generation,
        "index": assignment.index,
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


def proposal_view(proposal: Proposal) -> View:
    """A drafted family without its code."""
    view: View = proposal.model_dump(mode="json", by_alias=True, exclude={"code"})
    return view


def gates_view(gates: GateReport) -> View:
    """What the gates found: a reason code and one line, or that all were passed."""
    return {
        "passed": gates.passed,
        "code": gates.code,
        "detail": gates.detail,
        "instructions": dict(gates.instructions),
    }


def answers_view(answers: Sequence[TrialAnswer]) -> list[View]:
    """What current experts answered, and what the program made of it."""
    return [
        {
            "expert": answer.expert,
            "instance": answer.instance,
            "extracted": answer.extracted,
            "passed": answer.passed,
            "text": answer.text,
        }
        for answer in answers
    ]


def critique_view(critique: Critique) -> View:
    """A critic's verdict and reasons."""
    return {"verdict": critique.verdict, "problems": list(critique.problems)}


def parent_of(store: RunStore, assignment: Assignment) -> Family | None:
    """The family that an assignment starts from, None for a novel one."""
    return store.family(assignment.parent) if assignment.parent is not None else None
