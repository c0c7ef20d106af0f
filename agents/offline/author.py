"""Writes a sketch out: a program that draws instances at five levels, and the words around it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable

from agents.offline.answer_kinds import NEAR, READERS
from agents.offline.entries import Entry
from agents.offline.sketches import Form, Sketch, read_sketch
from memory.records import Json

DIFFICULTIES: dict[Form, int] = {
    "shown": 1,
    "plain": 2,
    "reworded": 2,
    "extended": 3,
    "composed": 4,
}
"""A rough figure; the trial finds the level at which a family tells experts apart."""
DRAWS = 60
"""How many instances are looked through for two that fit."""
_MAX_NAME = 80


def write(sketch: Sketch) -> dict[str, Json]:
    """The whole proposal, fields as in `agents.families.proposal.Proposal`."""
    name, description, capability = _words(sketch)
    return {
        "name": name[:_MAX_NAME],
        "description": description,
        "capability": capability,
        "difficulty": difficulty_of(sketch),
        "code": _program(sketch),
        "reference_answers": None,
        "wrong_answers": None,
        "rated": False,
        "rubric": None,
    }


@functools.lru_cache(maxsize=1024)
def wrote(code: str) -> bool:
    """Whether a program is, to the letter, what is written here from the sketch in its header.

    Only such code is this project's own, whatever the records say that it came in.
    """
    sketch = read_sketch(code)
    return sketch is not None and _program(sketch) == code


def name_of(sketch: Sketch) -> str:
    """The name of the family that a sketch becomes."""
    return _words(sketch)[0][:_MAX_NAME]


def difficulty_of(sketch: Sketch) -> int:
    """The figure of a form, one more where small models rarely master a generator."""
    stretch = any(not entry.within_reach for entry in sketch.entries)
    return DIFFICULTIES[sketch.form] + stretch


def _words(sketch: Sketch) -> tuple[str, str, str]:
    """Name, description and capability."""
    entry, *others = sketch.entries
    asks = f"{entry.asks} {entry.ladder}"
    if sketch.form == "composed":
        (other,) = others
        return (
            f"{entry.title} with {other.title}",
            f"Two questions at once. {entry.asks} {other.asks}",
            f"{entry.capability}; {other.capability}",
        )
    if sketch.form == "reworded":
        title = entry.wordings[sketch.wording].title
        return title, f"In another scene. {asks}", entry.capability
    if sketch.form == "extended":
        return (
            f"{entry.title}, then one more sum",
            f"{entry.asks} Then a number is added to the result. {entry.ladder}",
            f"{entry.capability}; carrying a result on",
        )
    if sketch.form == "shown":
        title = f"{entry.title} by example"
        return title, f"After one solved example. {asks}", entry.capability
    return entry.title, asks, entry.capability


def _program(sketch: Sketch) -> str:
    """The text of task.py."""
    kinds = list(dict.fromkeys(entry.kind for entry in sketch.entries))
    functions: list[Callable[..., object]] = [
        *(READERS[kind] for kind in kinds),
        *(NEAR[kind] for kind in kinds),
    ]
    helpers = "\n\n".join(inspect.getsource(function) for function in functions)
    ladders = "".join(map(_ladder, sketch.entries))
    asks = " ".join(entry.asks for entry in sketch.entries)
    key = 'task["answer"].casefold()' if sketch.distinct else 'task["question"]'
    return f'''\
{sketch.header()}"""{asks}"""

from __future__ import annotations

import functools
import re

import reasoning_gym

LEVELS = {{
{ladders}}}
{_avoided(sketch)}

{_drawn(sketch)}


def tasks(seed, level):
{_tasks(sketch)}


{helpers}

class TaskFamily:
    levels = {len(sketch.entries[0].levels)}

    @staticmethod
    def get_tasks(seed=0, level=1):
        found = {{}}
        for task in tasks(seed, level):
            found.setdefault({key}, task)
            if len(found) == 2:
                break
        return dict(zip("12", found.values()))

    @staticmethod
    def get_instructions(t):
        return t["question"]

    @staticmethod
    def reference(t):
        return t["answer"]

    @staticmethod
    def wrong(t):
{_wrong(sketch)}

    @staticmethod
    def score(t, submission):
{_score(sketch)}
'''


def _ladder(entry: Entry) -> str:
    rungs = "".join(f"        {rung.config!r},  # {rung.phrase}\n" for rung in entry.levels)
    return f'    "{entry.generator}": (\n{rungs}    ),\n'


def _avoided(sketch: Sketch) -> str:
    """Which questions are passed over, by generator."""
    avoided = {entry.generator: entry.avoid or "(?!)" for entry in sketch.entries}
    return f"AVOIDED = {avoided!r}\n" if any(entry.avoid for entry in sketch.entries) else ""


def _drawn(sketch: Sketch) -> str:
    """The function that draws from a generator."""
    fits = "answer and not shown"
    if any(entry.avoid for entry in sketch.entries):
        fits += " and not re.search(AVOIDED[generator], question)"
    given = "question, answer" if sketch.own_scorer else 'question, answer, item["metadata"]'
    return f'''\
@functools.cache
def dataset(generator, level):
    config = LEVELS[generator][level - 1]
    return reasoning_gym.create_dataset(generator, seed=0, size={DRAWS}, **config)


def drawn(generator, seed, level):
    """What a generator asks at a level, with the answers."""
    # Far apart, so that near seeds do not share their instances.
    first = (10 * seed + level) * 2654435761 % 2**31
    for place in range(first, first + {DRAWS}):
        item = dataset(generator, level)[place]
        question, answer = item["question"].strip(), str(item["answer"]).strip()
        shown = " " in answer and answer in question
        if {fits}:
            yield {given}'''


def _tasks(sketch: Sketch) -> str:
    """The body of the function that gives questions their form."""
    entry, *others = sketch.entries
    said = f"{{question}}\n{entry.form}"
    asked = f"f{said!r}" if sketch.explicit else "question"
    values = {"one": entry.generator, "asked": asked}
    if sketch.form == "composed":
        return _TASKS["composed"].format(**values, other=others[0].generator)
    if sketch.form == "reworded":
        wording = entry.wordings[sketch.wording]
        return _TASKS["reworded"].format(**values, pattern=wording.pattern, text=wording.text)
    if not sketch.own_scorer:
        return _BORROWING_TASKS.format(**values)
    return _TASKS[sketch.form].format(**values)


def _wrong(sketch: Sketch) -> str:
    """The body of `wrong`; a composed answer goes wrong in one part or the other."""
    kinds = [entry.kind for entry in sketch.entries]
    near, read = [NEAR[k].__name__ for k in kinds], [READERS[k].__name__ for k in kinds]
    if sketch.form == "composed":
        return _COMPOSED_WRONG.format(near=", ".join(near), readers=", ".join(read))
    return _WRONG.format(near=near[0], reader=read[0])


def _score(sketch: Sketch) -> str:
    """The body of `score`: strict, or the generator's own."""
    readers = [READERS[entry.kind].__name__ for entry in sketch.entries]
    if sketch.form == "composed":
        return _COMPOSED_SCORE.format(readers=", ".join(readers))
    if sketch.own_scorer:
        return _SCORE.format(reader=readers[0])
    return _BORROWED_SCORE.format(generator=sketch.generators[0])


_TASKS: dict[Form, str] = {
    "plain": """\
    for question, answer in drawn("{one}", seed, level):
        yield {{"question": {asked}, "answer": answer}}""",
    "reworded": """\
    for question, answer in drawn("{one}", seed, level):
        data = re.search({pattern!r}, question + "\\n")
        if data is not None:
            question = {text!r}.format(**data.groupdict())
            yield {{"question": {asked}, "answer": answer}}""",
    "extended": """\
    addend = (3, 7, 10, 15)[seed % 4]
    for question, answer in drawn("{one}", seed, level):
        question = f"{{question}}\\nAdd {{addend}} to that result and give the sum alone."
        yield {{"question": question, "answer": str(int(answer) + addend)}}""",
    "shown": """\
    pairs = drawn("{one}", seed, level)
    example, reply = next(pairs)
    for question, answer in pairs:
        if question != example and not (" " in answer and answer == reply):
            question = (
                f"First an example: {{example}}\\nThe right reply to it is {{reply}}\\n"
                f"Now this one: {{question}}"
            )
            yield {{"question": question, "answer": answer}}""",
    "composed": """\
    pairs = zip(drawn("{one}", seed, level), drawn("{other}", seed, level))
    for (one, first), (other, second) in pairs:
        if "," not in first + second:
            question = (
                f"Two questions.\\n1) {{one}}\\n2) {{other}}\\n"
                "Give both answers in this order, separated by a comma and a space."
            )
            yield {{"question": question, "answer": f"{{first}}, {{second}}"}}""",
}
_BORROWING_TASKS = """\
    for question, answer, metadata in drawn("{one}", seed, level):
        yield {{"question": {asked}, "answer": answer, "metadata": metadata}}"""
_WRONG = """\
        right = {reader}(t["answer"])
        near = {near}(t["question"], t["answer"])
        wrong = [text for text in near if text.strip() and {reader}(text) != right]
        return list(dict.fromkeys(wrong))[:3]"""
_COMPOSED_WRONG = """\
        parts, wrong = t["answer"].split(", "), []
        for place, (near, read) in enumerate(zip(({near}), ({readers}))):
            for text in near(t["question"], parts[place]):
                if text.strip() and read(text) != read(parts[place]):
                    wrong.append(", ".join([*parts[:place], text, *parts[place + 1 :]]))
        return [wrong[0], wrong[-1]]"""
_SCORE = """\
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
_BORROWED_SCORE = """\
        return dataset("{generator}", 1).score_answer(answer=submission, entry=t)"""
