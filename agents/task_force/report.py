"""The end of a run: the finals, Coverage of forces beside the seeds, and a telling example."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from agents.context import RunContext
from agents.families.items import Item
from agents.judge.instances import fresh_items
from agents.progress import ProgressEvent
from agents.task_force.field import heard_in, history_of, resampled_seeds
from agents.task_force.finals import FIRST_SAMPLE, hold_finals
from evolution.selection import Force, Standing
from memory.records import FINALS, Answer, Json, Voice
from memory.spans import span
from memory.store import RunStore


async def summarise_run(context: RunContext) -> None:
    """Hold the finals and store the summary."""
    asked = await hold_finals(context)
    with span("decision", "task_force", families=len(asked)) as work:
        summary = summarise(context, asked)
        work.set(output=summary["coverage"])
    # Not a step that is taken once: a run may end a second time, with more in its history.
    with context.store.transaction():
        context.store.put_meta("finals", {"families": list(asked)})
        context.store.put_meta("summary", summary)
        context.store.put_meta("finished", True)
    _report(context)


def _report(context: RunContext) -> None:
    """The pulse of the finals: Coverage of forces beside the seeds resampled."""
    summary, latest = context.store.meta("summary"), context.store.latest_archive()
    assert isinstance(summary, dict)
    assert latest is not None
    found: Any = summary["coverage"]
    measures = {
        f"finals/{name}_{row['n']}": row["coverage"]
        for name in ("task_force", "experts")
        for row in found[name]
    }
    if measures:
        text = f"finals: Coverage of the archive {found['archive']:.2f}, seeds {found['seeds']:.2f}"
        generation = latest[0]
        event = ProgressEvent("pulse", text, generation, generation, measures)
        context.progress(event)


def summarise(context: RunContext, asked: Iterable[str]) -> dict[str, Json]:
    """Coverage of archive, seeds and task forces of 1..N in the finals, and an example.

    Args:
        context: of the run.
        asked: ids of the families that asked in the finals.
    """
    store = context.store
    wanted = set(asked)
    # A scorer may have broken only now.
    families = [family for family in history_of(store) if family.id in wanted]
    standing = heard_in(store, {family.id for family in families})
    items = {
        (family.id, item.instance): item
        for family in families
        for item in fresh_items(context, family, FINALS)
    }
    generative = {family.id for family in families if family.generative}
    archive = [expert.id for expert in store.archive_experts()]
    seeds = [expert.id for expert in store.experts() if expert.is_seed]
    forces = [standing.force(n + 1, resampled_seeds(store)) for n in range(len(archive))]
    baselines = [standing.resampled(n + 1, resampled_seeds(store)) for n in range(len(archive))]
    return {
        "families": len(families),
        "instances": len(standing.places),
        "fresh": sum(family in generative for family, _ in standing.places),
        "coverage": {
            "archive": _greedily(standing, archive),
            "seeds": _greedily(standing, seeds),
            "task_force": _rows(forces),
            "experts": _rows(force for force in baselines if force is not None),
        },
        "example": _example(store, standing, forces[-1], seeds, items) if forces else None,
    }


def _greedily(standing: Standing, experts: Iterable[str]) -> float:
    """Coverage of those of some experts that were in the finals, each answering greedily."""
    wanted = set(experts)
    return standing.passes.share(v for v in standing.greedy if v.expert in wanted)


def _rows(forces: Iterable[Force]) -> list[Json]:
    return [
        {
            "n": len(force.voices),
            "coverage": force.coverage,
            "experts": [voice.expert for voice in force.voices],
            "temperatures": [voice.temperature for voice in force.voices],
        }
        for force in forces
    ]


def _example(
    store: RunStore,
    standing: Standing,
    force: Force,
    seeds: Sequence[str],
    items: dict[tuple[str, str], Item],
) -> Json:
    """An instance that the force solves, the one that seeds solve least, with who said what."""
    theirs = [voice for voice in standing.marks if voice.expert in seeds]

    def rate(voice: Voice, place: tuple[str, str]) -> float:
        return standing.marks[voice].get(place, 0.0)

    def solvers(place: tuple[str, str]) -> tuple[float, float]:
        return sum(rate(v, place) for v in theirs), -sum(rate(v, place) for v in force.voices)

    solved = [p for p in standing.places if p in items and any(rate(v, p) for v in force.voices)]
    if not solved:
        return None
    place = min(solved, key=solvers)
    family, instance = place
    return {
        "family": family,
        "instance": instance,
        "question": items[place].instructions,
        "reference": items[place].reference,
        "solved_by": [v.label for v in dict.fromkeys(force.voices) if rate(v, place)],
        "solved_by_seeds": [v.label for v in theirs if rate(v, place)],
        "answers": [
            {
                "expert": voice.expert,
                "temperature": voice.temperature,
                "extracted": answer.extracted,
                "passed": store.verdict(answer.key),
            }
            for voice, answer in _said(store, force.voices, items[place].instance_hash)
        ],
    }


def _said(
    store: RunStore, voices: Sequence[Voice], instance_hash: str
) -> list[tuple[Voice, Answer]]:
    """What voices answered to an instance; one that stands twice, two of its samples."""
    found = []
    for place, voice in enumerate(voices):
        before = voices[:place].count(voice)
        sample = 0 if voice.greedy else FIRST_SAMPLE + before
        genome_id = store.expert(voice.expert).genome_id
        answer = store.answer_to(genome_id, instance_hash, sample)
        if answer is not None:
            found.append((voice, answer))
    return found
