"""What the offline scientist writes: a pure function of what it is shown and of the seed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any, TypeVar

from agents.offline import prompt_blocks
from agents.offline.author import name_of, write
from agents.offline.catalogue import (
    STRETCH,
    WITHIN_REACH,
    entries_named_in,
    entries_of,
    entries_with,
)
from agents.offline.entries import ATOMIC_KINDS, Entry
from agents.offline.sketches import Sketch, has_own_scorer, read_sketch
from memory.records import Json

WEAK_SPOT_SHARE = 0.2
"""How often a novel family starts from a weak spot that was named."""
STRETCH_EVERY = 6
"""Of so many novel families, one is about something that small models rarely master."""
FOUNDED = 60
"""Places that the founding scientists have been at, about."""
STRIDE = 8
"""Places between one generation's first novel family and the next one's."""
FIELDS = 24
"""About so many fields are named in turn: a field comes again after so many places."""
LATER_FORMS = 3
"""Where a named field is not in the catalogue, forms that others come to so many turns later."""
_SCORER_FAULTS = {
    "crash",
    "echo_passes",
    "empty_passes",
    "import_error",
    "reference_fails",
    "score_range",
    "score_unstable",
    "timeout",
    "wrong_passes",
}
_SAME_ANSWERS = {"constant_answer", "instances_repeat"}
T = TypeVar("T")


def propose(request: str, seed: int) -> dict[str, Json]:
    """The first form of a family.

    Args:
        request: the rendered prompt `propose`.
        seed: of the request.
    """
    shown, rng = prompt_blocks.blocks(request), Random(seed)
    kind, parent = shown[prompt_blocks.ASSIGNMENT]["kind"], _parent(request, shown)
    if parent is None or kind == "novel":
        return write(_novel(shown, rng))
    if kind == "easier":
        return write(_easier(parent))
    forms = _harder_forms(parent, rng) if kind == "harder" else _related_forms(parent, rng)
    return write(_free(forms, shown) or _novel(shown, rng))


def refine(request: str, last_proposal: str, feedback: str, seed: int) -> dict[str, Json]:
    """The next form of a family, in answer to a gate, the trial or a critic.

    Args:
        request: the rendered prompt `propose`, with which the conversation began.
        last_proposal: the scientist's own last message.
        feedback: the rendered prompt `refine`.
        seed: of the request.
    """
    sketch = read_sketch(json.loads(last_proposal)["code"])
    assert sketch is not None
    asked, answered = prompt_blocks.blocks(request), prompt_blocks.blocks(feedback)
    parent, rng = _parent(request, asked), Random(seed)
    code = answered.get(prompt_blocks.GATES, {}).get("code")
    if code is not None:
        return write(_fixed(sketch, code, asked, parent, rng))
    problems = answered.get(prompt_blocks.CRITIQUE, {}).get("problems", [])
    return write(_revised(sketch, problems, asked, parent, rng))


def _parent(request: str, shown: Mapping[str, Any]) -> Sketch | None:
    return read_sketch(prompt_blocks.code_in(request)) if prompt_blocks.PARENT in shown else None


def _novel(shown: Mapping[str, Any], rng: Random) -> Sketch:
    """A generator that is not among the families shown, in the field that was named."""
    assignment = shown[prompt_blocks.ASSIGNMENT]
    known = [view["name"] for view in shown.get(prompt_blocks.INSPIRATIONS, [])]
    known += shown.get(prompt_blocks.REJECTED, [])
    known += [view["name"] for view in [shown.get(prompt_blocks.PARENT)] if view]
    taken = {entry.generator for name in known for entry in entries_named_in(name)}
    place, names = _place(assignment), shown.get(prompt_blocks.TAKEN, [])
    field = _field(shown)
    entries = entries_of(field)
    # What small models rarely master is asked now and then: most of it would come back.
    stretch = place % STRETCH_EVERY == STRETCH_EVERY - 1
    if entries and (stretch or any(entry.within_reach for entry in entries)):
        return _first_free(_in_turn(entries, place // FIELDS, taken), names)
    weak = [
        entry
        for capability in shown.get(prompt_blocks.WEAK_SPOTS, [])
        for entry in entries_with(capability)
        if entry.generator not in taken
    ]
    if weak and rng.random() < WEAK_SPOT_SHARE:
        entry = weak[assignment["index"] % len(weak)]
        return _first_free(_shuffled(_other_forms(_plain(entry)), rng), names, _plain(entry))
    return _first_free(_at(place, taken, LATER_FORMS if field else 0), names)


def _field(shown: Mapping[str, Any]) -> str:
    """The field that an assignment names, or that of its parent."""
    parent = shown.get(prompt_blocks.PARENT, {})
    field: str = shown[prompt_blocks.ASSIGNMENT].get("field") or parent.get("field", "")
    same_skill = entries_with(parent.get("capability", ""))
    return same_skill[0].field if same_skill and not field else field


def _place(assignment: Mapping[str, Any]) -> int:
    """Where along all novel families this one stands: scientists do not see each other."""
    index: int = assignment["index"]
    generation: int = assignment["generation"]
    return index if generation == 0 else FOUNDED + STRIDE * generation + index


def _at(place: int, taken: Collection[str], ahead: int) -> Iterator[Sketch]:
    """What may be written at a place: the catalogue in turn, each time in another form.

    Args:
        place: along all novel families.
        taken: generators that come last.
        ahead: so many turns later.
    """
    behind = place // STRETCH_EVERY
    if place % STRETCH_EVERY == STRETCH_EVERY - 1:
        entries, (turn, position) = STRETCH, divmod(behind, len(STRETCH))
    else:
        entries, (turn, position) = WITHIN_REACH, divmod(place - behind, len(WITHIN_REACH))
    walk = [*entries[position:], *entries[:position]]
    walk.sort(key=lambda entry: entry.generator in taken)
    return itertools.chain.from_iterable(_turned(_variants(entry), turn + ahead) for entry in walk)


def _in_turn(entries: Sequence[Entry], turn: int, taken: Collection[str]) -> list[Sketch]:
    """All forms of the generators of a field: the first form of each, then the second, and on."""
    walk = sorted(entries, key=lambda entry: entry.generator in taken)
    rows = itertools.zip_longest(*(_variants(entry) for entry in walk))
    found = [sketch for row in rows for sketch in row if sketch is not None]
    return _turned(sorted(found, key=lambda sketch: not _within_reach(sketch)), turn)


def _within_reach(sketch: Sketch) -> bool:
    return all(entry.within_reach for entry in sketch.entries)


def _turned(forms: list[Sketch], turn: int) -> list[Sketch]:
    return forms[turn % len(forms) :] + forms[: turn % len(forms)]


def _variants(entry: Entry) -> list[Sketch]:
    """What a novel family of a generator may be."""
    first = _plain(entry)
    return [first, *_other_forms(first)]


def _other_forms(sketch: Sketch) -> list[Sketch]:
    """What else asks for the same skill: other wordings, and a solved example before the question.

    Wordings that small models rarely understand are left out.
    """
    entry = sketch.entries[0]
    alone = Sketch((entry.generator,), distinct=sketch.distinct or entry.distinct)
    forms = [
        replace(alone, form="reworded", wording=number)
        for number, wording in enumerate(entry.wordings)
        if wording.within_reach or not entry.within_reach
    ]
    return [*forms, replace(alone, form="shown")] if entry.brief else forms


def _longer_forms(sketch: Sketch, rng: Random) -> list[Sketch]:
    """What asks for more: to go on with the result, or to answer a second question as well."""
    entry = sketch.entries[0]
    alone = Sketch((entry.generator,), distinct=sketch.distinct or entry.distinct)
    forms = [replace(alone, form="extended")] if entry.whole else []
    if entry.kind in ATOMIC_KINDS:
        for partner in _partners(entry, rng):
            forms.append(replace(alone, form="composed", generators=(entry.generator, partner)))
    return forms


def _partners(entry: Entry, rng: Random) -> list[str]:
    """Second generators whose answers can be joined to the first one's."""
    others = [
        other.generator
        for other in WITHIN_REACH
        if other.kind in ATOMIC_KINDS and other.field != entry.field
    ]
    return rng.sample(others, k=2)


def _related_forms(parent: Sketch, rng: Random) -> list[Sketch]:
    """Other forms of the parent."""
    return _shuffled([s for s in _other_forms(parent) if s.form != parent.form], rng)


def _harder_forms(parent: Sketch, rng: Random) -> list[Sketch]:
    """Beyond the last level of a family: it goes on with the result, or has a second part."""
    forms = [s for s in _longer_forms(parent, rng) if (s.form, parent.form) != ("extended",) * 2]
    return _shuffled(forms, rng)


def _easier(sketch: Sketch) -> Sketch:
    """Below the first level of a family: one question of two, or a solved example before it."""
    entry = sketch.entries[0]
    if sketch.form in ("composed", "extended"):
        return replace(sketch, form="plain", generators=(entry.generator,))
    if sketch.form != "shown" and entry.brief:
        return replace(sketch, form="shown", own_scorer=True, explicit=False)
    if sketch.form == "reworded":
        return replace(sketch, form="plain", wording=0)
    return replace(sketch, explicit=sketch.form == "plain")


def _fixed(
    sketch: Sketch, code: str, asked: Mapping[str, Any], parent: Sketch | None, rng: Random
) -> Sketch:
    """What to change after a gate or the trial: the scorer, the form, or the generator."""
    if code in _SCORER_FAULTS and not sketch.own_scorer:
        return replace(sketch, own_scorer=True)
    if code in _SAME_ANSWERS and not sketch.distinct:
        return replace(sketch, distinct=True)
    apart = (parent,) if parent is not None else ()
    return _free(_after(sketch, code, rng), asked, (sketch, *apart)) or sketch


def _after(sketch: Sketch, code: str, rng: Random) -> Iterable[Sketch]:
    """What may follow a sketch that the trial or the memory of families turned down."""
    if code == "too_hard":
        # An example does not put into reach what small models rarely master.
        forms = [_easier(sketch)] if sketch.entries[0].within_reach else []
    elif code == "too_easy":
        forms = _harder_forms(sketch, rng)
    else:
        forms = _shuffled(_other_forms(sketch), rng)
    return itertools.chain(forms, _of_other_generators(sketch, rng))


def _of_other_generators(sketch: Sketch, rng: Random) -> list[Sketch]:
    """Families of other generators within reach, those of the same field first."""
    entry = sketch.entries[0]
    others = [other for other in WITHIN_REACH if other is not entry]
    forms = _shuffled([form for other in others for form in _variants(other)], rng)
    return sorted(forms, key=lambda form: form.entries[0].field != entry.field)


def _revised(
    sketch: Sketch,
    problems: Sequence[str],
    asked: Mapping[str, Any],
    parent: Sketch | None,
    rng: Random,
) -> Sketch:
    """What to change after a critique; problems begin with their kind."""
    kinds = {problem.partition(":")[0] for problem in problems}
    if "Scorer" in kinds:
        sketch = replace(sketch, own_scorer=True)
    if "Ambiguous form" in kinds and sketch.form in ("plain", "reworded"):
        sketch = replace(sketch, explicit=True)
    if kinds & {"Too hard", "Too long"}:
        return _fixed(sketch, "too_hard", asked, parent, rng)
    return _fixed(sketch, "too_easy", asked, parent, rng) if "Too easy" in kinds else sketch


def _first_free(
    sketches: Iterable[Sketch], names: Collection[str], otherwise: Sketch | None = None
) -> Sketch:
    """The first sketch whose name is not taken; the first of all if none is free."""
    first = otherwise
    for sketch in sketches:
        if name_of(sketch) not in names:
            return sketch
        first = first or sketch
    assert first is not None
    return first


def _free(
    sketches: Iterable[Sketch], shown: Mapping[str, Any], apart: Collection[Sketch] = ()
) -> Sketch | None:
    """The first sketch whose name is neither taken nor that of one of some others."""
    names = {*shown.get(prompt_blocks.TAKEN, []), *map(name_of, apart)}
    return next((sketch for sketch in sketches if name_of(sketch) not in names), None)


def _shuffled(items: Sequence[T], rng: Random) -> list[T]:
    return rng.sample(items, k=len(items))


def _plain(entry: Entry) -> Sketch:
    """A first sketch; it takes over the generator's scorer where answers are more than a number."""
    borrowed = entry.kind != "number" and has_own_scorer(entry.generator)
    return Sketch((entry.generator,), own_scorer=not borrowed, distinct=entry.distinct)
