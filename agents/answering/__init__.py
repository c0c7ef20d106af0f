"""Best-of-N: the task force answers, and one answer is chosen. The door of this room's corner.

collective = Collective.open(context, size=3, select_by="skill_routing")
reply = await collective.ask("What is 12 + 30?", Sampling(max_tokens=64))
"""

from agents.answering import confidence, judges, reward, voting  # noqa: F401 (they register)
from agents.answering.ballot import Ballot, CandidateAnswer, Choice, Vote, elect, normalise
from agents.answering.collective import (
    Collective,
    CollectiveAnswer,
    Member,
    aids_of,
    ask,
    force_of,
)
from agents.answering.methods import (
    Aids,
    Method,
    lacking,
    method,
    method_named,
    methods,
    select,
)
from agents.answering.roster import COLLECTIVE, Roster
from agents.answering.routing import SkillRouter, fitness_of

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
