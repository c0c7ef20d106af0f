"""A genome in words."""

from __future__ import annotations

import numpy as np

from evolution.genome.genome import Genome
from evolution.genome.words import in_words, shares_of


def test_the_largest_share_comes_first_and_what_is_absent_is_left_out() -> None:
    genome = Genome(np.array([[0.24, 0.0, 0.7], [0.24, 0.0, 0.82]], np.float32))
    assert in_words(genome, ["numbers", "logic", "words", "grafted later"]) == (
        "0.76 towards words (0.70 to 0.82 over the layers), 0.24 towards numbers"
    )
    assert [share.anchor for share in shares_of(genome, ["numbers", "logic", "words"])] == [
        "numbers",
        "words",
    ]


def test_mutations_are_told_and_the_base_is_called_so() -> None:
    coefficients = np.zeros((1, 1), np.float32)
    mutated = Genome(coefficients, {"q": np.ones(2, np.float32)})
    assert in_words(mutated, ["a"]) == "singular values of 1 matrices changed"
    assert in_words(Genome(coefficients), ["a"]) == "the base, unchanged"


def test_what_rounds_to_nothing_is_left_out() -> None:
    genome = Genome(np.array([[0.5, 0.001], [0.5, -0.004]], np.float32))
    assert in_words(genome, ["a", "b"]) == "0.50 towards a"
    nearly = Genome(np.full((2, 1), 0.001, np.float32))
    assert in_words(nearly, ["a"]) == "the base, nearly unchanged"
