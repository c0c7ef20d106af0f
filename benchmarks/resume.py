"""Kill the quickstart with SIGKILL at three random moments, go on, and compare with a quiet run.

    python -m benchmarks.resume [--folder runs/resume] [--seed 0] [--kills 3] [--json]

Two run folders are made: `quiet`, left alone, and `killed`. The final archives (genome ids and
skill vectors) must be identical. A folder that is finished already is used as it is.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from memory.store import RunStore


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/resume"))
    parser.add_argument("--seed", type=int, default=0, help="run seed, and seed of the moments")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], help="passed on to acdc run")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    settings = [f"seed={options.seed}", *options.set]
    run(options.folder / "quiet", settings)
    seconds = length_of(options.folder / "quiet")
    killed_at = run_killed(options.folder / "killed", settings, seconds, options)
    quiet, killed = (outcome(options.folder / name) for name in ("quiet", "killed"))
    report = {
        "bench": "resume",
        "machine": describe_machine(),
        "rows": [
            {"run": "quiet", "seconds": round(seconds, 1), "archive": quiet["archive"]},
            {"run": "killed", "killed_at": killed_at, "archive": killed["archive"]},
        ],
        "goals": [
            {
                "name": "identical archive and skill vectors after SIGKILL",
                "value": int(quiet == killed),
                "unit": "bool",
                "goal": 1,
                "met": quiet == killed and len(killed_at) == options.kills,
            }
        ],
    }
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0 if quiet == killed else 1


def command(folder: Path, settings: list[str]) -> list[str]:
    words = [sys.executable, "-m", "console", "run", str(folder)]
    return words + [word for setting in settings for word in ("--set", setting)]


def run(folder: Path, settings: list[str]) -> None:
    subprocess.run(command(folder, settings), check=True, stdout=sys.stderr)


def length_of(folder: Path) -> float:
    """Seconds that a run took, also one that was finished before."""
    with RunStore.open(folder, read_only=True) as store:
        spans = store.spans("phase")
    return (max(span.ended_ns for span in spans) - min(span.started_ns for span in spans)) / 1e9


def run_killed(
    folder: Path, settings: list[str], seconds: float, options: argparse.Namespace
) -> list[float]:
    """Start, wait for a random moment, kill; the last start is left alone."""
    moments = random.Random(options.seed)
    killed_at = []
    for number in range(options.kills):
        process = subprocess.Popen(command(folder, settings), stdout=sys.stderr)
        share = (number + moments.random()) / (options.kills + 1)
        wait = max(15.0, seconds * share / (number + 1))
        try:
            process.wait(timeout=wait)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed_at.append(round(wait, 1))
    run(folder, settings)
    return killed_at


def outcome(folder: Path) -> dict[str, Any]:
    with RunStore.open(folder, read_only=True) as store:
        latest = store.latest_archive()
        if latest is None or not store.meta("finished"):
            raise SystemExit(f"{folder} did not finish")
        experts = [entry.expert for entry in latest[1]]
        return {
            "archive": [[name, store.expert(name).genome_id] for name in experts],
            "skills": store.all_skills(),
        }


def table(report: dict[str, Any]) -> str:
    lines = [f"{row['run']}: {row['archive']}" for row in report["rows"]]
    return "\n".join([*lines, *(str(goal) for goal in report["goals"])])


if __name__ == "__main__":
    sys.exit(main())
