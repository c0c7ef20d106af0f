from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, ByT5Tokenizer, LlamaConfig

from evolution.bank.bank import Bank, load_bank
from evolution.bank.checkpoints import open_checkpoint
from evolution.bank.settings import ModelSettings, SeedSettings, SpectralSettings
from evolution.bank.sources import locate
from evolution.bank.tokenizers import load_tokenizer
from evolution.errors import BankError, CheckpointError, IncompatibleError
from evolution.materialise.weights import rounded
from tests.evolution.conftest import write_adapter

if TYPE_CHECKING:
    from tests.conftest import TinyFamily

Q_PROJ = "model.layers.1.self_attn.q_proj.weight"
Load = Callable[[str | Path], Bank]


@pytest.fixture
def load(tiny_family: TinyFamily, tmp_path: Path) -> Load:
    """Loads a bank of the tiny base and one seed, with a cache that is empty at first."""

    def load_with(path: str | Path) -> Bank:
        models = ModelSettings(
            base=str(tiny_family.base), seeds=(SeedSettings(name="bad", path=str(path)),)
        )
        return load_bank(models, SpectralSettings(rank=4), tmp_path / "cache")

    return load_with


def copy_of(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> Path:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})
    return folder


def refused(load: Load, path: str | Path, kind: type[BankError], *words: str) -> None:
    """The seed is refused in one line that holds these words, and nothing is written."""
    with pytest.raises(kind) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    cache: Path = path if isinstance(path, Path) else Path(path)
    assert not (cache.parent / "cache").exists()


def test_another_architecture_names_tensor_and_shapes(
    load: Load, tiny_qwen_family: TinyFamily, tmp_path: Path
) -> None:
    seed = copy_of(tiny_qwen_family.base, tmp_path / "seed")
    refused(load, seed, IncompatibleError, "q_proj.bias", "(64,)", "expected none")


def test_another_width_names_tensor_and_both_shapes(
    load: Load, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    config = LlamaConfig.from_pretrained(tiny_family.base)
    config.intermediate_size = 96
    model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    model.save_pretrained(tmp_path / "seed")
    refused(load, tmp_path / "seed", IncompatibleError, "gate_proj.weight", "(96, 64)", "(128, 64)")


def test_another_vocabulary_size_names_the_embeddings(
    load: Load, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    config = LlamaConfig.from_pretrained(tiny_family.base)
    config.vocab_size = 333
    model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    model.save_pretrained(tmp_path / "seed")
    names = ("model.embed_tokens.weight", "(333, 64)", "(320, 64)", "vocabulary")
    refused(load, tmp_path / "seed", IncompatibleError, *names)


def test_other_heads_in_the_same_shapes_are_refused(
    load: Load, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    seed = copy_of(tiny_family.seeds["alpha"], tmp_path / "seed")
    config = json.loads((seed / "config.json").read_text())
    config.update(num_attention_heads=4, num_key_value_heads=2, head_dim=16)
    (seed / "config.json").write_text(json.dumps(config))
    refused(load, seed, IncompatibleError, "num_attention_heads = 4 (not 2)")


def test_other_numbers_for_the_same_tokens_are_refused(
    load: Load, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    seed = copy_of(tiny_family.seeds["alpha"], tmp_path / "seed")
    tokenizer = json.loads((seed / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    numbers = sorted(vocabulary.values())
    turned = dict(zip(vocabulary, numbers[:3] + numbers[:2:-1], strict=True))
    tokenizer["model"]["vocab"] = turned
    (seed / "tokenizer.json").write_text(json.dumps(tokenizer))
    refused(load, seed, IncompatibleError, "different vocabularies", "token")


def test_truncated_weights_name_the_file(
    load: Load, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    seed = copy_of(tiny_family.seeds["alpha"], tmp_path / "seed")
    file = seed / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    refused(load, seed, CheckpointError, "model.safetensors is missing or damaged")


def test_rubbish_instead_of_weights_names_the_file(
    load: Load, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    seed = copy_of(tiny_family.seeds["alpha"], tmp_path / "seed")
    (seed / "model.safetensors").write_bytes(b"not a checkpoint at all")
    refused(load, seed, CheckpointError, "model.safetensors is missing or damaged")


def test_missing_weights_are_named(load: Load, tiny_family: TinyFamily, tmp_path: Path) -> None:
    seed = copy_of(tiny_family.seeds["alpha"], tmp_path / "seed")
    (seed / "model.safetensors").unlink()
    refused(load, seed, CheckpointError, "model.safetensors is missing")


def test_missing_shard_is_named(load: Load, tiny_family: TinyFamily, tmp_path: Path) -> None:
    seed = copy_of(tiny_family.seeds["alpha"], tmp_path / "seed")
    (seed / "model.safetensors").unlink()
    index = {"weight_map": {Q_PROJ: "model-00001-of-00002.safetensors"}}
    (seed / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(load, seed, CheckpointError, "model-00001-of-00002.safetensors is missing")


def test_missing_tensor_is_named(load: Load, tiny_family: TinyFamily, tmp_path: Path) -> None:
    seed = copy_of(tiny_family.seeds["alpha"], tmp_path / "seed")
    rewrite(seed, lambda tensors: tensors.pop(Q_PROJ))
    refused(load, seed, CheckpointError, Q_PROJ, "missing")


def test_tensor_of_another_shape_than_its_config_is_named(
    load: Load, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    seed = copy_of(tiny_family.seeds["alpha"], tmp_path / "seed")
    rewrite(seed, lambda tensors: tensors.update({Q_PROJ: torch.zeros(64, 32)}))
    refused(load, seed, CheckpointError, Q_PROJ, "(64, 32)", "(64, 64)")


def test_values_that_are_not_finite_name_the_tensor(
    load: Load, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    seed = copy_of(tiny_family.seeds["alpha"], tmp_path / "seed")
    rewrite(seed, lambda tensors: tensors[Q_PROJ].fill_(float("nan")))
    refused(load, seed, CheckpointError, Q_PROJ, "not finite")


def test_folder_without_config_is_refused(load: Load, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(load, tmp_path / "empty", CheckpointError, "config.json")


@pytest.mark.parametrize("path", ["no/such/folder/anywhere", "./nothing", "builtin:nonsense"])
def test_what_is_nowhere_is_refused(load: Load, path: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_hub_that_cannot_be_reached_is_one_line(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="cannot be fetched from the hub"):
        load("nobody/nothing")


def test_sharded_and_tied_copies_are_read_alike(
    load: Load, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    whole = load(tiny_family.seeds["alpha"])
    model = AutoModelForCausalLM.from_pretrained(tiny_family.seeds["alpha"])
    model.save_pretrained(tmp_path / "sharded", max_shard_size="50KB")
    assert (tmp_path / "sharded" / "model.safetensors.index.json").is_file()
    sharded = load(tmp_path / "sharded")
    assert sharded.content_hash == whole.content_hash


def test_head_stored_beside_embeddings_that_it_is_tied_to_is_read(
    load: Load, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    seed = copy_of(tiny_family.seeds["alpha"], tmp_path / "seed")
    rewrite(
        seed,
        lambda tensors: tensors.update(
            {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}
        ),
    )
    assert load(seed).content_hash == load(tiny_family.seeds["alpha"]).content_hash


def test_tied_seed_fits_an_untied_base(tiny_qwen_family: TinyFamily, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_qwen_family.base)
    model.config.tie_word_embeddings = True
    model.lm_head.weight = model.model.embed_tokens.weight
    model.save_pretrained(tmp_path / "tied")
    models = ModelSettings(
        base=str(tiny_qwen_family.base),
        seeds=(SeedSettings(name="tied", path=str(tmp_path / "tied")),),
    )
    bank = load_bank(models, SpectralSettings(rank=4), tmp_path / "cache")
    weights = dict(rounded(bank, bank.seed_genome("tied")))
    assert torch.allclose(
        weights["lm_head.weight"].float(),
        weights["model.embed_tokens.weight"].float(),
        rtol=2**-7,
    )


def test_adapter_for_another_width_names_tensor_and_shapes(load: Load, tmp_path: Path) -> None:
    seed = write_adapter(tmp_path / "seed")
    tensors = load_file(seed / "adapter_model.safetensors")
    key = "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight"
    tensors[key] = torch.zeros(4, 100)
    save_file(tensors, seed / "adapter_model.safetensors")
    name = "model.layers.0.mlp.down_proj.weight"
    refused(load, seed, IncompatibleError, name, "(4, 100)", "(64, 128)")


def test_adapter_for_another_depth_names_the_tensor(load: Load, tmp_path: Path) -> None:
    seed = write_adapter(tmp_path / "seed")
    tensors = load_file(seed / "adapter_model.safetensors")
    save_file(
        {key.replace("layers.1", "layers.7"): value for key, value in tensors.items()},
        seed / "adapter_model.safetensors",
    )
    refused(load, seed, IncompatibleError, "model.layers.7.", "which the base does not have")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"peft_type": "IA3"}, "IA3 adapter"),
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    ],
)
def test_adapters_that_are_more_than_factors_are_refused(
    load: Load, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    seed = write_adapter(tmp_path / "seed")
    config = json.loads((seed / "adapter_config.json").read_text())
    (seed / "adapter_config.json").write_text(json.dumps({**config, **change}))
    refused(load, seed, CheckpointError, words, "merge it into a full checkpoint")


def test_damaged_adapter_is_one_line(load: Load, tmp_path: Path) -> None:
    seed = write_adapter(tmp_path / "seed")
    (seed / "adapter_model.safetensors").write_bytes(b"rubbish")
    refused(load, seed, CheckpointError, "adapter_model.safetensors is missing or damaged")


def test_adapter_without_a_base_asks_for_it(tmp_path: Path) -> None:
    seed = write_adapter(tmp_path / "seed")
    models = ModelSettings(base=None, seeds=(SeedSettings(name="lone", path=str(seed)),))
    with pytest.raises(BankError, match=r"needs its base: set models\.base"):
        load_bank(models, SpectralSettings(), tmp_path / "cache")


def test_adapter_scales_follow_its_configuration(
    load: Load, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    from peft import PeftModel

    seed = write_adapter(tmp_path / "seed")
    config = json.loads((seed / "adapter_config.json").read_text())
    config |= {"use_rslora": True, "alpha_pattern": {"layers.1.mlp.down_proj": 3}}
    (seed / "adapter_config.json").write_text(json.dumps(config))
    model = AutoModelForCausalLM.from_pretrained(tiny_family.base, dtype=torch.float32)
    wanted = dict(PeftModel.from_pretrained(model, seed).merge_and_unload().named_parameters())
    bank = load(seed)
    for name, vector in bank.anchors[0].vectors.items():
        delta = wanted[name] - bank.base[name].float()
        assert torch.allclose(vector.scale * vector.up @ vector.down, delta, atol=1e-5)  # type: ignore[union-attr]


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF but not really")
    with pytest.raises(CheckpointError, match="cannot be read as GGUF"):
        locate(str(tmp_path / "model.gguf"), tmp_path / "cache", torch.bfloat16)
    assert not list((tmp_path / "cache" / "gguf").iterdir())
    (tmp_path / "model.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"neither a folder nor a \.gguf file"):
        locate(str(tmp_path / "model.pt"), tmp_path / "cache", torch.bfloat16)


@pytest.mark.parametrize("part", ["model", "tokenizer"])
def test_code_that_comes_with_a_checkpoint_is_never_run(
    tiny_family: TinyFamily, load: Load, tmp_path: Path, part: str
) -> None:
    folder = Path(shutil.copytree(tiny_family.seeds["alpha"], tmp_path / "seed"))
    ran = tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    name = "config.json" if part == "model" else "tokenizer_config.json"
    stated = json.loads((folder / name).read_text())
    if part == "model":
        stated |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}
    else:
        stated |= {
            "tokenizer_class": "Evil",
            "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]},
        }
    (folder / name).write_text(json.dumps(stated))
    with pytest.raises(CheckpointError, match="needs code of its own"):
        load(folder)
    assert not ran.exists()


def test_a_tokenizer_that_reads_texts_as_control_tokens_is_refused(
    tiny_family: TinyFamily, tmp_path: Path
) -> None:
    base = copy_of(tiny_family.base, tmp_path / "base")
    (base / "tokenizer.json").unlink()
    tokenizer = ByT5Tokenizer()
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    tokenizer.save_pretrained(base)
    with pytest.raises(CheckpointError, match=r"ByT5Tokenizer.*add tokenizer\.json"):
        load_tokenizer(open_checkpoint(base, "base"))


def test_a_stored_head_that_differs_from_the_embeddings_is_refused(
    tiny_family: TinyFamily, load: Load, tmp_path: Path
) -> None:
    """transformers unties it and warns; dropped silently, logits would be others."""
    folder = Path(shutil.copytree(tiny_family.seeds["alpha"], tmp_path / "seed"))
    file = folder / "model.safetensors"
    tensors = load_file(file)
    owner = "model.embed_tokens.weight"
    save_file({**tensors, "lm_head.weight": tensors[owner].clone()}, file, {"format": "pt"})
    assert "bad" in load(folder).seed_names
    save_file({**tensors, "lm_head.weight": tensors[owner] + 1}, file, {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lm_head\.weight .*tie_word_embeddings"):
        load(folder)


@pytest.mark.parametrize("shards", ["stale", "gone"])
def test_a_whole_file_comes_before_an_index_as_in_transformers(
    tiny_family: TinyFamily, load: Load, tmp_path: Path, shards: str
) -> None:
    folder = Path(shutil.copytree(tiny_family.seeds["alpha"], tmp_path / "seed"))
    tensors = load_file(folder / "model.safetensors")
    if shards == "stale":
        stale = {name: tensor + 1 for name, tensor in tensors.items()}
        save_file(stale, folder / "model-00001-of-00001.safetensors", {"format": "pt"})
    index = {"weight_map": dict.fromkeys(tensors, "model-00001-of-00001.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    bank = load(folder)
    wanted = AutoModelForCausalLM.from_pretrained(folder, dtype=bank.dtype).state_dict()
    for name, found in rounded(bank, bank.seed_genome("bad")):
        assert torch.allclose(found.float(), wanted[name].float(), rtol=2**-7, atol=1e-4), name


def test_quantised_weights_are_refused(tiny_family: TinyFamily, load: Load, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_family.seeds["alpha"], tmp_path / "seed"))
    file = folder / "model.safetensors"
    tensors = load_file(file)
    low = {**tensors, Q_PROJ: tensors[Q_PROJ].to(torch.float8_e4m3fn)}
    save_file(low, file, {"format": "pt"})
    refused(load, folder, CheckpointError, Q_PROJ, "F8_E4M3")
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    (folder / "config.json").write_text(json.dumps(config))
    refused(load, folder, CheckpointError, "is quantised")


@pytest.mark.parametrize(
    ("key", "value"),
    [("rms_norm_eps", 0.1), ("attention_bias", True), ("hidden_act", "gelu")],
)
def test_a_seed_that_computes_otherwise_is_refused_by_name(
    tiny_family: TinyFamily, load: Load, tmp_path: Path, key: str, value: object
) -> None:
    folder = Path(shutil.copytree(tiny_family.seeds["alpha"], tmp_path / "seed"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(BankError):
        load(folder)


def test_other_settings_that_differ_are_named(
    tiny_family: TinyFamily, load: Load, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(tiny_family.seeds["alpha"], tmp_path / "seed"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "a_new_multiplier": 2.0}))
    load(folder)
    assert "have different a_new_multiplier; experts use those of the base" in caplog.text


@pytest.mark.parametrize(
    ("named", "warned"),
    [
        ("{base}", False),
        ("SOMEBODY/{name}", False),
        ("{name}@main", False),
        ("models--org--{name}/snapshots/1a2b", False),
        ("org/another-model", True),
        ("/home/somebody/another", True),
        (None, False),
        ("", False),
    ],
)
def test_an_adapter_that_was_made_for_another_base_is_named(
    named: str | None,
    warned: bool,
    load: Load,
    tiny_family: TinyFamily,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    seed = write_adapter(tmp_path / "seed")
    config = json.loads((seed / "adapter_config.json").read_text())
    name = named and named.format(base=tiny_family.base, name=tiny_family.base.name)
    config["base_model_name_or_path"] = name
    (seed / "adapter_config.json").write_text(json.dumps(config))
    load(seed)
    lines = [line for line in caplog.messages if "was made for the base" in line]
    assert len(lines) == warned
    assert all(str(name) in line for line in lines)


def test_a_folder_that_holds_model_and_adapter_is_read_as_an_adapter_and_named(
    load: Load, tiny_family: TinyFamily, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    both = copy_of(tiny_family.seeds["alpha"], tmp_path / "both")
    adapter = write_adapter(tmp_path / "adapter")
    shutil.copytree(adapter, both, dirs_exist_ok=True)
    bank = load(both)
    assert bank.content_hash == load(adapter).content_hash
    [line] = [line for line in caplog.messages if "full model" in line]
    assert str(both) in line


@pytest.mark.parametrize("kind", ["model", "adapter"])
def test_pickles_are_not_read_and_how_to_convert_them_is_said(
    kind: str, load: Load, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    if kind == "model":
        seed = copy_of(tiny_family.seeds["alpha"], tmp_path / "seed")
        torch.save(load_file(seed / "model.safetensors"), seed / "pytorch_model.bin")
        (seed / "model.safetensors").unlink()
    else:
        seed = write_adapter(tmp_path / "seed")
        stored = seed / "adapter_model.safetensors"
        torch.save(load_file(stored), seed / "adapter_model.bin")
        stored.unlink()
    refused(load, seed, CheckpointError, "pickles", ".bin", "not read", "save_pretrained writes")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rope_theta", 500.0),
        ("rope_parameters", {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}),
        ("hidden_act", "gelu"),
        ("rms_norm_eps", 0.1),
    ],
)
def test_a_key_that_computes_something_else_is_refused_by_name(
    key: str, value: object, load: Load, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    seed = copy_of(tiny_family.seeds["alpha"], tmp_path / "seed")
    config = json.loads((seed / "config.json").read_text())
    if key == "rope_theta":
        key, value = "rope_parameters", {**config["rope_parameters"], "rope_theta": value}
    (seed / "config.json").write_text(json.dumps({**config, key: value}))
    refused(load, seed, IncompatibleError, key, "(not ")
