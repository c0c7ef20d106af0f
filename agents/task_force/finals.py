"""The finals: at the end of a run its best answer fresh instances; on those a force is chosen.

Whoever is chosen on what it was bred for is flattered by it. So fresh instances are drawn that no
scientist, no trial and no selection has seen; of closed families, which have only two, both are
asked. The fittest of the archive, base, seeds and the founding merge answer greedily and, at a
temperature, a few times more: of every such voice it is known how often it is right.

Answers, instances and outcomes are kept under their keys: after an interruption, or at the end of a
run that went on, only what is new is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from agents.concurrency import all_of
from agents.context import RunContext
from agents.errors import JudgingError
from agents.families.items import Item
from agents.families.lifecycle import move
from agents.judge.examiner import Examiner, Result, examiner_of
from agents.judge.instances import draw_instances, fresh_items
from agents.judge.node import REGRADES
from agents.progress import ProgressEvent
from agents.settings import JudgeSettings
from agents.task_force.field import field_of, founding_merge, history_of
from evolution.selection import Board
from evolution.selection.board import FULLY_GRADED
from memory.randomness import derive_seed
from memory.records import FINALS, Expert, Family, MissingGrade, Outcome, Voice
from memory.spans import span

SEED = derive_seed(0, 0, "finals")
"""Root of the seeds of sampled answers; the same in all runs, so that they can share answers."""
FIRST_SAMPLE = 1000
"""Lower numbers are the judge's."""

Asked = Mapping[str, Sequence[Item]]
"""Family -> its instances in the finals."""


async def hold_finals(context: RunContext) -> list[str]:
    """Let the finalists answer, and record what came of it.

    Returns:
        The families that asked.

    Raises:
        JudgingError: so much of a finalist stayed ungraded that the choice would be a guess.
    """
    families = await _asking(context)
    asked = {family.id: fresh_items(context, family, FINALS) for family in families}
    finalists = finalists_of(context)
    done = 0

    async def one(expert: Expert) -> None:
        nonlocal done
        with span("step", "examine", expert=expert.id, families=len(families)):
            await _examine(context, expert, families, asked)
        done += 1
        label = f"finals: {expert.id}"
        context.progress(ProgressEvent("step", label, done, len(finalists)))

    missing: list[str] = []
    for _ in range(1 + REGRADES):
        done = 0
        await all_of(one(expert) for expert in finalists)
        missing = _ungraded(context, finalists, asked)
        if not missing:
            return [family.id for family in families]
    raise JudgingError(
        f"finals: {', '.join(missing)} could not be graded on 90 % of the instances; "
        f"`acdc trace DIR --expert {missing[0]}` shows why; the same command tries again"
    )


def _ungraded(context: RunContext, finalists: Sequence[Expert], asked: Asked) -> list[str]:
    """Finalists with a voice of which less than 90 % of what it was asked is graded."""
    there = {family.id for family in history_of(context.store)}
    total = sum(len(items) for family, items in asked.items() if family in there)
    graded = Counter(each.voice for each in context.store.outcomes() if each.family in asked)
    sampled = [context.config.finals.temperature] if context.config.finals.samples else []
    return [
        expert.id
        for expert in finalists
        if min(graded[Voice(expert.id, t)] for t in (0.0, *sampled)) < FULLY_GRADED * total
    ]


async def _asking(context: RunContext) -> list[Family]:
    """Families that ask, in the order of the history; who has nothing new makes room for others."""
    waiting, most, found = by_lot(context), context.config.finals.families, set[str]()
    while waiting and len(found) < most:
        room = most - len(found)
        instances = context.config.finals.instances
        drawn = await draw_instances(context, waiting[:room], FINALS, instances, more=True)
        waiting = waiting[room:]
        found |= {family.id for family in drawn}
    return [family for family in history_of(context.store) if family.id in found]


def by_lot(context: RunContext) -> list[Family]:
    """The history: the active families first, and a lot among the others."""
    active = {family.id for family in context.store.families("active")}

    def place(family: Family) -> tuple[bool, int]:
        # By lots of their own: who asks does not depend on who else there is.
        lot = derive_seed(context.config.seed, 0, f"finals/{family.id}")
        return family.id not in active, lot

    return sorted(history_of(context.store), key=place)


def finalists_of(context: RunContext) -> list[Expert]:
    """Who is examined: base, seeds, their merge, the fittest of the archive, earlier finalists.

    Nobody whose answers were gibberish. Fitness is that of selection on the latest instances.
    """
    store = context.store
    field = {expert.id: expert for expert in field_of(store)}
    wanted = {expert.id for expert in field.values() if expert.is_seed}
    wanted |= {outcome.expert for outcome in store.outcomes()}
    merge = founding_merge(store)
    if isinstance(merge, Expert):
        wanted.add(merge.id)
    wanted |= set(_fittest(context, [e for e in store.archive_experts() if not e.is_seed], merge))
    return [expert for name, expert in field.items() if name in wanted]


def _fittest(context: RunContext, archive: Sequence[Expert], merge: Expert | str) -> list[str]:
    """The fittest of some experts; the founding merge, which is there anyway, takes no place."""
    latest = context.store.latest_archive()
    period = context.period_of(latest[0] if latest else 0)
    bred = [expert for expert in archive if expert != merge]
    active = [family.id for family in context.store.families("active")]
    board = Board.of(context.candidates(bred, period), active, context.chances())
    return [candidate.id for candidate in board.candidates][: context.config.finals.experts]


def as_voice(judge: JudgeSettings, temperature: float, samples: int) -> JudgeSettings:
    """How a voice answers in the finals: as the judge asks, but for temperature and samples."""
    return judge.model_copy(update={"temperature": temperature, "samples": samples})


async def _examine(
    context: RunContext, expert: Expert, families: Sequence[Family], asked: Asked
) -> None:
    judge, finals = context.config.judge, context.config.finals
    heard = {Voice(expert.id): await examiner_of(context, as_voice(judge, 0.0, 1))}
    if finals.samples:
        settings = as_voice(judge, finals.temperature, finals.samples)
        sampled = Voice(expert.id, finals.temperature)
        heard[sampled] = await examiner_of(context, settings, SEED, FIRST_SAMPLE)
    for voice, examiner in heard.items():
        results = await _answers(context, examiner, expert, families, asked)
        for family in families:
            _note_failures(context, expert, family, results[family.id])
        context.store.put_outcomes(
            [each for name, found in results.items() for each in outcomes(voice, name, found)]
        )


async def _answers(
    context: RunContext,
    examiner: Examiner,
    expert: Expert,
    families: Sequence[Family],
    asked: Asked,
) -> dict[str, list[Result]]:
    """Family -> all results, in the order of its instances."""
    items = [item for family in families for item in asked[family.id]]
    found = await examiner.examine(expert.genome_id, context.genome(expert), items)
    return by_family(families, asked, found)


def by_family(
    families: Sequence[Family], asked: Asked, results: Sequence[Result]
) -> dict[str, list[Result]]:
    """Results by family.

    Args:
        families: that asked.
        asked: their instances.
        results: equally many for each instance, family after family.
    """
    total = sum(len(asked[family.id]) for family in families)
    each = len(results) // max(total, 1)
    found = iter(results)
    return {f.id: [next(found) for _ in range(each * len(asked[f.id]))] for f in families}


def outcomes(voice: Voice, family: str, results: Sequence[Result]) -> list[Outcome]:
    """What came of the instances of a family; those of which nothing is graded are missing."""
    graded: dict[str, list[bool]] = {}
    for result in results:
        if result.passed is not None:
            graded.setdefault(result.item.instance, []).append(result.passed)
    return [
        Outcome(
            expert=voice.expert,
            temperature=voice.temperature,
            family=family,
            instance=instance,
            passes=sum(passed),
            asked=len(passed),
        )
        for instance, passed in graded.items()
    ]


def _note_failures(
    context: RunContext, expert: Expert, family: Family, results: Sequence[Result]
) -> None:
    """Condemn a family whose code failed, and note what could not be graded."""
    condemned = next((result.condemned for result in results if result.condemned), None)
    if condemned is not None:
        move(context.store, family, "condemned", detail=str(condemned))
        return
    missing = next((result for result in results if result.passed is None), None)
    if missing is not None:
        reason = missing.error or "no result"
        context.store.add_event(MissingGrade(expert=expert.id, family=family.id, reason=reason))
