"""Emitters: searches about members of the archive that learn from their children.

Each looks for what the task force lacked when it began, in a niche of its own, with what a child
adds to the force's Coverage there as its objective. At breeding it asks for children, after
selection it is told what they gained; both in the transaction of the step that they belong to. What
an emitter knows is its record and those of its children (`evolution.breeding.search`).

A batch is asked for in one go before the turn is the next emitter's, so that its children answer
the same instances as far as may be. Children that no emitter can ask for before one is told are
left to the genetic operators.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from agents.context import RunContext
from evolution.bank.bank import Bank
from evolution.breeding.breed import bounded
from evolution.breeding.search import SIGMA, Search, Told, varied
from evolution.breeding.settings import CMA
from evolution.selection import Board
from evolution.selection.lacking import Niche, gains, niches
from memory.randomness import derive_seed
from memory.records import Emission, Emitter, Expert, Json

EMITTERS = 2
"""That search beside each other: more would divide a run's children into too few for each."""
FORCE = 3
"""Size of the force whose lacks are looked for."""
PATIENCE = 3
"""Batches after which the best child of an emitter has to be in the archive."""

_SEEDS = 2**32
"""What the optimiser's generator takes."""


@dataclass(frozen=True)
class Course:
    """A search, and what it has asked for so far.

    Attributes:
        emissions: in the order of asking.
    """

    emitter: Emitter
    search: Search
    emissions: tuple[Emission, ...]

    @property
    def told(self) -> Told:
        """What it was told."""
        return [(each.vector, each.value) for each in self.emissions if each.value is not None]

    @property
    def begun(self) -> int:
        """Children asked for since the last batch that was told as a whole."""
        size = self.search.population
        return len(self.emissions) - len(self.told) // size * size

    @property
    def waits(self) -> bool:
        """Whether no child can be asked for before some are told."""
        return self.begun >= self.search.population

    def end(self, archive: Collection[str], active: Collection[str]) -> str | None:
        """Why it is over; None if it is not.

        Args:
            archive: experts that survived.
            active: families that grade.
        """
        if not self.emitter.weights.keys() & active:
            return "its families have left the pool"
        if len(self.told) < PATIENCE * self.search.population:
            return None
        if self.search.collapsed(self.told):
            return "its children are all alike"
        best = max(self.emissions, key=lambda each: -1.0 if each.value is None else each.value)
        return None if best.expert in archive else f"others dominate {best.expert}, its best child"


def in_turn(going: Sequence[Course]) -> Course | None:
    """Who asks next: the one whose batch is open, else who asked least; None if all wait."""
    ready = [course for course in going if not course.waits]
    begun = [course for course in ready if course.begun]
    return min(begun or ready, key=lambda each: len(each.emissions), default=None)


def niche_left(board: Board, families: Sequence[str], going: Sequence[Course]) -> Niche | None:
    """Where another emitter may begin: in what the force lacks and no other one looks for.

    Args:
        board: the archive on these families, in this order.
        families: ids.
        going: the emitters that there are.
    """
    if len(going) >= EMITTERS or any(course.begun and not course.waits for course in going):
        return None
    taken = {family for course in going for family in course.emitter.weights}
    return next(iter(niches(board, families, FORCE, EMITTERS - len(going), taken)), None)


def ask(
    context: RunContext,
    bank: Bank,
    board: Board,
    families: Sequence[str],
    generation: int,
    birth: int,
) -> Expert | None:
    """Let an emitter ask for one child, and store it with its lineage; None if nobody can.

    Args:
        context: of the run; to be called within the step of breeding.
        bank: gives lengths; its weights are not read.
        board: the archive on the active families.
        families: their ids, in the order of the board.
        generation: in which the child is born.
        birth: its number there.
    """
    going = courses(context)
    niche = niche_left(board, families, going)
    if niche is not None:
        course = _begun(context, bank, niche, generation, birth)
    else:
        course = in_turn(going)
    return None if course is None else _child(context, bank, course, generation, birth)


def tell(context: RunContext, generation: int, nothing: Collection[str]) -> None:
    """Tell emitters what their children of a generation gained, and end those that are over.

    Told again, it changes nothing. To be called within the step of selection, after survival.

    Args:
        context: of the run.
        generation: whose children are told.
        nothing: experts whose answers were gibberish: they gain nothing.
    """
    store = context.store
    due = {each.expert: each.emitter for each in store.emissions() if each.value is None}
    archive = {entry.expert for entry in store.archive(generation)}
    families = [family.id for family in store.families("active")]
    if due:
        # Children that left a race are reported too, as far as they were graded.
        everybody = [store.expert(name) for name in sorted(archive | due.keys())]
        candidates = context.candidates(everybody, context.period_of(generation))
        board = Board.of(candidates, families, context.chances())
        for course in courses(context):
            found = gains(board, families, course.emitter.weights)
            for expert in (name for name, emitter in due.items() if emitter == course.emitter.id):
                store.tell_emission(expert, 0.0 if expert in nothing else found[expert])
    for course in courses(context):
        reason = course.end(archive, families)
        if reason is not None:
            store.end_emitter(course.emitter.id, reason)


def courses(context: RunContext) -> list[Course]:
    """The searches that are not over, the one that began first in front."""
    emitters = {each.id: each for each in context.store.emitters() if each.ended is None}
    asked: dict[str, list[Emission]] = {}
    for emission in context.store.emissions():
        if emission.emitter in emitters:
            asked.setdefault(emission.emitter, []).append(emission)
    return [_course(context, emitters[name], tuple(each)) for name, each in asked.items()]


def _course(context: RunContext, emitter: Emitter, emissions: tuple[Emission, ...]) -> Course:
    parent = context.genome(context.store.expert(emitter.parent))
    return Course(emitter, Search(parent, emitter.columns, emitter.sigma), emissions)


def _begun(
    context: RunContext, bank: Bank, niche: Niche, generation: int, birth: int
) -> Course | None:
    """An emitter that begins in a niche; None in a bank in which nothing varies."""
    parent = bank.geometry.fit(context.genome(context.store.expert(niche.parent)))
    columns = varied(parent, bank.geometry.seeds)
    if not columns:
        return None
    emitter = Emitter(
        id=f"{CMA}-g{generation}-{birth}",
        generation=generation,
        parent=niche.parent,
        columns=columns,
        sigma=SIGMA,
        weights=dict(niche.weights),
    )
    context.store.put_emitter(emitter)
    return _course(context, emitter, ())


def _child(context: RunContext, bank: Bank, course: Course, generation: int, birth: int) -> Expert:
    rng_seed = derive_seed(context.config.seed, generation, CMA, birth) % _SEEDS
    vector = course.search.ask(course.told, rng_seed)
    drawn: dict[str, Json] = {
        "emitter": course.emitter.id,
        "batch": len(course.told) // course.search.population,
        "scale": vector[-1],
    }
    record: dict[str, dict[str, Json]] = {CMA: drawn}
    geometry = bank.geometry
    proposed = course.search.genome(vector, geometry)
    genome = bounded(proposed, geometry, context.config.breeding, record)
    expert = Expert(
        id=f"g{generation}-{birth}",
        genome_id=bank.genome_id(genome),
        generation=generation,
        birth=birth,
        operator=CMA,
        parents=(course.emitter.parent,),
        parameters=dict(record),
        rng_seed=rng_seed,
    )
    context.store.put_genome(expert.genome_id, genome.to_bytes())
    context.store.put_expert(expert)
    emission = Emission(expert=expert.id, emitter=course.emitter.id, vector=vector)
    context.store.put_emission(emission)
    return expert
