"""The three disjoint domains of the seed experts: which generators, at which difficulty.

One table, read by the training script, by the evaluation and by the tests. The configurations are
the arguments of `reasoning_gym.create_dataset`; what is not named stays at its default.
Questions are used verbatim. Every generator here has an oracle answer that scores 1 and fits on
one line, as the answer format asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import reasoning_gym

Domain = Literal["numbers", "words", "logic"]
DOMAINS: tuple[Domain, ...] = get_args(Domain)

PASS_SCORE = 0.99
"""A score from here on counts as solved; partial credit does not."""


@dataclass(frozen=True)
class Generator:
    """One reasoning-gym generator at one difficulty.

    Attributes:
        name: its name in reasoning-gym.
        config: arguments of `create_dataset`, without `seed` and `size`.
        weight: share of the training examples of its domain, relative to 1.
    """

    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    weight: float = 1.0

    def dataset(self, seed: int, size: int) -> Any:
        """A reasoning-gym dataset of `size` instances; equal seeds give equal instances."""
        return reasoning_gym.create_dataset(self.name, seed=seed, size=size, **self.config)


GENERATORS: dict[Domain, tuple[Generator, ...]] = {
    "numbers": (
        Generator(
            "chain_sum", {"min_terms": 2, "max_terms": 4, "min_digits": 1, "max_digits": 2}, 2.0
        ),
        Generator("products", {"max_terms": 2, "min_digits": 1, "max_digits": 2}, 2.0),
        Generator("gcd", {"max_numbers": 2, "min_value": 1, "max_value": 100}),
        Generator("decimal_chain_sum", {"max_terms": 2, "max_digits": 1, "max_decimal_places": 1}),
        Generator(
            "basic_arithmetic",  # without "/", whose oracle is wrong: "4 / 1" gives 2
            {
                "min_terms": 2,
                "max_terms": 2,
                "max_digits": 2,
                "operators": ("+", "-", "*"),
                "allow_parentheses": False,
                "allow_negation": False,
            },
        ),
    ),
    "words": (
        Generator("word_sorting", {"min_words": 3, "max_words": 5}, 1.5),
        Generator("word_sequence_reversal", {"min_words": 3, "max_words": 6}),
        Generator("letter_counting", {"min_words": 5, "max_words": 10}),
        Generator("sentence_reordering", {"min_words_in_sentence": 3, "max_words_in_sentence": 5}),
        Generator("palindrome_generation", {"min_length": 3, "max_length": 5}),
    ),
    "logic": (
        Generator("knights_knaves", {"n_people": 2, "depth_constraint": 2, "width_constraint": 2}),
        Generator("family_relationships", {"min_family_size": 4, "max_family_size": 8}, 2.0),
        Generator("aiw", {"max_entities": 6}),
        Generator("needle_haystack", {"min_num_statements": 5, "max_num_statements": 8}),
        Generator("syllogism"),
    ),
}


def domain_of(generator: str) -> Domain | None:
    """The domain that a generator belongs to, None if it is in none."""
    for domain, generators in GENERATORS.items():
        if any(generator == candidate.name for candidate in generators):
            return domain
    return None
