"""An expert: what it was made of, its fitness, what it gained and lost, and what it answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from agents.task_force.field import force_in
from console.stories.anchors import anchor_in_words, anchors_explained
from console.stories.answers import read_answers, tell_answers
from console.stories.telling import fraction, numbered, say
from evolution.genome.genome import Genome
from evolution.genome.words import parts_in_words, shares_of
from memory.records import ArchiveEntry, Skill
from memory.store import RunStore
from memory.store.journal import Event

GAINS = (
    "gained: it solves the family (more than half) and no parent does; lost: some parent does and "
    "it does not. With so few questions of a family, most of it is chance"
)
"""By which rule an expert is compared with its parents, see `against_parents`."""


def read_expert(store: RunStore, expert_id: str, family: str | None = None) -> dict[str, Any]:
    """All that is known of an expert; `family` leaves the answers to other families out.

    Under `family` is the id of the only one, None for all.
    """
    expert = store.expert(expert_id)
    skills = store.skill_counts(expert_id)
    genome = Genome.stored(expert.genome_id, store.genome(expert.genome_id))
    anchors = anchors_of(store)
    used = [share.anchor for share in shares_of(genome, anchors)]
    parts = parts_in_words(genome, [anchor_in_words(name) for name in anchors])
    return {
        "family": family,
        "expert": expert.model_dump(mode="json"),
        "recipe": parts,
        "anchors": anchors_explained(store, used),
        "archive": standing(store, expert_id),
        "children": [each.id for each in store.experts() if expert_id in each.parents],
        "skills": {name: [skill.passes, skill.asked] for name, skill in skills.items()},
        "against_parents": against_parents(
            skills, {parent: store.skill_counts(parent) for parent in expert.parents}
        ),
        "missing": [
            event.payload for event in store.events("missing") if _is_about(event, expert_id)
        ],
        "answers": read_answers(store, expert, family),
    }


def anchors_of(store: RunStore) -> list[str]:
    """Names of the bank's anchors in its order: seeds, configured merges, what the run added."""
    founders = store.experts(0)
    anchors = [e.id for e in founders if e.operator == "seed"]
    anchors += [e.id for e in founders if e.operator == "merge"]
    for event in store.events("graft"):
        if isinstance(event.payload, dict):
            anchors.append(str(event.payload.get("anchor")))
    return anchors


def standing(store: RunStore, expert_id: str) -> dict[str, Any]:
    """The archives that held it, its place in the last of them, and in the force that answers."""
    latest = store.latest_archive()
    held: dict[int, ArchiveEntry] = {}
    for generation in range(latest[0] + 1 if latest else 0):
        for entry in store.archive(generation):
            if entry.expert == expert_id:
                held[generation] = entry
    if latest is None or not held:
        return {}
    last = max(held)
    voices = force_in(store, len(latest[1])).voices
    return {
        "generation": last,
        "generations": sorted(held),
        "latest": last == latest[0],
        "fitness": round(held[last].fitness, 4),
        "rank": held[last].rank,
        "voices": [voice.label for voice in voices if voice.expert == expert_id],
    }


def against_parents(
    skills: Mapping[str, Skill], theirs: Mapping[str, Mapping[str, Skill]]
) -> dict[str, list[dict[str, Any]]]:
    """Families that it solves and no parent does, and those that some parent solves and it fails.

    Each was graded on the latest instances that it was asked; those of a parent that left the
    archive are older.

    Args:
        skills: of the expert, family -> counts.
        theirs: parent -> its skills.
    """
    gained: list[dict[str, Any]] = []
    lost: list[dict[str, Any]] = []
    for family, skill in skills.items():
        known = {name: each[family] for name, each in theirs.items() if family in each}
        if not known:
            continue
        solved = any(each.passed for each in known.values())
        if skill.passed == solved:
            continue
        row = {
            "family": family,
            "own": [skill.passes, skill.asked],
            "parents": {name: [each.passes, each.asked] for name, each in known.items()},
        }
        (gained if skill.passed else lost).append(row)
    return {"gained": gained, "lost": lost}


def _is_about(event: Event, expert_id: str) -> bool:
    return isinstance(event.payload, dict) and event.payload.get("expert") == expert_id


def tell_expert(
    found: dict[str, Any],
    names: dict[str, str],
    console: Console,
    limit: int | None = None,
    offset: int = 0,
    *,
    full: bool = False,
) -> None:
    """The story of an expert, or only of what it does with one family.

    Args:
        found: as read.
        names: family id -> what it is called.
        console: where to.
        limit: so many answers; None for all.
        offset: answers that are left out before them.
        full: with the answers that were sampled, not only the greedy ones.
    """
    expert = found["expert"]
    say(console, Text(f"{expert['id']}", "bold"), f" · {expert['operator']}")
    say(console, f"parents: {', '.join(expert['parents']) or 'none'}")
    if found["family"] is None:
        _tell_making(found, console)
        _tell_skills(found, names, console)
    else:
        _tell_skills(_on_family(found), names, console)
    for gap in found["missing"]:
        if found["family"] in (None, gap["family"]):
            say(console, f"not graded on {gap['family']}: {gap['reason']}", style="red")
    told = [row for row in found["answers"] if full or not row["sample"]]
    rows = told[offset:][:limit]
    if rows:
        say(console, "")
        tell_answers(rows, console)
    if note := numbered(rows, len(told), offset, "answers"):
        say(console, note, style="dim")
    if len(told) < len(found["answers"]):
        more = len(found["answers"]) - len(told)
        say(console, f"{more} more were sampled in the finals: --full", style="dim")
    if rows:
        say(console, "a whole answer and what others said: --answer KEY", style="dim")


def _on_family(found: dict[str, Any]) -> dict[str, Any]:
    """The counts of one family, and whether it was gained or lost."""
    family, against = found["family"], found["against_parents"]
    return {
        "skills": {name: counts for name, counts in found["skills"].items() if name == family},
        "against_parents": {
            what: [row for row in rows if row["family"] == family] for what, rows in against.items()
        },
    }


def _tell_making(found: dict[str, Any], console: Console) -> None:
    expert = found["expert"]
    if found["children"]:
        say(console, f"children: {', '.join(found['children'])}")
    say(console, "made of:")
    for part in found["recipe"]:
        say(console, part, indent=2)
    for line in found["anchors"]:
        say(console, line, indent=2, style="dim")
    for operator, given in expert["parameters"].items():
        what = "bounds, scaled down" if operator == "bounds" else operator
        say(console, f"{what}: {listed(given)}")
    say(console, f"genome: {expert['genome_id']}", style="dim")
    say(console, standing_in_words(found["archive"]))


def standing_in_words(archive: dict[str, Any]) -> str:
    """Its fitness, since when it is in the archive, and who it is in the force."""
    if not archive:
        return "never in the archive"
    stays = _spans(archive["generations"])
    if not archive["latest"]:
        where = f"left the archive, in which it was in {_generations(stays)}"
    elif len(stays) == 1:
        where = f"in the archive since generation {stays[0][0]}"
    else:
        where = f"in the archive since generation {stays[-1][0]} and in {_generations(stays[:-1])}"
    often = Counter(archive["voices"])
    voices = ", ".join(f"{who} ({n} voices)" if n > 1 else who for who, n in often.items())
    force = f"; in the task force as {voices}" if voices else "; not in the task force"
    return (
        f"fitness {archive['fitness']:.2f} (mean pass rate on the pool, shrunk and chance taken "
        f"off, as in `status`); {where}{force}"
    )


def _spans(generations: list[int]) -> list[tuple[int, int]]:
    """Generations that follow one another, as their first and last."""
    spans: list[tuple[int, int]] = []
    for generation in generations:
        if spans and spans[-1][1] == generation - 1:
            spans[-1] = spans[-1][0], generation
        else:
            spans.append((generation, generation))
    return spans


def _generations(spans: list[tuple[int, int]]) -> str:
    """As a person reads them: `generations 0 to 2, 4`."""
    shown = ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in spans)
    one = len(spans) == 1 and spans[0][0] == spans[0][1]
    return f"{'generation' if one else 'generations'} {shown}"


def _tell_skills(found: dict[str, Any], names: dict[str, str], console: Console) -> None:
    """What it passes, and what of that it gained or lost."""
    skills = sorted(found["skills"].items(), key=lambda item: (-item[1][0] / item[1][1], item[0]))
    mean = sum(passes / asked for _, (passes, asked) in skills) / max(len(skills), 1)
    rates = "; ".join(f"{names.get(family, family)}: {fraction(c)}" for family, c in skills)
    if len(skills) == 1:
        say(console, f"passes {rates}")
    elif skills:
        say(console, f"passes {mean:.0%} as it is (mean over {len(skills)} families): {rates}")
    else:
        say(console, "not graded")
    for what, style in (("gained", "green"), ("lost", "red")):
        rows = found["against_parents"][what]
        if rows:
            told = "; ".join(f"{names.get(r['family'], r['family'])}: {_versus(r)}" for r in rows)
            say(console, Text(f"{what} against its parents: ", style), told)
    if any(found["against_parents"].values()):
        say(console, GAINS, style="dim")


def _versus(row: dict[str, Any]) -> str:
    theirs = ", ".join(f"{name} {fraction(counts)}" for name, counts in row["parents"].items())
    return f"{fraction(row['own'])} ({theirs})"


def listed(given: Any) -> str:
    """The parameters of an operator: a line of names with what they are.

    Anchors that it made are told above, in what the expert is made of.
    """
    if not isinstance(given, dict):
        return str(given)
    return "; ".join(
        f"{name} {', '.join(map(_shown, value)) if isinstance(value, list) else _shown(value)}"
        for name, value in given.items()
        if name != "anchors"
    )


def _shown(value: Any) -> str:
    if isinstance(value, dict):  # as the families of a lesson, each with whose answers it learnt
        return ", ".join(f"{name} ({of})" if of else name for name, of in value.items())
    return f"{value:.3g}" if isinstance(value, float) else str(value)
