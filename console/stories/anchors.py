"""What the anchors are that a run made itself, in words; a seed is called by its own name."""

from __future__ import annotations

import re

from evolution.merging.settings import REGMEAN
from evolution.tutoring.settings import TUTOR
from memory.records import Graft
from memory.store import RunStore

_PAIR = Graft.kind
"""The occasion of merges of two parents (`agents.archive.grafting`, which loads torch)."""
_MADE = re.compile(rf"({REGMEAN}|{_PAIR}|{TUTOR})-g(\d+)(?:\.(.+)|\+(.+))?")
"""Names of anchors that a run made: the occasion, the generation, and of a merge the part."""
_PARTS = {"spectral": "the mutations", "rest": "what is of no seed"}


def anchor_in_words(anchor: str) -> str:
    """What a name of an anchor stands for.

    `regmean-g4.numbers` is the part of numbers in the merge of generation 4, and
    `regmean-g4+spectral` are the mutations in it; the name of a seed is what it is.
    """
    made = _MADE.fullmatch(anchor)
    if made is None:
        return anchor
    occasion, generation, member, part = made.groups()
    what = {
        REGMEAN: f"the merge of generation {generation}",
        _PAIR: f"the merge of two in generation {generation}",
        TUTOR: f"the lesson of generation {generation}",
    }[occasion]
    if part is not None:
        return f"{_PARTS.get(part, part)} in {what}"
    if member is not None:
        return f"the part of {anchor_in_words(member)} in {what}"
    return what


def merge_of(anchor: str) -> str:
    """The merge of which an anchor is a part; what is whole, as a seed is, stands for itself."""
    made = _MADE.fullmatch(anchor)
    return anchor if made is None else f"{made[1]}-g{made[2]}"


def anchors_explained(store: RunStore, anchors: list[str]) -> list[str]:
    """A line for each merge or lesson that some anchors come from: of whom it is, and how made."""
    kept = [Graft.model_validate(event.payload) for event in store.events(Graft.kind)]
    grafts = {graft.anchor: graft for graft in kept}
    lines = dict[str, None]()
    for anchor in anchors:
        graft = grafts.get(anchor)
        if graft is None or anchor_in_words(anchor) == anchor:
            continue
        whole = anchor_in_words(merge_of(anchor))
        if graft.method == REGMEAN:
            line = (
                f"{whole}: {REGMEAN} of {', '.join(graft.parents)}; its part of a seed is what "
                "they have of that seed, each on the inputs that it is right on"
            )
        elif graft.method == TUTOR:
            line = f"{whole}: what {', '.join(graft.parents)} learnt in it"
        else:
            line = f"{whole}: {graft.method} of {', '.join(graft.parents)}"
        lines[line] = None
    return list(lines)
