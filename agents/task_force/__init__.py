"""Best-of-N: the task force answers, and one answer is chosen. The door of this room's corner.

collective = Collective.open(context, size=3, select_by="skill_routing")
reply = await collective.ask("What is 12 + 30?", Sampling(max_tokens=64))
"""

from agents.task_force import chooser, confidence, reward_model, voting  # noqa: F401 (they register)
from agents.task_force.ballot import Ballot, CandidateAnswer, Choice, Vote, elect, normalise
from agents.task_force.collective import (
    Collective,
    CollectiveAnswer,
    Member,
    aids_of,
    ask,
    force_of,
)
from agents.task_force.methods import (
    Aids,
    Method,
    lacking,
    method,
    method_named,
    methods,
    select,
)
from agents.task_force.roster import COLLECTIVE, Roster
from agents.task_force.routing import SkillRouter, fitness_of

__all__ = [
    "COLLECTIVE",
    "Aids",
    "Ballot",
    "CandidateAnswer",
    "Choice",
    "Collective",
    "CollectiveAnswer",
    "Member",
    "Method",
    "Roster",
    "SkillRouter",
    "Vote",
    "aids_of",
    "ask",
    "elect",
    "fitness_of",
    "force_of",
    "lacking",
    "method",
    "method_named",
    "methods",
    "normalise",
    "select",
]
