"""What the offline scientist writes: a pure function of what it is shown and of the seed."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from agents.offline import prompt_blocks
from agents.offline.author import name_of, write
from agents.offline.catalogue import (
    CATALOGUE,
    STRETCH,
    WITHIN_REACH,
    entries_named_in,
    entries_with,
    entry_of,
)
from agents.offline.entries import ATOMIC_KINDS, LEVELS, Entry
from agents.offline.sketches import (
    SEED_RANGE,
    Form,
    Sketch,
    has_own_scorer,
    is_brief,
    read_sketch,
)
from memory.records import Json

WEAK_SPOT_SHARE = 0.2
"""How often a novel family starts from a weak spot that was named."""
COMPOSED_SHARE = 0.05
"""How often a plain family is one of two generators instead."""
FIRST_LEVELS = ((1, 2, 3), (0.6, 0.35, 0.05))
"""Levels of novel families, and their shares: the experts are small."""
STRETCH_EVERY = 6
"""Of so many novel families, one is about something that small models rarely master."""
FOUNDED = 60
"""Places that the founding scientists have been at, about."""
STRIDE = 8
"""Places between one generation's first novel family and the next one's."""
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
_INTEGER_RESULTS = {
    "chain_sum",
    "products",
    "gcd",
    "lcm",
    "basic_arithmetic",
    "simple_equations",
    "count_bits",
    "count_primes",
    "letter_counting",
    "leg_counting",
    "aiw",
}
"""Generators whose result can be carried on with."""


def propose(request: str, seed: int) -> dict[str, Json]:
    """The first form of a family.

    Args:
        request: the rendered prompt `propose`.
        seed: of the request.
    """
    shown = prompt_blocks.blocks(request)
    rng = Random(seed)
    return write(_unlike(_proposed(request, shown, rng), shown, rng))


def _proposed(request: str, shown: Mapping[str, Any], rng: Random) -> Sketch:
    kind = shown[prompt_blocks.ASSIGNMENT]["kind"]
    parent = read_sketch(prompt_blocks.code_in(request)) if prompt_blocks.PARENT in shown else None
    if parent is None or kind == "novel":
        return _novel(shown, rng)
    fresh = replace(parent, seed=rng.randrange(SEED_RANGE), distinct=False)
    if kind == "harder":
        return _harder(fresh, rng)
    if kind == "easier":
        return _easier(fresh)
    return _related(fresh, rng) or _novel(shown, rng)


def refine(request: str, last_proposal: str, feedback: str, seed: int) -> dict[str, Json]:
    """The next form of a family, in answer to a gate or a critic.

    Args:
        request: the rendered prompt `propose`, with which the conversation began.
        last_proposal: the scientist's own last message.
        feedback: the rendered prompt `refine`.
        seed: of the request.
    """
    sketch = read_sketch(json.loads(last_proposal)["code"])
    assert sketch is not None
    asked, answered = prompt_blocks.blocks(request), prompt_blocks.blocks(feedback)
    rng = Random(seed)
    if prompt_blocks.GATES in answered:
        return write(_fixed(sketch, answered[prompt_blocks.GATES]["code"], rng))
    revised = _revised(sketch, answered[prompt_blocks.CRITIQUE]["problems"], rng)
    revised = _unlike(revised, asked, rng)
    parent = read_sketch(prompt_blocks.code_in(request))
    if asked[prompt_blocks.ASSIGNMENT]["kind"] == "related" and parent is not None:
        revised = _apart_from(parent, revised, rng)
    return write(revised)


def _novel(shown: Mapping[str, Any], rng: Random) -> Sketch:
    """A generator that is not among the families shown, at a low level."""
    assignment = shown[prompt_blocks.ASSIGNMENT]
    known = [view["name"] for view in shown.get(prompt_blocks.INSPIRATIONS, [])]
    known += shown.get(prompt_blocks.REJECTED, [])
    taken = {entry.generator for name in known for entry in entries_named_in(name)}
    weak = [
        entry
        for capability in shown.get(prompt_blocks.WEAK_SPOTS, [])
        for entry in entries_with(capability)
        if entry.generator not in taken
    ]
    if weak and rng.random() < WEAK_SPOT_SHARE:
        return _less_plain(weak[assignment["index"] % len(weak)], rng)
    return _at(_place(assignment), taken, shown.get(prompt_blocks.TAKEN, []), rng)


def _place(assignment: Mapping[str, Any]) -> int:
    """Where along all novel families this one stands: scientists do not see each other."""
    index: int = assignment["index"]
    generation: int = assignment["generation"]
    return index if generation == 0 else FOUNDED + STRIDE * generation + index


def _at(place: int, taken: Collection[str], names: Collection[str], rng: Random) -> Sketch:
    """What is written at a place: the parts of the catalogue in turn, each time in another form.

    Generators that are taken are passed over, names that are taken are not given again.
    """
    behind = place // STRETCH_EVERY
    if place % STRETCH_EVERY == STRETCH_EVERY - 1:
        shelf, turn, position = STRETCH, 0, behind
    else:
        shelf, (turn, position) = WITHIN_REACH, divmod(place - behind, len(WITHIN_REACH))
    walk = [shelf[(position + step) % len(shelf)] for step in range(len(shelf))]
    walk.sort(key=lambda entry: entry.generator in taken)
    found = [_variants(entry, turn, rng) for entry in walk]
    free = (sketch for forms in found for sketch in forms if name_of(sketch) not in names)
    return next(free, found[0][0])


def _variants(entry: Entry, turn: int, rng: Random) -> list[Sketch]:
    """The forms of one generator that small models may manage, in another order at every turn."""
    plain = _sketch((entry.generator,), "plain", 2, rng)
    if entry in STRETCH:
        return [replace(plain, level=1)]
    alone = replace(plain, own_scorer=True)
    reworded = [
        replace(alone, form="reworded", wording=place)
        for place, wording in enumerate(entry.wordings)
        if not wording.stretch
    ]
    shown = [replace(alone, form="shown")] if is_brief(entry.generator) else []
    ladder = [plain, *reworded, *shown]
    forms = [replace(sketch, level=level) for level in (2, 1, 3) for sketch in ladder]
    if turn and entry.kind in ATOMIC_KINDS and rng.random() < COMPOSED_SHARE:
        pair = (entry.generator, _partner(entry, rng))
        forms.insert(turn, replace(alone, form="composed", generators=pair, level=1))
    return forms[turn % len(forms) :] + forms[: turn % len(forms)]


def _less_plain(entry: Entry, rng: Random) -> Sketch:
    """A form that others are less likely to have written; the plain one if there is no other."""
    plain = _sketch((entry.generator,), "plain", _first_level(rng), rng)
    return rng.choice(_other_forms(plain, rng) or [plain])


def _related(parent: Sketch, rng: Random) -> Sketch | None:
    """Another form of the parent at its level; None if it has no other."""
    forms = [sketch for sketch in _other_forms(parent, rng) if sketch.form != parent.form]
    return rng.choice(forms) if forms else None


def _apart_from(parent: Sketch, sketch: Sketch, rng: Random) -> Sketch:
    """Another form for a related family that was simplified until it was its parent again."""
    if (sketch.form, sketch.level) != (parent.form, parent.level):
        return sketch
    forms = [s for s in _other_forms(sketch, rng) if s.form not in (parent.form, "composed")]
    return rng.choice(forms) if forms else sketch


def _other_forms(sketch: Sketch, rng: Random) -> list[Sketch]:
    """What else can be made of the first generator of a sketch."""
    entry = sketch.entries[0]
    alone = replace(sketch, generators=(entry.generator,), own_scorer=True)
    forms: list[Sketch] = []
    for wording in range(len(entry.wordings)):
        forms.append(replace(alone, form="reworded", wording=wording))
    if is_brief(entry.generator):
        forms.append(replace(alone, form="shown"))
    if entry.generator in _INTEGER_RESULTS:
        forms.append(replace(alone, form="extended"))
    if entry.kind in ATOMIC_KINDS:
        pair = (entry.generator, _partner(entry, rng))
        forms.append(
            replace(alone, form="composed", generators=pair, level=max(1, sketch.level - 1))
        )
    return forms


def _harder(parent: Sketch, rng: Random) -> Sketch:
    """The next rung; above the last one, another form of the same."""
    if parent.level < LEVELS[-1]:
        return replace(parent, level=parent.level + 1)
    forms = [s for s in _other_forms(parent, rng) if s.form in ("composed", "extended")]
    return replace(rng.choice(forms), level=parent.level) if forms else parent


def _easier(sketch: Sketch) -> Sketch:
    """The rung below; on the first one, one question of two, or a solved example before it."""
    if sketch.level > LEVELS[0]:
        return replace(sketch, level=sketch.level - 1)
    if sketch.form == "composed":
        return replace(sketch, form="plain", generators=sketch.generators[:1])
    return _helped(sketch) or replace(sketch, explicit=True)


def _fixed(sketch: Sketch, code: str, rng: Random) -> Sketch:
    """What to change after a gate: the scorer if it is borrowed and at fault, else the data."""
    if code in _SCORER_FAULTS and not sketch.own_scorer:
        return replace(sketch, own_scorer=True)
    return replace(sketch, seed=rng.randrange(SEED_RANGE), distinct=True)


def _revised(sketch: Sketch, problems: Sequence[str], rng: Random) -> Sketch:
    """What to change after a critique; problems begin with their kind."""
    kinds = {problem.partition(":")[0] for problem in problems}
    if "Scorer" in kinds:
        sketch = replace(sketch, own_scorer=True)
    if "Ambiguous form" in kinds:
        sketch = replace(sketch, explicit=True)
    if "Too easy" in kinds:
        sketch = replace(sketch, level=min(LEVELS[-1], sketch.level + 1))
    if kinds & {"Too hard", "Too long"}:
        sketch = _easier(sketch)
    if kinds - {"Scorer", "Ambiguous form"}:
        sketch = replace(sketch, seed=rng.randrange(SEED_RANGE), distinct=True)
    return sketch


def _unlike(sketch: Sketch, shown: Mapping[str, Any], rng: Random) -> Sketch:
    """The sketch, or another form of its level if its name is taken and another one is free."""
    names = shown.get(prompt_blocks.TAKEN, [])
    if name_of(sketch) not in names:
        return sketch
    forms = _variants(sketch.entries[0], 0, rng)
    free = (s for s in forms if s.level == sketch.level and name_of(s) not in names)
    return next(free, sketch)


def _helped(sketch: Sketch) -> Sketch | None:
    """The same after one solved example, where there was none yet and one fits."""
    if sketch.form == "shown" or not is_brief(sketch.generators[0]):
        return None
    return replace(sketch, form="shown", own_scorer=True)


def _sketch(generators: tuple[str, ...], form: Form, level: int, rng: Random) -> Sketch:
    """A first sketch; it takes over the generator's scorer where answers are more than a number."""
    (entry, *_), seed = map(entry_of, generators), rng.randrange(SEED_RANGE)
    assert entry is not None
    borrowed = form == "plain" and entry.kind != "number" and has_own_scorer(entry.generator)
    return Sketch(generators, level, form, seed, own_scorer=not borrowed)


def _first_level(rng: Random) -> int:
    levels, shares = FIRST_LEVELS
    return rng.choices(levels, weights=shares)[0]


def _partner(entry: Entry, rng: Random) -> str:
    """A second generator whose answers can be joined to the first one's."""
    others = [
        other.generator
        for other in CATALOGUE
        if other.kind in ATOMIC_KINDS and other.capability != entry.capability
    ]
    return rng.choice(others)
