"""Is there an input that breaks a parser? Every parser of AC/DC gets inputs that are nearly right.

    python -m benchmarks.fuzz [--minutes 10] [--parser NAME]... [--quick] [--json]

A parser has to give a value or an error of ours in one line: no other exception, no five seconds of
computing, no gibibyte of memory, and its process has to live (`tests/fuzz`). Each one runs for that
many minutes in a process of its own. Inputs that break one are made small and added to
`tests/fuzz/corpus`, which the tests replay.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import HypothesisException

from benchmarks.machine import describe_machine
from benchmarks.reporting import goal_lines, heading, show_progress
from tests.fuzz.harness import Failure, Parser, keep, kept, observe
from tests.fuzz.parsers import PARSERS

ROUND = 500
"""Inputs of one round; each round draws from another seed."""
PATIENCE = 4.0
"""How many times the seconds of a parser its process may take, on a busy machine, and a minute."""
LAST = "last-input"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="of each parser")
    parser.add_argument("--parser", action="append", choices=sorted(PARSERS), help="all by default")
    parser.add_argument("--quick", action="store_true", help="a smoke test: a second each")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.parser or sorted(PARSERS)
    seconds = 1.0 if options.quick else 60.0 * options.minutes
    if options.child is not None:
        print(json.dumps(fuzz(names[0], seconds, options.child)))
        return 0
    report = measure(names, seconds)
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0 if all(goal["met"] for goal in report["goals"]) else 1


def measure(names: list[str], seconds: float) -> dict[str, Any]:
    rows = []
    for name in names:
        show_progress(f"{name}: {seconds:g} s")
        rows.append(in_a_process(name, seconds))
    broken = sum(bool(row["failures"]) for row in rows)
    goal = {"name": "parsers that break", "value": broken, "unit": "parsers", "goal": 0}
    return {
        "bench": "fuzz",
        "machine": describe_machine(),
        "rows": rows,
        "goals": [{**goal, "met": broken == 0}],
    }


def in_a_process(name: str, seconds: float) -> dict[str, Any]:
    """Fuzz one parser where its end is not ours; what ended its process is kept."""
    with tempfile.TemporaryDirectory(prefix="acdc-fuzz-") as scratch:
        words = ["--child", scratch, "--parser", name, "--minutes", str(seconds / 60)]
        command = [sys.executable, "-m", "benchmarks.fuzz", *words]
        try:
            done = subprocess.run(
                command, stdout=subprocess.PIPE, text=True, timeout=60 + PATIENCE * seconds
            )
        except subprocess.TimeoutExpired:
            ended = "its process hangs"
        else:
            if done.returncode == 0:
                found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
                return found
            ended = f"its process ended with {done.returncode}"
        last = Path(scratch) / LAST
        if last.exists():
            keep(name, last.read_bytes())
        return {"parser": name, "inputs": None, "accepted": None, "failures": {ended: 1}}


def fuzz(name: str, seconds: float, scratch: Path) -> dict[str, Any]:
    """Fuzz one parser in this process."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    work = scratch / "work"
    work.mkdir()
    hunt = Hunt(PARSERS[name](work), time.monotonic() + seconds, scratch / LAST)
    for file in kept(name):
        hunt.attempt(file.read_bytes(), once=False)
    number = 0
    while not hunt.over:
        hunt.round(number)
        number += 1
    for data in hunt.smallest.values():
        keep(name, data)
    return {
        "parser": name,
        "inputs": hunt.inputs,
        "accepted": hunt.accepted,
        "failures": dict(hunt.failures),
    }


class Hunt:
    """Looks for inputs that break a parser, until its time is over.

    Attributes:
        smallest: kind of failure -> the shortest input that led to it.
        failures: kind of failure -> how many inputs led to it.
    """

    def __init__(self, parser: Parser, end: float, last: Path) -> None:
        self.parser, self._end, self._last = parser, end, last
        self.inputs = self.accepted = 0
        self.smallest: dict[str, bytes] = {}
        self.failures: Counter[str] = Counter()

    @property
    def over(self) -> bool:
        return time.monotonic() > self._end

    def round(self, number: int) -> None:
        """Draw some inputs; the first failure that is new is made small, and ends the round."""
        known = {*self.smallest}

        @seed(number)
        @settings(
            max_examples=ROUND,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=[*HealthCheck],
            report_multiple_bugs=False,
            print_blob=False,
        )
        @given(self.parser.inputs)
        def draw(data: bytes) -> None:
            if not self.over:
                self.attempt(data, once=True, known=known)

        # Noted already; when the time is over, a failure seems to come and go.
        with suppress(Failure, HypothesisException):
            draw()

    def attempt(
        self, data: bytes, *, once: bool, known: frozenset[str] | set[str] = frozenset()
    ) -> None:
        """Let the parser read an input.

        Raises:
            Failure: it broke in a way that is worth making smaller.
        """
        self._last.write_bytes(data)
        self.inputs += 1
        try:
            self.accepted += observe(self.parser, data)
        except Failure as failure:
            kind = failure.kind
            self.failures[kind] += 1
            if len(data) < len(self.smallest.get(kind, data + b"-")):
                self.smallest[kind] = data
            if once and kind not in known and not kind.startswith("no end"):
                raise


def table(report: dict[str, Any]) -> str:
    lines = [f"{'parser':18} {'inputs':>9} {'accepted':>9}  failures   ({heading(report)})"]
    for row in report["rows"]:
        lines.append(
            f"{row['parser']:18} {row['inputs'] or '-':>9} {row['accepted'] or '-':>9}  "
            + ("; ".join(f"{kind} ({count})" for kind, count in row["failures"].items()) or "none")
        )
    return "\n".join([*lines, *goal_lines(report)])


if __name__ == "__main__":
    sys.exit(main())
