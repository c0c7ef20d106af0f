"""All that a run has taught, taught once to one expert, without evolution: baselines.

The same instances with the same answers, as many steps as all lessons together, one LoRA.
"""

from __future__ import annotations

from collections.abc import Sequence

from agents.context import ReadContext
from agents.families.items import Item
from agents.judge.instances import fresh_items
from agents.lessons.examples import labelled, replayed
from agents.lessons.record import Taught, lessons_of
from agents.progress import steps_shown
from evolution.bank.anchors import Anchor, save_anchor
from evolution.bank.bank import Bank
from evolution.errors import TutorError
from evolution.genome.genome import Genome
from evolution.planning.placement import lesson_device, reading_format
from evolution.tutoring.lesson import learnt, teach
from evolution.tutoring.packing import Example
from evolution.tutoring.settings import TutorSettings
from memory.hashing import json_hash
from memory.randomness import derive_seed, stream
from memory.records import Expert, learning
from memory.threads import done_in_own_thread


async def taught_once(context: ReadContext, pupil: Expert, name: str) -> tuple[str, Genome] | str:
    """An expert after one lesson on all that the run has taught, or why there is none.

    It is given once and found again in the cache, by the content of all that enters it.

    Args:
        context: of the run, to whose bank what was learnt is appended.
        pupil: who is taught.
        name: of the anchor that holds what was learnt.

    Returns:
        Genome id and genome; or the reason, in words.
    """
    lessons = lessons_of(context.store)
    if not lessons:
        return "the run gave no lessons (breeding.tutor.steps)"
    bank = await context.population.bank()
    examples, _ = labelled(context, bank, _asked(context, lessons))
    # Settings may change while a run goes on; the baseline sees no fewer examples than it did.
    like, steps = max(lessons, key=lambda lesson: lesson.batch), sum(e.steps for e in lessons)
    settings = TutorSettings(
        steps=steps,
        rank=like.rank,
        batch=like.batch,
        learning_rate=like.learning_rate,
        replay=like.replay,
    )
    most = steps * round(settings.batch * settings.replay)
    rng = stream(context.config.seed, 0, f"{name}-replay")
    last = max(lesson.generation for lesson in lessons)
    replay = replayed(context, bank, pupil, most, last, rng)
    try:
        anchor = await done_in_own_thread(
            lambda: _anchor(context, bank, pupil, name, examples, replay, settings)
        )
    except TutorError as error:
        return f"{pupil.id} could not be taught ({error})"
    bank.append(anchor)
    genome = learnt(bank, context.genome(pupil), anchor)
    return bank.genome_id(genome), genome


def _asked(context: ReadContext, lessons: Sequence[Taught]) -> list[tuple[Item, list[str]]]:
    """What the lessons were about, each with whose answers came before the reference."""
    store = context.store
    return [
        (item, [store.expert(tutor).genome_id] if tutor else [])
        for lesson in lessons
        for family, tutor in lesson.tutors.items()
        for item in fresh_items(context, store.family(family), learning(lesson.generation))
    ]


def _anchor(
    context: ReadContext,
    bank: Bank,
    pupil: Expert,
    name: str,
    examples: Sequence[Example],
    replay: Sequence[Example],
    settings: TutorSettings,
) -> Anchor:
    """What was learnt.

    Raises:
        TutorError: it could not be.
    """
    engine, steps = context.config.engine, settings.steps or 0
    longest = max((len(each.tokens) for each in [*examples, *replay]), default=1)
    device = lesson_device(bank, engine, settings, longest)
    compute = reading_format(bank, engine, device)
    rng_seed = derive_seed(context.config.seed, 0, name)
    texts = [[[*each.tokens], each.learnt] for of in (examples, replay) for each in of]
    machine = [device.type, str(compute)]
    key = json_hash(
        [bank.base_hash, pupil.genome_id, texts, settings.model_dump(), rng_seed, machine], 32
    )
    stored = bank.origin.cache_dir / "lessons" / f"{key}.safetensors"
    anchor = bank.stored_anchor(name, stored)
    if anchor is None:
        lesson = teach(
            name,
            bank,
            context.genome(pupil),
            examples,
            replay,
            settings,
            steps,
            rng_seed,
            device,
            compute,
            steps_shown(context.progress),
        )
        anchor = lesson.anchor
        save_anchor(anchor, stored)
    return anchor
