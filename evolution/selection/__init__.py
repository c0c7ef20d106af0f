"""Who survives and who mates: rules over skill vectors, exact and independent of order.

rates      pass rates of counts: shrunk, chance taken off
board      Board, Candidate, undergraded: rates as a matrix, in the canonical order
survival   survive, Selection, Ranked; the rules `dns`, `fitness`, `niches`
dominance  Dominated Novelty Search
niches     fitness sharing
parents    choose_parents; the rules `uniform`, `fitness`, `attraction`
coverage   coverage, task_force
lacking    niches, gains: what a force lacks, and what an expert would add
voices     Standing: task forces of experts at temperatures
settings   SelectionSettings
"""

from evolution.selection.board import Board, Candidate, undergraded
from evolution.selection.coverage import TaskForce, coverage, task_force
from evolution.selection.parents import choose_parents
from evolution.selection.survival import Ranked, Selection, survive
from evolution.selection.voices import Force, Standing

__all__ = [
    "Board",
    "Candidate",
    "Force",
    "Ranked",
    "Selection",
    "Standing",
    "TaskForce",
    "choose_parents",
    "coverage",
    "survive",
    "task_force",
    "undergraded",
]
