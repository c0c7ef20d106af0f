"""Pass rates of families, and how well they discriminate between experts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from memory.records import SkillCounts, rate_of


def pass_rates(families: Sequence[str], archive: Mapping[str, SkillCounts]) -> dict[str, float]:
    """Mean pass rate of each family that at least one archive expert is graded on."""
    rates = {}
    for family in families:
        outcomes = [rate_of(skills[family]) for skills in archive.values() if family in skills]
        if outcomes:
            rates[family] = math.fsum(outcomes) / len(outcomes)
    return rates


def discrimination(rate: float) -> float:
    """Entropy in bits of a pass rate: 1 where half of the experts pass, 0 where all or none do."""
    if rate in (0.0, 1.0):
        return 0.0
    return -(rate * math.log2(rate) + (1 - rate) * math.log2(1 - rate))
