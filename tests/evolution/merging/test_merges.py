"""Merges by the real mergekit: checked beforehand, made once, found again, and never half there."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from pydantic import ValidationError

from evolution.bank.anchors import Anchor, save_anchor
from evolution.bank.bank import Bank, load_bank
from evolution.bank.merge_methods import check_method, configuration
from evolution.bank.settings import (
    MergeSettings,
    ModelSettings,
    SeedSettings,
    SpectralSettings,
)
from evolution.bank.task_vectors import LowRank
from evolution.breeding.breed import breed
from evolution.breeding.settings import BreedingSettings, GraftSettings
from evolution.errors import BankError, MergeError
from evolution.genome.genome import Genome
from evolution.materialise.weights import expected_checksum, rounded
from evolution.merging.merges import add_merges, merge_experts
from memory.records import Json
from tests.evolution.conftest import models_of

if TYPE_CHECKING:
    from tests.conftest import TinyFamily

PAIR = ("alpha", "beta")
HALVES: dict[str, Json] = {"weight": 0.5, "density": 0.5}


@pytest.mark.parametrize(
    ("method", "parameters", "members", "message"),
    [
        ("tise", {}, PAIR, "no method 'tise' (did you mean ties"),
        ("ties", {"wieght": 1.0}, PAIR, "no parameter 'wieght' (did you mean weight"),
        ("ties", {}, PAIR, "needs the parameter 'weight'"),
        ("ties", {"weight": "much"}, PAIR, "weight = 'much': Input should be a valid number"),
        (
            "ties",
            {"weight": {"gamma": 1.0}},
            PAIR,
            "given for 'gamma', which is not among",
        ),
        ("slerp", {"t": 0.5}, ("a", "b", "c"), "slerp cannot merge a, b, c"),
        ("passthrough", {}, PAIR, "passthrough cannot merge alpha, beta"),
    ],
)
def test_what_mergekit_would_refuse_is_refused_before(
    method: str, parameters: Mapping[str, Json], members: tuple[str, ...], message: str
) -> None:
    with pytest.raises(MergeError) as caught:
        check_method(method, parameters, members)
    assert message in str(caught.value)


def test_settings_refuse_it_too() -> None:
    with pytest.raises(ValidationError, match=r"no method 'dare_tise' \(did you mean dare_ties"):
        GraftSettings(every=2, methods={"dare_tise": {}})
    with pytest.raises(ValidationError, match="needs either a method or a mergekit config"):
        MergeSettings(name="both", method="ties", config="x.yml")
    with pytest.raises(ValidationError, match="'alpha' is used twice"):
        ModelSettings(
            seeds=(SeedSettings(name="alpha", path="x"),),
            merges=(MergeSettings(name="alpha", method="sce"),),
        )


@pytest.mark.parametrize(
    ("merges", "message"),
    [
        ([{"name": "m", "method": "tise"}], "merge 'm': mergekit has no method 'tise' (did you"),
        ([{"name": "m", "method": "ties"}], "merge 'm': mergekit's ties needs the parameter"),
        (
            [{"name": "m", "method": "sce", "seeds": ["alpha", "n"]}, {"name": "n", "config": "x"}],
            "merge 'm' names 'n', which is not a seed (base, alpha, beta)",
        ),
    ],
)
def test_a_merge_that_cannot_be_made_is_refused_when_settings_are_read(
    merges: list[dict[str, Json]], message: str
) -> None:
    seeds = [{"name": name, "path": "x"} for name in PAIR]
    with pytest.raises(ValidationError, match=re.escape(message)):
        ModelSettings.model_validate({"seeds": seeds, "merges": merges})
    right = [{"name": "n", "config": "x"}, {"name": "m", "method": "sce", "seeds": ["alpha", "n"]}]
    assert ModelSettings.model_validate({"seeds": seeds, "merges": right}).merges


def test_the_base_takes_the_part_that_the_method_gives_it() -> None:
    ties = configuration("ties", {"weight": {"alpha": 0.7, "beta": 0.3}}, PAIR, "bfloat16")
    assert ties["base_model"] == "base"
    assert ties["models"][0] == {"model": "alpha", "parameters": {"weight": 0.7}}
    assert configuration("slerp", {"t": 0.5}, PAIR, "bfloat16")["base_model"] == "alpha"
    assert "base_model" not in configuration("linear", {"weight": 1.0}, PAIR, "bfloat16")


def test_a_merge_joins_the_bank_once_and_is_found_again(
    tiny_family: TinyFamily, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = models_of(tiny_family)
    half = MergeSettings(name="half", method="task_arithmetic", seeds=PAIR, parameters=HALVES)
    bank = load_bank(models, SpectralSettings(rank=4), tmp_path)
    before = {name: bank.genome_id(bank.seed_genome(name)) for name in bank.seed_names}
    add_merges(bank, [half], tmp_path)
    assert bank.merge_names == ("half",)
    assert {n: bank.genome_id(bank.seed_genome(n)) for n in bank.seed_names} == before
    # Task arithmetic does not sparsify: density is left without effect.
    base, seeds = dict(bank.base), [dict(rounded(bank, bank.seed_genome(n))) for n in PAIR]
    for name, tensor in rounded(bank, bank.seed_genome("half")):
        wanted = base[name].float() + sum(
            (0.5 * (seed[name].float() - base[name].float()) for seed in seeds),
            torch.zeros(()),
        )
        assert torch.allclose(tensor.float(), wanted, rtol=2**-6, atol=2e-3), name
    monkeypatch.setattr("evolution.merging.merges.merged", _never)
    again = load_bank(models, SpectralSettings(rank=4), tmp_path)
    add_merges(again, [half], tmp_path)
    assert again.content_hash == bank.content_hash
    merged, once_more = bank.seed_genome("half"), again.seed_genome("half")
    assert expected_checksum(again, once_more) == expected_checksum(bank, merged)
    other = half.model_copy(update={"parameters": {"weight": 0.4}})
    with pytest.raises(AssertionError, match="mergekit was run again"):
        add_merges(load_bank(models, SpectralSettings(rank=4), tmp_path), [other], tmp_path)


@pytest.mark.slow
def test_a_merge_is_not_taken_for_the_same_one_of_another_base(
    tiny_family: TinyFamily, tmp_path: Path
) -> None:
    """It is kept as a difference from the base, even where the base takes no part in it."""
    soup = MergeSettings(name="soup", method="linear", seeds=PAIR, parameters={"weight": 1.0})
    given = models_of(tiny_family)
    made = []
    for models in (given, given.model_copy(update={"base": None})):
        bank = load_bank(models, SpectralSettings(rank=4), tmp_path)
        add_merges(bank, [soup], tmp_path)
        made.append(dict(rounded(bank, bank.seed_genome("soup"))))
    for name, tensor in made[0].items():
        assert torch.allclose(tensor.float(), made[1][name].float(), rtol=2**-6, atol=2e-3), name


def _never(*_: object) -> None:
    raise AssertionError("mergekit was run again")


def test_a_mergekit_file_names_seeds_or_folders(
    tiny_family: TinyFamily, cache: Path, tmp_path: Path
) -> None:
    file = tmp_path / "merge.yml"
    file.write_text(
        "merge_method: linear\ndtype: float32\nparameters: {weight: 0.5}\n"
        f"models: [{{model: alpha}}, {{model: {tiny_family.seeds['gamma']}}}]\n"
    )
    bank = load_bank(models_of(tiny_family), SpectralSettings(rank=4), cache)
    add_merges(bank, [MergeSettings(name="soup", config=str(file))], tmp_path)
    parts = [dict(rounded(bank, bank.seed_genome(name))) for name in ("alpha", "gamma")]
    for name, tensor in rounded(bank, bank.seed_genome("soup")):
        wanted = 0.5 * parts[0][name].float() + 0.5 * parts[1][name].float()
        assert torch.allclose(tensor.float(), wanted, rtol=2**-6, atol=2e-3), name
    (tmp_path / "none.yml").write_text("models: []")
    with pytest.raises(MergeError, match=r"none\.yml is no mergekit configuration"):
        add_merges(bank, [MergeSettings(name="x", config=str(tmp_path / "none.yml"))], tmp_path)


def test_unknown_seeds_and_failing_merges_are_one_line(
    new_bank: Callable[[], Bank], tmp_path: Path
) -> None:
    bank = new_bank()
    stranger = MergeSettings(name="m", method="sce", seeds=("alpha", "omega"))
    with pytest.raises(MergeError, match="merge 'm' names 'omega', which is not a seed"):
        add_merges(bank, [stranger], tmp_path)
    wrong = MergeSettings(
        name="m", method="sce", seeds=PAIR, parameters={"select_topk": [True, "a"]}
    )
    with pytest.raises(MergeError, match=r"merge 'm': mergekit failed: .+") as caught:
        add_merges(bank, [wrong], tmp_path)
    assert "\n" not in str(caught.value)
    assert bank.merge_names == ()
    assert not any((tmp_path / "merges").iterdir())


def test_a_merge_that_is_killed_or_finds_no_room_says_so(
    new_bank: Callable[[], Bank], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = new_bank()
    parents = {name: bank.seed_genome(name) for name in PAIR}
    killed = tmp_path / "killed"
    killed.write_text("#!/bin/sh\necho 'WARNING: nothing to do with it' >&2\nkill -9 $$\n")
    killed.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(killed))
        with pytest.raises(MergeError, match=r"killed by signal 9, perhaps for lack of memory$"):
            merge_experts("g", bank, parents, "ties", HALVES, 0, tmp_path / "scratch")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("evolution.merging.mergekit.write_checkpoint", full)
    with pytest.raises(MergeError, match="cannot be written, the disk is full: free some space"):
        merge_experts("g", bank, parents, "ties", HALVES, 0, tmp_path / "scratch")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_merge_that_hangs_is_ended(
    new_bank: Callable[[], Bank], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = new_bank()
    hanging = tmp_path / "hanging"
    hanging.write_text("#!/bin/sh\nexec sleep 600\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(hanging))
    monkeypatch.setattr("evolution.merging.mergekit._START_SECONDS", 0.1)
    parents = {name: bank.seed_genome(name) for name in PAIR}
    with pytest.raises(MergeError, match="mergekit did not end within"):
        merge_experts("g", bank, parents, "ties", HALVES, 0, tmp_path / "scratch")
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/b", "..", ""])
def test_a_member_cannot_name_a_place_outside(
    new_bank: Callable[[], Bank], tmp_path: Path, name: str
) -> None:
    """Experts have the names that a run's records give them, and those may be anybody's."""
    bank = new_bank()
    first, second = (bank.seed_genome(seed) for seed in bank.seed_names[1:3])
    scratch = tmp_path / "deep" / "scratch"
    with pytest.raises(MergeError, match="cannot name a folder"):
        merge_experts("g", bank, {"one": first, name: second}, "ties", HALVES, 0, scratch)
    assert [path for path in tmp_path.rglob("*") if path not in (scratch, scratch.parent)] == []


def test_experts_are_merged_with_their_mutations_and_the_same_twice(
    new_bank: Callable[[], Bank], tmp_path: Path
) -> None:
    bank = new_bank()
    seeds = [bank.seed_genome(name) for name in bank.seed_names[1:]]
    parents: dict[str, Genome] = {
        f"g1-{n}": breed(bank, seeds[n : n + 2], n, BreedingSettings()).genome for n in range(2)
    }
    ids = {name: bank.genome_id(genome) for name, genome in parents.items()}
    sums = {name: expected_checksum(bank, genome) for name, genome in parents.items()}
    anchor = merge_experts("graft-g2", bank, parents, "dare_ties", HALVES, 2**40 + 3, tmp_path)
    again = merge_experts("graft-g2", bank, parents, "dare_ties", HALVES, 2**40 + 3, tmp_path)
    assert again.content_hash == anchor.content_hash
    assert list(tmp_path.iterdir()) == []
    save_anchor(anchor, tmp_path / "kept.safetensors")
    kept = bank.stored_anchor("graft-g2", tmp_path / "kept.safetensors")
    assert kept is not None
    bank.append(kept)
    bank.append(anchor)
    assert len(bank.merge_names) == 1
    # Outside the span of the anchors before it: no combination of them comes near.
    assert {name: bank.genome_id(genome) for name, genome in parents.items()} == ids
    assert {name: expected_checksum(bank, genome) for name, genome in parents.items()} == sums
    gram = bank.geometry.gram[1]
    inside = gram[:4, 4] @ torch.linalg.pinv(torch.from_numpy(gram[:4, :4])).numpy() @ gram[:4, 4]
    assert inside < 0.95 * gram[4, 4]
    with pytest.raises(BankError, match="already has an anchor 'graft-g2'"):
        bank.append(type(anchor)("graft-g2", "0" * 32, {}))


def test_a_damaged_difference_is_not_taken_for_one(bank: Bank, tmp_path: Path) -> None:
    place = tmp_path / "a.safetensors"
    save_anchor(bank.anchors[0], place)
    whole = bank.stored_anchor("a", place)
    assert whole is not None
    assert whole.content_hash == bank.anchors[0].content_hash
    up, down = torch.ones(3, 1), torch.ones(1, 2)
    save_anchor(Anchor("r", "0" * 32, {"m": LowRank(up, down, 16 / 24)}), tmp_path / "r")
    adapter = bank.stored_anchor("r", tmp_path / "r")
    assert adapter is not None
    assert vars(adapter.vectors["m"])["scale"] == 16 / 24
    shutil.copy(place, tmp_path / "b.safetensors")
    (tmp_path / "b.safetensors").write_bytes(place.read_bytes()[:500])
    assert bank.stored_anchor("b", tmp_path / "b.safetensors") is None
    assert bank.stored_anchor("c", tmp_path / "c.safetensors") is None
