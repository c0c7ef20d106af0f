"""What the judge asked in a run, as logs: one for each voice of the archive and the seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agents.families.items import Item
from agents.task_force.finals import FIRST_SAMPLE
from console.inspect_logs.log import PASSED, Log, Sample, extraction, run_id_of
from console.run.folder import RunFolder
from console.stories.family import experts_shown
from console.stories.names import labels
from console.tables import every_item, use_of
from memory.records import FINALS, Answer, Expert, Family, Grade, Voice
from memory.store import RunStore


def judge_logs(folder: RunFolder) -> Iterator[Log]:
    """What the archive and the seeds answered in a run, which may be live: a log for each voice.

    Raises:
        AcdcError: the run cannot be read.
    """
    config = folder.manifest()["config"]
    longest = config.get("judge", {}).get("max_tokens")
    with RunStore.open(folder.path, read_only=True) as store:
        families = store.families()
        names = labels(families)
        asked = {item.instance_hash: (f, period, item) for f, period, item in every_item(store)}
        for expert in experts_shown(store):
            voices: dict[Voice, list[Sample]] = {}
            for answer in sorted(store.answers_of(expert.genome_id), key=lambda each: each.sample):
                if answer.instance_hash not in asked:
                    # A draft's question in its trial.
                    continue
                family, period, item = asked[answer.instance_hash]
                voice = Voice(expert.id, _temperature(config, period, answer.sample))
                grades = store.grades_of(answer.key)
                sample = _judged(answer, family, names[family.id], use_of(period), item, grades)
                voices.setdefault(voice, []).append(sample)
            for voice, samples in voices.items():
                yield Log(
                    task="judge",
                    run=folder.path.resolve().name,
                    run_id=run_id_of(store, folder.path),
                    who=voice.label,
                    samples=samples,
                    reducer="mean",
                    cluster="family",
                    sampling={"temperature": voice.temperature, "max_tokens": longest},
                    metadata=_lineage(expert),
                )


def _temperature(config: Mapping[str, Any], period: int, sample: int) -> float:
    """At which an answer of a run was given."""
    if sample >= FIRST_SAMPLE:
        return float(config.get("finals", {}).get("temperature", 0.0))
    return 0.0 if period == FINALS else float(config.get("judge", {}).get("temperature", 0.0))


def _lineage(expert: Expert) -> dict[str, Any]:
    return {
        "expert": expert.id,
        "genome": expert.genome_id,
        "generation": expert.generation,
        "operator": expert.operator,
        "parents": list(expert.parents),
    }


def _judged(
    answer: Answer, family: Family, name: str, use: str, item: Item, grades: Sequence[Grade]
) -> Sample:
    verdict = {PASSED: 2 * sum(grade.passed for grade in grades) > len(grades)} if grades else {}
    by = [
        f"{grade.rater} (vote {grade.vote}): {'right' if grade.passed else 'wrong'}. {grade.detail}"
        for grade in grades
        if grade.rater
    ]
    return Sample(
        id=f"{family.id}/{item.instance}",
        question=item.instructions,
        reference=item.reference,
        answer=answer,
        verdicts=verdict,
        notes=[*extraction(answer, item.reference), *by],
        metadata={
            "family": family.id,
            "name": name,
            "capability": family.capability,
            "generator": family.generator,
            "use": use,
            "genome": answer.genome_id,
            "answer": answer.key,
        },
    )
