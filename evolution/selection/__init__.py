"""Who survives: survival rules over skill vectors (DESIGN section 5)."""

from evolution.selection.board import Board, Candidate, undergraded
from evolution.selection.survival import Ranked, Selection, survive

__all__ = ["Board", "Candidate", "Ranked", "Selection", "survive", "undergraded"]
