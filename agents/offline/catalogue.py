"""All that the offline scientist can write about, and how to find it by name."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from agents.offline import (
    catalogue_arithmetic,
    catalogue_integers,
    catalogue_logic,
    catalogue_words,
)
from agents.offline.entries import Entry


def _interleaved(*shelves: Iterable[Entry]) -> tuple[Entry, ...]:
    """One entry of each shelf in turn, so that neighbours test different things."""
    rows = itertools.zip_longest(*shelves)
    return tuple(entry for row in rows for entry in row if entry is not None)


CATALOGUE = _interleaved(
    catalogue_arithmetic.ENTRIES,
    catalogue_words.ENTRIES,
    catalogue_logic.ENTRIES,
    catalogue_integers.ENTRIES,
)
_SMALL_MODELS_MASTER = {
    "aiw",
    "basic_arithmetic",
    "chain_sum",
    "count_bits",
    "count_primes",
    "decimal_chain_sum",
    "family_relationships",
    "fraction_simplification",
    "gcd",
    "lcm",
    "letter_counting",
    "letter_jumble",
    "needle_haystack",
    "palindrome_generation",
    "products",
    "sentence_reordering",
    "syllogism",
    "word_sequence_reversal",
    "word_sorting",
}
"""Generators whose first rungs some seed expert climbs; `benchmarks/ladder.py` shows it."""
WITHIN_REACH = tuple(entry for entry in CATALOGUE if entry.generator in _SMALL_MODELS_MASTER)
STRETCH = tuple(entry for entry in CATALOGUE if entry.generator not in _SMALL_MODELS_MASTER)
_BY_GENERATOR = {entry.generator: entry for entry in CATALOGUE}


def entry_of(generator: str) -> Entry | None:
    """The entry of a generator, None if the catalogue has none."""
    return _BY_GENERATOR.get(generator)


def entries_named_in(text: str) -> list[Entry]:
    """Entries whose title, or a title of whose wordings, occurs in a text."""
    return [entry for entry in CATALOGUE if any(title in text for title in entry.titles)]


def entries_with(capability: str) -> list[Entry]:
    """Entries that test one of the capabilities named in a text."""
    return [entry for entry in CATALOGUE if entry.capability in capability]
