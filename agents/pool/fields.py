"""The fields that families are spread over, and which of them a pool has fewest of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

FIELDS = (
    "whole-number arithmetic",
    "fractions and decimals",
    "number theory",
    "equations",
    "counting and combinatorics",
    "dates and time",
    "money and measures",
    "geometry and space",
    "comparison and ordering",
    "sequences and patterns",
    "sets and categories",
    "logic and deduction",
    "conditions and negation",
    "kinship and relations",
    "spelling and letters",
    "word order and sorting",
    "grammar",
    "word meaning",
    "reading comprehension",
    "formats and data",
    "codes and ciphers",
    "program tracing",
    "common knowledge",
    "probability and statistics",
)


def lacking_fields(present: Iterable[str], count: int, order: Sequence[int]) -> list[str]:
    """So many fields, one after the other, each the rarest among those present and chosen.

    Args:
        present: fields of families that there are or that are being written.
        count: how many are wanted.
        order: a permutation of the places in `FIELDS`; of equally rare ones the first is taken.
    """
    counts = Counter(field for field in present if field in FIELDS)
    chosen = []
    for _ in range(count):
        field = min((FIELDS[place] for place in order), key=lambda name: counts[name])
        counts[field] += 1
        chosen.append(field)
    return chosen
