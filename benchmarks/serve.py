"""`acdc serve` under many clients: is anything lost or mixed up, and what does batching bring?

    python -m benchmarks.serve [DIR] [--clients 32] [--each 4] [--json]

Serves a finished run (by default `runs/quickstart`) and asks the same questions twice: one at a
time by one client, then by all clients at once. Greedy answers must be the same both times. One at
a time, a question takes ten seconds on two cores: `--each 1` asks 32. With `--quick` a run of tiny
random models is made first: a smoke test.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import reasoning_gym

from benchmarks.machine import describe_machine
from benchmarks.reporting import goal_lines, heading, show_progress
from benchmarks.tiny import tiny_run

GOAL_SPEEDUP = 3.0
GENERATORS = ("chain_sum", "gcd", "word_sorting", "spell_backward", "number_sorting")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("runs/quickstart"))
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--each", type=int, default=4, help="questions of each client")
    parser.add_argument("--size", type=int, default=3, help="experts of the force")
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--quick", action="store_true", help="a smoke test on tiny models")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.each, options.max_tokens = 1, 8
    with tempfile.TemporaryDirectory() as place:
        folder = tiny_run(Path(place)) if options.quick else options.folder
        with served(folder, options.size) as url:
            rows = asyncio.run(measure(url, options))
    report = {
        "bench": "serve",
        "machine": describe_machine(),
        "rows": rows,
        "goals": goals(rows, options.clients),
    }
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


@contextlib.contextmanager
def served(folder: Path, size: int) -> Iterator[str]:
    words = ["serve", str(folder), "-n", str(size), "--port", "0", "--json"]
    environment = {key: value for key, value in os.environ.items() if key != "ACDC_SERVE_TOKEN"}
    process = subprocess.Popen(
        [sys.executable, "-m", "console", *words],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            sys.exit(f"acdc serve {folder} did not start")
        yield json.loads(line)["url"]
    finally:
        process.terminate()
        process.wait()


async def measure(url: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    asked = questions(options.clients * options.each)
    # The first answer pays for what is loaded late; that time is not counted.
    await ask(url, asked[0], options.max_tokens)
    start = time.perf_counter()
    alone = []
    for question in asked:
        alone.append(await ask(url, question, options.max_tokens))
        show_progress(f"one at a time: {len(alone)} of {len(asked)}")
    alone_seconds = time.perf_counter() - start

    async def client(number: int) -> list[str | None]:
        own = asked[number :: options.clients]
        return [await ask(url, question, options.max_tokens) for question in own]

    show_progress(f"{options.clients} clients at once")
    start = time.perf_counter()
    parts = await asyncio.gather(*(client(number) for number in range(options.clients)))
    together_seconds = time.perf_counter() - start
    together: list[str | None] = [None] * len(asked)
    for number, part in enumerate(parts):
        together[number :: options.clients] = part
    return [
        row("one at a time", 1, alone, alone, alone_seconds),
        row("together", options.clients, together, alone, together_seconds),
    ]


def questions(count: int) -> list[str]:
    """Short fresh questions of several kinds, all different."""
    asked: dict[str, None] = {}
    datasets = [reasoning_gym.create_dataset(g, size=4 * count, seed=4242) for g in GENERATORS]
    for entries in zip(*datasets, strict=True):
        asked.update(dict.fromkeys(entry["question"] for entry in entries))
        if len(asked) >= count:
            break
    return list(asked)[:count]


async def ask(url: str, question: str, max_tokens: int) -> str | None:
    """One greedy answer of the collective; None for a request that was lost."""
    async with openai.AsyncOpenAI(base_url=url, api_key="-", max_retries=0, timeout=3600) as client:
        try:
            reply = await client.chat.completions.create(
                model="acdc",
                messages=[{"role": "user", "content": question}],
                max_tokens=max_tokens,
            )
        except openai.OpenAIError as error:
            print(f"lost: {error}", file=sys.stderr)
            return None
    return reply.choices[0].message.content


def row(
    name: str, clients: int, answers: list[str | None], right: list[str | None], seconds: float
) -> dict[str, Any]:
    return {
        "name": name,
        "clients": clients,
        "requests": len(answers),
        "lost": answers.count(None),
        "other_answer": sum(a != b for a, b in zip(answers, right, strict=True)),
        "different_answers": len(set(right)),
        "seconds": round(seconds, 2),
        "requests_per_second": round(len(answers) / seconds, 3),
    }


def goals(rows: list[dict[str, Any]], clients: int) -> list[dict[str, Any]]:
    alone, together = rows
    speedup = round(together["requests_per_second"] / alone["requests_per_second"], 2)
    lost, mixed = alone["lost"] + together["lost"], together["other_answer"]
    return [
        {
            "name": f"throughput of {clients} clients over one at a time",
            "value": speedup,
            "unit": "x",
            "goal": f">= {GOAL_SPEEDUP:g}",
            "met": speedup >= GOAL_SPEEDUP,
        },
        {"name": "requests lost", "value": lost, "unit": "", "goal": "0", "met": lost == 0},
        {
            "name": "answers that differ from those given one at a time",
            "value": mixed,
            "unit": "",
            "goal": "0",
            "met": mixed == 0,
        },
    ]


def table(report: dict[str, Any]) -> str:
    lines = [heading(report)]
    lines += [
        f"{row['name']}: {row['requests']} requests by {row['clients']} in {row['seconds']} s, "
        f"{row['requests_per_second']} a second; {row['lost']} lost, {row['other_answer']} others"
        for row in report["rows"]
    ]
    lines += goal_lines(report)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
