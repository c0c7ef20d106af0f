"""Who answers under which name: the collective by every method, and each expert of its force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agents.context import ReadContext
from agents.errors import UnknownModelError
from agents.task_force.collective import Collective, Member
from agents.task_force.field import standing_of
from agents.task_force.methods import Aids, lacking, method_named, methods
from memory.messages import did_you_mean
from memory.records import Voice

COLLECTIVE = "acdc"
"""The collective's own name; `acdc:majority` is the collective that chooses by majority."""


@dataclass(frozen=True)
class Roster:
    """Models by name.

    Attributes:
        models: name -> who answers. An expert alone, greedily, is a collective of one, of
            which there is nothing to choose.
        lacks: name of a method variant -> why this run cannot offer it.
    """

    models: Mapping[str, Collective]
    lacks: Mapping[str, str]

    @classmethod
    def open(
        cls, context: ReadContext, size: int, select_by: str, *, alone: bool = False
    ) -> Roster:
        """The force of a size under all its names.

        Args:
            context: the run.
            size: answers of the force.
            select_by: method of the plain name.
            alone: whether N different experts answer greedily, in place of N voices.

        Raises:
            AnsweringError: the run has no graded experts, the method is unknown, or it lacks
                something.
        """
        force = Collective.open(context, size, select_by, alone=alone)
        standing = standing_of(context.store)
        models, lacks = {COLLECTIVE: force}, {}
        for name, found in methods().items():
            problem = lacking(found, force.aids)
            if problem is None:
                models[f"{COLLECTIVE}:{name}"] = Collective(
                    context, force.members, found, force.aids
                )
            else:
                lacks[f"{COLLECTIVE}:{name}"] = problem
        for member in force.members:
            itself = Member(member.expert, standing.fitness(Voice(member.expert.id)))
            models.setdefault(
                member.expert.id,
                Collective(context, [itself], method_named("majority"), Aids()),
            )
        return cls(models, lacks)

    def named(self, name: str) -> Collective:
        """Who answers under a name.

        Raises:
            UnknownModelError: there is no such model; says why, or names the nearest.
        """
        if name in self.models:
            return self.models[name]
        if name in self.lacks:
            raise UnknownModelError(f"{name} is not offered: {self.lacks[name]}")
        hint = did_you_mean(name, self.models)
        raise UnknownModelError(f"there is no model {name!r}{hint}; see /v1/models")
