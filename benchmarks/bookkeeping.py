"""How long a run's bookkeeping takes where nothing is left to answer, and what its spans cost.

    python -m benchmarks.bookkeeping [--run DIR] [--quick] [--json]

A judge with 16 experts and 250 families that are graded already, and the summary of a run of 400
experts and 1,100 families, of which 12 and 40 were in the finals: both only read the store and
count. Beside the judge stands the way that asks the store once for each expert and family. And the
grades of an archive late in a run, of 250 generations of 64 children, beside what it takes to read
those of all who ever lived.

A span: processor time of this process, by where spans go; a collector has one of its own. With
the folder of a finished run, what the spans that it kept cost of its time at work.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from agents.config import RunConfig
from agents.context import RunContext
from agents.judge.node import examine_experts
from agents.task_force.report import summarise
from benchmarks.machine import describe_machine
from benchmarks.reporting import goal_lines, heading, run_as_command
from console.view.pages.progress import Work
from console.view.source import find_runs
from memory.hashing import text_hash
from memory.openinference import SpanKind
from memory.records import OWN, ArchiveEntry, ChatMessage, Expert, Family, Outcome
from memory.spans import span, tracing
from memory.store import RunStore
from prompts import PromptLibrary
from tests.otlp_receiver import Receiver

ARCHIVE = 32
FINALISTS, ASKED = 12, 40
"""Experts and families in the finals."""
SPANS: dict[str, tuple[SpanKind, dict[str, Any]]] = {
    "step": ("sandbox", {"family": "g1-a03-words-backwards", "worker": "guest 1"}),
    "call": (
        "llm",
        {
            "model": "some/model",
            "role": "scientist",
            "input_messages": [ChatMessage(role="user", content="A family of tasks. " * 400)],
            "output_messages": [ChatMessage(role="assistant", content="class TaskFamily:" * 200)],
            "tokens_in": 1900,
            "tokens_out": 900,
        },
    ),
}
"""A small span, and a call of a model with a prompt of 7,600 and a reply of 3,400 characters."""
PROTOCOL = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
MOST = 0.01
"""The share of a run that its spans may cost."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--run", type=Path, help="a finished run, for the share of its spans")
    parser.add_argument("--quick", action="store_true", help="a smoke test: tiny runs")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.run is not None:
        RunStore.open(options.run, read_only=True).close()  # What is no run is known at once.
    small, large = ((4, 10), (12, 20), (40, 4)), ((16, 250), (400, 1100), (16_000, 8))
    found = measure(*(small if options.quick else large))
    found["spans"] = spans = span_rows(100 if options.quick else 2000)
    if options.run is not None:
        found["run"], found["goals"] = share_in(options.run, spans)
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


def span_rows(count: int) -> list[dict[str, Any]]:
    """Microseconds of a small span and of a call with its texts, by where they go.

    Args:
        count: of each; fewer than the exporter's queue holds (2,048), or some would be dropped.
    """
    with _collector() as url:
        places = {"nowhere": None, "run.db": "", "run.db and OTLP": url}
        return [
            {"to": name, **{what: span_cost(to, what, count) for what in SPANS}}
            for name, to in places.items()
        ]


def span_cost(to: str | None, what: str, count: int) -> float:
    """Microseconds of the processor for one span.

    Args:
        to: None for nowhere, "" for run.db, a URL for a collector beside it.
        what: a key of `SPANS`.
    """
    kind, attributes = SPANS[what]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as within:
        changed = {"OTEL_EXPORTER_OTLP_ENDPOINT": to or "", **PROTOCOL}
        within.enter_context(mock.patch.dict(os.environ, changed))
        within.enter_context(RunStore.open(Path(folder)))
        begun = time.process_time()
        # What is still queued is sent at the end of the block.
        with tracing(Path(folder)) if to is not None else nullcontext():
            for _ in range(count):
                with span(kind, what, **attributes):
                    pass
        return round(1e6 * (time.process_time() - begun) / count, 1)


def share_in(
    folder: Path, spans: list[dict[str, Any]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the spans of a run cost, of all the time that it was at work."""
    [source] = find_runs([folder])
    with source.open() as run:
        kinds = run.rows("SELECT kind = 'llm' AS call, COUNT(*) AS n FROM spans GROUP BY 1")
        generations = run.value("SELECT COUNT(*) FROM archives")
        seconds = Work.of(run).seconds
    numbers = {bool(row["call"]): row["n"] for row in kinds}
    calls, others = numbers.get(True, 0), numbers.get(False, 0)
    shares = {
        row["to"]: (calls * row["call"] + others * row["step"]) / 1e6 / seconds for row in spans
    }
    found = {
        "folder": str(folder),
        "spans": calls + others,
        "calls": calls,
        "generations": generations,
        "seconds": round(seconds, 1),
        "shares": shares,
    }
    goal = {"name": "share of spans", "value": round(shares["run.db and OTLP"], 5), "unit": "1"}
    return found, [goal | {"goal": f"<= {MOST}", "met": shares["run.db and OTLP"] <= MOST}]


@contextmanager
def _collector() -> Iterator[str]:
    """The URL of a real OTLP receiver in a process of its own."""
    server = Receiver()
    process = multiprocessing.get_context("fork").Process(target=server.serve_forever)
    process.start()
    try:
        yield server.url
    finally:
        process.kill()
        process.join()
        server.server_close()


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
    lines += ["", f"{'microseconds of a span that goes to':38}{'a step':>10}{'a call':>10}"]
    lines += [f"{row['to']:38}{row['step']:10.1f}{row['call']:10.1f}" for row in report["spans"]]
    if run := report.get("run"):
        lines.append(
            f"{run['spans']:,} spans, {run['calls']:,} of them calls, in {run['generations']} "
            f"generations and {run['seconds']:,.0f} s of work"
        )
        lines += [f"  to {to}: {share:.3%} of it" for to, share in run["shares"].items()]
    return "\n".join([*lines, *goal_lines(report)])


if __name__ == "__main__":
    run_as_command(main)
