"""One random stream per decision, derived from (run seed, generation, purpose, index)."""

from __future__ import annotations

import hashlib

import numpy as np

SEED_RANGE = 2**31
"""Programs of families draw from seeds below this: numpy and others take no larger ones."""


def derive_seed(run_seed: int, generation: int, purpose: str, index: int = 0) -> int:
    """A 63-bit seed that depends on all four arguments and on nothing else."""
    text = f"{run_seed}/{generation}/{purpose}/{index}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(run_seed: int, generation: int, purpose: str, index: int = 0) -> np.random.Generator:
    """A fresh generator for one decision; equal arguments give equal streams in every process."""
    return np.random.default_rng(derive_seed(run_seed, generation, purpose, index))
