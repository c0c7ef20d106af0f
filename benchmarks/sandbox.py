"""How fast and how tight is the sandbox?

    python -m benchmarks.sandbox [--scores 600] [--quick] [--json]

Scores per second, measured side by side with the same scorers and submissions, on two guests or two
processes at a time:

- `warm`: warm bubblewrap guests that fork for every score, as in a run;
- `python`: a fresh `python` for every score, without isolation;
- `bubblewrap`: a fresh bubblewrap with a fresh `python` for every score;

once for scorers that need the standard library alone, and once for scorers that use numpy and
sympy, which warm guests import beforehand. Then the escape suite of the tests is run: every case
beside a good neighbour. An escape is a case that was not held.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from agents.sandbox import Submission, open_sandbox
from agents.sandbox.bubblewrap import bubblewrap_command
from agents.settings import SandboxSettings
from benchmarks.machine import describe_machine
from benchmarks.reporting import goal_lines
from tests.agents.escapes.runner import ESCAPES, decoys, escaped

AT_A_TIME = 2
GOALS = {"plain": 300, "numpy and sympy": 100}

FAMILY = """
class TaskFamily:
    @staticmethod
    def get_tasks():
        return {"1": {"a": 17, "b": 25}, "2": {"a": 4, "b": 9}}

    @staticmethod
    def get_instructions(t):
        return f"What is {t['a']} + {t['b']}?"

    @staticmethod
    def score(t, submission):
"""
SCORERS = {
    "plain": """
        import re
        found = re.fullmatch(r"\\s*(-?\\d+)\\.?\\s*", submission)
        return float(found is not None and int(found[1]) == t["a"] + t["b"])
""",
    "numpy and sympy": """
        import numpy, sympy
        try:
            expression = sympy.sympify(int(submission)) - sympy.Integer(t["a"])
        except ValueError:
            return 0.0
        return float(numpy.isclose(float(expression), t["b"]))
""",
}
PREIMPORT = {"plain": (), "numpy and sympy": ("numpy", "sympy")}
ANSWERS = [Submission("1", "42"), Submission("2", "13"), Submission("1", "41"), Submission("2", "")]
RIGHT = [1.0, 1.0, 0.0, 0.0]

ONE_SCORE = """
import json, sys
request = json.load(sys.stdin)
namespace = {}
exec(request["code"], namespace)
family = namespace["TaskFamily"]()
task = family.get_tasks()[request["instance"]]
print(json.dumps(float(family.score(task, request["text"]))))
"""

ScoreOne = Callable[[str, Submission], Awaitable[float | None]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--scores", type=int, default=600, help="scores of warm guests")
    parser.add_argument("--quick", action="store_true", help="a smoke test: few scores and cases")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = asyncio.run(measure(options))
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    scores = 40 if options.quick else options.scores
    rows = []
    for name, scorer in SCORERS.items():
        rows += await speeds(name, FAMILY + scorer, scores)
    cases = ESCAPES[::10] if options.quick else ESCAPES
    found = await escapes(cases)
    rates = {row["scorer"]: row["scores_per_second"] for row in rows if row["way"] == "warm"}
    goals = [goal("escapes", len(found), "of " + str(len(cases)), 0, not found)]
    goals += [
        goal(f"warm, {name}", rates[name], "scores/s", least, rates[name] >= least)
        for name, least in GOALS.items()
    ]
    return {
        "bench": "sandbox",
        "machine": describe_machine(),
        "rows": rows,
        "escape_cases": len(cases),
        "escaped": found,
        "goals": goals,
    }


def goal(name: str, value: float, unit: str, goal: float, met: bool) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "goal": goal, "met": met}


async def speeds(name: str, code: str, scores: int) -> list[dict[str, Any]]:
    """Scores per second in the three ways; the slow ones get a tenth of the work."""
    settings = SandboxSettings(guests=AT_A_TIME, preimport=PREIMPORT[name])
    command, reason = bubblewrap_command(settings)
    if command is None:
        raise SystemExit(f"nothing to measure: {reason}")
    fresh = [sys.executable, "-c", ONE_SCORE]
    in_bubblewrap = [*command[: command.index(sys.executable)], *fresh]
    few = max(2 * len(ANSWERS), scores // 10)
    return [
        row(name, "warm", scores, await warm(code, settings, scores)),
        row(name, "python", few, await one_by_one(started_afresh(fresh), code, few)),
        row(name, "bubblewrap", few, await one_by_one(started_afresh(in_bubblewrap), code, few)),
    ]


def row(scorer: str, way: str, scores: int, seconds: float) -> dict[str, Any]:
    return {
        "scorer": scorer,
        "way": way,
        "scores": scores,
        "seconds": round(seconds, 3),
        "scores_per_second": round(scores / seconds, 1),
    }


async def warm(code: str, settings: SandboxSettings, scores: int) -> float:
    """Seconds for so many scores by warm guests, a request for every four, as in a run."""
    sandbox = open_sandbox(settings)
    requests = -(-scores // len(ANSWERS))
    try:
        await asyncio.gather(*(sandbox.score(code, ANSWERS) for _ in range(AT_A_TIME)))
        started = time.perf_counter()
        found = await asyncio.gather(*(sandbox.score(code, ANSWERS) for _ in range(requests)))
        seconds = time.perf_counter() - started
    finally:
        await sandbox.close()
    if any([score.value for score in scored] != RIGHT for scored in found):
        raise SystemExit("the warm guests scored wrongly")
    return seconds * scores / (requests * len(ANSWERS))


def started_afresh(command: Sequence[str]) -> ScoreOne:
    """Scores with a process of its own for every submission."""

    async def score(code: str, submission: Submission) -> float | None:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL
        )
        request = {"code": code, "instance": submission.instance, "text": submission.text}
        printed, _ = await process.communicate(json.dumps(request).encode())
        return float(printed) if process.returncode == 0 else None

    return score


async def one_by_one(score: ScoreOne, code: str, scores: int) -> float:
    """Seconds for so many scores, two at a time."""
    places = asyncio.Semaphore(AT_A_TIME)

    async def scored(number: int) -> bool:
        async with places:
            place = number % len(ANSWERS)
            return await score(code, ANSWERS[place]) == RIGHT[place]

    started = time.perf_counter()
    right = await asyncio.gather(*map(scored, range(scores)))
    seconds = time.perf_counter() - started
    if not all(right):
        raise SystemExit("a fresh process scored wrongly")
    return seconds


async def escapes(cases: Sequence[Any]) -> list[dict[str, str]]:
    """The hostile cases that were not held, and what they got away with."""
    settings = SandboxSettings(seconds=5, memory_mb=512, guests=2, preimport=())
    sandboxes = {
        brief: open_sandbox(settings.model_copy(update={"seconds": seconds}))
        for brief, seconds in ((True, 1.0), (False, 5.0))
    }
    found = []
    with decoys() as on_the_host:
        for case in cases:
            if problem := await escaped(sandboxes[case.brief], case, on_the_host):
                found.append({"name": case.name, "tries": case.tries, "problem": problem})
    for sandbox in sandboxes.values():
        await sandbox.close()
    return found


def table(report: dict[str, Any]) -> str:
    lines = [
        f"{row['scorer']:<16} {row['way']:<11} {row['scores_per_second']:>8.1f} scores/s"
        for row in report["rows"]
    ]
    lines += [f"escaped: {case['name']}: {case['problem']}" for case in report["escaped"]]
    lines += goal_lines(report)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
