"""Lessons: what the archive fails is taught to one of its members, which widens the bank.

A cluster of families is chosen, the member that is best at it learns on fresh instances of a period
of their own, and what it has learnt becomes an anchor of low rank, kept as grafts are. The expert
that carries it is judged with the children of its generation. All that a lesson decides follows
from what the run has recorded, so that one that was killed is given again with the same bits; its
record is written in the same transaction as its expert.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.archive.calibration import examine_own, has_texts
from agents.archive.grafting import FOLDER, file_of, keep_most_used, refuse, sweep
from agents.config import RunConfig
from agents.context import RunContext
from agents.judge.examiner import examiner_of
from agents.judge.instances import draw_instances, fresh_items
from agents.lessons.cluster import choose_cluster
from agents.lessons.examples import labelled, replayed
from agents.lessons.record import Taught, lessons_about
from agents.progress import ProgressEvent, steps_shown
from evolution.bank.anchors import save_anchor
from evolution.bank.bank import Bank
from evolution.engines.compute import device_of
from evolution.errors import BankError, TutorError
from evolution.planning.placement import lesson_device, reading_format
from evolution.tutoring.lesson import Lesson, learnt, teach
from evolution.tutoring.packing import Example
from evolution.tutoring.settings import TUTOR
from memory.randomness import derive_seed, stream
from memory.records import Expert, Family, Graft, learning
from memory.spans import span
from memory.threads import done_in_own_thread


@dataclass(frozen=True)
class _Material:
    """What a lesson is given on.

    Attributes:
        parent: who is taught.
        tutors: family -> the expert whose right answers come before the references; "" for none.
        own: how many of the examples have an answer of theirs.
    """

    parent: Expert
    tutors: Mapping[str, str]
    examples: Sequence[Example]
    own: int
    replay: Sequence[Example]


def lesson_steps(config: RunConfig) -> int:
    """Gradient steps of a lesson of a run; 0: it gives none.

    Raises:
        EngineError: the configured device does not exist.
    """
    tutor = config.breeding.tutor
    return (
        tutor.steps_on(device_of(config.engine.device).type) if tutor.steps is None else tutor.steps
    )


async def tutor(context: RunContext, generation: int) -> None:
    """Give the lesson of a generation, if one is due; one that fails is reported and left out."""
    settings, steps = context.config.breeding.tutor, lesson_steps(context.config)
    # Where the pool adapts as often, just before: then what nobody passes leaves it.
    due = steps and (generation + 1) % settings.every == 0
    if not due or context.store.step_done(TUTOR, generation):
        return
    name = f"{TUTOR}-g{generation}"
    with span(
        "lesson", name, generation=generation, expert=_expert_of(context, generation)
    ) as work:
        work.set(output=await _attempt(context, generation, steps))


async def _attempt(context: RunContext, generation: int, steps: int) -> str:
    """Teach, and record what came of it.

    Returns:
        The same in words.
    """
    try:
        material = await _prepared(context, generation, steps)
        bank = await context.population.bank()
        lesson = await done_in_own_thread(
            lambda: _taught(context, bank, material, generation, steps)
        )
    except (TutorError, BankError) as error:
        refuse(context, TUTOR, generation, str(error), lesson=True)
        return f"refused: {error}"
    with context.store.once(TUTOR, generation) as open_still:
        if open_still:
            bank.append(lesson.anchor)
            _record(context, bank, material, lesson, generation, steps)
    keep_most_used(context.store, context.folder, context.config.breeding.regmean.anchors, bank)
    said = _in_words(material, lesson, generation)
    context.progress(ProgressEvent("line", said))
    return said


def _expert_of(context: RunContext, generation: int) -> str:
    """The id of the expert that a lesson makes."""
    return f"g{generation}-{_birth(context)}"


def _birth(context: RunContext) -> int:
    # After the children, the graft and the merge, whose numbers stay what they are without it.
    return context.config.population.children + 2


async def _prepared(context: RunContext, generation: int, steps: int) -> _Material:
    """Choose what is taught to whom, draw instances, and let the best at them answer.

    Raises:
        TutorError: nothing needs a lesson, or there is nothing to learn it from.
    """
    settings, store = context.config.breeding.tutor, context.store
    most = settings.most_families(steps)
    cluster = choose_cluster(context, generation, lessons_about(store), most)
    if cluster is None:
        raise TutorError("the archive solves every generative family")
    period = learning(generation)
    families = await draw_instances(context, cluster.families, period, settings.instances)
    tutors = {
        family.id: cluster.tutors[family.id] if settings.labels == "archive" else None
        for family in families
    }
    await _answered(context, families, tutors, period)
    if settings.replay and not has_texts(context, cluster.parent, generation):
        await examine_own(context, [cluster.parent])
    bank = await context.population.bank()
    asked = [
        (item, [expert.genome_id] if (expert := tutors[family.id]) else [])
        for family in families
        for item in fresh_items(context, family, period)
    ]
    examples, own = labelled(context, bank, asked)
    if not examples:
        names = ", ".join(family.id for family in cluster.families)
        raise TutorError(f"{names} give no fresh instance with an answer to learn")
    repeated = steps * round(settings.batch * settings.replay)
    rng = stream(context.config.seed, generation, "tutor-replay")
    replay = replayed(context, bank, cluster.parent, repeated, generation, rng) if repeated else []
    names_of = {family: expert.id if expert else "" for family, expert in tutors.items()}
    return _Material(cluster.parent, names_of, examples, own, replay)


async def _answered(
    context: RunContext,
    families: Sequence[Family],
    tutors: Mapping[str, Expert | None],
    period: int,
) -> None:
    """Let the best at each family answer what is to be learnt; nobody is ranked on it."""
    examiner = await examiner_of(context)
    for family in families:
        expert = tutors[family.id]
        if expert is not None:
            items = fresh_items(context, family, period)
            context.progress(ProgressEvent("step", f"lesson: {expert.id} answers", 0, 0))
            await examiner.examine(expert.genome_id, context.genome(expert), items)


def _taught(
    context: RunContext, bank: Bank, material: _Material, generation: int, steps: int
) -> Lesson:
    """The lesson, its anchor kept in the run folder before anything refers to it."""
    settings, engine = context.config.breeding.tutor, context.config.engine
    folder = context.folder / FOLDER
    sweep(folder)
    longest = max(len(each.tokens) for each in [*material.examples, *material.replay])
    device = lesson_device(bank, engine, settings, longest)

    lesson = teach(
        f"{TUTOR}-g{generation}",
        bank,
        context.genome(material.parent),
        material.examples,
        material.replay,
        settings,
        steps,
        derive_seed(context.config.seed, generation, TUTOR),
        device,
        reading_format(bank, engine, device),
        steps_shown(context.progress),
    )
    save_anchor(lesson.anchor, folder / file_of(lesson.anchor))
    return lesson


def _record(
    context: RunContext,
    bank: Bank,
    material: _Material,
    lesson: Lesson,
    generation: int,
    steps: int,
) -> None:
    """Write the anchor, its data and its expert; to be called within the step."""
    settings, anchor, parent = context.config.breeding.tutor, lesson.anchor, material.parent
    taught = Taught(
        generation=generation,
        tutors=dict(material.tutors),
        steps=steps,
        rank=settings.rank,
        batch=settings.batch,
        learning_rate=settings.learning_rate,
        replay=settings.replay,
        examples=len(material.examples),
        own=material.own,
        replayed=len(material.replay),
        losses=(lesson.losses[0], lesson.losses[-1]),
    )
    genome = learnt(bank, context.genome(parent), anchor)
    expert = Expert(
        id=_expert_of(context, generation),
        genome_id=bank.genome_id(genome),
        generation=generation,
        birth=_birth(context),
        operator=TUTOR,
        parents=(parent.id,),
        parameters={TUTOR: {"anchor": anchor.name, **taught.model_dump(mode="json")}},
    )
    kept = Graft(
        anchor=anchor.name,
        content_hash=anchor.content_hash,
        path=f"{FOLDER}/{file_of(anchor)}",
        parents=expert.parents,
        method=TUTOR,
        parameters=taught.model_dump(mode="json"),
    )
    context.store.add_event(kept)
    context.store.put_genome(expert.genome_id, genome.to_bytes())
    context.store.put_expert(expert)


def _in_words(material: _Material, lesson: Lesson, generation: int) -> str:
    first, last = lesson.losses[0], lesson.losses[-1]
    names = ", ".join(material.tutors)
    return (
        f"lesson of generation {generation}: {material.parent.id} learnt {names} from "
        f"{len(material.examples)} examples, loss {first:.2f} to {last:.2f}"
    )
