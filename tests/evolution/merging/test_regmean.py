"""RegMean against its formula; what it makes are anchors like others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from evolution.bank.anchors import Anchor, save_anchor
from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import SpectralSettings
from evolution.bank.task_vectors import Dense, LowRank
from evolution.errors import MergeError
from evolution.genome.genome import Genome
from evolution.materialise.weights import expected_checksum
from evolution.merging.regmean import Member, factorised, gram, merge_by_regmean, unit
from evolution.merging.settings import RegMeanSettings
from tests.evolution.conftest import models_of
from tests.evolution.merging.regmean_cases import (
    SETTINGS,
    TEXTS,
    added_by,
    anybody,
    apart,
    bank_with_adapters,
    members_of,
    naive,
)

if TYPE_CHECKING:
    from tests.conftest import TinyFamily

EXACT = 2e-4
"""Of merges that are factors in float32, which gets by in weights of float32."""

ROUNDED = 4e-3
"""Of merges that are differences in bf16."""

NEVER_LOW = ("alpha", "beta")
LOW = ("delta", "epsilon")
EVERYTHING = (*NEVER_LOW, *LOW)


@pytest.fixture
def wide(tiny_family: TinyFamily, tmp_path: Path, cache: Path) -> Bank:
    return bank_with_adapters(tiny_family, tmp_path, cache)


@pytest.fixture(scope="module")
def grown(tiny_family: TinyFamily, tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Bank:
    """A bank that has merges by RegMean among its anchors: of adapters, and of everything."""
    bank = bank_with_adapters(tiny_family, tmp_path_factory.mktemp("wide"), cache)
    merged(bank, members_of(bank, *LOW), name="low")
    several = [anybody(bank, n, EVERYTHING, rank=True, noise=bool(n)) for n in range(2)]
    merged(bank, members_of(bank, *several), name="all")
    return bank


def merged(
    bank: Bank, members: list[Member], chosen: RegMeanSettings = SETTINGS, name: str = "m"
) -> tuple[Anchor, ...]:
    anchors = merge_by_regmean(name, bank, members, chosen)
    bank.append(*anchors)
    return anchors


def error_of(bank: Bank, members: list[Member], chosen: RegMeanSettings = SETTINGS) -> float:
    wanted = naive(bank, members, chosen)
    anchors = merged(bank, members, chosen)
    return apart(added_by(bank, unit(bank, anchors)), wanted)


OTHERWISE: dict[str, dict[str, Any]] = {
    "on the members' activations": {},
    "nothing off the diagonal": {"shrink": 0.0},
    "nothing shrunk": {"shrink": 1.0, "ridge": 0.01},
    "on the merge's activations": {"onward": "merged"},
}


@pytest.mark.parametrize("given_settings", OTHERWISE)
@pytest.mark.parametrize("weights", [(1.0, 1.0), (3.0, 0.5)])
@pytest.mark.parametrize(
    ("names", "tolerance"), [(LOW, EXACT), (NEVER_LOW, ROUNDED), (("delta", "beta"), ROUNDED)]
)
def test_seeds_are_merged_by_the_formula(
    wide: Bank,
    names: tuple[str, str],
    tolerance: float,
    weights: tuple[float, float],
    given_settings: str,
) -> None:
    chosen = SETTINGS.model_copy(update=OTHERWISE[given_settings])
    members = members_of(wide, *names, weights=weights)
    if chosen.onward == "merged":
        # What enters a layer depends on how the weights before it are rounded.
        tolerance *= 2
        assert apart(naive(wide, members), naive(wide, members, chosen)) > 5 * tolerance
    assert error_of(wide, members, chosen) < tolerance


def test_the_formula_tells_whose_inputs_they_are(wide: Bank) -> None:
    """Neither a mean of the members nor the same merge with texts exchanged comes near."""
    members = members_of(wide, *LOW)
    wanted = naive(wide, members)
    halves = [0.5 * wide.seed_genome(name).coefficients for name in LOW]
    mean = added_by(wide, Genome(halves[0] + halves[1]))
    assert apart(mean, wanted) > 0.2
    exchanged = [
        Member(member.genome, texts) for member, texts in zip(members, reversed(TEXTS), strict=True)
    ]
    assert apart(naive(wide, exchanged), wanted) > 0.2


def test_low_rank_stays_so_along_the_left_factors_of_the_seeds(wide: Bank) -> None:
    anchors = merged(wide, members_of(wide, *LOW))
    seeds = {anchor.name: anchor for anchor in wide.anchors}
    assert [anchor.name for anchor in anchors] == ["m.delta", "m.epsilon"]
    for anchor, name in zip(anchors, LOW, strict=True):
        assert anchor.root == anchor.left == seeds[name].content_hash
        assert anchor.vectors.keys() == seeds[name].vectors.keys()
        for tensor, vector in anchor.vectors.items():
            root = seeds[name].vectors[tensor]
            assert isinstance(vector, LowRank)
            assert isinstance(root, LowRank)
            assert vector.up is root.up, "held once"
            assert vector.down.shape == root.down.shape


def test_each_column_counts_by_its_coefficient(wide: Bank) -> None:
    first, second = merged(wide, members_of(wide, *LOW))
    parts = [added_by(wide, wide.seed_genome(anchor.name)) for anchor in (first, second)]
    longer = added_by(wide, unit(wide, (first, second), 1.2))
    for name, tensor in longer.items():
        wanted = 1.2 * (parts[0][name] + parts[1][name])
        torch.testing.assert_close(tensor, wanted, rtol=1e-4, atol=1e-6)
    assert unit(wide, (first, second)).coefficients.sum(axis=1).tolist() == [2.0] * len(wide.blocks)


@pytest.mark.parametrize("name", ["alpha", "delta"])
def test_equal_members_merge_into_themselves_up_to_the_ridge(wide: Bank, name: str) -> None:
    twin = [Member(wide.seed_genome(name), TEXTS[0])] * 2
    own = added_by(wide, wide.seed_genome(name))
    errors = []
    for ridge in (1e-6, 1e-1):
        chosen = SETTINGS.model_copy(update={"shrink": 0.5, "ridge": ridge})
        anchors = merged(wide, twin, chosen, name=f"of-{ridge}")
        errors.append(apart(added_by(wide, unit(wide, anchors)), own))
    assert errors[0] < ROUNDED
    assert errors[1] > 0.02


NUMBERS = st.integers(0, 2**31)


@settings(max_examples=12)
@given(NUMBERS, NUMBERS, st.booleans(), st.booleans(), st.booleans())
def test_merges_of_merges_are_by_the_formula_and_have_no_more_columns(
    grown: Bank, one: int, other: int, low: bool, rank: bool, noise: bool
) -> None:
    """Whatever the members are made of, gated columns and mutations too."""
    every = [anchor.name for anchor in grown.anchors]
    names = [name for name in every if not low or name in LOW or name.startswith("low.")]
    experts = [anybody(grown, seed, names, rank=rank, noise=noise) for seed in (one, other)]
    members = members_of(grown, *experts, weights=(1.0, 2.0))
    anchors = merge_by_regmean("again", grown, members, SETTINGS)
    roots = {anchor.left for anchor in grown.anchors if anchor.name in LOW}
    spectral, rest = {grown.spectral_root} if rank or not low else set(), {""}
    assert {a.root for a in anchors} == roots | spectral | (rest if noise or not low else set())
    assert len({anchor.root for anchor in anchors}) == len(anchors)
    bank = _wider(grown, anchors)
    tolerance = EXACT if low and not noise else ROUNDED
    assert apart(added_by(bank, unit(bank, anchors)), naive(grown, members)) < tolerance


def _wider(bank: Bank, anchors: tuple[Anchor, ...]) -> Bank:
    """The bank with some more anchors; the one that is given stays as it is."""
    wider: Any = object.__new__(Bank)
    wider.__dict__.update(bank.__dict__)
    wider.append(*anchors)
    assert isinstance(wider, Bank)
    return wider


def test_noise_and_full_differences_are_the_rest(wide: Bank) -> None:
    noisy = anybody(wide, 1, LOW, rank=False, noise=True)
    anchors = {anchor.name: anchor for anchor in merged(wide, members_of(wide, noisy, "delta"))}
    assert list(anchors) == ["m.delta", "m.epsilon", "m+rest"]
    assert anchors["m+rest"].vectors.keys() == set(wide.layout.matrices)
    assert {type(vector) for vector in anchors["m+rest"].vectors.values()} == {Dense}
    clean = Genome(noisy.coefficients)
    without = merge_by_regmean("m", wide, members_of(wide, clean, "delta"), SETTINGS)
    assert [anchor.name for anchor in without] == ["m.delta", "m.epsilon"]


def test_displacements_are_a_column_along_the_singular_vectors(wide: Bank) -> None:
    shifted = anybody(wide, 1, (), rank=True, noise=False)
    [column, other] = merged(wide, members_of(wide, shifted, "delta"))[::-1]
    assert {column.name, other.name} == {"m+spectral", "m.delta"}
    spectral = column if column.name == "m+spectral" else other
    assert spectral.root == wide.spectral_root
    for name, vector in spectral.vectors.items():
        assert isinstance(vector, LowRank)
        assert vector.up is wide.bases[name].left


def test_what_has_no_inputs_is_averaged(wide: Bank) -> None:
    anchors = merged(wide, members_of(wide, *NEVER_LOW, weights=(3.0, 1.0)))
    found = added_by(wide, unit(wide, anchors))
    parts = [added_by(wide, wide.seed_genome(name)) for name in NEVER_LOW]
    names = [name for name in wide.layout.shapes if "norm" in name or "embed" in name]
    assert len(names) == 6
    for name in names:
        wanted = 0.75 * parts[0][name] + 0.25 * parts[1][name]
        assert float((found[name] - wanted).norm() / wanted.norm()) < ROUNDED, name


def test_the_same_merge_has_the_same_bits_and_others_have_not(wide: Bank) -> None:
    members = members_of(wide, *EVERYTHING[1:3])
    first, again = (merge_by_regmean("m", wide, members, SETTINGS) for _ in range(2))
    assert [anchor.content_hash for anchor in first] == [anchor.content_hash for anchor in again]
    for one, other in zip(first, again, strict=True):
        for name, vector in one.vectors.items():
            for part, held in vars(vector).items():
                assert bool(torch.as_tensor(held == vars(other.vectors[name])[part]).all())
    for changed, chosen in (
        (members_of(wide, *EVERYTHING[1:3], weights=(1.0, 2.0)), SETTINGS),
        (members, SETTINGS.model_copy(update={"ridge": 0.1})),
        ([members[0], Member(members[1].genome, TEXTS[1][:2])], SETTINGS),
    ):
        different = merge_by_regmean("m", wide, changed, chosen)
        hashes = {anchor.content_hash for anchor in different}
        assert not hashes & {anchor.content_hash for anchor in first}


def test_earlier_experts_stay_who_they_are(wide: Bank) -> None:
    experts = [anybody(wide, n, EVERYTHING, rank=True, noise=bool(n)) for n in range(2)]
    before = [(wide.genome_id(each), expected_checksum(wide, each)) for each in experts]
    anchors = merged(wide, members_of(wide, *experts))
    assert [(wide.genome_id(each), expected_checksum(wide, each)) for each in experts] == before
    assert len({wide.genome_id(unit(wide, anchors, scale)) for scale in (1.0, 1.2)}) == 2


def test_a_file_of_gated_factors_is_the_anchor_without_the_left_ones(
    wide: Bank, tiny_family: TinyFamily, tmp_path: Path, cache: Path
) -> None:
    several = [anybody(wide, n, EVERYTHING, rank=True, noise=True) for n in range(2)]
    anchors = merged(wide, members_of(wide, *several))
    whole = unit(wide, anchors)
    wanted = expected_checksum(wide, whole)
    stranger = load_bank(models_of(tiny_family), SpectralSettings(rank=8), cache)
    other = bank_with_adapters(tiny_family, tmp_path / "other", cache)
    for anchor in anchors:
        file = tmp_path / f"{anchor.name}.safetensors"
        save_anchor(anchor, file)
        parts = {name.rpartition("|")[2] for name in load_file(file)}
        gated = {"content_hash", "root", "down", "scale"}
        rest = {"content_hash", "values", "index", "residual"}
        assert parts == (gated if anchor.root else rest)
        kept = other.stored_anchor(anchor.name, file)
        assert kept is not None
        assert (kept.content_hash, kept.root) == (anchor.content_hash, anchor.root)
        other.append(kept)
        # Its seeds are others, and its singular vectors.
        assert (stranger.stored_anchor(anchor.name, file) is None) == bool(anchor.root)
    assert expected_checksum(other, unit(other, anchors)) == wanted
    assert other.genome_id(unit(other, anchors)) == wide.genome_id(whole)
    for anchor in anchors:
        other.set_aside(anchor.name, tmp_path / f"{anchor.name}.safetensors")
    assert expected_checksum(other, unit(other, anchors)) == wanted, "read from the files"


def test_a_column_of_a_merge_is_small(wide: Bank, tmp_path: Path) -> None:
    [column, _] = merged(wide, members_of(wide, *LOW))
    held = wide.memory_bytes
    wide.append(Anchor("twin", "0" * 32, column.vectors, column.root))
    assert wide.memory_bytes == held, "left factors are held once, and so are these right ones"
    save_anchor(column, tmp_path / "column")
    downs = sum(vars(vector)["down"].nbytes for vector in column.vectors.values())
    assert (tmp_path / "column").stat().st_size < 1.5 * downs + 4096


@pytest.mark.parametrize("texts", [[[3, 4], []], [[], [3, 4]]])
def test_each_member_needs_texts(wide: Bank, texts: list[list[int]]) -> None:
    members = [
        Member(wide.seed_genome(name), [text] if text else [])
        for name, text in zip(LOW, texts, strict=True)
    ]
    with pytest.raises(MergeError, match="m: RegMean needs two members, and texts of each"):
        merge_by_regmean("m", wide, members, SETTINGS)
    with pytest.raises(MergeError, match="needs two members"):
        merge_by_regmean("m", wide, [members[0]], SETTINGS)


def test_the_base_is_a_member_that_adds_nothing(wide: Bank) -> None:
    assert error_of(wide, members_of(wide, "delta", wide.base_genome())) < EXACT
    members = members_of(wide, wide.base_genome(), wide.base_genome())
    assert merge_by_regmean("none", wide, members, SETTINGS) == ()


def test_it_says_how_far_it_is(wide: Bank) -> None:
    said: list[tuple[str, int, int]] = []
    merge_by_regmean(
        "m", wide, members_of(wide, *LOW), SETTINGS, stages=lambda *stage: said.append(stage)
    )
    assert said == [("merging: m", done, 2) for done in range(3)]


@pytest.mark.parametrize("width", [1, 255, 256, 257, 700])
def test_gram_matrices_of_any_width_are_mean_outer_products(width: int) -> None:
    rows = torch.randn(2, 9, width, generator=torch.Generator().manual_seed(width))
    flat = rows.reshape(-1, width).double()
    wanted = flat.T @ flat / len(flat)
    off = wanted * 0.9
    off.diagonal().copy_(wanted.diagonal())
    torch.testing.assert_close(gram([rows], 0.9).double(), off, rtol=1e-4, atol=1e-5)


def test_inputs_that_cannot_be_solved_for_are_a_refusal() -> None:
    few = torch.ones(3, 3) / 3
    with pytest.raises(MergeError, match="too few to be solved for"):
        factorised([few], [-1.0], 1e-9)
    with pytest.raises(MergeError, match="not finite"):
        factorised([few * float("inf")], [1.0], 1e-3)
