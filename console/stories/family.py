"""A family in short: what it asks, where it stands, who passes it, what is like it."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from console.stories.names import labels
from console.stories.telling import fraction, say
from memory.hashing import text_hash
from memory.messages import count_of
from memory.novelty.similarity import nearest
from memory.records import Expert, Family
from memory.store import RunStore

NEIGHBOURS = 3


def experts_shown(store: RunStore) -> list[Expert]:
    """Whose passes are shown: the archive by rank, then the seeds that are not in it."""
    archive = store.archive_experts()
    there = {expert.id for expert in archive}
    return archive + [e for e in store.experts(0) if e.is_seed and e.id not in there]


def read_family(store: RunStore, family_id: str) -> dict[str, Any]:
    """Its state, its levels, the pass rates of the archive and the seeds, and its relations."""
    family = store.family(family_id)
    skills = {e.id: store.skill_counts(e.id).get(family_id) for e in experts_shown(store)}
    graded = {name: skill for name, skill in skills.items() if skill is not None}
    children = [each for each in store.families() if family_id in each.parents]
    return {
        "family": family.id,
        "name": family.name,
        "description": family.description,
        "capability": family.capability,
        "field": family.field,
        "kind": family.kind,
        "scientist": family.scientist,
        "generation": family.generation,
        "parents": list(family.parents),
        "children": [
            {"family": child.id, "kind": child.kind, "state": store.family_status(child.id)}
            for child in children
        ],
        "neighbours": [
            {"family": other, "similarity": similarity}
            for other, similarity in neighbours_of(store, family, NEIGHBOURS)
        ],
        "state": store.family_status(family_id),
        "events": [event.reason for event in store.family_events(family_id)],
        "levels": family.levels,
        "level": family.level,
        "curve": [rate.model_dump() for rate in family.curve],
        "revisions": family.revisions,
        "question": family.example_instruction,
        "reference": family.reference_answers.get("1", ""),
        "passes": {name: [s.passes, s.asked] for name, s in graded.items()},
        "solved_by": [name for name, skill in graded.items() if skill.passed],
    }


def neighbours_of(store: RunStore, family: Family, most: int) -> list[tuple[str, float]]:
    """The families whose descriptions are most like its own, with their similarity (cosine)."""
    hashes = {each.id: text_hash(each.novelty_text()) for each in store.families()}
    for embedder in store.embedders():
        vectors = store.embeddings(embedder, list(hashes.values()))
        known = {key: vectors[text] for key, text in hashes.items() if text in vectors}
        own = known.pop(family.id, None)
        if own is not None:
            return [(near.family_id, near.similarity) for near in nearest(known, own, most)]
    return []


def tell_family(family: dict[str, Any], names: dict[str, str], console: Console) -> None:
    """The digest of a family.

    Args:
        family: as read.
        names: family id -> what it is called.
        console: where to.
    """
    name = names.get(family["family"], family["name"])
    of = "" if family["family"] in name else f"  {family['family']}"
    say(console, Text(name, "bold"), Text(of, "dim"))
    say(console, f"question: {family['question']}")
    say(console, f"a right answer: {family['reference']}")
    for line in _lines(family, names):
        say(console, line)


def _lines(family: dict[str, Any], names: dict[str, str]) -> list[str]:
    curve = ", ".join(
        f"{r['passed']} of {r['asked']} at level {r['level']}" for r in family["curve"]
    )
    trial = f"; right in the trial: {curve}" if curve else ""
    lines = [
        f"now {family['state']} ({', then '.join(family['events'])})",
        f"asks at level {family['level']} of {family['levels']}, after "
        f"{count_of(family['revisions'], 'revision')}{trial}",
        who_passes(family),
    ]
    if family["neighbours"]:
        near = "; ".join(
            f"{names.get(each['family'], each['family'])} ({each['similarity']:.2f})"
            for each in family["neighbours"]
        )
        lines.append(f"most like it (similarity of -1 to 1): {near}")
    for what, key in (("made from", "parents"), ("children", "children")):
        others = [each if isinstance(each, str) else each["family"] for each in family[key]]
        if others:
            lines.append(f"{what}: {'; '.join(names.get(each, each) for each in others)}")
    return lines


def who_passes(family: dict[str, Any]) -> str:
    """Who passes a family lately, and how many do not at all."""
    passes = {name: counts for name, counts in family["passes"].items() if counts[0]}
    if not family["passes"]:
        return "passes lately: nobody was asked"
    ordered = sorted(passes.items(), key=lambda item: -item[1][0] / item[1][1])
    said = ", ".join(f"{name} {fraction(counts)}" for name, counts in ordered) or "nobody"
    none = [name for name, counts in family["passes"].items() if not counts[0]]
    return f"passes lately: {said}" + (f"; nothing: {', '.join(none)}" if none and passes else "")


def all_labels(store: RunStore) -> dict[str, str]:
    """What each family of a run is called."""
    return labels(store.families())
