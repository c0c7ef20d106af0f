"""How a run went on: time at work, and the pulse of each generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from console.view.matrix import SkillMatrix, archives, pools
from console.view.page import Row
from console.view.source import Run


@dataclass(frozen=True)
class Work:
    """When a run was at work, over all its processes; pauses between them are left out.

    Attributes:
        stretches: (begin, end) in seconds since the epoch, in order and apart.
    """

    stretches: Sequence[tuple[float, float]]

    @classmethod
    def of(cls, run: Run) -> Work:
        """From the spans of the phases."""
        merged: list[tuple[float, float]] = []
        sql = (
            "SELECT started_ns / 1e9 AS begun, ended_ns / 1e9 AS ended FROM spans "
            "WHERE kind = 'phase' ORDER BY started_ns"
        )
        for row in run.rows(sql):
            begun, ended = row["begun"], row["ended"]
            if merged and begun <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], ended))
            else:
                merged.append((begun, ended))
        return cls(merged)

    def until(self, moment: float) -> float:
        """Seconds of work up to a moment."""
        return sum(min(end, moment) - begin for begin, end in self.stretches if begin < moment)

    @property
    def seconds(self) -> float:
        """All of it."""
        return sum(end - begin for begin, end in self.stretches)


def generations(run: Run, matrix: SkillMatrix, work: Work) -> list[Row]:
    """A row for each generation: fitness, Coverage on the pool of its time, time and tokens.

    Coverage is by the latest grades. A seed that left the archive is asked no more: archive and
    seeds are compared on those families of the pool that every seed was graded on (`shared`).
    Tokens are those of experts' answers, as many of them as had been asked for by then.
    """
    moments = run.rows("SELECT generation, at FROM archives ORDER BY generation")
    times = [row["at"] for row in moments]
    kept = archives(run)
    # One that was never graded, since what it says is gibberish, has no skills to compare.
    seeds = [row for row in matrix.rows(_seeds(run)) if matrix.asked[row].any()]
    fitness = {
        row["generation"]: row
        for row in run.rows(
            "SELECT generation, MAX(fitness) AS best, AVG(fitness) AS mean, COUNT(*) AS experts "
            "FROM archive_entries GROUP BY generation"
        )
    }
    asked = _asked_by(run, times)
    found = []
    for moment, pool, share in zip(moments, pools(run, sorted(times)), asked, strict=True):
        number = moment["generation"]
        columns = matrix.columns(pool)
        archive = matrix.rows(kept.get(number, []))
        shared = matrix.asked_of_all(seeds, columns)
        found.append(
            {
                "generation": number,
                "experts": fitness.get(number, {}).get("experts", 0),
                "families": len(pool),
                "best": fitness.get(number, {}).get("best"),
                "mean": fitness.get(number, {}).get("mean"),
                "coverage": matrix.coverage(archive, columns),
                "shared": len(shared),
                "archive_there": matrix.coverage(archive, shared),
                "seeds": matrix.coverage(seeds, shared),
                "seconds": work.until(moment["at"]),
                "tokens": run.ledger.after(share) if share is not None else None,
                "at": moment["at"],
            }
        )
    return found


def _seeds(run: Run) -> list[str]:
    sql = (
        "SELECT id FROM experts WHERE generation = 0 "
        "AND json_extract(record, '$.operator') IN ('base', 'seed')"
    )
    return [row["id"] for row in run.rows(sql)]


def _asked_by(run: Run, times: Sequence[float]) -> list[float | None]:
    """Share of all answers that had been asked for by some moments; None where nothing is known."""
    spans = run.rows(
        "SELECT ended_ns / 1e9 AS at, json_extract(attributes, '$.\"acdc.prompts\"') AS prompts "
        "FROM spans WHERE kind = 'answer' ORDER BY ended_ns"
    )
    total = sum(span["prompts"] or 0 for span in spans)
    found: list[float | None] = []
    done = place = 0
    for moment in times:
        while place < len(spans) and spans[place]["at"] <= moment:
            done += spans[place]["prompts"] or 0
            place += 1
        found.append(done / total if total else None)
    return found
