"""What the race of children saves, and how often it changes who survives; on simulated experts.

    python -m benchmarks.racing [--runs 40] [--limit 0.02] [--quick] [--json]

The experts and families of `benchmarks.ranking`, whose pass rates are known. A run begins with
eight experts and takes ten generations. Four children are born in each: the logits of a child are
the mean of those of two parents of the archive, more or less of each, and normal noise of standard
deviation 0.5 per family. Every second generation all are asked fresh instances, four of each
family. Survival is the default, of capacity eight.

Each generation is decided twice on the same answers: with the race (`evolution.selection.racing`,
rungs of 1, 2 and 4 instances), and as if all children had answered everything. The run goes on with
the survivors of the latter.

Beside it: how many children would be below the limit before they answer anything, if all true pass
rates were known and only the answers were left to chance. No race can save much more than those.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.judge.race import rungs
from benchmarks.machine import describe_machine
from benchmarks.ranking import FAMILIES, INSTANCES, World, drawn
from benchmarks.reporting import goal_lines, heading
from evolution.selection import Candidate, survive
from evolution.selection.racing import SIMULATIONS, survival_chances
from evolution.selection.settings import SelectionSettings
from memory.records import Skill

CAPACITY, GENERATIONS, PERIOD = 8, 10, 2
NAMES = [f"f{number}" for number in range(FAMILIES)]
RULE = SelectionSettings()

Answers = dict[str, NDArray[np.bool_]]
"""Expert -> (instances, families) whether it is right."""


class Bred(NamedTuple):
    """A simulated expert; `logits` are (families,)."""

    id: str
    generation: int
    birth: int
    logits: NDArray[np.float64]


class Decided(NamedTuple):
    """One generation: answers that the children gave in the race, and whether it changed anything.

    Attributes:
        asked: answers of all children in the race.
        whole: answers of all children without it.
        equal: whether the same experts survive.
        lost: children that would have survived and were eliminated.
        survived: children that survive without the race.
        hopeless: children whose chance is below the limit where all pass rates are known.
    """

    asked: int
    whole: int
    equal: bool
    lost: int
    survived: int
    hopeless: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--limit", type=float, default=0.02)
    parser.add_argument("--children", type=int, default=4)
    parser.add_argument("--noise", type=float, default=0.5, help="of a child, per family")
    parser.add_argument("--quick", action="store_true", help="a smoke test: one run")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    decided = [
        each
        for seed in range(1 if options.quick else options.runs)
        for each in run(np.random.default_rng(seed), options)
    ]
    saved = 1 - sum(each.asked for each in decided) / sum(each.whole for each in decided)
    equal = sum(each.equal for each in decided) / len(decided)
    children = options.children * len(decided)
    report = {
        "bench": "racing",
        "machine": describe_machine(),
        "rows": [
            {
                "generations": len(decided),
                "children": options.children,
                "limit": options.limit,
                "saved": round(saved, 4),
                "equal_survivors": round(equal, 4),
                "survivors_eliminated_per_generation": round(
                    sum(each.lost for each in decided) / len(decided), 4
                ),
                "children_that_survive": round(sum(d.survived for d in decided) / children, 4),
                "hopeless_by_true_rates": round(sum(d.hopeless for d in decided) / children, 4),
            }
        ],
        "goals": [
            goal("answers of children that are saved", saved, 1 / 3),
            goal("generations with equal survivors", equal, 0.95),
        ],
    }
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


def goal(name: str, value: float, wanted: float) -> dict[str, Any]:
    return {
        "name": name,
        "value": round(value, 3),
        "unit": "1",
        "goal": f">= {wanted:.3g}",
        "met": value >= wanted,
    }


def run(rng: np.random.Generator, options: argparse.Namespace) -> list[Decided]:
    """All generations of one run."""
    world = drawn(rng, CAPACITY)
    archive = [Bred(f"g0-{n}", 0, n, logits) for n, logits in enumerate(world.logits)]
    found, answers = [], Answers()
    for generation in range(1, GENERATIONS + 1):
        births = range(options.children)
        children = [child(archive, generation, n, options.noise, rng) for n in births]
        if generation % PERIOD == 1:
            answers, difficulty = {}, rng.normal(0, 1.0, (INSTANCES, FAMILIES))
        for expert in (*archive, *children):
            if expert.id not in answers:
                answers[expert.id] = right(world, expert, difficulty, rng)
        decided, kept = decide(world, archive, children, answers, options.limit, rng)
        known = hopeless(world, archive, children, answers, difficulty, options.limit)
        found.append(decided._replace(hopeless=known))
        archive = [expert for expert in (*archive, *children) if expert.id in kept]
    return found


def child(
    archive: Sequence[Bred], generation: int, birth: int, noise: float, rng: np.random.Generator
) -> Bred:
    first, second = rng.choice(len(archive), 2, replace=False)
    weight = rng.uniform(0, 1)
    logits = weight * archive[first].logits + (1 - weight) * archive[second].logits
    logits += rng.normal(0, noise, FAMILIES)
    return Bred(f"g{generation}-{birth}", generation, birth, logits)


def right(
    world: World, expert: Bred, difficulty: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.bool_]:
    solved = 1 / (1 + np.exp(-(expert.logits - difficulty)))
    answered: NDArray[np.bool_] = rng.random(solved.shape) < (
        world.chance + (1 - world.chance) * solved
    )
    return answered


def decide(
    world: World,
    archive: Sequence[Bred],
    children: Sequence[Bred],
    answers: Answers,
    limit: float,
    rng: np.random.Generator,
) -> tuple[Decided, set[str]]:
    """One generation, with the race and without."""
    chances = dict(zip(NAMES, world.chance.tolist(), strict=True))
    kept = survivors([candidate(e, answers, INSTANCES) for e in (*archive, *children)], chances)
    racing, asked = {child.id for child in children}, 0
    for before, rung in zip((0, *rungs(INSTANCES)), rungs(INSTANCES), strict=False):
        asked += (rung - before) * FAMILIES * len(racing)
        field = [candidate(each, answers, INSTANCES) for each in archive]
        field += [candidate(each, answers, rung) for each in children if each.id in racing]
        if rung == INSTANCES:
            break
        found = survival_chances(
            field,
            racing,
            dict.fromkeys(NAMES, INSTANCES),
            CAPACITY,
            RULE,
            chances,
            rng,
        )
        racing = {name for name in racing if found[name] >= limit}
    raced = survivors(field, chances)
    out = {child.id for child in children} - racing
    whole = INSTANCES * FAMILIES * len(children)
    born = {child.id for child in children}
    return Decided(asked, whole, raced == kept, len(kept & out), len(kept & born), 0), kept


def hopeless(
    world: World,
    archive: Sequence[Bred],
    children: Sequence[Bred],
    answers: Answers,
    difficulty: NDArray[np.float64],
    limit: float,
) -> int:
    """Children that survive in less than the limit of all draws of their answers."""
    chances = dict(zip(NAMES, world.chance.tolist(), strict=True))
    rng = np.random.default_rng(len(archive))
    survived = dict.fromkeys((child.id for child in children), 0)
    for _ in range(SIMULATIONS):
        again = answers | {each.id: right(world, each, difficulty, rng) for each in children}
        field = [candidate(expert, again, INSTANCES) for expert in (*archive, *children)]
        for name in survivors(field, chances) & survived.keys():
            survived[name] += 1
    return sum(count < limit * SIMULATIONS for count in survived.values())


def survivors(field: Sequence[Candidate], chances: dict[str, float]) -> set[str]:
    return {each.id for each in survive(field, NAMES, CAPACITY, RULE, chances).kept}


def candidate(expert: Bred, answers: Answers, asked: int) -> Candidate:
    passes = answers[expert.id][:asked].sum(axis=0).tolist()
    skills = {n: Skill(passes=p, asked=asked) for n, p in zip(NAMES, passes, strict=True)}
    return Candidate(expert.id, skills, expert.generation, expert.birth)


def table(report: dict[str, Any]) -> str:
    lines = [heading(report)]
    for row in report["rows"]:
        lines.append(
            f"{row['generations']} generations, limit {row['limit']:g}: {row['saved']:.1%} of the "
            f"children's answers saved, equal survivors in {row['equal_survivors']:.1%}, "
            f"{row['survivors_eliminated_per_generation']:.3f} survivors eliminated per "
            f"generation; {row['children_that_survive']:.0%} of the children survive, and "
            f"{row['hopeless_by_true_rates']:.1%} would be hopeless if all pass rates were known"
        )
    return "\n".join([*lines, *goal_lines(report)])


if __name__ == "__main__":
    sys.exit(main())
