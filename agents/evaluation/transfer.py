"""How far tasks lie from what a run has asked: near, of the same category, or far.

- *near*: fresh instances of a generator, or of a family, that the run's history has;
- *same category*: of another generator, whose category or field the history has;
- *far*: neither.

A category is that of reasoning-gym ("arithmetic", "games", ...); a field is one that families are
spread over ("number theory", ...), of a family, of a dataset in the offline scientist's catalogue,
or named by the task itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Self, get_args

from agents.evaluation.tasks import GymScore, Task
from agents.offline.catalogue import entry_of
from memory.records import Family

Distance = Literal["near", "same_category", "far"]
DISTANCES: tuple[Distance, ...] = get_args(Distance)
"""The nearest first."""


@dataclass(frozen=True)
class Known:
    """What a history has asked.

    Attributes:
        sources: its generators, and ids and names of its families.
        subjects: categories and fields of those.
    """

    sources: frozenset[str]
    subjects: frozenset[str]

    @classmethod
    def of(cls, families: Iterable[Family]) -> Self:
        """What these families ask."""
        sources, subjects = set[str](), set[str]()
        for family in families:
            generators = [name for name in family.generator.split(", ") if name]
            sources |= {family.id, family.name, *generators}
            subjects.add(family.field)
            for generator in generators:
                subjects |= subjects_of(generator)
        return cls(frozenset(sources), frozenset(subjects - {""}))

    def distance(self, task: Task) -> Distance | None:
        """How far a task lies from all that; None if nothing is known of where it belongs."""
        dataset = task.score.reasoning_gym if isinstance(task.score, GymScore) else ""
        names = {task.generator, dataset} - {""}
        if names & self.sources:
            return "near"
        subjects = {task.field, *(subject for name in names for subject in subjects_of(name))}
        if not subjects - {""}:
            return None
        return "same_category" if subjects & self.subjects else "far"

    def distances(self, tasks: Sequence[Task]) -> dict[str, Distance]:
        """Task -> its distance, of those of which it is known."""
        found = {task.id: self.distance(task) for task in tasks}
        return {name: distance for name, distance in found.items() if distance is not None}


def subjects_of(generator: str) -> set[str]:
    """Category and field of a dataset of reasoning-gym; none of anything else."""
    import reasoning_gym

    datasets = reasoning_gym.factory.DATASETS
    if generator not in datasets:
        return set()
    kind, _ = datasets[generator]
    entry = entry_of(generator)
    return {kind.__module__.split(".")[1], *([] if entry is None else [entry.field])}
