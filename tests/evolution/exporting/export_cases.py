"""What the tests of exports share: an expert with parents and skills, and where its seeds are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evolution.bank.bank import Bank
from evolution.breeding.mutation import gaussian, spectral
from evolution.exporting import About, Skill, Sources
from evolution.genome.genome import Genome
from memory.records import Expert

if TYPE_CHECKING:
    from tests.conftest import TinyFamily

PARENT = Expert(id="alpha", genome_id="0", generation=0, birth=1, operator="seed")
EXPERT = Expert(
    id="g2-1",
    genome_id="1",
    generation=2,
    birth=1,
    operator="linear+spectral",
    parents=("alpha", "beta"),
    rng_seed=7,
)
ABOUT = About(
    EXPERT, "tiny", [PARENT], [Skill("sum", "adds numbers", True), Skill("spell", "spells", False)]
)


def sources(family: TinyFamily, *, base: bool = True) -> Sources:
    seeds = {name: str(folder) for name, folder in family.seeds.items()}
    return Sources(str(family.base) if base else None, seeds)


def mutant(bank: Bank) -> Genome:
    rng = np.random.default_rng(0)
    plain = Genome(rng.uniform(-0.5, 1.0, (len(bank.blocks), len(bank.anchors))))
    return gaussian(spectral(plain, bank.geometry, rng)[0], bank.geometry, rng)[0]
