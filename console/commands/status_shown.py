"""What `acdc status` prints of the object that it collects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from console.live import waiting_line
from memory.messages import count_of
from memory.records import Voice

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
    computed = f", computed in {status['compute']}" if status["compute"] else ""
    waiting = f"\n{waiting_line(status['waiting'])}" if status["waiting"] else ""
    drafts, following = status["drafts"], ""
    if status["go_on"] is not None:
        if drafts["open"]:
            ended = drafts["asked"] - drafts["open"]
            following = f"\ndrafts of scientists: {ended} of {drafts['asked']}"
        if status["process"] is None:
            following += f"\nno process is at work on it; to go on: {status['go_on']}"
    return Text.assemble(
        (f"{status['run']}: {_state(status)}, {_how_far(status)}{computed}", "bold"),
        following,
        (waiting, "yellow"),
    )


def _state(status: dict[str, Any]) -> str:
    if status["finished"]:
        return "finished"
    return "unfinished" if status["process"] is None else f"under way (process {status['process']})"


def _how_far(status: dict[str, Any]) -> str:
    """The last generation that was selected; the terminal of a run names the one it is in."""
    done, asked = status["generation"], status["generations"]
    if status["finished"]:
        # A run that has gone on may be asked for fewer generations than it has.
        of = f"({asked} were asked for)" if asked is not None and done > asked else f"of {asked}"
        return f"generation {done} {of}"
    if not status["archive"]:
        return f"generation 0 of {asked} is not complete"
    return f"generation {done} of {asked} is complete"


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
    of = count_of(coverage_["families"], "family")
    shown = f"finals ({count_of(instances, 'instance')} of {of}"
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
        f"{count_of(pool['generators'], 'generator')}; "
        f"{count_of(pool['revised'], 'family')} revised before acceptance",
        f"rejected: {f'{rejected}; `trace DIR --rejected` says why' if rejected else 'none'}",
    ]
    if status["archive"]:
        lines.append(f"solved by nobody: {_nobody(pool['solved_by_nobody'])}")
    return Text("\n".join(lines))


def _coverage_lines(coverage_: dict[str, Any], alone: dict[str, Any]) -> Iterator[Text | Table]:
    """A table of forces beside the seeds resampled, and below it what one answer each does."""
    yield Text(
        f"\nCoverage on the {on_what(coverage_)}\nshare that at least one of N answers solves"
        + (", as if they failed independently" if coverage_["on"] == "pool" else "")
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
        share = coverage_[key]
        rows.append(f"  {who:<21}  {'not asked' if share is None else f'{share:.2f}'}")
    theirs = coverage_.get("families_of_seeds")
    if theirs and theirs < coverage_["families"]:
        families, same = coverage_["families"], coverage_["archive_of_seeds_families"]
        rows[0] += f"  on all {families} families, {same:.2f} on those of the seeds"
        rows[-1] += f"  on the {theirs} of {families} families that all of them were asked"
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
            f"rated answers: {ratings['answers']}, {count_of(ratings['votes'], 'vote')}, agreement "
            f"{ratings['agreement']:.2f}"
        )
    for role, totals in sorted(status["calls"].items()):
        who = f"{role} (offline)" if role in status["offline"] else role
        lines.append(
            f"{who}: {count_of(totals['calls'], 'call')}, {totals['tokens_in']} tokens in, "
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
    return f"{count_of(len(names), 'active family')}: {'; '.join(names[:_NAMED])}{more}"


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
    lines = [
        f"survived their first selection, of those bred: {', '.join(shares)} (a child counts for "
        "its crossover and for its mutation)"
    ]
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
