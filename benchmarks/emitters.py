"""Does an emitter that learns find what the task force lacks? On simulated landscapes.

    python -m benchmarks.emitters [--worlds 12] [--budgets 16 160 400] [--quick] [--json]

A world is four anchors in a bank of twelve blocks, and 24 families. Of a family at coefficients z,
the means of four bands of blocks (4 x 4 numbers), an expert passes an instance with probability

    logistic(2 - 3 |s (z - c)|^2 - d),    d ~ N(0, 1) of the instance,

where half of the numbers matter (s is 0 or 1, at random) and c is where the family is solved best.
Half of the families are what one anchor by itself is best at. Of the others c lies anywhere between
0 and 1.2: in `whole` worlds alike in all bands, where crossovers of whole genomes can get, in
`banded` ones in each band for itself. Neither is measured on LLMs: it is where a search could win
if skills compose, and says nothing of whether they do.

Each run begins with the anchors and four children of theirs, and has a budget of children, 4 in
each generation (archive of 8) or 16 where there are more than 16 (archive of 16); experts are asked
four instances of each family, afresh in every second generation. Breeding, mating, survival,
niches, emitters and their ends are those of runs. The ways:

    genetic   crossovers as they are by default (mutations have nothing to change here)
    cma       emitters alone
    untold    the same emitters, which ask and are never told: the first distribution for ever
    half      genetic and cma in equal shares

Reported is the true Coverage of forces of 3 and 8, chosen greedily among archive and anchors on six
fresh instances, and its difference from `genetic`, and of `cma` from `untold`, in the same worlds
with the same instances (95 % interval, bootstrap over worlds).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from agents.archive.emitting import Course, in_turn, niche_left
from agents.evaluation.intervals import paired_intervals
from benchmarks.machine import describe_machine
from benchmarks.ranking import logistic
from benchmarks.reporting import goal_lines, heading, show_progress
from evolution.bank.bank import Bank
from evolution.breeding.breed import bounded, breed, parents_needed
from evolution.breeding.search import Search, varied
from evolution.breeding.settings import BreedingSettings
from evolution.genome.genome import Genome
from evolution.genome.geometry import Geometry
from evolution.selection import Board, Candidate, choose_parents, survive, task_force
from evolution.selection.lacking import gains
from evolution.selection.settings import SelectionSettings
from memory.records import Emission, Emitter, Skill

ANCHORS, BLOCKS, BANDS, FAMILIES, INSTANCES, FINALS, PERIOD = 4, 12, 4, 24, 4, 6, 2
PEAK, CURVATURE = 2.0, 3.0
NAMES = [f"f{number}" for number in range(FAMILIES)]
CLOSED: dict[str, float] = dict.fromkeys(NAMES, 0.0)
RULE = SelectionSettings()
DEFAULT = BreedingSettings(mutations={})
FORCES = (3, 8)

Floats = NDArray[np.float64]


class Way(NamedTuple):
    """How children are made.

    Attributes:
        share: of the children that emitters ask for.
        told: whether they learn.
    """

    share: float
    told: bool = True


WAYS = {
    "genetic": Way(0.0),
    "cma": Way(1.0),
    "untold": Way(1.0, told=False),
    "half": Way(0.5),
}


class World(NamedTuple):
    """A landscape; both arrays are (families, bands * anchors)."""

    best: Floats
    matters: Floats

    def logits(self, genome: Genome) -> Floats:
        """(families,) of an instance of mean difficulty."""
        rows = genome.widened(ANCHORS).coefficients.astype(np.float64)
        place = rows.reshape(BANDS, BLOCKS // BANDS, ANCHORS).mean(axis=1).ravel()
        squares = (self.matters * (place - self.best) ** 2).sum(axis=1)
        logits: Floats = PEAK - CURVATURE * squares
        return logits

    def truth(self, genome: Genome) -> Floats:
        """(families,) pass rates over all instances there may be, by quadrature."""
        points, weights = np.polynomial.hermite_e.hermegauss(15)
        rates: Floats = logistic(self.logits(genome)[:, None] - points) @ (weights / weights.sum())
        return rates


def drawn(rng: np.random.Generator, banded: bool) -> World:
    best = rng.uniform(0.0, 1.2, (FAMILIES, BANDS if banded else 1, ANCHORS))
    best = np.broadcast_to(best, (FAMILIES, BANDS, ANCHORS)).copy()
    for family in range(0, FAMILIES, 2):
        best[family] = np.eye(ANCHORS)[family // 2 % ANCHORS]
    matters = rng.random((FAMILIES, BANDS * ANCHORS)) < 0.5
    return World(best.reshape(FAMILIES, -1), matters.astype(np.float64))


def bank_of(rng: np.random.Generator) -> Bank:
    """Lengths and angles alone: breeding reads nothing else."""
    vectors = rng.normal(0, 1, (BLOCKS, ANCHORS, 64))
    gram = np.einsum("bik,bjk->bij", vectors, vectors)
    blocks = tuple(f"layers.{number}" for number in range(BLOCKS))
    geometry = Geometry(blocks, gram, {}, {}, {}, {}, {}, ANCHORS)
    return cast(Bank, SimpleNamespace(geometry=geometry))


class Bred(NamedTuple):
    """A simulated expert."""

    id: str
    generation: int
    birth: int
    genome: Genome


class Run:
    """One run in one world: what runs decide, on simulated answers."""

    def __init__(self, world: World, bank: Bank, way: Way, seed: int, children: int) -> None:
        self.world, self.bank, self.way, self.seed, self.children = world, bank, way, seed, children
        self.experts: dict[str, Bred] = {}
        self.answers: dict[str, NDArray[np.int64]] = {}
        self.courses: list[Course] = []
        self.capacity = 8 if children <= 4 else 16
        self.archive = self.founders()
        self.judge(self.archive, 0)

    def rng(self, purpose: str, *numbers: int) -> np.random.Generator:
        """Its own stream for each decision: ways differ by what they decide alone."""
        return np.random.default_rng([self.seed, *purpose.encode(), *numbers])

    def born(self, generation: int, birth: int, genome: Genome) -> str:
        bred = Bred(f"g{generation}-{birth}", generation, birth, genome)
        self.experts[bred.id] = bred
        return bred.id

    def founders(self) -> list[str]:
        rows = np.eye(ANCHORS, dtype=np.float32)
        seeds = [Genome(np.tile(row, (BLOCKS, 1))) for row in rows]
        names = [self.born(0, birth, genome) for birth, genome in enumerate(seeds)]
        for birth in range(ANCHORS, 2 * ANCHORS):
            pair = self.rng("founders", birth).choice(ANCHORS, 2, replace=False)
            parents = [seeds[each] for each in pair]
            names.append(self.born(0, birth, breed(self.bank, parents, birth, DEFAULT).genome))
        return names

    def judge(self, names: Sequence[str], generation: int) -> None:
        """Ask four instances of each family, the same of all in a period."""
        period = generation // PERIOD
        difficulty = self.rng("instances", period).normal(0, 1, (INSTANCES, FAMILIES))
        for name in names:
            expert = self.experts[name]
            rng = self.rng("answers", period, expert.generation, expert.birth)
            solved = logistic(self.world.logits(expert.genome) - difficulty)
            self.answers[name] = (rng.random(solved.shape) < solved).sum(axis=0)

    def candidates(self, names: Sequence[str]) -> list[Candidate]:
        return [
            Candidate(
                name,
                {
                    family: Skill(passes=passes, asked=INSTANCES)
                    for family, passes in zip(NAMES, self.answers[name].tolist(), strict=True)
                },
                self.experts[name].generation,
                self.experts[name].birth,
            )
            for name in names
        ]

    def generation(self, number: int) -> None:
        """Breed, judge, select, tell."""
        there = self.candidates(self.archive)
        board = Board.of(there, NAMES, CLOSED)
        names, searched = [], 0
        for birth in range(self.children):
            # Half of the children are every second one.
            wanted = int((birth + 1) * self.way.share) - searched
            genome = self.asked(board, number, birth) if wanted else None
            searched += genome is not None
            names.append(self.born(number, birth, genome or self.crossed(there, number, birth)))
        self.judge([*self.archive, *names] if number % PERIOD == 0 else names, number)
        field = self.candidates([*self.archive, *names])
        kept = survive(field, NAMES, self.capacity, RULE, CLOSED).kept
        self.archive = [each.id for each in kept]
        self.tell(Board.of(field, NAMES, CLOSED))

    def crossed(self, there: Sequence[Candidate], number: int, birth: int) -> Genome:
        rng, wanted = self.rng("parents", number, birth), parents_needed(DEFAULT)
        chosen = choose_parents(there, NAMES, rng, RULE, wanted, CLOSED)
        parents = [self.experts[name].genome for name in chosen]
        return breed(self.bank, parents, int(rng.integers(1 << 62)), DEFAULT).genome

    def asked(self, board: Board, number: int, birth: int) -> Genome | None:
        going = [course for course in self.courses if not course.emitter.ended]
        niche = niche_left(board, NAMES, going)
        course = None if niche else in_turn(going)
        name = f"g{number}-{birth}"
        if niche is not None:
            parent = self.experts[niche.parent].genome
            search = Search(parent, varied(parent, ANCHORS))
            emitter = Emitter(
                id=name,
                generation=number,
                parent=niche.parent,
                columns=search.columns,
                sigma=search.sigma,
                weights=dict(niche.weights),
            )
            course = Course(emitter, search, ())
            self.courses.append(course)
        if course is None:
            return None
        seed = int(self.rng("ask", number, birth).integers(1 << 32))
        vector = course.search.ask(course.told if self.way.told else (), seed)
        emission = Emission(expert=name, emitter=course.emitter.id, vector=vector)
        self.replace(Course(course.emitter, course.search, (*course.emissions, emission)))
        geometry = self.bank.geometry
        return bounded(course.search.genome(vector, geometry), geometry, DEFAULT, {})

    def tell(self, board: Board) -> None:
        for course in [each for each in self.courses if not each.emitter.ended]:
            found = gains(board, NAMES, course.emitter.weights)
            told = tuple(
                each.model_copy(update={"value": found[each.expert]})
                if each.value is None
                else each
                for each in course.emissions
            )
            course = Course(course.emitter, course.search, told)
            ended = course.end(self.archive, NAMES)
            emitter = course.emitter.model_copy(update={"ended": ended})
            self.replace(Course(emitter, course.search, told))

    def replace(self, course: Course) -> None:
        ids = [each.emitter.id for each in self.courses]
        self.courses[ids.index(course.emitter.id)] = course

    def coverage(self) -> list[float]:
        """True Coverage of the forces that fresh instances of the finals choose."""
        difficulty = self.rng("finals").normal(0, 1, (FINALS, FAMILIES))
        finalists = dict.fromkeys([*self.archive, *(f"g0-{birth}" for birth in range(ANCHORS))])
        seen = {}
        for name in finalists:
            expert = self.experts[name]
            rng = self.rng("final answers", expert.generation, expert.birth)
            solved = logistic(self.world.logits(expert.genome) - difficulty)
            rates = (rng.random(solved.shape) < solved).mean(axis=0)
            seen[name] = dict(zip(NAMES, rates.tolist(), strict=True))
        found = []
        for size in FORCES:
            force = task_force(seen, NAMES, size).experts
            missed = [1 - self.world.truth(self.experts[name].genome) for name in force]
            found.append(float((1 - np.prod(missed, axis=0)).mean()))
        return found


def measure(banded: bool, budget: int, worlds: int) -> dict[str, Floats]:
    """Way -> (worlds, forces) true Coverage after a budget of children."""
    children = 4 if budget <= 16 else 16
    found: dict[str, list[list[float]]] = {name: [] for name in WAYS}
    for number in range(worlds):
        rng = np.random.default_rng([number, banded])
        world, bank = drawn(rng, banded), bank_of(rng)
        for name, way in WAYS.items():
            run = Run(world, bank, way, number, children)
            for generation in range(1, budget // children + 1):
                run.generation(generation)
            found[name].append(run.coverage())
    return {name: np.array(values) for name, values in found.items()}


def rows_of(kind: str, budget: int, found: dict[str, Floats]) -> list[dict[str, Any]]:
    """A row for each way and force, with its differences."""
    worlds = [str(number) for number in range(len(found["genetic"]))]
    rows = []
    for place, size in enumerate(FORCES):
        for name, values in found.items():
            row = {
                "landscape": kind,
                "children": budget,
                "way": name,
                "n": size,
                "coverage": round(float(values[:, place].mean()), 4),
            }
            for other in ("genetic", "untold"):
                if name != other:
                    apart = (values - found[other])[:, place : place + 1]
                    [interval] = paired_intervals(apart, worlds, seed=budget)
                    bounds = (interval.mean, interval.low, interval.high)
                    row[f"over_{other}"] = [round(float(value), 4) for value in bounds]
            rows.append(row)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--worlds", type=int, default=12)
    parser.add_argument("--budgets", type=int, nargs="+", default=[16, 160, 400])
    parser.add_argument("--quick", action="store_true", help="a smoke test: 3 worlds, 16 children")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.worlds, options.budgets = 3, [16]
    rows = []
    for kind in ("whole", "banded"):
        for budget in options.budgets:
            show_progress(f"{kind} worlds, {budget} children")
            rows += rows_of(kind, budget, measure(kind == "banded", budget, options.worlds))
    report = {"bench": "emitters", "machine": describe_machine(), "rows": rows}
    report["goals"] = goals(rows)
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


def goals(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """With the largest budget the search is worth its children, and learning is why."""
    most = max(row["children"] for row in rows)
    last = [row for row in rows if row["way"] == "cma" and row["children"] == most]
    return [
        {
            "name": f"{row['landscape']} worlds, {most} children: Coverage of {row['n']} by cma "
            f"over {other}",
            "value": row[f"over_{other}"][0],
            "unit": "1",
            "goal": "interval above 0",
            "met": row[f"over_{other}"][1] > 0,
        }
        for row in last
        for other in ("genetic", "untold")
    ]


def table(report: dict[str, Any]) -> str:
    lines = [heading(report)]
    for row in report["rows"]:
        line = (
            f"{row['landscape']:<7}{row['children']:>4} children  N={row['n']}  {row['way']:<8}"
            f"Coverage {row['coverage']:.3f}"
        )
        for other in ("genetic", "untold"):
            if f"over_{other}" in row:
                mean, low, high = row[f"over_{other}"]
                line += f"  over {other} {mean:+.3f} ({low:+.3f} .. {high:+.3f})"
        lines.append(line)
    return "\n".join([*lines, *goal_lines(report)])


if __name__ == "__main__":
    sys.exit(main())
