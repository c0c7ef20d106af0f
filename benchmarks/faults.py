"""Inject faults into whole runs on tiny models, and compare with a run that nothing happened to.

    python -m benchmarks.faults [--kills 200] [--seed 0] [--cases NAME ...] [--folder DIR] [--quick]
                                [--json]

SIGKILL, SIGTERM and SIGINT end `acdc run` at random moments: half of them at a random time after
its start, half right after a step was committed. The same command goes on each time, until the run
is finished. Then its archive, skill vectors and families, and every answer and grade, have to be
those of the undisturbed run. `--cases` injects other faults, one after the other: without names all
of them, and `--cases none` leaves them out. What a run that differs has kept stays in the folder.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.faults_cases import CASES
from benchmarks.faults_kills import KilledRun, killed_runs
from benchmarks.faults_lab import Lab, Outcome, open_lab
from benchmarks.machine import describe_machine
from benchmarks.reporting import goal_lines, heading, show_progress

NO_CASES = "none"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=[*CASES, NO_CASES])
    parser.add_argument("--folder", type=Path, help="for the runs; a temporary one by default")
    parser.add_argument("--quick", action="store_true", help="a smoke test: three kills, no case")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    # A shell starts what it puts in the background with SIGINT ignored, and so would its runs.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    kills, cases = (3, [NO_CASES]) if options.quick else (options.kills, options.cases)
    place = options.folder or Path(tempfile.mkdtemp(prefix="acdc-faults-"))
    place.mkdir(parents=True, exist_ok=True)
    with open_lab(place) as lab:
        show_progress(f"{place}: the undisturbed run took {lab.seconds:.1f} s")
        runs = list(_shown(killed_runs(lab, kills, options.seed)))
        outcomes = [_tried(lab, name) for name in cases if name != NO_CASES]
    found = goals(runs, outcomes)
    report = {
        "bench": "faults",
        "machine": describe_machine(),
        "seconds": round(lab.seconds, 1),
        "rows": [*kill_rows(runs), *(outcome.row() for outcome in outcomes)],
        "goals": found,
    }
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0 if all(goal["met"] for goal in found) else 1


def _shown(runs: Iterable[KilledRun]) -> Iterator[KilledRun]:
    done = 0
    for run in runs:
        done += len(run.kills)
        show_progress(f"{done} kills; {run.folder.name}: differences: {run.difference}")
        for kill in run.kills:
            if kill.strange or kill.left:
                show_progress(f"  {kill}")
        yield run


def _tried(lab: Lab, name: str) -> Outcome:
    outcome = CASES[name](lab)
    show_progress(f"{name}: {outcome.found}")
    return outcome


def kill_rows(runs: Sequence[KilledRun]) -> list[dict[str, Any]]:
    """A row for each signal and each step after which it came."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for run in runs:
        counts.update((kill.phase, kill.signal, kill.moment) for kill in run.kills)
    return [
        {"fault": f"{name} after {phase}", "moment": moment, "kills": count}
        for (phase, name, moment), count in sorted(counts.items())
    ]


def goals(runs: Sequence[KilledRun], outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    found = [run.difference for run in runs if run.difference is not None]
    kills = [kill for run in runs for kill in run.kills]
    same = sum(len(run.kills) for run in runs if not run.difference)
    counted = {
        "answers and grades lost": sum(each.lost for each in found),
        "answers and grades beyond those of the undisturbed run": sum(each.added for each in found),
        "answers and grades doubled": sum(each.doubled for each in found),
        "answers and grades with another content": sum(each.changed for each in found),
        "runs that ended otherwise than by the signal": sum(bool(kill.strange) for kill in kills),
        "processes left behind": sum(kill.left for kill in kills),
        "other faults that did harm": sum(outcome.harm for outcome in outcomes),
    }
    every = [_goal("kills that end in the undisturbed archive", same, "kills", len(kills))]
    return every + [_goal(name, count, "", 0) for name, count in counted.items()]


def _goal(name: str, value: int, unit: str, goal: int) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "goal": goal, "met": value == goal}


def table(report: dict[str, Any]) -> str:
    """Kills by the step before them and by signal, then a line for each other fault."""
    kills = [row for row in report["rows"] if "kills" in row]
    names = sorted({row["fault"].split(" after ")[0] for row in kills})
    by: Counter[tuple[str, str]] = Counter()
    for row in kills:
        name, phase = row["fault"].split(" after ")
        by[phase, name] += row["kills"]
    lines = [heading(report), f"{'killed after the step':24}" + "".join(f"{n:>9}" for n in names)]
    for phase in sorted({phase for phase, _ in by}):
        lines.append(f"{phase:24}" + "".join(f"{by[phase, name]:9}" for name in names))
    lines += [f"{row['fault']}: {row['found']}" for row in report["rows"] if "found" in row]
    return "\n".join([*lines, *goal_lines(report)])


if __name__ == "__main__":
    sys.exit(main())
