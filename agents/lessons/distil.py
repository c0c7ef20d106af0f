"""One expert out of a task force: it learns what the force chooses, where that is right.

The force answers fresh instances of the families that the run has now, its method chooses one
answer to each, and the family's own program says which of them are right. The fittest of the force
learns those.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agents.errors import AnsweringError, FamilyFault
from agents.families.items import Item, item_of
from agents.judge.extraction import extract
from agents.judge.grader import Together
from agents.judge.instances import Drawing, new_instances
from agents.lessons.examples import Writer
from agents.progress import ProgressEvent, steps_shown
from agents.sandbox import Submission
from agents.task_force.ballot import CandidateAnswer
from agents.task_force.collective import Collective, Manner
from evolution.bank.bank import Bank
from evolution.genome.genome import Genome
from evolution.planning.placement import lesson_device, reading_format
from evolution.tutoring.lesson import Lesson, learnt, teach
from evolution.tutoring.packing import Example
from memory.randomness import derive_seed
from memory.records import LEARNING, Expert, Family, Json
from memory.threads import done_in_own_thread

DISTILLED = "distilled"
"""The expert and its anchor."""


class Scoring(Together, Drawing, Protocol):
    """The part of the sandbox that is needed: it draws and scores."""


@dataclass(frozen=True)
class Distilled:
    """What came of a task force.

    Attributes:
        expert: as it is exported; it is no part of the run.
        genome: in the bank of the run, to which what was learnt is appended.
        asked: fresh instances.
        right: of which the chosen answer is right, and short enough to be learnt.
        losses: of the first step and of the last.
    """

    expert: Expert
    genome: Genome
    asked: int
    right: int
    losses: tuple[float, float]


async def distil(force: Collective, sandbox: Scoring, instances: int, steps: int) -> Distilled:
    """Teach the fittest of a task force what the force chooses.

    Args:
        force: of a run, and its method of best-of-N.
        sandbox: where families draw and score.
        instances: fresh ones of each active family that draws and is scored by its program.
        steps: of gradient descent.

    Raises:
        AnsweringError: the run has no such family, or the force is right nowhere.
        TutorError: the architecture cannot be taught, or the device has no room.
        SandboxError: the sandbox failed.
    """
    context = force.context
    active = context.store.families("active")
    families = [family for family in active if family.generative and not family.rated]
    asked: list[Item] = []
    for family in families:
        asked += await _fresh(force, sandbox, family, instances)
    if not asked:
        raise AnsweringError(f"{context.folder} has no active family that draws fresh instances")
    manner = Manner(max_tokens=context.config.judge.max_tokens)
    context.progress(ProgressEvent("step", f"{len(asked)} questions to the task force", 0, 0))
    # At once: an engine that has an expert in it asks it everything that waits.
    replies = await asyncio.gather(*(force.ask(item.instructions, manner) for item in asked))
    chosen = [reply.answers[reply.winner] for reply in replies]
    right = await _right(sandbox, asked, chosen)
    bank = await context.population.bank()
    writer = Writer(context, bank)
    written = [writer.example(item, _lesson(answer)) for item, answer in right]
    examples = [example for example in written if example is not None]
    if not examples:
        raise AnsweringError(f"of {len(asked)} fresh questions the task force solves none")
    parent = force.members[0].expert
    lesson = await done_in_own_thread(lambda: _taught(force, bank, parent, examples, steps))
    bank.append(lesson.anchor)
    genome = learnt(bank, context.genome(parent), lesson.anchor)
    losses = lesson.losses[0], lesson.losses[-1]
    expert = _described(force, bank.genome_id(genome), len(asked), len(examples), losses, steps)
    return Distilled(expert, genome, len(asked), len(examples), losses)


async def _fresh(force: Collective, sandbox: Scoring, family: Family, count: int) -> Sequence[Item]:
    """Instances that the run never asked; none of a program that fails."""
    try:
        drawn = await new_instances(force.context, sandbox, family, LEARNING, count)
    except FamilyFault:
        return []
    return [item_of(family, each) for each in drawn]


async def _right(
    sandbox: Together, asked: Sequence[Item], chosen: Sequence[CandidateAnswer]
) -> list[tuple[Item, CandidateAnswer]]:
    """The answers that their families pass."""
    by_code: dict[str, list[tuple[Item, CandidateAnswer]]] = {}
    for item, answer in zip(asked, chosen, strict=True):
        by_code.setdefault(item.code, []).append((item, answer))
    right: list[tuple[Item, CandidateAnswer]] = []
    for code, pairs in by_code.items():
        submitted = [Submission(item.instance, answer.extracted) for item, answer in pairs]
        values: Sequence[float | None] | None = await sandbox.score_together(code, submitted)
        if values is None:
            values = [score.value for score in await sandbox.score(code, submitted)]
        right += [pair for pair, value in zip(pairs, values, strict=True) if value == 1.0]
    return right


def _lesson(answer: CandidateAnswer) -> str:
    """What is learnt of an answer: all of it, or the marked answer where it was cut off."""
    if answer.finish_reason == "stop":
        return answer.text
    return "" if extract(answer.text).unmarked else f"Answer: {answer.extracted}"


def _taught(
    force: Collective, bank: Bank, parent: Expert, examples: Sequence[Example], steps: int
) -> Lesson:
    config = force.context.config
    settings, engine = config.breeding.tutor.model_copy(update={"steps": steps}), config.engine
    device = lesson_device(bank, engine, settings, max(len(each.tokens) for each in examples))

    return teach(
        DISTILLED,
        bank,
        force.context.genome(parent),
        examples,
        [],
        settings,
        steps,
        derive_seed(config.seed, 0, DISTILLED),
        device,
        reading_format(bank, engine, device),
        steps_shown(force.context.progress),
    )


def _described(
    force: Collective,
    genome_id: str,
    asked: int,
    right: int,
    losses: tuple[float, float],
    steps: int,
) -> Expert:
    """The expert as model card and recipe tell of it; its parents are the force."""
    latest = force.context.store.latest_archive()
    parents = dict.fromkeys(member.expert.id for member in force.members)
    record: dict[str, Json] = {
        "method": force.method.name,
        "asked": asked,
        "right": right,
        "steps": steps,
        "losses": list[Json](losses),
    }
    return Expert(
        id=DISTILLED,
        genome_id=genome_id,
        generation=latest[0] if latest else 0,
        birth=len(force.context.store.experts()),
        operator="distil",
        parents=tuple(parents),
        parameters={"distil": record},
    )
