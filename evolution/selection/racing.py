"""Racing: whether candidates that have answered only in part can still survive.

The rest of their answers is simulated, again and again, and survival is decided each time. A pass
rate is drawn from its posterior beta distribution (see `rates`), about a mean that moves with what
is not known of the expert's ability, and the answers that are left from a binomial distribution
with this rate. The share of the simulations in which a candidate survives is its chance to.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from evolution.selection.board import Candidate, counts
from evolution.selection.rates import Counts, prior_of
from evolution.selection.settings import SelectionSettings
from evolution.selection.survival import survive
from memory.records import Skill

SIMULATIONS = 100
"""A chance of a few percent shows in so many."""
WEAKEST = 1.0
"""Lower limit of the prior's strength: one answer does not decide a family."""


def survival_chances(
    candidates: Sequence[Candidate],
    racing: Collection[str],
    asked: Mapping[str, int],
    capacity: int,
    settings: SelectionSettings,
    chances: Mapping[str, float],
    rng: np.random.Generator,
) -> dict[str, float]:
    """How likely racing candidates are to survive once they have answered everything.

    Args:
        candidates: all that compete, the racing ones with what they have answered so far.
        racing: ids of those that have answered in part.
        asked: family -> instances that everybody is asked in the end; 1 for a closed family.
        capacity: how many survive.
        settings: the rule of survival.
        chances: of generative families, see `Board.of`.
        rng: draws the simulated answers.
    """
    families = list(asked)
    order = sorted(candidates, key=lambda candidate: candidate.seniority)
    rows = [row for row, candidate in enumerate(order) if candidate.id in racing]
    passes, graded = counts(order, families)
    generative = np.array([family in chances for family in families])
    left = np.maximum(np.array([asked[f] for f in families]) - graded[rows], 0) * generative
    survived = dict.fromkeys((order[row].id for row in rows), 0)
    for _ in range(SIMULATIONS):
        ends = passes.copy()
        ends[rows] += _answers(passes, graded, rows, left, generative, rng)
        whole = list(order)
        for place, row in enumerate(rows):
            entries = zip(families, ends[row], graded[row] + left[place], strict=True)
            skills = {f: Skill(passes=int(p), asked=int(n)) for f, p, n in entries if n}
            whole[row] = Candidate(order[row].id, skills, order[row].generation, order[row].birth)
        for kept in survive(whole, families, capacity, settings, chances).kept:
            if kept.id in survived:
                survived[kept.id] += 1
    return {name: count / SIMULATIONS for name, count in survived.items()}


def _answers(
    passes: Counts,
    graded: Counts,
    rows: Sequence[int],
    left: Counts,
    generative: np.ndarray[tuple[int], np.dtype[np.bool_]],
    rng: np.random.Generator,
) -> Counts:
    """(racing, families) passes among simulated answers."""
    prior = prior_of(passes[:, generative], graded[:, generative])
    strength = max(prior.strength, WEAKEST)
    moved = prior.deviation[rows] * rng.standard_normal(len(rows))
    mean = np.clip(prior.mean[rows] + moved[:, None], 0.01, 0.99)
    right = passes[rows][:, generative]
    wrong = graded[rows][:, generative] - right
    rate = rng.beta(strength * mean + right, strength * (1 - mean) + wrong)
    drawn = np.zeros_like(left)
    drawn[:, generative] = rng.binomial(left[:, generative], rate)
    return drawn
