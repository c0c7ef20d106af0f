"""How long a run's bookkeeping takes where nothing is left to answer.

    python -m benchmarks.bookkeeping [--quick] [--json]

A judge with 16 experts and 250 families that are graded already, and the summary of a run of 400
experts and 1,100 families, of which 12 and 40 were in the finals: both only read the store and
count. Beside the judge stands the way that asks the store once for each expert and family. And the
grades of an archive late in a run, of 250 generations of 64 children, beside what it takes to read
those of all who ever lived.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from agents.config import RunConfig
from agents.context import RunContext
from agents.judge.node import examine_experts
from agents.task_force.report import summarise
from benchmarks.machine import describe_machine
from benchmarks.reporting import heading
from memory.hashing import text_hash
from memory.records import OWN, ArchiveEntry, Expert, Family, Outcome
from memory.store import RunStore
from prompts import PromptLibrary

ARCHIVE = 32
FINALISTS, ASKED = 12, 40
"""Experts and families in the finals."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test: tiny runs")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    small, large = ((4, 10), (12, 20), (40, 4)), ((16, 250), (400, 1100), (16_000, 8))
    found = measure(*(small if options.quick else large))
    print(json.dumps(found, indent=2) if options.json else table(found))
    return 0


def measure(
    judged: tuple[int, int], reported: tuple[int, int], ever: tuple[int, int]
) -> dict[str, Any]:
    rows = [
        row("judge, nothing to do", judged, lambda run: asyncio.run(_judge(run))),
        row("the same, a query for each pair", judged, _judge_by_pairs),
        row("report", reported, _report),
        row("grades of the archive", ever, lambda run: run.archive_skills()),
        row("grades of all", ever, lambda run: run.store.all_skill_counts()),
    ]
    return {"bench": "bookkeeping", "machine": describe_machine(), "rows": rows, "goals": []}


def row(name: str, size: tuple[int, int], work: Any) -> dict[str, Any]:
    with graded_run(*size) as run:
        begun = time.perf_counter()
        work(run)
        seconds = time.perf_counter() - begun
    return {"name": name, "experts": size[0], "families": size[1], "seconds": round(seconds, 4)}


async def _judge(run: RunContext) -> None:
    await examine_experts(run, run.store.experts(), run.store.families(), OWN, 2)


def _report(run: RunContext) -> None:
    summarise(run, [family.id for family in run.store.families()[:ASKED]])


def _judge_by_pairs(run: RunContext) -> None:
    families, experts = run.store.families(), run.store.experts()
    assert not any(f.id not in run.store.skills(e.id) for e in experts for f in families)


@contextmanager
def graded_run(experts: int, families: int) -> Iterator[RunContext]:
    """A run in which everybody is graded on everything; no engine, sandbox or model is there."""
    rng = np.random.default_rng(0)
    absent: Any = None
    with tempfile.TemporaryDirectory() as folder, RunStore.open(Path(folder)) as store:
        with store.transaction():
            for number in range(families):
                store.put_family(_family(number))
            store.put_genome("genome", b"genome")
            for number in range(experts):
                store.put_expert(
                    Expert(
                        id=f"e{number}",
                        genome_id="genome",
                        generation=0,
                        birth=number,
                        operator="seed" if number < 4 else "linear",
                    )
                )
                for family, passed in enumerate(rng.random(families) < 0.3):
                    store.set_skill(f"e{number}", f"f{family}", bool(passed))
            kept = [
                ArchiveEntry(expert=f"e{n}", rank=n, fitness=0.3, novelty=1.0)
                for n in range(min(ARCHIVE, experts))
            ]
            store.put_archive(0, kept)
            store.put_outcomes(
                [
                    Outcome(
                        expert=f"e{number}",
                        temperature=temperature,
                        family=f"f{family}",
                        instance=instance,
                        passes=int(rng.integers(0, asked + 1)),
                        asked=asked,
                    )
                    for number in range(min(FINALISTS, experts))
                    for family in range(min(ASKED, families))
                    for instance in ("1", "2")
                    for temperature, asked in ((0.0, 1), (0.7, 2))
                ]
            )
        yield RunContext(
            folder=Path(folder),
            config=RunConfig(),
            store=store,
            chat=absent,
            prompts=PromptLibrary(),
            population=absent,
            novelty=absent,
            sandbox=absent,
        )


def _family(number: int) -> Family:
    code = f"# family {number}"
    return Family(
        id=f"f{number}",
        generation=0,
        name=f"family {number}",
        description="made up",
        capability="counting",
        difficulty=1,
        code=code,
        code_hash=text_hash(code),
        instructions={"1": "How many?", "2": "How many now?"},
        reference_answers={"1": "1", "2": "2"},
        wrong_answers={"1": ["2"], "2": ["1"]},
        rated=False,
        rubric=None,
        parents=(),
        kind="novel",
        scientist="none",
        generator="",
        prompt_hashes={},
        revisions=0,
    )


def table(report: dict[str, Any]) -> str:
    lines = [heading(report), f"{'':34}{'experts':>8}{'families':>9}{'seconds':>10}"]
    lines += [
        f"{row['name']:34}{row['experts']:8}{row['families']:9}{row['seconds']:10.4f}"
        for row in report["rows"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
