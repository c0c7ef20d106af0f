from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from evolution.bank.bank import Bank
from evolution.bank.cache import load_cached, save_cached
from evolution.bank.settings import SpectralSettings
from evolution.bank.spectral import basis_recipe, decompose, spectral_bases
from evolution.errors import BankError


def low_rank_plus_noise(rows: int, columns: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    left = torch.linalg.qr(torch.randn(rows, 12, generator=generator)).Q
    right = torch.linalg.qr(torch.randn(columns, 12, generator=generator)).Q
    values = torch.linspace(20, 2, 12)
    matrix: torch.Tensor = left * values @ right.T
    return matrix + 1e-3 * torch.randn(rows, columns, generator=generator)


@pytest.mark.parametrize("shape", [(40, 90), (90, 40)])
@pytest.mark.parametrize("method", ["exact", "randomised"])
def test_triplets_are_those_of_the_matrix(shape: tuple[int, int], method: str) -> None:
    matrix = low_rank_plus_noise(*shape)
    basis = decompose(matrix, SpectralSettings.model_validate({"rank": 8, "method": method}))
    assert basis.left.shape == (shape[0], 8)
    assert basis.right.shape == (shape[1], 8)
    assert torch.allclose(basis.values, torch.linalg.svdvals(matrix)[:8], rtol=1e-4)
    assert torch.allclose(matrix @ basis.right, basis.left * basis.values, atol=1e-3)
    assert torch.allclose(basis.left.T @ basis.left, torch.eye(8), atol=1e-5)


def test_signs_are_settled() -> None:
    matrix = low_rank_plus_noise(30, 30)
    settings = SpectralSettings(rank=5)
    up, down = decompose(matrix, settings), decompose(-matrix, settings)
    assert torch.allclose(up.left, down.left, atol=1e-4)
    assert torch.allclose(up.right, -down.right, atol=1e-4)


def test_randomised_method_leaves_the_global_stream_alone_and_repeats_itself() -> None:
    matrix = low_rank_plus_noise(60, 30)
    settings = SpectralSettings(rank=4, method="randomised")
    state = torch.get_rng_state()
    first, second = decompose(matrix, settings), decompose(matrix, settings)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.left, second.left)


def test_rank_is_at_most_that_of_the_matrix() -> None:
    assert decompose(torch.eye(6, 9), SpectralSettings(rank=64)).values.shape == (6,)


def test_bases_are_found_again_and_a_damaged_file_is_computed_anew(
    bank: Bank, tmp_path: Path
) -> None:
    settings = SpectralSettings(rank=3)
    recipe = basis_recipe(bank.base_hash, settings)
    name = bank.layout.matrices[0]
    first = spectral_bases(bank.base, [name], recipe, settings, tmp_path)
    (file,) = (tmp_path / "spectral").iterdir()
    again = spectral_bases({}, [name], recipe, settings, tmp_path)
    assert torch.equal(again[name].left, first[name].left)
    file.write_bytes(file.read_bytes()[:50])
    anew = spectral_bases(bank.base, [name], recipe, settings, tmp_path)
    assert torch.equal(anew[name].values, first[name].values)
    assert load_cached(file) is not None
    assert [path.name for path in (tmp_path / "spectral").iterdir()] == [file.name]


def test_cached_files_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    assert load_cached(tmp_path / "none.safetensors") is None
    save_cached(tmp_path / "deep" / "one.safetensors", {"x": torch.ones(3)})
    stored = load_cached(tmp_path / "deep" / "one.safetensors")
    assert stored is not None
    assert np.array_equal(stored["x"].numpy(), np.ones(3))


def test_a_file_that_cannot_be_kept_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BankError, match=r"one.safetensors cannot be written: File exists"):
        save_cached(tmp_path / "file" / "one.safetensors", {"x": torch.ones(3)})
