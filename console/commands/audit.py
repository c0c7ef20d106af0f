"""`acdc audit`: do families repeat a benchmark, how diverse are they, and does the run go on?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.evaluation.annecs import Annecs, annecs
from agents.evaluation.diversity import shares_by_origin, vendi_score
from agents.evaluation.leakage import BenchmarkQuestion, Repeat, find_repeats
from agents.evaluation.overlap import NGRAM, SHORTEST
from agents.progress import Progress, ProgressEvent, silent
from console.commands.frame import (
    AsJson,
    Debug,
    RunDir,
    app,
    errors,
    finish,
    opened,
    out,
    print_json,
)
from console.display import Display
from console.run.folder import RunFolder
from memory.novelty.embedding import Embedder, Vectors, open_embedder
from memory.novelty.similarity import Vector
from memory.records import Family
from memory.store import RunStore

JsonObject = dict[str, Any]
# Measured with MiniLM on reasoning-gym: fresh questions of a generator and families of another one
# are at most 0.69 alike; of the same generator, 18 % of the pairs are more than 0.8 alike.
SIMILARITY = 0.8
SHOWN_ROWS = 20
SHOWN_CHARACTERS = 60
BATCH = 16
"""Texts between two progress reports of the embedder."""


EXAMPLES = """Examples:

acdc audit runs/quickstart    diversity and open-endedness

acdc audit runs/quickstart --against gsm8k.jsonl    families that repeat its questions, too
"""


@app.command(epilog=EXAMPLES)
def audit(
    folder: RunDir,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            "--against", metavar="FILE", help="A file of benchmark questions; more may follow it."
        ),
    ] = None,
    more: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE",
            help="More files of benchmark questions, as behind --against.",
            show_default=False,
        ),
    ] = None,
    similarity: Annotated[
        float, typer.Option(min=-1, max=1, help="Cosine from which a family repeats a question.")
    ] = 0.8,
    ngram: Annotated[
        int, typer.Option(min=1, help="Words of an n-gram; 13 as in GPT-3, 8 as in PaLM.")
    ] = 13,
    overlap: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Overlap above which a family repeats a question (0: any shared n-gram).",
        ),
    ] = 0.0,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Find families that repeat a benchmark, and report how diverse and open-ended a run is."""

    def action() -> None:
        place = opened(folder)

        limits = AuditLimits(similarity, ngram, overlap)
        files = [*(against or []), *(more or [])]
        with Display(errors) as display:
            found = collect(place, files, limits, display)
        if as_json:
            print_json(found)
        else:
            show(found, out)

    finish(action, debug)


@dataclass(frozen=True)
class AuditLimits:
    """From where on a family counts as a repeat.

    Attributes:
        similarity: cosine of the embeddings.
        ngram: words of an n-gram.
        overlap: share of a question's n-grams above which it counts; 0 counts a single one.
    """

    similarity: float = SIMILARITY
    ngram: int = NGRAM
    overlap: float = 0.0


def collect(
    folder: RunFolder, against: Sequence[Path], limits: AuditLimits, progress: Progress = silent
) -> JsonObject:
    """Audit a run, without disturbing one that is live.

    Args:
        folder: the run.
        against: files of benchmark questions; none leaves leakage out.
        limits: what counts as a repeat.
        progress: where events are reported.

    Raises:
        UsageError: no run, or a file that holds no questions.
        EmbeddingError: a text could not be embedded.
    """
    from console.commands.audit_questions import read_questions

    embedder = open_embedder(folder.config().novelty)
    with RunStore.open(folder.path, read_only=True) as store:
        history, active = store.families(), store.families("active")
        experts, skills = store.experts(), store.all_skills()
    questions = read_questions(against) if against else []
    texts = f"{len(history)} families" + (f" and {len(questions)} questions" if against else "")
    progress(ProgressEvent("phase", f"embedding {texts} with {embedder.name}"))
    embedder = _Told(embedder, progress)
    return {
        "run": folder.path.name,
        "embedder": embedder.name,
        "leakage": _leakage(history, active, questions, limits, embedder)
        | {"files": [str(file) for file in against]}
        if against
        else None,
        "diversity": {
            "pool": _diversity(active, embedder),
            "history": _diversity(history, embedder),
        },
        "annecs": _annecs(annecs(history, experts, skills)),
    }


class _Told:
    """An embedder that reports progress and embeds each text once."""

    def __init__(self, embedder: Embedder, progress: Progress) -> None:
        self.name = embedder.name
        self._embedder = embedder
        self._progress = progress
        self._known: dict[str, Vector] = {}

    def embed(self, texts: Sequence[str]) -> Vectors:
        import numpy as np

        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        for start in range(0, len(new), BATCH):
            batch = new[start : start + BATCH]
            self._known.update(zip(batch, self._embedder.embed(batch), strict=True))
            self._progress(ProgressEvent("step", "audit", len(self._known)))
        if not texts:
            return self._embedder.embed(texts)
        return np.stack([self._known[text] for text in texts])


def _leakage(
    history: list[Family],
    active: list[Family],
    questions: Sequence[BenchmarkQuestion],
    limits: AuditLimits,
    embedder: Embedder,
) -> JsonObject:

    found = find_repeats(
        history, questions, embedder, limits.similarity, limits.ngram, limits.overlap
    )
    living = {family.id for family in active}
    families = sorted({repeat.family for repeat in found.repeats})
    return {
        "questions": len(questions),
        "families": len(history),
        "limits": {
            "similarity": limits.similarity,
            "ngram": limits.ngram,
            "shortest": min(SHORTEST, limits.ngram),
            "overlap": limits.overlap,
        },
        "too_short_for_ngrams": found.too_short,
        "repeating": families,
        "repeating_active": [family for family in families if family in living],
        "repeated_questions": len({(r.question.source, r.question.id) for r in found.repeats}),
        "nearest": {family: round(value, 4) for family, value in found.nearest.items()},
        "pairs": [_pair(repeat) for repeat in found.repeats],
    }


def _pair(repeat: Repeat) -> JsonObject:
    return {
        "family": repeat.family,
        "instance": repeat.instance,
        "file": repeat.question.source,
        "question": repeat.question.id,
        "similarity": round(repeat.similarity, 4),
        "overlap": round(repeat.overlap, 4),
        "by": list(repeat.by),
        "text": repeat.question.text,
    }


def _diversity(families: list[Family], embedder: Embedder) -> JsonObject:

    score = vendi_score(embedder.embed([family.novelty_text() for family in families]))
    return {
        "families": len(families),
        "vendi": round(score, 3),
        "shares": {name: round(share, 4) for name, share in shares_by_origin(families).items()},
    }


def _annecs(found: Annecs) -> JsonObject:
    return {
        "total": found.total,
        "by_generation": {str(key): value for key, value in found.by_generation.items()},
        "solved": dict(found.solved),
        "too_easy": list(found.too_easy),
        "unsolved": list(found.unsolved),
        "unknown": list(found.unknown),
    }


def show(audit: JsonObject, console: Console) -> None:
    """Print an audit for a person."""
    if audit["leakage"]:
        _show_leakage(audit["leakage"], console)
    table = Table(box=None, pad_edge=False, title="diversity", title_justify="left")
    for column in ("", "families", "Vendi score", "largest shares"):
        table.add_column(column)
    for name, row in audit["diversity"].items():
        largest = [f"{origin} {share:.0%}" for origin, share in list(row["shares"].items())[:4]]
        table.add_row(name, str(row["families"]), f"{row['vendi']:.1f}", Text(", ".join(largest)))
    console.print(table)
    found = audit["annecs"]
    curve = "  ".join(f"{key}: {value}" for key, value in found["by_generation"].items())
    console.print(
        f"\nANNECS {found['total']} (novel, unsolved when introduced, solved later); by generation "
        f"{curve or 'none'}\nsolved when they came {len(found['too_easy'])}, unsolved "
        f"{len(found['unsolved'])}, unknown {len(found['unknown'])}",
        highlight=False,
        soft_wrap=True,
    )


def _show_leakage(leakage: JsonObject, console: Console) -> None:
    limits = leakage["limits"]
    console.print(
        f"{len(leakage['repeating'])} of {leakage['families']} families repeat "
        f"{leakage['repeated_questions']} of {leakage['questions']} questions (cosine >= "
        f"{limits['similarity']:g}, or more than {limits['overlap']:.0%} of a question's "
        f"{limits['ngram']}-grams)",
        style="bold",
        highlight=False,
        soft_wrap=True,
    )
    if leakage["too_short_for_ngrams"]:
        console.print(
            f"{leakage['too_short_for_ngrams']} questions have fewer than {limits['shortest']} "
            "words and are compared by embedding only",
            style="dim",
            highlight=False,
            soft_wrap=True,
        )
    if not leakage["pairs"]:
        return
    console.print(_pairs_table(leakage["pairs"][:SHOWN_ROWS]))
    if len(leakage["pairs"]) > SHOWN_ROWS:
        more = len(leakage["pairs"]) - SHOWN_ROWS
        console.print(f"... and {more} more; --json shows all", style="dim", highlight=False)
    console.print()


def _pairs_table(pairs: Sequence[JsonObject]) -> Table:
    """Names of families whole, to be pasted; under the place of a question stands its text."""
    table = Table(box=None, pad_edge=False)
    table.add_column("family", no_wrap=True)
    table.add_column("cosine", justify="right", no_wrap=True)
    table.add_column("overlap", justify="right", no_wrap=True)
    table.add_column("question")
    for pair in pairs:
        text = " ".join(pair["text"].split())[:SHOWN_CHARACTERS]
        table.add_row(
            Text(pair["family"]),
            f"{pair['similarity']:.2f}",
            f"{pair['overlap']:.0%}",
            Text(f"{Path(pair['file']).name}:{pair['question']}\n{text}"),
        )
    return table
