"""Layer by layer, texts side by side: what a plain forward pass computes of each by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import ModelSettings, SeedSettings, SpectralSettings
from evolution.errors import MergeError
from evolution.merging.layerwise import LayerwiseModel, Pack, packs
from tests.evolution.engines.contract_cases import write
from tests.evolution.engines.contract_grid import CASES

UNREADABLE = {
    "gpt2": "GPT2LMHeadModel cannot be read layer by layer: its layers have no linear modules",
    "bloom": "BloomForCausalLM cannot be read layer by layer: ",
    "falcon, alibi": "FalconForCausalLM cannot be read layer by layer: ",
    "mamba": "its layers convolve over tokens",
    "recurrent_gemma": "its layers convolve over tokens",
    "lfm2": "its layers convolve over tokens",
}
READABLE = sorted(
    name
    for name, case in CASES.items()
    if name not in UNREADABLE and case.stored == "float32" and not case.shards and not case.seed
)
TEXTS = [[1, 5, 9, 7, 30, 2], [1, 5, 9, 8, 7, 6, 5, 4, 3, 2, 40, 41, 42], [1, 5, 9, 60]]
OPENING = 3
TOLERANCE = 1e-5
"""Relative to the largest value; both compute in float32."""


def bank_of(case: str, folder: Path) -> Bank:
    write(CASES[case], folder)
    seed = SeedSettings(name="seed", path=str(folder / "seed"))
    models = ModelSettings(base=str(folder / "base"), seeds=(seed,), dtype="float32")
    return load_bank(models, SpectralSettings(rank=0), folder / "cache")


def plain(folder: Path) -> Any:
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval()


def seen_by(model: Any, texts: Sequence[Sequence[int]], modules: Sequence[str]) -> dict[str, Any]:
    """Inputs of linear modules and outputs of others, text by text: each (tokens, width)."""
    seen: dict[str, list[Tensor]] = {name: [] for name in modules}

    def keep(name: str, linear: bool) -> Any:
        def hook(_: Any, given: Any, made: Any) -> None:
            value = given[0] if linear else made[0] if isinstance(made, tuple) else made
            seen[name].append(value.reshape(-1, value.shape[-1]))

        return hook

    hooks = [
        module.register_forward_hook(keep(name, isinstance(module, torch.nn.Linear)))
        for name in modules
        for module in [model.get_submodule(name)]
    ]
    with torch.inference_mode():
        for text in texts:
            model(torch.tensor([list(text)]), use_cache=False)
    for hook in hooks:
        hook.remove()
    return seen


def side_by_side(rows: Sequence[Tensor]) -> Tensor:
    """The rows of all texts, those of the opening once."""
    return torch.cat([rows[0][:OPENING], *(text[OPENING:] for text in rows)])


def apart(found: Tensor, wanted: Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return float((found - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("case", READABLE)
def test_every_layer_is_given_what_a_plain_pass_gives_it(case: str, tmp_path: Path) -> None:
    bank = bank_of(case, tmp_path)
    model = LayerwiseModel(bank, torch.device("cpu"), torch.float32)
    reading = model.begin(bank.seed_genome("seed"), TEXTS)
    read: dict[str, Tensor] = {}
    for layer in range(len(model)):
        assert set(model.matrices(layer)) <= set(model.tensors(layer))
        inputs = model.read(layer, reading)
        assert set(inputs) <= set(model.matrices(layer))
        read |= {name: torch.cat(rows).flatten(0, -2) for name, rows in inputs.items()}
        model.release(layer)
    last = model.tensors(len(model) - 1)[0]
    path = last[: last.index(f".{len(model) - 1}.")]
    module_of = {name: name.removesuffix(".weight") for name in read}
    library = plain(tmp_path / "seed")
    seen = seen_by(library, TEXTS, [f"{path}.{len(model) - 1}", *module_of.values()])
    [hidden] = reading.hidden
    assert apart(hidden[0], side_by_side(seen[f"{path}.{len(model) - 1}"])) < TOLERANCE
    for name, module in module_of.items():
        if len(seen[module]) == len(TEXTS) and len(seen[module][0]) == len(TEXTS[0]):
            assert apart(read[name], side_by_side(seen[module])) < TOLERANCE, name
    attention = [name for name in read if "attn" in name or "attention" in name]
    assert len(attention) >= len(model), "each layer attends by linear modules"


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_read_so_is_refused_by_name(case: str, tmp_path: Path) -> None:
    bank = bank_of(case, tmp_path)
    with pytest.raises(MergeError) as caught:
        LayerwiseModel(bank, torch.device("cpu"), torch.float32).begin(bank.base_genome(), TEXTS)
    assert UNREADABLE[case] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_many_texts_are_read_in_several_packs(tmp_path: Path) -> None:
    bank = bank_of("llama", tmp_path)
    texts = [[1, 2, 3, *range(4 + n, 204 + 10 * n)] for n in range(5)]
    model = LayerwiseModel(bank, torch.device("cpu"), torch.float32)
    reading = model.begin(bank.seed_genome("seed"), texts)
    assert len(reading.hidden) > 1
    for layer in range(len(model)):
        model.read(layer, reading)
    seen = seen_by(plain(tmp_path / "seed"), texts, ["model.layers.1"])["model.layers.1"]
    found = torch.cat([hidden[0, OPENING:] for hidden in reading.hidden])
    assert apart(found, torch.cat([rows[OPENING:] for rows in seen])) < TOLERANCE
    for hidden in reading.hidden:
        assert apart(hidden[0, :OPENING], seen[0][:OPENING]) < TOLERANCE


def test_one_layer_has_weights_at_a_time(tmp_path: Path) -> None:
    bank = bank_of("llama", tmp_path)
    model = LayerwiseModel(bank, torch.device("cpu"), torch.float32)
    reading = model.begin(bank.seed_genome("seed"), TEXTS)
    for layer in range(len(model)):
        model.read(layer, reading)
        model.release(layer)
    layers = model._model.get_submodule("model.layers").parameters()
    assert {parameter.device.type for parameter in layers} == {"meta"}


@pytest.mark.parametrize("case", ["llama", "phi", "gpt_neox", "qwen2_moe", "gpt_oss"])
def test_inputs_are_the_same_where_nothing_is_read_on(case: str, tmp_path: Path) -> None:
    bank = bank_of(case, tmp_path)
    model = LayerwiseModel(bank, torch.device("cpu"), torch.float32)
    reading = model.begin(bank.seed_genome("seed"), TEXTS)
    entering = list(reading.hidden)
    alone = model.read(0, reading, onward=False)
    assert all(one is other for one, other in zip(reading.hidden, entering, strict=True))
    inputs = model.read(0, reading)
    assert alone.keys() == inputs.keys()
    for name, rows in inputs.items():
        for one, other in zip(rows, alone[name], strict=True):
            assert torch.equal(one, other), name


def test_a_layer_of_other_weights_takes_the_texts_on(tmp_path: Path) -> None:
    bank = bank_of("llama", tmp_path)
    model = LayerwiseModel(bank, torch.device("cpu"), torch.float32)
    reading = model.begin(bank.seed_genome("seed"), TEXTS)
    entering = list(reading.hidden)
    model.read(0, reading)
    reading.hidden = entering
    model.advance(0, [reading], {name: bank.base[name] for name in model.tensors(0)})
    mixed = plain(tmp_path / "seed")
    state = mixed.state_dict(keep_vars=True)
    with torch.no_grad():
        for name in model.tensors(0):
            state[name].copy_(bank.base[name])
    seen = seen_by(mixed, TEXTS, ["model.layers.0"])["model.layers.0"]
    assert apart(reading.hidden[0][0], side_by_side(seen)) < TOLERANCE


def shown(pack: Pack) -> tuple[list[int], list[int], list[str]]:
    """Tokens, positions, and rows of the mask."""
    rows = ["".join("x" if seen else "." for seen in row) for row in pack.visible[0, 0].tolist()]
    return pack.tokens[0].tolist(), pack.positions[0].tolist(), rows


def test_what_texts_begin_with_is_read_once_and_no_text_sees_another() -> None:
    [pack] = packs([[7, 8, 1, 2], [7, 8, 3], [7, 8, 4, 5]])
    tokens, positions, rows = shown(pack)
    assert tokens == [7, 8, 1, 2, 3, 4, 5]
    assert positions == [0, 1, 2, 3, 2, 2, 3]
    assert rows == ["x......", "xx.....", "xxx....", "xxxx...", "xx..x..", "xx...x.", "xx...xx"]


def test_packs_are_filled_up_and_a_long_text_is_one_by_itself() -> None:
    texts = [[9, 1, 1], [9, 2, 2], [9, *[3] * 20], [9, 4]]
    found = [shown(pack)[0] for pack in packs(texts, most=6)]
    assert found == [[9, 1, 1, 2, 2], [9, *[3] * 20], [9, 4]]
    [alone] = packs([[5, 6, 7]])
    assert shown(alone)[:2] == ([5, 6, 7], [0, 1, 2])
    [twice] = packs([[5, 6], [5, 6]])
    assert shown(twice)[:2] == ([5, 6], [0, 1]), "the same text says nothing new"
    [strangers] = packs([[1, 2], [3]])
    assert shown(strangers) == ([1, 2, 3], [0, 1, 0], ["x..", "xx.", "..x"])
