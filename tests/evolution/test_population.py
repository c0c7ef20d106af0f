"""The population's genomes: decoded once while they are asked for, and let go after that."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evolution import population
from evolution.bank.settings import ModelSettings, SpectralSettings
from evolution.engines.settings import EngineSettings
from evolution.genome.genome import Genome
from evolution.population import Population


def test_genomes_that_are_asked_for_again_are_kept_and_others_let_go(tmp_path: Path) -> None:
    people = Population(ModelSettings(), SpectralSettings(), EngineSettings(), tmp_path)
    payload = Genome(np.ones((2, 3), np.float32)).to_bytes()
    first, second = people.decode("first", payload), people.decode("second", payload)
    for number in range(population._DECODED - 1):
        people.decode(str(number), payload)
        assert people.decode("first", payload) is first
    assert len(people._genomes) == population._DECODED
    again = people.decode("second", payload)
    assert again is not second
    assert again.to_bytes() == payload
