"""What a family of the offline scientist is made of, and its instances.

A sketch says everything; drawing and writing it out are pure functions of it. It travels in the
header of the program, so that the next round can change one thing and leave the rest.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import reasoning_gym
from pydantic import TypeAdapter, ValidationError
from reasoning_gym.dataset import ProceduralDataset

from agents.offline.catalogue import entry_of
from agents.offline.entries import LEVELS, Entry

Form = Literal["plain", "reworded", "composed", "extended", "shown"]
SEED_RANGE = 2**31
DRAWS = 60
"""How many instances are looked through for two that fit."""
BRIEF_WORDS = 45
_HEADER = re.compile(r"^# sketch: (\{.+\})$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sketch:
    """A family before it is written out.

    Attributes:
        generators: names in reasoning-gym; two of them if `form` is `composed`.
        level: rung of the ladder, also the difficulty.
        form: `plain` asks the generator's question, `reworded` sets it in another scene,
            `composed` asks two questions at once, `extended` goes on with the result, `shown` asks
            after one solved example.
        seed: of the instances.
        own_scorer: whether the program grades by itself, and not with the generator's scorer.
        distinct: whether the two instances must have different answers.
        explicit: whether the form of the answer is spelled out in an additional sentence.
        wording: which of the entry's wordings, where `form` is `reworded`.
    """

    generators: tuple[str, ...]
    level: int
    form: Form
    seed: int
    own_scorer: bool
    distinct: bool = False
    explicit: bool = False
    wording: int = 0

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The catalogue's entries of the generators."""
        found = tuple(map(entry_of, self.generators))
        return tuple(entry for entry in found if entry is not None)

    def header(self) -> str:
        """The comment lines that a program begins with."""
        return f"# generators: {', '.join(self.generators)}\n# sketch: {json.dumps(asdict(self))}\n"


@dataclass(frozen=True, slots=True)
class Instance:
    """One question with its answer, and what the generator's own scorer wants to know besides."""

    question: str
    answer: str
    metadata: Mapping[str, Any]


def read_sketch(code: str) -> Sketch | None:
    """The sketch in a program's header; None for programs that others wrote.

    A header alone proves nothing: see `author.wrote`.
    """
    found = _HEADER.search(code)
    if found is None:
        return None
    try:
        sketch = _SKETCHES.validate_json(found[1])
    except ValidationError:
        return None
    return sketch if _can_be_written(sketch) else None


_SKETCHES = TypeAdapter(Sketch)


def _can_be_written(sketch: Sketch) -> bool:
    """Whether all that a sketch names is in the catalogue: a header may be anybody's."""
    wordings = [len(entry.wordings) for entry in sketch.entries]
    return (
        len(sketch.generators) == len(wordings) == (2 if sketch.form == "composed" else 1)
        and sketch.level in LEVELS
        and 0 <= sketch.seed < SEED_RANGE
        and 0 <= sketch.wording < max(1, wordings[0])
    )


def draw(entry: Entry, level: int, seed: int) -> Iterator[Instance]:
    """Instances of a generator at a level; questions that read badly are left out."""
    # reasoning-gym mixes seed and index by addition, so near seeds would share their instances.
    dataset = reasoning_gym.create_dataset(
        entry.generator, seed=seed, size=DRAWS, **entry.levels[level - 1].config
    )
    for index in range(DRAWS):
        item = dataset[index]
        question, answer = item["question"].strip(), str(item["answer"]).strip()
        if answer and not (entry.avoid and re.search(entry.avoid, question)):
            yield Instance(question, answer, item["metadata"])


@functools.cache
def is_brief(generator: str) -> bool:
    """Whether a solved example fits beside the question."""
    entry = entry_of(generator)
    return entry is not None and all(
        len(instance.question.split()) <= BRIEF_WORDS
        for instance in itertools.islice(draw(entry, 1, 0), 5)
    )


@functools.cache
def has_own_scorer(generator: str) -> bool:
    """Whether a generator brings a scorer of its own, and not only a comparison of strings."""
    kind, _ = reasoning_gym.factory.DATASETS[generator]
    return bool(kind.score_answer is not ProceduralDataset.score_answer)
