from __future__ import annotations

import numpy as np
import pytest
import torch

from evolution.bank import Bank
from evolution.genome import Genome
from evolution.materialise import checksum, expected_checksum, materialise
from evolution.mutation import spectral
from evolution.streaming import page_lock

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def test_a_streamed_bank_writes_what_it_is_expected_to(bank: Bank) -> None:
    rng = np.random.default_rng(0)
    plain = Genome(rng.uniform(-0.5, 1.2, (len(bank.blocks), len(bank.anchors))))
    mutated = spectral(plain, bank.geometry, rng, strength=0.05)[0]
    page_lock(bank)
    model = bank.model().to("cuda")
    for genome in (plain, mutated, plain):
        materialise(bank, genome, model)
        assert checksum(model) == expected_checksum(bank, genome, device=torch.device("cuda"))
