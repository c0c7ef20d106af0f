"""What a strong scientist's drafts are worth to small experts, and what a family costs in calls.

    python -m benchmarks.scientist [--capacity 17] [--folder runs/scientist] [--json]

A script plays a strong model (`benchmarks.strong_scientist`): it writes families for the
quickstart's experts over all planned fields, some of which are beyond them. A pool is founded with
it over HTTP, by `acdc run`; whatever is printed is read from the records of that run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.settings import CalibrationSettings
from benchmarks.machine import describe_machine
from benchmarks.reporting import goal_lines, heading
from benchmarks.strong_scientist import MODEL, StrongScientist, Written, serving, written_families
from memory.records import Call, Draft, Family
from memory.store import RunStore


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--capacity", type=int, default=17, help="families of the founding pool")
    parser.add_argument("--folder", type=Path, help="keeps the run; a temporary folder if left out")
    parser.add_argument("--set", action="append", default=[], help="passed on to acdc run")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="acdc-scientist-") as scratch:
        folder = options.folder or Path(scratch) / "run"
        script = written_families()
        found_pool(folder, script, options.capacity, options.set)
        report = measure(folder, script)
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0 if all(goal["met"] for goal in report["goals"]) else 1


def found_pool(
    folder: Path, script: Sequence[Written], capacity: int, more: Sequence[str] = ()
) -> None:
    """One wave of founding assignments, for the script to write and the seeds to answer."""
    with serving(StrongScientist(script)) as url:
        settings = [
            "generations=0",
            f"pool.capacity={capacity}",
            "pool.founding_waves=1",
            "population.founders=4",
            f"endpoints.scientist.base_url={url}",
            f"endpoints.scientist.model={MODEL}",
            "endpoints.rater.base_url=offline",
            *more,
        ]
        words = [word for setting in settings for word in ("--set", setting)]
        command = [sys.executable, "-m", "console", "run", str(folder), *words]
        subprocess.run(command, check=True, stdout=sys.stderr)


def measure(folder: Path, script: Sequence[Written]) -> dict[str, Any]:
    """What the records of a run say about its scientist."""
    with RunStore.open(folder, read_only=True) as store:
        families = store.families()
        drafts = [store.drafts(assignment.id) for assignment in store.assignments(0)]
        calls = {role: store.calls(role) for role in ("scientist", "critic")}
        reasons = store.rejection_counts()
    band = CalibrationSettings()
    fields = {written.proposal.name: written.field for written in script}
    rows = [family_row(family, fields[family.name], band) for family in families]
    accepted = max(1, len(families))
    summary = {
        "assignments": len(drafts),
        "accepted": len(families),
        "first_drafts_accepted": sum(not family.revisions for family in families),
        "first_drafts_refused": dict(Counter(map(refusal, drafts)) - Counter({"": len(drafts)})),
        "rejected": reasons,
        "scientist_calls": len(calls["scientist"]),
        "critic_calls": len(calls["critic"]),
        "fields": len({row["field"] for row in rows}),
        "outside_the_band": sum(not row["in_band"] for row in rows),
    }
    per_family = {
        "scientist_calls_per_family": round(len(calls["scientist"]) / accepted, 2),
        "critic_calls_per_family": round(len(calls["critic"]) / accepted, 2),
        **tokens_per_family([*calls["scientist"], *calls["critic"]], accepted),
    }
    return {
        "bench": "scientist",
        "machine": describe_machine(),
        "rows": rows,
        "summary": summary | per_family,
        "goals": goals(summary, per_family),
    }


def family_row(family: Family, field: str, band: CalibrationSettings) -> dict[str, Any]:
    """A family and its curve; one without an answer at its level is outside the band."""
    rates = {rate.level: rate for rate in family.curve}
    own = rates.get(family.level)
    return {
        "family": family.name,
        "field": field,
        "level": family.level,
        "levels": family.levels,
        "round": family.revisions,
        "curve": [f"{rate.level}: {rate.passed}/{rate.asked}" for rate in family.curve],
        "chance": round(own.chance, 2) if own else None,
        "rate": round(own.rate, 2) if own else None,
        "in_band": own is not None and band.low <= own.rate <= band.high,
    }


def refusal(drafts: Sequence[Draft]) -> str:
    """Why the first draft of an assignment was not accepted; "" if it was, or was not written."""
    if not drafts:
        return ""
    first = drafts[0]
    if first.proposal is None:
        return "malformed"
    if first.gates is not None and first.gates.code is not None:
        return first.gates.code
    return "critic" if first.critique and first.critique.verdict != "accept" else ""


def tokens_per_family(calls: Sequence[Call], accepted: int) -> dict[str, int]:
    """Tokens of prompts and of replies, as the server counts them."""
    return {
        "prompt_tokens_per_family": round(sum(call.tokens_in for call in calls) / accepted),
        "reply_tokens_per_family": round(sum(call.tokens_out for call in calls) / accepted),
    }


def goals(summary: dict[str, Any], per_family: dict[str, Any]) -> list[dict[str, Any]]:
    """What a strong scientist has to reach."""
    share = round(summary["first_drafts_accepted"] / max(1, summary["assignments"]), 2)
    cost, outside = per_family["scientist_calls_per_family"], summary["outside_the_band"]
    return [
        _goal("first drafts accepted", share, ">= 0.7", summary["accepted"] > 0 and share >= 0.7),
        _goal("scientist calls per family", cost, "<= 1.5", 0 < cost <= 1.5),
        _goal("fields covered", summary["fields"], ">= 12", summary["fields"] >= 12),
        _goal("families outside the band", outside, "0", not outside),
    ]


def _goal(name: str, value: float, goal: str, met: bool) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": "", "goal": goal, "met": met}


def table(report: dict[str, Any]) -> str:
    lines = [
        heading(report),
        f"{'family':44} {'field':26} level round  rate  right of asked, by level",
    ]
    for row in sorted(report["rows"], key=lambda row: (row["field"], row["family"])):
        rate = "-" if row["rate"] is None else f"{row['rate']:.2f}"
        lines.append(
            f"{row['family'][:44]:44} {row['field']:26} {row['level']}/{row['levels']}   "
            f"{row['round']:3}  {rate:>5}  {', '.join(row['curve'])}"
        )
    lines += [f"{key.replace('_', ' ')}: {value}" for key, value in report["summary"].items()]
    return "\n".join([*lines, *goal_lines(report)])


if __name__ == "__main__":
    sys.exit(main())
