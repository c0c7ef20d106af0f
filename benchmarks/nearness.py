"""From which similarity on does a run's history say something about a question?

    python -m benchmarks.nearness RUN... [--json]

Every question of a run's families is compared with the families' descriptions: with those of its
own generator (asked before), and with the others alone, as if its own had never been there (not
asked). A good threshold keeps the former and drops the latter.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from agents.families.items import all_asked
from benchmarks.machine import describe_machine
from benchmarks.reporting import run_as_command
from memory.novelty.embedding import Embedder, open_embedder
from memory.settings import NoveltySettings
from memory.store import RunStore

QUESTIONS = 8
"""Of each family."""
THRESHOLDS = (0.3, 0.35, 0.4, 0.45, 0.5)


def similarities(run: Path, embedder: Embedder) -> tuple[list[float], list[float]]:
    """Of each question: to the nearest family of its own generator, and to the nearest other."""
    own, other = list[float](), list[float]()
    with RunStore.open(run, read_only=True) as store:
        families = store.families()
        described = embedder.embed([family.novelty_text() for family in families])
        for family in families:
            asked = [item.instructions for item in all_asked(store, family)][:QUESTIONS]
            cosines = embedder.embed(asked) @ described.T
            same = np.array(
                [
                    each.code_hash == family.code_hash
                    or (each.generator != "" and each.generator == family.generator)
                    for each in families
                ]
            )
            own += cosines[:, same].max(axis=1).tolist()
            if not same.all():
                other += cosines[:, ~same].max(axis=1).tolist()
    return own, other


def main() -> int:
    """Print the shares of questions beyond each threshold."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    embedder = open_embedder(NoveltySettings())
    found = [similarities(run, embedder) for run in options.runs]
    own = np.array([value for pair in found for value in pair[0]])
    other = np.array([value for pair in found for value in pair[1]])
    rows = [
        {
            "near": threshold,
            "asked before, taken as known": round(float((own >= threshold).mean()), 3),
            "not asked, taken as known": round(float((other >= threshold).mean()), 3),
        }
        for threshold in THRESHOLDS
    ]
    if options.json:
        made = {"bench": "nearness", "machine": describe_machine(), "rows": rows, "goals": []}
        print(json.dumps({**made, "questions": len(own)}, indent=2))
        return 0
    print(f"{len(own)} questions of {len(options.runs)} runs, {embedder.name}")
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    return 0


if __name__ == "__main__":
    run_as_command(main)
