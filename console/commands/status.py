"""`acdc status`: one screen, or the JSON that programs rely on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from agents.archive.success import successes
from agents.chat.endpoints import OFFLINE
from agents.families.lifecycle import condemned
from agents.judge.votes import agreement
from agents.lessons.record import lessons_about, lessons_of
from agents.task_force.field import field_of, resampled_seeds, standing_of
from console import calling
from console.commands.frame import AsJson, Debug, RunDir, app, finish, out, print_json
from console.commands.spending import costs
from console.live import waiting_line
from console.run.folder import RunFolder
from console.run.now import waits_of
from console.stories.families import read_families
from evolution.merging.settings import REGMEAN
from evolution.selection import Standing, coverage
from evolution.selection.dominance import UNDOMINATED
from memory.records import Expert, GraftRefused, Voice
from memory.store import RunStore

EXAMPLES = """Examples:

acdc status runs/quickstart    one screen

acdc status runs/quickstart --json    the same for programs (docs/status.md)
"""
_NAMED = 4
"""Families that are listed by name at most."""
_ALL, _DOUBLED = 8, 2
"""Forces that are all shown; of the larger ones those of twice the size of the one before."""
_LEGEND = (
    "fitness: mean pass rate on the pool, shrunk and chance taken off. novelty: how far it can do "
    "what the nearest fitter experts cannot, 0 to 100; undominated: nobody is fitter. held: a "
    "family that waits while a harder child is tried. voice: an expert at a temperature (none: "
    "greedy). task force: the N voices that together solve most{chosen}. seeds resampled: as many "
    "answers by the seeds in turn, each greedily first, then sampled. founding merge: of the "
    "seeds, before any evolution. rater: a model that grades by a rubric. chooser: one that "
    "chooses among answers."
)
_CHOSEN = (
    "; it is chosen on these very finals, so its lead over the seeds is flattered here: `evaluate "
    "DIR TASKS --baselines` measures it on other tasks"
)


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
    # What no seed was ever asked is no failure of theirs.
    theirs = [name for name in active if any(name in skills[seed] for seed in seeds)]
    return {
        "archive": coverage(skills, archive, active),
        "seeds": coverage(skills, seeds, theirs),
        "families": len(active),
        "families_of_seeds": len(theirs),
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


def show(status: dict[str, Any], console: Console) -> None:
    """Print a status for a person."""
    nobody = Text("no archive yet: the first generation is not selected")
    archive = _archive_table(status) if status["archive"] else nobody
    console.print(Group(_headline(status), archive, _pool_text(status)))
    if status["coverage"]["task_force"]:
        console.print(Group(*_coverage_lines(status["coverage"], status["alone"])))
    console.print(_work_text(status))
    finals = status["coverage"]["on"] == "finals"
    legend = _LEGEND.format(chosen=_CHOSEN if finals else "")
    console.print(Text(f"\n{legend}", "dim"))


def _headline(status: dict[str, Any]) -> Text:
    state = "finished" if status["finished"] else "unfinished"
    done, asked = status["generation"], status["generations"]
    # A run that has gone on may be asked for fewer generations than it has.
    of = f"({asked} were asked for)" if asked is not None and done > asked else f"of {asked}"
    computed = f", computed in {status['compute']}" if status["compute"] else ""
    waiting = f"\n{waiting_line(status['waiting'])}" if status["waiting"] else ""
    drafts, following = status["drafts"], ""
    if status["go_on"] is not None:
        following = f"\nto go on, if no process is at work on it: {status['go_on']}"
        if drafts["open"]:
            ended = drafts["asked"] - drafts["open"]
            following = f"\ndrafts of scientists: {ended} of {drafts['asked']}{following}"
    return Text.assemble(
        (f"{status['run']}: {state}, generation {done} {of}{computed}", "bold"),
        following,
        (waiting, "yellow"),
    )


def _archive_table(status: dict[str, Any]) -> Table:
    table = Table(
        title="archive, the fittest first", title_justify="left", box=None, pad_edge=False
    )
    for column in ("expert", "fitness", "novelty", "operator", "parents"):
        table.add_column(column, justify="right" if column in ("fitness", "novelty") else "left")
    for row in sorted(status["archive"], key=lambda row: -float(row["fitness"])):
        table.add_row(
            Text(row["expert"]),
            f"{row['fitness']:.2f}",
            "undominated" if row["novelty"] is None else f"{row['novelty']:.1f}",
            Text(row["operator"]),
            Text(", ".join(row["parents"])),
        )
    return table


def on_what(coverage_: dict[str, Any]) -> str:
    """On what Coverage was measured, in words."""
    if coverage_["on"] == "pool":
        return "pool (families that grade now)"
    if coverage_["on"] == "history":
        return "history (all families that were ever accepted)"
    instances, fresh = coverage_["instances"], coverage_["fresh"]
    shown = f"finals ({instances} instances of {coverage_['families']} families"
    if not fresh:
        return f"{shown}, all of which selection has seen)"
    new = "all" if fresh == instances else fresh
    return f"{shown}, {new} of them never seen by selection)"


def label_of(row: dict[str, Any]) -> list[str]:
    """Who is in a force, as a person reads it."""
    temperatures = row.get("temperatures") or [0.0] * len(row["experts"])
    return [
        Voice(expert, temperature).label
        for expert, temperature in zip(row["experts"], temperatures, strict=True)
    ]


def _pool_text(status: dict[str, Any]) -> Text:
    pool = status["pool"]
    rejected = ", ".join(f"{reason} {n}" for reason, n in sorted(pool["rejected"].items()))
    lines = [
        f"\npool: {pool['active']} active, {pool['held']} held while a harder child is tried, "
        f"{pool['history'] - pool['active'] - pool['held']} retired",
        f"{pool['generators']} generators; {pool['revised']} families revised before acceptance",
        f"rejected: {rejected or 'none'}",
    ]
    if status["archive"]:
        lines.append(f"solved by nobody: {_nobody(pool['solved_by_nobody'])}")
    return Text("\n".join(lines))


def _coverage_lines(coverage_: dict[str, Any], alone: dict[str, Any]) -> Iterator[Text | Table]:
    """A table of forces beside the seeds resampled, and below it what one answer each does."""
    yield Text(
        f"\nCoverage on the {on_what(coverage_)}\nshare that at least one of N answers solves"
    )
    # Of a run of a version that held no finals: the greedy force of its seeds.
    other = coverage_.get("experts") or coverage_.get("seed_force") or []
    beside = {row["n"]: row["coverage"] for row in other}
    title = "seeds resampled" if coverage_.get("experts") else "seeds"
    table = Table(box=None, pad_edge=False)
    for column in ("N", "task force", *((title, "lead") if beside else ())):
        table.add_column(column, justify="right")
    table.add_column("who")
    before: list[str] = []
    for row in _shown(coverage_["task_force"]):
        labels = label_of(row)
        own, theirs = row["coverage"], beside.get(row["n"])
        against = ("", "") if theirs is None else (f"{theirs:.2f}", f"{own - theirs:+.2f}")
        more = labels[len(before) :] if before and labels[: len(before)] == before else None
        who = ", ".join(labels) if more is None else f"and {', '.join(more)}"
        table.add_row(str(row["n"]), f"{own:.2f}", *(against if beside else ()), Text(who))
        before = labels
    yield table
    yield Text("\n".join(_together_lines(coverage_) + _alone_lines(alone)))


def _shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The small forces, of the larger ones those of doubled sizes, and the largest."""
    found: list[dict[str, Any]] = []
    for row in rows:
        if row["n"] <= _ALL or row["n"] >= _DOUBLED * found[-1]["n"] or row is rows[-1]:
            found.append(row)
    return found


def _together_lines(coverage_: dict[str, Any]) -> list[str]:
    """What archive and seeds solve together, where each of them answers once, greedily."""
    voices = coverage_["voices"]
    rows = []
    for key, what in (("archive", "of the archive"), ("seeds", "seeds with the base")):
        who = what if voices is None else f"{voices[key]} {what}"
        rows.append(f"  {who:<21}  {coverage_[key]:.2f}")
    theirs = coverage_.get("families_of_seeds")
    if theirs is not None and theirs < coverage_["families"]:
        rows[-1] += f"  on the {theirs} of {coverage_['families']} families that they were asked"
    return ["together, each with one greedy answer:", *rows]


def _work_text(status: dict[str, Any]) -> Text:
    """How experts were made, what was asked of models, and where the time went."""
    lines = [""]
    lines += _merge_lines(status["merges"])
    lines += _operator_lines(status["operators"], status["emitters"])
    lines += _lesson_lines(status["lessons"])
    if status["ratings"]["answers"]:
        ratings = status["ratings"]
        lines.append(
            f"rated answers: {ratings['answers']}, {ratings['votes']} votes, agreement "
            f"{ratings['agreement']:.2f}"
        )
    for role, totals in sorted(status["calls"].items()):
        who = f"{role} (offline)" if role in status["offline"] else role
        lines.append(
            f"{who}: {totals['calls']} calls, {totals['tokens_in']} tokens in, "
            f"{totals['tokens_out']} out, {totals['cached']} cached, {totals['failed']} failed"
        )
    if status["cost"]:
        lines.append(f"cost: {sum(status['cost'].values()):.2f} USD ({_costs(status['cost'])})")
    seconds = "  ".join(f"{phase} {s:.0f}" for phase, s in status["seconds"].items())
    lines.append(f"seconds: {seconds}")
    return Text("\n".join(lines))


def _nobody(names: list[str]) -> str:
    """How many active families, and the first ones by name."""
    if not names:
        return "none of the active families"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} active families: {'; '.join(names[:_NAMED])}{more}"


def _costs(cost: dict[str, float]) -> str:
    return ", ".join(f"{role} {usd:.2f}" for role, usd in sorted(cost.items()))


def _alone_lines(alone: dict[str, Any]) -> list[str]:
    """What one expert can do, beside the best seed."""
    if alone["best"] is None:
        return []
    lines = ["alone, with one greedy answer:"]
    for key, what in (
        ("best", "best expert"),
        ("founding_merge", "founding merge"),
        ("seed", "best seed"),
    ):
        found = alone[key]
        if found is not None:
            lines.append(f"  {what:<21}  {found['coverage']:.2f}  {_bred(found)}")
    return lines


def _bred(found: dict[str, Any]) -> str:
    """An expert, and what it was made of."""
    if not found["parents"]:
        return str(found["expert"])
    return f"{found['expert']}: {found['operator']} of {', '.join(found['parents'])}"


def _merge_lines(merges: dict[str, Any]) -> list[str]:
    """Merges that were made, and why the last one was not that was refused."""
    made = ", ".join(f"{number} by {operator}" for operator, number in merges["made"].items())
    lines = [f"merges: {made}"] if made else []
    if merges["refused"]:
        lines.append(f"merges refused: {len(merges['refused'])}; the last: {merges['refused'][-1]}")
    return lines


def _operator_lines(operators: dict[str, Any], emitters: list[dict[str, Any]]) -> list[str]:
    """How many children of each operator survived, and what emitters found."""
    if not operators:
        return []
    shares = [f"{name} {each['survived']}/{each['bred']}" for name, each in operators.items()]
    lines = [f"survived their first selection, of those bred: {', '.join(shares)}"]
    for each in emitters:
        line = f"  {each['emitter']}: from {each['parent']}, children {each['children']}"
        if each["best"] is not None:
            line += f", best gain {each['best']:.2f} of what was lacked"
        lines.append(line if each["ended"] is None else f"{line}; over: {each['ended']}")
    return lines


def _lesson_lines(lessons: dict[str, Any]) -> list[str]:
    """Lessons that were given, and why the last one was not that came to nothing."""
    lines = []
    if lessons["given"]:
        lines.append(f"lessons: {lessons['given']}, about {', '.join(lessons['families'])}")
    if lessons["refused"]:
        reason = lessons["refused"][-1]
        lines.append(f"lessons not given: {len(lessons['refused'])}; the last: {reason}")
    return lines
