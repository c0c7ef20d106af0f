"""What the headline comparison found, as goals and as tables of docs/results.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.evaluation.intervals import Interval
from agents.evaluation.rows import RunRows, recovered, times
from console.commands.frame import METHOD

FORCE, BEST, SEED = ("force", 3), ("best_expert", 1), ("best_seed", 1)
FEWEST_UNSEEN = 10
RESULTS = Path("docs/results.md")
BEGIN, END = "<!-- headline: begin -->", "<!-- headline: end -->"

WANTED = [
    ("best_expert", "best_seed", 1),
    ("best_expert", "merge_once", 1),
    ("best_expert", "tutor_once", 1),
    ("best_expert", "merge_tutor_once", 1),
    ("force", "random_genomes", 1),
    ("force", "experts", 3),
    ("force", "merge_once", 3),
    ("force", "tutor_once", 3),
    ("force", "merge_tutor_once", 3),
    ("force", "random_genomes", 3),
    ("force", "control", 8),
    ("force", "experts", 8),
    ("force", "merge_once", 8),
    ("force", "tutor_once", 8),
    ("force", "merge_tutor_once", 8),
    ("force", "random_genomes", 8),
]
TIMES_THE_SEED = 1.8
"""What the best expert is to reach on generators that runs have seen."""
REACHED = (
    "force",
    "merge_once",
    "tutor_once",
    "merge_tutor_once",
    "random_genomes",
    "experts",
    "control",
)


def goals(name: str, found: dict[str, Any], runs: Sequence[RunRows]) -> list[dict[str, Any]]:
    """Each comparison of Coverage, and how much of the gap best-of-N recovers at N = 3."""
    listed = _near(found, runs) if name == "near" else []
    for ours, theirs, n in WANTED:
        for difference in found["differences"]:
            place = (difference["ours"], difference["theirs"], difference["n"])
            if place == (ours, theirs, n) and difference["measure"] == "coverage":
                listed.append(
                    {
                        "name": f"{name}: {ours} - {theirs} at N = {n}",
                        "value": difference["value"],
                        "interval": difference["ci"],
                        "by_run": difference["by_run"],
                        "unit": "Coverage",
                        "goal": "> 0, interval excludes zero",
                        "met": difference["ci"][0] > 0,
                    }
                )
    if all({FORCE, BEST} <= run.rows.keys() for run in runs):
        # Every method stands in the tables; a goal is that of the one that was picked beforehand.
        share, interval = _recovered(runs)
        listed.append(
            {
                "name": f"{name}: {METHOD} at N = 3, of the gap up to Coverage",
                "value": share,
                "interval": interval,
                "by_run": [_recovered([run])[0] for run in runs],
                "unit": "share",
                "goal": ">= 0.6, lower end >= 0.4",
                "met": interval is not None and share >= 0.6 and interval[0] >= 0.4,
            }
        )
    if name != "near":
        count = found["generators"]
        listed.append(
            {
                "name": f"{name}: generators",
                "value": count,
                "unit": "generators",
                "goal": f">= {FEWEST_UNSEEN}",
                "met": count >= FEWEST_UNSEEN,
            }
        )
    return listed


def _near(found: dict[str, Any], runs: Sequence[RunRows]) -> list[dict[str, Any]]:
    """What is wanted where runs have seen the generators: ahead of the seeds at every N."""
    pairs = {
        (each["ours"], each["theirs"], each["n"]): each
        for each in found["differences"]
        if each["measure"] == "coverage"
    }
    listed = []
    ahead = pairs.get(("best_expert", "best_seed", 1))
    solved = [sum(run.rows[SEED].solved.values()) for run in runs if SEED in run.rows]
    # Of a seed that solves nothing nobody is any multiple.
    if ahead is not None and any(solved):
        ratio = _times_the_seed(runs)
        listed.append(
            {
                "name": "near: best_expert / best_seed at N = 1",
                "value": round(ratio.mean, 3),
                "interval": [round(ratio.low, 4), round(ratio.high, 4)],
                "by_run": [round(_times_the_seed([run]).mean, 4) for run in runs if all(solved)],
                "unit": "times",
                "goal": f">= {TIMES_THE_SEED}, interval of the difference excludes zero",
                "met": ratio.mean >= TIMES_THE_SEED and ahead["ci"][0] > 0,
            }
        )
    for n in (1, 3, 8):
        against = pairs.get(("force", "experts", n))
        if against is None:
            continue
        least = "> 0 in the mean" + (", interval not below zero" if n == FORCE[1] else "")
        listed.append(
            {
                "name": f"near: force - experts at N = {n}, mean",
                "value": against["value"],
                "interval": against["ci"],
                "by_run": against["by_run"],
                "unit": "Coverage",
                "goal": least,
                # An interval holds its mean: one that is above zero does not lie below it.
                "met": against["value"] > 0,
            }
        )
    return listed


def _times_the_seed(runs: Sequence[RunRows]) -> Interval:
    return times(runs, (BEST, "coverage"), (SEED, "coverage"))


def _recovered(runs: Sequence[RunRows]) -> tuple[float, list[float] | None]:
    """Share of the gap between best expert and Coverage at N = 3 that best-of-N recovers.

    With its interval; of no gap nothing can be recovered.
    """
    solved = [[sum(run.rows[place].solved.values()) for run in runs] for place in (FORCE, BEST)]
    if sum(solved[0]) <= sum(solved[1]):
        return 0.0, None
    share = recovered(runs, (FORCE, METHOD), (FORCE, "coverage"), (BEST, "coverage"))
    return round(share.mean, 3), [round(share.low, 4), round(share.high, 4)]


def tables(found: dict[str, Any]) -> list[str]:
    """Markdown: rows over all runs, every run seed by itself, and the goals."""
    said = [
        f"Run seeds {', '.join(map(str, found['run_seeds']))}; {found['machine']['processor']}, "
        f"{found['machine']['cores']} cores."
    ]
    for name, (tasks, generators) in found["tasks"].items():
        rows = [row for row in found["rows"] if row["set"] == name]
        runs = found["runs"][name]
        heads = " | ".join(f"seed {run['seed']}" for run in runs)
        said += [
            "",
            f"**{name}**: {tasks} fresh tasks of {generators} generators. Coverage over all runs "
            "with its 95 % interval over generators and runs, less chance too, and of every run.",
            *guessed(found["guessed"][name]),
            "",
            f"| who answers | N | all | less chance | {heads} | sampling | tokens |",
            "|---" * (6 + len(runs)) + "|",
        ]
        for row in rows:
            of_runs = [
                next(r for r in run["rows"] if (r["name"], r["n"]) == (row["name"], row["n"]))
                for run in runs
            ]
            single = " | ".join(f"{each['coverage']:.3f}" for each in of_runs)
            low, high = row["coverage_ci"]
            said.append(
                f"| {row['name']} | {row['n']} | {row['coverage']:.3f} [{low:.3f}, {high:.3f}] "
                f"| {_corrected(row)} | {single} | {row['sampling']} | {row['tokens']} |"
            )
        said += ["", reached(rows), *left_out(runs)]
        said += chosen_table(
            [row for row in rows if row["name"] == "force" and row["n"] > 1],
            [each for each in found["differences"] if each["set"] == name],
        )
    said += ["", "| goal | value | 95 % interval | by run | met |", "|---" * 5 + "|"]
    for goal in found["goals"]:
        by_run = " ".join(f"{value:+.3f}" for value in goal.get("by_run", ()))
        met = "yes" if goal["met"] else "no"
        said.append(
            f"| {goal['name']} ({goal['goal']}) | {goal['value']} | {ends(goal.get('interval'))} "
            f"| {by_run} | {met} |"
        )
    return said


def guessed(apart: dict[str, Any]) -> list[str]:
    """Which generators are left out, since a constant answer passes most of their tasks."""
    named = [
        f"{each['generator']} ({each['answer']!r} passes {each['chance']:.2f})"
        for each in apart["generators"]
    ]
    return ["", f"Guessing passes most tasks of {', '.join(named)}."] if named else []


def _corrected(row: dict[str, Any]) -> str:
    """Coverage in excess of chance with its interval; nothing where chance is not known."""
    if row["corrected"] is None:
        return ""
    low, high = row["corrected_ci"]
    return f"{row['corrected']:.3f} [{low:.3f}, {high:.3f}]"


def reached(rows: Sequence[dict[str, Any]]) -> str:
    """What the force, the baselines without evolution and the seeds reach, in one sentence."""
    said = []
    for name in REACHED:
        of_name = {row["n"]: f"{row['coverage']:.3f}" for row in rows if row["name"] == name}
        if of_name:
            said.append(
                f"{name} {' / '.join(of_name.values())} at N = {', '.join(map(str, of_name))}"
            )
    return f"Coverage reached: {'; '.join(said)}."


def left_out(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Rows that some run cannot have are in no table of all runs; a paragraph for each says why."""
    seeds: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        for row in run["left_out"].items():
            seeds.setdefault(row, []).append(str(run["seed"]))
    return [
        part
        for (name, reason), of_row in seeds.items()
        for part in ("", f"No row {name}; missing in run seed {', '.join(of_row)}: {reason}.")
    ]


def chosen_table(
    forces: Sequence[dict[str, Any]], differences: Sequence[dict[str, Any]]
) -> list[str]:
    """Best-of-N of the force by every method, and what it adds to its best single expert."""
    against = {
        (each["measure"], each["n"]): each
        for each in differences
        if (each["ours"], each["theirs"]) == ("force", "best_expert")
    }
    said = [
        "",
        "The force's best of N by each method that needs no judge, and the difference to "
        "best_expert at N = 1.",
        "",
        "| N | method | accuracy | against best_expert | by run |",
        "|---" * 5 + "|",
    ]
    for row in forces:
        for method, of in row["best_of_n"].items():
            low, high = of["ci"]
            gain = against[method, row["n"]]
            by_run = " ".join(f"{value:+.3f}" for value in gain["by_run"])
            said.append(
                f"| {row['n']} | {method} | {of['accuracy']:.3f} [{low:.3f}, {high:.3f}] "
                f"| {gain['value']:+.3f} {ends(gain['ci'])} | {by_run} |"
            )
    return said


def ends(interval: Sequence[float] | None) -> str:
    """The ends of an interval of a difference; nothing of none."""
    return f"[{interval[0]:+.3f}, {interval[1]:+.3f}]" if interval else ""


def write(found: dict[str, Any]) -> None:
    """Replace the section between the marks."""
    text = RESULTS.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    body = "\n".join(tables(found))
    RESULTS.write_text(f"{before}{BEGIN}\n{body}\n{END}{after}", encoding="utf-8")
