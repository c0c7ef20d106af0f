"""What a family of the offline scientist is made of.

A sketch says everything; writing it out is a pure function of it. It travels in the header of the
program, so that the next round can change one thing and leave the rest.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import asdict, dataclass
from typing import Literal

import reasoning_gym
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from reasoning_gym.dataset import ProceduralDataset

from agents.offline.catalogue import entry_of
from agents.offline.entries import ATOMIC_KINDS, Entry

Form = Literal["plain", "reworded", "composed", "extended", "shown"]
_HEADER = re.compile(r"^# sketch: (\{.+\})$", re.MULTILINE)


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True)
class Sketch:
    """A family before it is written out.

    Attributes:
        generators: names in reasoning-gym; two of them if `form` is `composed`.
        form: `plain` asks the generator's question, `reworded` sets it in another scene,
            `composed` asks two questions at once, `extended` goes on with the result, `shown` asks
            after one solved example.
        own_scorer: whether the program grades by itself, and not with the generator's scorer.
        distinct: whether the two instances of a draw must have different answers.
        explicit: whether the form of the answer is spelled out in an additional sentence.
        wording: which of the entry's wordings, where `form` is `reworded`.
    """

    generators: tuple[str, ...]
    form: Form = "plain"
    own_scorer: bool = True
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
        return (
            f"# generators: {', '.join(self.generators)}\n"
            f"# field: {self.entries[0].field}\n"
            f"# sketch: {json.dumps(asdict(self))}\n"
        )


def read_sketch(code: str) -> Sketch | None:
    """The sketch in a program's header; None for programs that others wrote.

    Also None for the closed families that the offline scientist once wrote, each from a level and a
    seed. A header alone proves nothing: see `author.wrote`.
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
    """Whether the catalogue has all that a sketch names: a header may be anybody's."""
    entries = sketch.entries
    if len(entries) != len(sketch.generators) or len(entries) != 1 + (sketch.form == "composed"):
        return False
    possible = {
        "plain": True,
        "reworded": 0 <= sketch.wording < len(entries[0].wordings),
        "composed": all(entry.kind in ATOMIC_KINDS for entry in entries),
        "extended": entries[0].whole,
        "shown": entries[0].brief,
    }
    borrows = sketch.form == "plain" and has_own_scorer(entries[0].generator)
    return possible[sketch.form] and sketch.wording >= 0 and (sketch.own_scorer or borrows)


@functools.cache
def has_own_scorer(generator: str) -> bool:
    """Whether a generator brings a scorer of its own, and not only a comparison of strings."""
    kind, _ = reasoning_gym.factory.DATASETS[generator]
    return bool(kind.score_answer is not ProceduralDataset.score_answer)
