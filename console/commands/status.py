"""`acdc status`: one screen, or the JSON that programs rely on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from agents.archive.success import successes
from agents.chat.endpoints import OFFLINE
from agents.families.lifecycle import condemned
from agents.judge.votes import agreement
from agents.lessons.record import lessons_about, lessons_of
from agents.task_force.field import field_of, resampled_seeds, standing_of
from console import calling
from console.commands.frame import AsJson, Debug, RunDir, app, finish, out, print_json
from console.commands.status_shown import show
from console.run.folder import RunFolder
from console.run.now import waits_of
from console.run.spending import costs
from console.stories.families import read_families
from evolution.merging.settings import REGMEAN
from evolution.selection import Standing, coverage
from evolution.selection.dominance import UNDOMINATED
from memory.records import Expert, GraftRefused
from memory.store import RunStore
from memory.store.lock import process_at_work

EXAMPLES = """Examples:

acdc status runs/quickstart    one screen

acdc status runs/quickstart --json    the same for programs (docs/status.md)
"""


@app.command(epilog=EXAMPLES)
def status(folder: RunDir, as_json: AsJson = False, debug: Debug = False) -> None:
    """Show where a run stands: archive, pool, Coverage, task force, calls, time."""

    def action() -> None:
        found = collect(RunFolder(folder))
        if as_json:
            print_json(found)
        else:
            show(found, out)

    finish(action, debug)


def collect(folder: RunFolder) -> dict[str, Any]:
    """The state of a run, read without disturbing a live run."""
    manifest = folder.manifest()
    with RunStore.open(folder.path, read_only=True) as store:
        latest = store.latest_archive()
        generation = latest[0] if latest else 0
        return {
            "run": folder.path.name,
            "generation": generation,
            "generations": manifest["config"].get("generations"),
            "finished": bool(store.meta("finished")),
            "process": process_at_work(folder.path),
            "go_on": None if store.meta("finished") else calling.line("run", folder.path),
            "waiting": {what: round(seconds) for what, seconds in waits_of(store).items()},
            "compute": manifest["config"].get("engine", {}).get("compute"),
            "drafts": _drafts(store),
            "archive": _archive(store),
            "pool": _pool(store),
            "coverage": _coverage(store),
            "alone": _alone(store),
            "merges": _merges(store),
            "operators": {name: each._asdict() for name, each in successes(store).items()},
            "emitters": _emitters(store),
            "lessons": _lessons(store),
            "ratings": _ratings(store),
            "calls": store.call_totals(),
            "cost": costs(manifest["config"]["endpoints"], store.call_totals()),
            "offline": _offline(manifest["config"]["endpoints"], store.call_totals()),
            "seconds": {phase: round(s, 2) for phase, s in store.phase_seconds().items()},
        }


def _offline(endpoints: dict[str, Any], roles: Iterable[str]) -> list[str]:
    """Roles that no model plays, but the procedural one; what a role leaves out is inherited."""
    return [
        role
        for role in roles
        if ((endpoints.get(role) or {}).get("base_url") or endpoints["scientist"]["base_url"])
        == OFFLINE
    ]


def _drafts(store: RunStore) -> dict[str, int]:
    """Assignments of scientists, and how many of them are finished: accepted, rejected or ready."""
    everything = store.assignments()
    return {"asked": len(everything), "open": len(store.assignments(status="open"))}


def _archive(store: RunStore) -> list[dict[str, Any]]:
    """Experts by rank in selection. Nobody dominates the first: its novelty is no distance."""
    latest = store.latest_archive()
    rows = []
    for entry in latest[1] if latest else []:
        expert = store.expert(entry.expert)
        rows.append(
            {
                "expert": expert.id,
                "genome": expert.genome_id,
                "fitness": round(entry.fitness, 4),
                "novelty": None if entry.novelty == UNDOMINATED else round(entry.novelty, 4),
                "parents": list(expert.parents),
                "operator": expert.operator,
                "generation": expert.generation,
            }
        )
    return rows


def _pool(store: RunStore) -> dict[str, Any]:
    families = store.families()
    broken = condemned(store)
    generators = Counter(name for f in families for name in f.generator.split(",") if name)
    rows = [row for row in read_families(store)["rows"] if row["state"] == "active"]
    return {
        "active": len(store.families("active")),
        "held": len(store.families("held")),
        "history": sum(family.id not in broken for family in families),
        "generators": len(generators),
        "revised": sum(family.revisions > 0 for family in families),
        "solved_by_nobody": [row["name"] for row in rows if row["passes"] and not row["solved_by"]],
        "rejected": store.rejection_counts(),
    }


def _ratings(store: RunStore) -> dict[str, Any]:
    """How many answers raters have voted on, and the mean agreement of their votes."""
    votes: dict[tuple[str, str], list[bool]] = {}
    for grade in store.ratings():
        votes.setdefault((grade.answer_key, grade.code_hash), []).append(grade.passed)
    shares = [share for cast in votes.values() if (share := agreement(cast)) is not None]
    return {
        "answers": len(votes),
        "votes": sum(map(len, votes.values())),
        "agreement": round(sum(shares) / len(shares), 4) if shares else None,
    }


def _coverage(store: RunStore) -> dict[str, Any]:
    """Coverage in the finals where the run has reported, on the active pool before."""
    summary: Any = store.meta("summary")
    if summary and store.meta("finished"):
        found: dict[str, Any] = dict(summary["coverage"])
        if "instances" not in summary:
            # A run of a version that held no finals.
            return {**found, "voices": None, "on": "history"}
        counts = {key: summary[key] for key in ("families", "instances", "fresh")}
        return {**found, **counts, "voices": _finalists(store), "on": "finals"}
    latest = store.latest_archive()
    if latest is None:
        return {"archive": None, "seeds": None, "task_force": [], "voices": None, "on": "pool"}
    active = [family.id for family in store.families("active")]
    archive = [entry.expert for entry in latest[1]]
    seeds = [expert.id for expert in store.experts(0) if expert.is_seed]
    # Those who answer when the run is asked: among everybody judged, chosen on the history.
    standing, resampled = standing_of(store), resampled_seeds(store)
    forces = [
        [voice.expert for voice in standing.force(n + 1, resampled).voices]
        for n in range(len(archive))
    ]
    asked = dict.fromkeys([*archive, *seeds, *(name for force in forces for name in force)])
    skills = {name: store.skill_counts(name) for name in asked}
    # What a seed was never asked is no failure of its; one that is gibberish was asked nothing.
    known = [skills[seed] for seed in seeds if skills[seed]]
    theirs = [name for name in active if known and all(name in each for each in known)]
    return {
        "archive": coverage(skills, archive, active),
        "seeds": coverage(skills, seeds, theirs) if theirs else None,
        "families": len(active),
        "families_of_seeds": len(theirs),
        "archive_of_seeds_families": coverage(skills, archive, theirs) if theirs else None,
        "voices": {"archive": len(archive), "seeds": len(seeds)},
        "task_force": [
            {"n": len(force), "coverage": coverage(skills, force, active), "experts": force}
            for n, force in enumerate(forces, start=1)
            if len(force) == n
        ],
        "on": "pool",
    }


def _finalists(store: RunStore) -> dict[str, int]:
    """How many of the archive and of base and seeds answered in the finals."""
    greedy = {voice.expert for voice in standing_of(store).greedy}
    return {
        "archive": sum(expert.id in greedy for expert in store.archive_experts()),
        "seeds": sum(expert.is_seed and expert.id in greedy for expert in store.experts(0)),
    }


def _alone(store: RunStore) -> dict[str, Any]:
    """What one expert covers by itself: the best of all, the founding merge and the best seed.

    On the same as Coverage: the finals, or the history of an older run that has reported, or the
    pool before.
    """
    experts = field_of(store)
    standing = _on_what(store, experts)
    shares = {voice.expert: standing.passes.share([voice]) for voice in standing.greedy}

    def best(of: Iterable[Expert]) -> dict[str, Any] | None:
        found = max((e for e in of if e.id in shares), key=lambda e: shares[e.id], default=None)
        if found is None:
            return None
        return {
            "expert": found.id,
            "coverage": shares[found.id],
            "operator": found.operator,
            "parents": list(found.parents),
        }

    return {
        "best": best(experts),
        "founding_merge": best(e for e in experts if e.operator == REGMEAN and not e.generation),
        "seed": best(e for e in experts if e.is_seed),
    }


def _on_what(store: RunStore, experts: Iterable[Expert]) -> Standing:
    if store.meta("finished"):
        return standing_of(store)
    active = {family.id for family in store.families("active")}
    skills = {expert.id: store.skill_counts(expert.id) for expert in experts}
    return Standing.graded(
        {
            name: {family: skill for family, skill in vector.items() if family in active}
            for name, vector in skills.items()
            if vector
        }
    )


def _merges(store: RunStore) -> dict[str, Any]:
    """How many merges there were by each operator, and why others were not made."""
    made = Counter(expert.operator for expert in store.experts() if expert.is_merge)
    return {"made": dict(made), "refused": _refused(store, lesson=False)}


def _lessons(store: RunStore) -> dict[str, Any]:
    """How many lessons there were, how many about each family, and why others were not given."""
    return {
        "given": len(lessons_of(store)),
        "families": dict(lessons_about(store)),
        "refused": _refused(store, lesson=True),
    }


def _refused(store: RunStore, *, lesson: bool) -> list[str]:
    refused = [GraftRefused.model_validate(e.payload) for e in store.events(GraftRefused.kind)]
    return [each.reason for each in refused if each.lesson == lesson]


def _emitters(store: RunStore) -> list[dict[str, Any]]:
    """Searches that learn, the one that began first in front; `best` is None before it is told."""
    found: dict[str, dict[str, Any]] = {
        each.id: {
            "emitter": each.id,
            "parent": each.parent,
            "families": len(each.weights),
            "children": 0,
            "best": None,
            "ended": each.ended,
        }
        for each in sorted(store.emitters(), key=lambda each: each.generation)
    }
    for emission in store.emissions():
        row = found[emission.emitter]
        row["children"] += 1
        if emission.value is not None:
            row["best"] = max(row["best"] or 0.0, round(emission.value, 4))
    return list(found.values())
