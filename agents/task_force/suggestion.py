"""A question to begin with: one of the run's own history that its force solves."""

from __future__ import annotations

from agents.task_force.field import history_of, resampled_seeds, standing_of
from evolution.selection.voices import Place
from memory.records import FINALS
from memory.store import RunStore


def suggested_question(store: RunStore, size: int = 3) -> str | None:
    """What as many voices of the force as possible answer rightly, the shortest of equals.

    Args:
        store: of the run.
        size: voices of the force.

    Returns:
        None where the force solves nothing that is known.
    """
    standing = standing_of(store)
    voices = standing.force(size, resampled_seeds(store)).voices
    questions = _questions(store)

    def sure(place: Place) -> tuple[float, float, int]:
        rates = [standing.marks[voice].get(place, 0.0) for voice in voices]
        return min(rates), sum(rates), -len(questions[place])

    solved = [
        place
        for place in standing.places
        if place in questions and any(standing.marks[voice].get(place) for voice in voices)
    ]
    return questions[max(solved, key=sure)] if solved else None


def _questions(store: RunStore) -> dict[Place, str]:
    """What was asked in the finals, and of each family the question that it was written with."""
    found: dict[Place, str] = {}
    for family in history_of(store):
        found[family.id, ""] = family.example_instruction
        if not family.generative:
            found.update({(family.id, name): text for name, text in family.instructions.items()})
    for each in store.instances(period=FINALS):
        found[each.family, each.name] = each.instructions
    return found
