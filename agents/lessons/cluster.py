"""Which families a lesson is about: some that the archive fails or half solves, and that are alike.

Lessons on families that belong together teach more than on random ones (arXiv 2602.12323); here
those are alike that are of one field, and that the same experts pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from agents.context import RunContext
from evolution.selection import Board
from evolution.selection.rates import GRID
from memory.records import Expert, Family, rate_of

SOLVED = 0.75
"""Pass rate, shrunk and beyond chance, from which a family needs no lesson."""
REPEATED = 0.25
"""What each lesson about a family counts for beside its pass rate, when the next one is chosen."""


@dataclass(frozen=True)
class Cluster:
    """What a lesson is about.

    Attributes:
        families: of which instances are learnt, the one that needs it most first.
        parent: who is taught: who passes most of them.
        tutors: family -> who passes most of it; None where nobody passes anything.
    """

    families: tuple[Family, ...]
    parent: Expert
    tutors: Mapping[str, Expert | None]


def choose_cluster(
    context: RunContext, generation: int, taught: Mapping[str, int], most: int
) -> Cluster | None:
    """Choose the families of a lesson and its pupil; None if nothing needs a lesson.

    Args:
        context: of the run; its archive is that of the generation before.
        generation: in which the lesson is given.
        taught: family -> lessons that were about it. Each of them counts like `REPEATED` passed, so
            that what cannot be learnt does not take every lesson.
        most: families of the lesson, at most.
    """
    store = context.store
    archive = {e.expert: store.expert(e.expert) for e in store.archive(generation - 1)}
    families = {family.id: family for family in store.families("active")}
    if not archive or not families:
        return None
    names = list(families)
    # On the instances on which they were selected: in a new period nobody has answered yet.
    candidates = context.candidates(list(archive.values()), context.period_of(generation - 1))
    board = Board.of(candidates, names, context.chances())
    best = board.rates.max(axis=0)
    wanted = [
        place
        for place, name in enumerate(names)
        if families[name].generative
        and board.graded[:, place].any()
        and best[place] < SOLVED * GRID
    ]
    if not wanted:
        return None

    def need(place: int) -> tuple[float, int]:
        repeated = REPEATED * GRID * taught.get(names[place], 0)
        return best[place] + repeated, place  # of equals the one that was accepted first

    target = min(wanted, key=need)

    def apart(place: int) -> tuple[bool, int, int]:
        other_field = families[names[place]].field != families[names[target]].field
        distance = np.abs(board.rates[:, place] - board.rates[:, target]).sum()
        return place != target and other_field, int(distance), place

    others = sorted((place for place in wanted if place != target), key=apart)
    chosen = [target, *others][:most]
    # The board is sorted: of equals the fittest.
    pupil = board.candidates[int(board.rates[:, chosen].sum(axis=1).argmax())]

    def tutor(place: int) -> Expert | None:
        candidate = board.candidates[int(board.rates[:, place].argmax())]
        # A rate is shrunk towards what is expected: whoever passes nothing has one too.
        passes = rate_of(candidate.skills.get(names[place], 0.0))
        return archive[candidate.id] if passes else None

    tutors = {names[place]: tutor(place) for place in chosen}
    return Cluster(tuple(families[names[p]] for p in chosen), archive[pupil.id], tutors)
