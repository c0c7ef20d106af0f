"""Other ways to a task force than the greedy one: to compare with it, and for small cases exact."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from math import comb

from evolution.errors import ForceError
from evolution.selection.coverage import Passes, TaskForce, greedy
from memory.randomness import stream
from memory.records import Skills

MOST_SUBSETS = 2_000_000
"""How many subsets the optimal force looks through; 20 choose 8 are 125,970."""


def optimal_force(skills: Mapping[str, Skills], families: Iterable[str], n: int) -> TaskForce:
    """The force of the highest Coverage, by looking at all subsets.

    Of equally good subsets, the fitter one in sum is taken, then the one whose experts stand
    earlier in `skills`; its members are put in greedy order. It need not contain the optimal force
    of n - 1.

    Raises:
        ForceError: there are too many subsets to look at.
    """
    passes = Passes.of(skills, families)
    size = min(n, len(passes.masks))
    subsets = comb(len(passes.masks), size)
    if subsets > MOST_SUBSETS:
        raise ForceError(
            f"the optimal force of {size} out of {len(passes.masks)} experts means {subsets:,} "
            f"subsets, more than {MOST_SUBSETS:,}: take the greedy force"
        )
    # max() keeps the first of equals, and combinations come in the order of the experts.
    best = max(
        combinations(passes.masks, size),
        key=lambda subset: (
            passes.union(subset).bit_count(),
            sum(passes.fitness[expert] for expert in subset),
        ),
    )
    members = Passes(
        {expert: passes.masks[expert] for expert in best}, passes.fitness, passes.families
    )
    return passes.force(greedy(members, size))


def fittest_force(skills: Mapping[str, Skills], families: Iterable[str], n: int) -> TaskForce:
    """The n fittest; ties by the order of `skills`. What each adds to the others is ignored."""
    passes = Passes.of(skills, families)
    ranked = sorted(passes.masks, key=lambda expert: -passes.fitness[expert])
    return passes.force(ranked[:n])


def random_force(
    skills: Mapping[str, Skills], families: Iterable[str], n: int, seed: int
) -> TaskForce:
    """Experts by lot; for one seed, forces of every size are prefixes of each other."""
    passes = Passes.of(skills, families)
    experts = list(passes.masks)
    order = stream(seed, 0, "random-force").permutation(len(experts))
    return passes.force([experts[int(place)] for place in order[:n]])


def forces_by_generation(
    archives: Mapping[int, Sequence[str]],
    skills: Mapping[str, Skills],
    families: Iterable[str],
    n: int,
) -> dict[int, TaskForce]:
    """The greedy force of each generation's archive, all measured on the same families.

    Args:
        archives: generation -> experts; those without a skill vector are left out.
        skills: expert -> skill vector.
        families: on which Coverage is measured.
        n: how many of each generation.
    """
    passes = Passes.of(skills, families)
    forces = {}
    for generation, experts in sorted(archives.items()):
        masks = {expert: passes.masks[expert] for expert in experts if expert in passes.masks}
        members = Passes(masks, passes.fitness, passes.families)
        forces[generation] = members.force(greedy(members, n))
    return forces


def best_generation_force(
    archives: Mapping[int, Sequence[str]],
    skills: Mapping[str, Skills],
    families: Iterable[str],
    n: int,
) -> TaskForce:
    """The best of the generations' forces; the earliest generation on ties.

    Raises:
        ForceError: there is no generation.
    """
    forces = forces_by_generation(archives, skills, families, n)
    if not forces:
        raise ForceError("no generation has an archive yet")
    return max(forces.values(), key=lambda force: force.coverage[-1] if force.coverage else 0.0)
