"""What a long run keeps, and what that costs: bytes, memory and time by generation.

    python -m benchmarks.growth [--generations 1000] [--children 64] [--json]
    python -m benchmarks.growth --quickstart        as many of everything as in the quickstart

The graph of `acdc run` with its store, checkpoints, spans, novelty memory, chat client and
breeding; experts, scientists and programs follow rules that cost next to nothing
(`benchmarks.growth_run`). Seconds are of the processor, so that other work on the machine counts
little. Grafts and merges of members are off: each adds an anchor to the bank, which is a cost of
its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from transformers import LlamaConfig

from agents.config import RunConfig
from agents.graph import build_graph
from agents.progress import ProgressEvent
from benchmarks.growth_run import rule_run
from benchmarks.machine import describe_machine
from benchmarks.metering import Meter
from benchmarks.reporting import goal_lines, heading, show_progress
from console.run.checkpoints import THREAD, open_checkpoints
from console.run.coevolution import RECURSION_LIMIT
from tests.conftest import make_family

ROWS = 10
QUICKSTART = 1000 / 19
"""Milliseconds for an answer in the quickstart (docs/benchmarks.md: 19 a second)."""
OVERHEAD = 0.05
"""What they may take of a generation of the quickstart."""
FLAT = 1.25
"""What the last part of a run may take to what the first takes, and still be called flat."""


@dataclass(frozen=True)
class Row:
    """Where a run stands.

    Attributes:
        run_db: bytes, with its log; likewise the others. `chroma` is the novelty memory.
        rss: bytes of the process.
        seconds: of the processor, for each generation since the row before; `kept` the share of
            store, spans and checkpoints in them.
        per_answer: milliseconds of the processor.
    """

    generation: int
    experts: int
    families: int
    answers: int
    run_db: int
    graph_db: int
    chroma: int
    rss: int
    seconds: float
    kept: float
    per_answer: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--generations", type=int, default=1000)
    parser.add_argument("--children", type=int, default=64)
    parser.add_argument("--families", type=int, default=8, help="that are active")
    parser.add_argument("--instances", type=int, default=2, help="of each that experts are asked")
    parser.add_argument("--adaptations", type=int, default=4, help="drafts every two generations")
    parser.add_argument("--quickstart", action="store_true", help="its settings, 40 generations")
    parser.add_argument("--quick", action="store_true", help="a smoke test: 20 generations")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.generations, options.children = 20, 4
    if options.quickstart:
        options.generations, options.children = 40, 4
        options.families, options.instances, options.adaptations = 16, 4, 8
    report = measure(options)
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="acdc-growth-") as scratch:
        place = Path(scratch)
        config = config_of(place / "models", options)
        rows = asyncio.run(grown(place / "run", config))
    return {
        "bench": "growth",
        "machine": describe_machine(),
        "rows": [asdict(row) for row in rows],
        "goals": goals(rows),
    }


def config_of(models: Path, options: argparse.Namespace) -> RunConfig:
    family = make_family(models, LlamaConfig, tied=True)
    seeds = [{"name": name, "path": str(path)} for name, path in family.seeds.items()]
    return RunConfig.model_validate(
        {
            "generations": options.generations,
            "models": {"base": str(family.base), "seeds": seeds},
            "population": {"children": options.children, "capacity": options.children},
            "pool": {"capacity": options.families, "adaptations": options.adaptations},
            "judge": {"instances": options.instances},
            "breeding": {"graft": {"every": 0}, "regmean": {"adapting": False}},
        }
    )


async def grown(folder: Path, config: RunConfig) -> list[Row]:
    """Run all generations; a row at about every tenth of them."""
    folder.mkdir()
    meter, rows = Meter(), list[Row]()
    every = max(1, config.generations // ROWS)
    begun = [time.process_time(), 0.0]

    def watch(event: ProgressEvent) -> None:
        if event.kind != "pulse" or "generation" not in event.text or event.done % every:
            return
        spent, kept = time.process_time() - begun[0], sum_of(meter) - begun[1]
        rows.append(row_of(folder, context.store, event.done, spent, kept, rows))
        show_progress(line(rows[-1]))
        begun[:] = time.process_time(), sum_of(meter)

    with meter.running():
        async with (
            rule_run(folder, config, watch) as context,
            open_checkpoints(folder / "graph.db", watch) as saver,
        ):
            settings: Any = {**THREAD, "recursion_limit": RECURSION_LIMIT}
            await build_graph(saver).ainvoke({"generation": 0}, settings, context=context)
    return rows


def sum_of(meter: Meter) -> float:
    return meter.share(1.0)


def row_of(
    folder: Path, store: Any, generation: int, spent: float, kept: float, rows: list[Row]
) -> Row:
    counts = store.select(
        "SELECT (SELECT COUNT(*) FROM experts) AS experts, (SELECT COUNT(*) FROM families) AS "
        "families, (SELECT COUNT(*) FROM answers) AS answers"
    )[0]
    since = generation - (rows[-1].generation if rows else -1)
    new = counts["answers"] - (rows[-1].answers if rows else 0)
    return Row(
        generation=generation,
        **counts,
        run_db=size_of(folder, "run.db*"),
        graph_db=size_of(folder, "graph.db*"),
        chroma=size_of(folder, "memory/**/*"),
        rss=psutil.Process().memory_info().rss,
        seconds=round(spent / since, 3),
        kept=round(kept / spent, 3),
        per_answer=round(1000 * spent / max(1, new), 3),
    )


def size_of(folder: Path, pattern: str) -> int:
    return sum(file.stat().st_size for file in folder.glob(pattern) if file.is_file())


def goals(rows: list[Row]) -> list[dict[str, Any]]:
    """The last part beside the first one after the founding; none where there are too few rows."""
    if len(rows) < 4:
        return []
    first, middle, last = rows[1], rows[len(rows) // 2], rows[-1]

    def goal(name: str, value: float, unit: str, most: float) -> dict[str, Any]:
        return {"name": name, "value": round(value, 3), "unit": unit, "goal": most} | {
            "met": value <= most
        }

    def slope(one: Row, other: Row, what: str) -> float:
        grown = getattr(other, what) - getattr(one, what)
        return float(grown / (other.generation - one.generation))

    late = slope(middle, last, "run_db") / slope(first, middle, "run_db")
    return [
        goal("seconds of a generation, last to first", last.seconds / first.seconds, "x", FLAT),
        goal("what 1,000 generations add to the seconds of one", trend(rows), "x", FLAT - 1),
        goal("run.db, bytes of a generation, second half to first", late, "x", FLAT),
        goal("graph.db, last to first", last.graph_db / first.graph_db, "x", FLAT),
        goal(
            "memory for each expert",
            slope(first, last, "rss") / slope(first, last, "experts") / 1000,
            "kB",
            10,
        ),
        goal(
            "store, spans and checkpoints of an answer, to the quickstart's time for one",
            last.kept * last.per_answer / QUICKSTART,
            "x",
            OVERHEAD,
        ),
        goal(
            "all but engine, sandbox and embedding, likewise",
            last.per_answer / QUICKSTART,
            "x",
            OVERHEAD,
        ),
    ]


def trend(rows: list[Row]) -> float:
    """Slope of a line through the seconds of a generation, founding left out.

    Returns:
        What 1,000 generations add, in units of the mean.
    """
    seconds = np.array([row.seconds for row in rows[1:]])
    slope, _ = np.polyfit([row.generation for row in rows[1:]], seconds, 1)
    return float(1000 * slope / seconds.mean())


def line(row: Row) -> str:
    return (
        f"{row.generation:5} {row.experts:7} {row.families:6} {row.answers:9}"
        f" {row.run_db / 1e6:9.1f} {row.graph_db / 1e3:8.0f} {row.chroma / 1e6:8.1f}"
        f" {row.rss / 1e6:7.0f} {row.seconds:9.3f} {row.kept:6.2f} {row.per_answer:7.2f}"
    )


def table(report: dict[str, Any]) -> str:
    head = (
        f"{'gen.':>5} {'experts':>7} {'famil.':>6} {'answers':>9} {'run.db MB':>9} {'graph kB':>8}"
        f" {'Chroma':>8} {'RSS MB':>7} {'s/gen.':>9} {'kept':>6} {'ms/ans.':>7}"
    )
    rows = [line(Row(**row)) for row in report["rows"]]
    return "\n".join([heading(report), head, *rows, *goal_lines(report)])


if __name__ == "__main__":
    sys.exit(main())
