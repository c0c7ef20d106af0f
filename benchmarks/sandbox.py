"""How fast and how tight is the sandbox?

    python -m benchmarks.sandbox [--scores 600] [--quick] [--json]

Scores per second, measured side by side with the same scorers and submissions, on two guests or two
processes at a time:

- `warm`: warm bubblewrap guests that fork for every score, as in a run;
- `python`: a fresh `python` for every score, without isolation;
- `bubblewrap`: a fresh bubblewrap with a fresh `python` for every score;

once for scorers that need the standard library alone, and once for scorers that use numpy and
sympy, which warm guests import beforehand. The ways take turns for several rounds and the median
round counts, so that what else the machine does meets all of them; how much that was is shown as
`elsewhere`, the share of the processors that others used meanwhile. A rate that was measured beside
others says little about the machine, its ratio to the other ways still does. Then the escape suite
of the tests is run: every case beside a good neighbour. An escape is a case that was not held.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import psutil

from agents.sandbox import Sandbox, Submission, open_sandbox
from agents.sandbox.bubblewrap import bubblewrap_command
from agents.settings import SandboxSettings
from benchmarks.machine import describe_machine
from benchmarks.reporting import goal_lines
from tests.agents.sandbox.escapes.runner import ESCAPES, decoys, escaped

AT_A_TIME, ROUNDS = 2, 5
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
Way = Callable[[str, int], Awaitable[tuple[int, float]]]
"""Scores a family so many times; gives how many scores it made, and in how many seconds."""


class Round(NamedTuple):
    """One way's turn, and the share of the processors that others used meanwhile."""

    scores: int
    seconds: float
    elsewhere: float


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
    """Scores per second in the three ways, in turn; the slow ones get a tenth of the work."""
    settings = SandboxSettings(guests=AT_A_TIME, preimport=PREIMPORT[name])
    command, reason = bubblewrap_command(settings)
    if command is None:
        raise SystemExit(f"nothing to measure: {reason}")
    fresh = [sys.executable, "-c", ONE_SCORE]
    in_bubblewrap = [*command[: command.index(sys.executable)], *fresh]
    each = max(len(ANSWERS), scores // ROUNDS)
    few = max(AT_A_TIME, each // 10)
    sandbox = open_sandbox(settings)
    ways: dict[str, tuple[int, Way]] = {
        "warm": (each, partial(warm, sandbox)),
        "python": (few, partial(one_by_one, started_afresh(fresh))),
        "bubblewrap": (few, partial(one_by_one, started_afresh(in_bubblewrap))),
    }
    rounds: dict[str, list[Round]] = {way: [] for way in ways}
    try:
        await warm(sandbox, code, AT_A_TIME * len(ANSWERS))  # starts the guests
        for _ in range(ROUNDS):
            for way, (number, measured) in ways.items():
                others = Others()
                number, seconds = await measured(code, number)
                rounds[way].append(Round(number, seconds, others.share()))
    finally:
        await sandbox.close()
    return [row(name, way, found) for way, found in rounds.items()]


def row(scorer: str, way: str, rounds: Sequence[Round]) -> dict[str, Any]:
    rates = [found.scores / found.seconds for found in rounds]
    return {
        "scorer": scorer,
        "way": way,
        "scores": sum(found.scores for found in rounds),
        "seconds": round(sum(found.seconds for found in rounds), 3),
        "scores_per_second": round(median(rates), 1),
        "least": round(min(rates), 1),
        "most": round(max(rates), 1),
        "elsewhere": round(median(found.elsewhere for found in rounds), 2),
    }


class Others:
    """The processor time that processes took which are not of this measurement."""

    def __init__(self) -> None:
        self._begun = self._times()

    def share(self) -> float:
        """Their share of all processors since then, in [0, 1]."""
        busy, ours, total = (
            now - then for now, then in zip(self._times(), self._begun, strict=True)
        )
        return min(1.0, max(0.0, (busy - ours) / total)) if total > 0 else 0.0

    @staticmethod
    def _times() -> tuple[float, float, float]:
        machine, ours = psutil.cpu_times(), 0.0
        own = psutil.Process()
        for process in [own, *own.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                used = process.cpu_times()
                ours += used.user + used.system + used.children_user + used.children_system
        total = float(sum(machine))
        return total - machine.idle - machine.iowait, ours, total


async def warm(sandbox: Sandbox, code: str, scores: int) -> tuple[int, float]:
    """So many scores by warm guests, a request for every four, as in a run: number and seconds."""
    requests = -(-scores // len(ANSWERS))
    started = time.perf_counter()
    found = await asyncio.gather(*(sandbox.score(code, ANSWERS) for _ in range(requests)))
    seconds = time.perf_counter() - started
    if any([score.value for score in scored] != RIGHT for scored in found):
        raise SystemExit("the warm guests scored wrongly")
    return requests * len(ANSWERS), seconds


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


async def one_by_one(score: ScoreOne, code: str, scores: int) -> tuple[int, float]:
    """So many scores, two at a time: number and seconds."""
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
    return scores, seconds


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
        f"{row['scorer']:<16} {row['way']:<11} {row['scores_per_second']:>8.1f} scores/s "
        f"({row['least']:.1f} to {row['most']:.1f}; others used {100 * row['elsewhere']:.0f} %)"
        for row in report["rows"]
    ]
    lines += [f"escaped: {case['name']}: {case['problem']}" for case in report["escaped"]]
    lines += goal_lines(report)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
