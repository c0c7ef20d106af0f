"""Who answers under which name: the collective by every method, and each expert of its force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agents.context import ReadContext
from agents.errors import UnknownModelError
from agents.task_force.collective import Collective
from agents.task_force.methods import Aids, lacking, method_named, methods
from memory.messages import did_you_mean

COLLECTIVE = "acdc"
"""The collective's own name; `acdc:majority` is the collective that chooses by majority."""


@dataclass(frozen=True)
class Roster:
    """Models by name.

    Attributes:
        voices: name -> who answers. An expert alone is a collective of one, of which there is
            nothing to choose.
        lacks: name of a method variant -> why this run cannot offer it.
    """

    voices: Mapping[str, Collective]
    lacks: Mapping[str, str]

    @classmethod
    def open(cls, context: ReadContext, size: int, select_by: str) -> Roster:
        """The force of a size under all its names.

        Args:
            context: the run.
            size: experts of the force.
            select_by: method of the plain name.

        Raises:
            AnsweringError: the run has no graded experts, the method is unknown, or it lacks
                something.
        """
        force = Collective.open(context, size, select_by)
        voices, lacks = {COLLECTIVE: force}, {}
        for name, found in methods().items():
            problem = lacking(found, force.aids)
            if problem is None:
                voice = Collective(context, force.members, found, force.aids)
                voices[f"{COLLECTIVE}:{name}"] = voice
            else:
                lacks[f"{COLLECTIVE}:{name}"] = problem
        for member in force.members:
            alone = Collective(context, [member], method_named("majority"), Aids())
            voices.setdefault(member.expert.id, alone)
        return cls(voices, lacks)

    def named(self, name: str) -> Collective:
        """Who answers under a name.

        Raises:
            UnknownModelError: there is no such model; says why, or names the nearest.
        """
        if name in self.voices:
            return self.voices[name]
        if name in self.lacks:
            raise UnknownModelError(f"{name} is not offered: {self.lacks[name]}")
        hint = did_you_mean(name, self.voices)
        raise UnknownModelError(f"there is no model {name!r}{hint}; see /v1/models")
