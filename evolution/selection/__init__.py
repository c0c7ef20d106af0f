"""Who survives: survival rules over skill vectors."""

from evolution.selection.board import Board, Candidate, undergraded
from evolution.selection.survival import Ranked, Selection, survive

__all__ = ["Board", "Candidate", "Ranked", "Selection", "survive", "undergraded"]
