"""Writes a sketch out: two instances, a program, wrong answers, and the words around them."""

from __future__ import annotations

import functools
import inspect
import itertools
import json
import re
from collections.abc import Callable, Iterator

from agents.offline.answer_kinds import READERS
from agents.offline.near_misses import near_misses
from agents.offline.sketches import Instance, Sketch, draw, read_sketch
from memory.records import Json

ADDENDS = (3, 7, 10, 15)
"""What an extended family adds to the result."""
GRADES = {
    1: "A warm-up for beginners.",
    2: "A moderate exercise.",
    3: "A demanding test.",
    4: "A hard problem for experts.",
    5: "An extreme challenge.",
}
"""How a description begins: two levels of one generator are no duplicates."""
_MAX_NAME = 80
_BOOKKEEPING = {"source_dataset", "source_index", "difficulty"}


def write(sketch: Sketch) -> dict[str, Json]:
    """The whole proposal, fields as in `agents.families.proposal.Proposal`."""
    instances = _two_instances(sketch)
    _, asks, capability = _words(sketch)
    first, second = instances
    return {
        "name": name_of(sketch),
        "description": f"{GRADES[sketch.level]} {asks}",
        "capability": capability,
        "difficulty": sketch.level,
        "code": _program(sketch, instances, asks),
        "reference_answers": {"1": first.answer, "2": second.answer},
        "wrong_answers": {"1": _wrong(sketch, first), "2": _wrong(sketch, second)},
        "rated": False,
        "rubric": None,
    }


@functools.lru_cache(maxsize=1024)
def wrote(code: str) -> bool:
    """Whether a program is, to the letter, what is written here from the sketch in its header.

    Only such code is this project's own, whatever the records say that it came in.
    """
    sketch = read_sketch(code)
    if sketch is None:
        return False
    try:
        return bool(write(sketch)["code"] == code)
    except (ValueError, LookupError):
        # A sketch that nobody here would draw: it has no two instances.
        return False


def _two_instances(sketch: Sketch) -> tuple[Instance, Instance]:
    """The first two instances with different questions and, if asked for, different answers."""
    found: list[Instance] = []
    for instance in stream(sketch):
        repeated = any(
            instance.question == other.question
            or (sketch.distinct and instance.answer.casefold() == other.answer.casefold())
            for other in found
        )
        if not repeated:
            found.append(instance)
        if len(found) == 2:
            break
    first, second = found
    return first, second


def name_of(sketch: Sketch) -> str:
    """The name of the family that a sketch becomes."""
    return _words(sketch)[0][:_MAX_NAME]


def stream(sketch: Sketch) -> Iterator[Instance]:
    """Instances in the form that a sketch gives them."""
    return _STREAMS[sketch.form](sketch)


def _plain(sketch: Sketch) -> Iterator[Instance]:
    (entry,) = sketch.entries
    for instance in draw(entry, sketch.level, sketch.seed):
        question = _joined(instance.question, entry.form if sketch.explicit else "")
        yield Instance(question, instance.answer, instance.metadata)


def _reworded(sketch: Sketch) -> Iterator[Instance]:
    (entry,) = sketch.entries
    wording = entry.wordings[sketch.wording]
    for instance in draw(entry, sketch.level, sketch.seed):
        data = re.search(wording.pattern, instance.question + "\n")
        if data is not None:
            question = wording.text.format(**data.groupdict())
            question = _joined(question, entry.form if sketch.explicit else "")
            yield Instance(question, instance.answer, {})


def _composed(sketch: Sketch) -> Iterator[Instance]:
    one, other = sketch.entries
    pairs = zip(
        draw(one, sketch.level, sketch.seed), draw(other, sketch.level, sketch.seed), strict=False
    )
    for first, second in pairs:
        if "," in first.answer + second.answer:
            continue
        question = (
            f"Two questions.\n1) {first.question}\n2) {second.question}\n"
            "Give both answers in this order, separated by a comma and a space."
        )
        yield Instance(question, f"{first.answer}, {second.answer}", {})


def _extended(sketch: Sketch) -> Iterator[Instance]:
    (entry,) = sketch.entries
    addend = _addend(sketch)
    for instance in draw(entry, sketch.level, sketch.seed):
        if re.fullmatch(r"-?\d+", instance.answer):
            question = f"{instance.question}\nAdd {addend} to that result and give the sum alone."
            yield Instance(question, str(int(instance.answer) + addend), {})


def _shown(sketch: Sketch) -> Iterator[Instance]:
    (entry,) = sketch.entries
    example, *others = draw(entry, sketch.level, sketch.seed)
    for instance in others:
        question = (
            f"First an example: {example.question}\nThe right reply to it is {example.answer}\n"
            f"Now this one: {instance.question}"
        )
        yield Instance(question, instance.answer, {})


_STREAMS: dict[str, Callable[[Sketch], Iterator[Instance]]] = {
    "plain": _plain,
    "reworded": _reworded,
    "composed": _composed,
    "extended": _extended,
    "shown": _shown,
}


def _joined(question: str, sentence: str) -> str:
    return f"{question}\n{sentence}" if sentence else question


def _addend(sketch: Sketch) -> int:
    return ADDENDS[sketch.seed % len(ADDENDS)]


def _words(sketch: Sketch) -> tuple[str, str, str]:
    """Name, description and capability."""
    entry, *others = sketch.entries
    phrase = entry.levels[sketch.level - 1].phrase
    asks = entry.asks.format(phrase=phrase)
    if sketch.form == "composed":
        (other,) = others
        also = other.asks.format(phrase=other.levels[sketch.level - 1].phrase)
        return (
            f"{entry.title} with {other.title}, level {sketch.level}",
            f"Two questions at once. {asks} {also}",
            f"{entry.capability}; {other.capability}",
        )
    if sketch.form == "reworded":
        title = entry.wordings[sketch.wording].title
        return f"{title}: {phrase}", f"In another scene. {asks}", entry.capability
    if sketch.form == "extended":
        return (
            f"{entry.title}, then plus {_addend(sketch)}: {phrase}",
            f"{asks} Then {_addend(sketch)} is added to the result.",
            f"{entry.capability}; carrying a result on",
        )
    if sketch.form == "shown":
        title = f"{entry.title} by example: {phrase}"
        return title, f"After one solved example. {asks}", entry.capability
    return f"{entry.title}: {phrase}", asks, entry.capability


def _wrong(sketch: Sketch, instance: Instance) -> list[Json]:
    """Near misses; a composed answer goes wrong in one part or the other."""
    kinds = [entry.kind for entry in sketch.entries]
    parts = instance.answer.split(", ") if sketch.form == "composed" else [instance.answer]
    wrong: list[list[str]] = []
    for place, (kind, part) in enumerate(zip(kinds, parts, strict=True)):
        misses = near_misses(instance.question, part, kind, sketch.seed)
        wrong.append([", ".join([*parts[:place], miss, *parts[place + 1 :]]) for miss in misses])
    mixed = itertools.chain.from_iterable(itertools.zip_longest(*wrong))
    return [text for text in mixed if text is not None][:3]


def _program(sketch: Sketch, instances: tuple[Instance, Instance], asks: str) -> str:
    """The text of task.py."""
    helpers, score = _own_scorer(sketch) if sketch.own_scorer else _generators_scorer(sketch)
    tasks = "\n".join(
        f'            "{number}": {_literal(instance, with_metadata=not sketch.own_scorer)},'
        for number, instance in enumerate(instances, start=1)
    )
    return f'''\
{sketch.header()}"""{asks}"""

from __future__ import annotations
{helpers}

class TaskFamily:
    """Two instances; `score` is 1.0 for the right answer."""

    @staticmethod
    def get_tasks():
        return {{
{tasks}
        }}

    @staticmethod
    def get_instructions(t):
        return t["question"]

    @staticmethod
    def score(t, submission):
{score}
'''


def _own_scorer(sketch: Sketch) -> tuple[str, str]:
    """A strict scorer: the functions that read answers, and the body of `score`."""
    kinds = [entry.kind for entry in sketch.entries]
    names = [READERS[kind].__name__ for kind in kinds]
    sources = [inspect.getsource(READERS[kind]) for kind in dict.fromkeys(kinds)]
    helpers = "\nimport re\n\n\n" + "\n\n".join(sources)
    if sketch.form == "composed":
        return helpers, _COMPOSED_SCORE.format(readers=", ".join(names))
    return helpers, _OWN_SCORE.format(reader=names[0])


def _generators_scorer(sketch: Sketch) -> tuple[str, str]:
    """The scorer that the generator brings along."""
    (generator,) = sketch.generators
    return "", _GENERATOR_SCORE.format(generator=generator)


def _literal(instance: Instance, *, with_metadata: bool) -> str:
    record: dict[str, Json] = {"question": instance.question, "answer": instance.answer}
    return repr(record | {"metadata": scorer_metadata(instance)} if with_metadata else record)


def scorer_metadata(instance: Instance) -> dict[str, Json] | None:
    """What the generator's scorer may look at, None if it is no plain data."""
    kept = {k: v for k, v in instance.metadata.items() if k not in _BOOKKEEPING}
    try:
        plain: dict[str, Json] = json.loads(json.dumps(kept))
    except TypeError:
        return None
    return plain


_OWN_SCORE = """\
        given = {reader}(submission)
        return 1.0 if given is not None and given == {reader}(t["answer"]) else 0.0"""
_COMPOSED_SCORE = """\
        given, wanted = submission.split(","), t["answer"].split(",")
        if len(given) != 2:
            return 0.0
        pairs = zip(({readers}), given, wanted)
        values = [(read(text), read(answer)) for read, text, answer in pairs]
        right = all(value is not None and value == wanted for value, wanted in values)
        return 1.0 if right else 0.0"""
_GENERATOR_SCORE = """\
        import reasoning_gym

        score_answer = reasoning_gym.get_score_answer_fn("{generator}")
        return score_answer(answer=submission, entry=t)"""
