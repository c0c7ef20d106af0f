"""The family record of an assignment whose last draft was accepted."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from agents.families.proposal import MOST_CHARACTERS, Proposal
from memory.records import Assignment, AssignmentKind, Draft, Family
from memory.store import RunStore

PURPOSES = ("propose", "refine", "critique")
_GENERATORS = re.compile(r"^# generators: (.+)$", re.MULTILINE)
_LEVEL = re.compile(r", level \d+$")
_FIELD = re.compile(r"^# field: (.+)$", re.MULTILINE)
_SLUG_LENGTH = 40


def candidate_family(store: RunStore, assignment: Assignment) -> Family:
    """The family that an assignment resulted in; equal drafts give equal records."""
    drafts = store.drafts(assignment.id)
    proposal = Proposal.of(drafts[-1])
    gates = drafts[-1].gates
    assert gates is not None
    calls = [c for c in store.calls(assignment=assignment.id) if c.purpose in PURPOSES]
    scientists = [call.model for call in calls if call.role == "scientist" and call.response]
    hashes = {call.purpose: call.prompt_hash for call in calls}
    moved = {}
    parent = store.family(assignment.parent) if assignment.parent is not None else None
    if parent is not None and parent.code == proposal.code and gates.level != parent.level:
        step = 1 if gates.level > parent.level else -1
        moved = {
            "name": at_level(proposal.name, gates.level),
            "difficulty": min(5, max(1, parent.difficulty + step)),
        }
        scientists, hashes = [parent.scientist], dict(parent.prompt_hashes)
    return proposal.to_family(
        gates,
        curve=drafts[-1].curve,
        field=field_of(proposal.code) or assignment.field,
        id=f"{assignment.id}-{slug(_LEVEL.sub('', proposal.name))}",
        generation=assignment.generation,
        parents=(assignment.parent,) if assignment.parent is not None else (),
        kind=assignment.kind,
        scientist=scientists[-1] if scientists else "unknown",
        generator=generators(proposal.code),
        prompt_hashes=hashes,
        revisions=revisions(drafts),
        **moved,
    )


def has_level_left(parent: Family, kind: AssignmentKind) -> bool:
    """Whether the program of a family has a level above its own, or below, for an assignment."""
    if kind == "harder":
        return parent.level < parent.levels
    return kind == "easier" and parent.level > 1


def at_level(name: str, level: int) -> str:
    """The name of a family whose program was moved to another level."""
    ending = f", level {level}"
    return _LEVEL.sub("", name)[: MOST_CHARACTERS - len(ending)] + ending


def field_of(code: str) -> str:
    """The field that a program names in its header, as those of the offline scientist do; or ""."""
    found = _FIELD.search(code)
    return found[1].strip() if found else ""


def generators(code: str) -> str:
    """The procedural generators that a program names in its header, "" for a program without."""
    found = _GENERATORS.search(code)
    return found[1].strip() if found else ""


def revisions(drafts: Sequence[Draft]) -> int:
    """Rounds in which the program changed after a gate or the critic rejected it."""
    programs = [draft.proposal["code"] for draft in drafts if draft.proposal is not None]
    return sum(before != after for before, after in itertools.pairwise(programs))


def slug(name: str) -> str:
    """Lower-case letters and digits joined by hyphens, short enough for a folder name."""
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if len(words) > _SLUG_LENGTH:
        # Whole words, unless the first one alone is too long.
        short = words[: _SLUG_LENGTH + 1]
        words = short.rpartition("-")[0] or short[:_SLUG_LENGTH]
    return words or "family"
