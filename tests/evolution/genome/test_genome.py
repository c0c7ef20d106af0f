from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evolution.errors import GenomeError
from evolution.genome.genome import Genome

UNHURRIED = settings(deadline=None)
FLOATS = st.floats(-4, 4, width=32)
GENOMES = st.builds(
    Genome,
    hnp.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(0, 4)), elements=FLOATS),
    st.dictionaries(
        st.text(min_size=1, max_size=5),
        hnp.arrays(np.float32, st.integers(1, 6), elements=FLOATS),
        max_size=3,
    ),
)


@UNHURRIED
@given(GENOMES)
def test_bytes_give_the_same_genome_back(genome: Genome) -> None:
    again = Genome.from_bytes(genome.to_bytes())
    assert again == genome
    assert hash(again) == hash(genome)
    assert again.to_bytes() == genome.to_bytes()


@UNHURRIED
@given(GENOMES)
def test_the_coefficients_alone_are_those_of_the_genome(genome: Genome) -> None:
    payload = genome.to_bytes()
    assert np.array_equal(Genome.stored_coefficients("g", payload), genome.coefficients)
    for damaged in (payload[:20], b"", payload.replace(b"shape", b"shade")):
        with pytest.raises(GenomeError, match="table genomes, record g"):
            Genome.stored_coefficients("g", damaged)


@UNHURRIED
@given(GENOMES)
def test_only_displacements_that_displace_are_kept(genome: Genome) -> None:
    zeros = {f"zero-{name}": np.zeros_like(d) for name, d in genome.displacements.items()}
    assert Genome(genome.coefficients, {**genome.displacements, **zeros}) == genome


def test_negative_zero_is_zero() -> None:
    assert Genome(np.full((2, 1), -0.0)) == Genome(np.zeros((2, 1)))


def test_genome_cannot_be_changed_through_its_arrays() -> None:
    source = np.ones((2, 2), np.float32)
    genome = Genome(source)
    source[:] = 7
    assert (genome.coefficients == 1).all()
    with pytest.raises(ValueError, match="read-only"):
        genome.coefficients[0, 0] = 2


def test_widening_appends_zeros_and_never_drops() -> None:
    genome = Genome(np.ones((2, 2)))
    assert genome.widened(3).coefficients.tolist() == [[1, 1, 0], [1, 1, 0]]
    with pytest.raises(GenomeError, match="3 anchors, the bank has only 2"):
        genome.widened(3).widened(2)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(GenomeError, match="not finite, in coefficients"):
        Genome(np.full((1, 1), bad))


@pytest.mark.parametrize(
    "damage",
    [
        lambda payload: payload[:-1],
        lambda payload: payload + b"\0\0\0\0",
        lambda payload: b"x" + payload,
        lambda payload: payload.replace(b'"shape"', b'"shave"'),
        lambda payload: b"",
    ],
)
def test_damaged_bytes_are_refused(damage: object) -> None:
    payload = Genome(np.ones((2, 3)), {"w": np.ones(4)}).to_bytes()
    with pytest.raises(GenomeError, match="stored genome"):
        Genome.from_bytes(damage(payload))  # type: ignore[operator]
    with pytest.raises(GenomeError, match=r"damaged in table genomes, record abc .*from a copy"):
        Genome.stored("abc", damage(payload))  # type: ignore[operator]
