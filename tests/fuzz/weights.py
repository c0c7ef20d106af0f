"""Parsers of weights and of what describes them: genomes, safetensors, GGUF, recipes, merges."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from evolution.bank.adapters import read_adapter
from evolution.bank.anchors import Anchor, load_anchor, save_anchor
from evolution.bank.checkpoints import open_checkpoint
from evolution.bank.layout import describe
from evolution.bank.settings import MergeSettings
from evolution.bank.sources import locate
from evolution.bank.task_vectors import Dense, LowRank
from evolution.exporting.recipe import read_genome
from evolution.genome.genome import Genome, NoiseField
from evolution.merging.merges import read_plan
from tests.evolution.conftest import write_adapter
from tests.fuzz.harness import Parser
from tests.fuzz.mutations import JSON_PIECES, YAML_PIECES, framed, mutated, noise

SHAPE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 8,
}


def genomes(scratch: Path) -> Parser:
    """Genomes as run.db holds them; one that is accepted is written as it was read."""
    plain = Genome(np.ones((3, 2), np.float32))
    rich = Genome(
        np.eye(3, 2, dtype=np.float32),
        {"layers.0.q": np.array([0.5, 0, 2], np.float32), "w": np.ones(1, np.float32)},
        {NoiseField(7, "relative"): np.ones(3, np.float32)},
    )
    samples = (plain.to_bytes(), rich.to_bytes())
    magic, header, body = rich.to_bytes().split(b"\n", 2)
    headers = mutated((header,), JSON_PIECES)

    def read(data: bytes) -> None:
        genome = Genome.stored("g", data)
        assert Genome.from_bytes(genome.to_bytes()) == genome
        assert np.isfinite(Genome.stored_coefficients("g", data)).all()

    inputs = mutated(samples) | headers.map(lambda head: magic + b"\n" + head + b"\n" + body)
    return Parser(inputs | noise(), read, samples)


def checkpoints(scratch: Path) -> Parser:
    """Headers of model.safetensors in a folder whose config.json is sound."""
    folder, config = scratch / "model", LlamaConfig(**SHAPE, tie_word_embeddings=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config).to(torch.bfloat16)  # type: ignore[arg-type]
    model.save_pretrained(folder)
    file = folder / "model.safetensors"
    sample = file.read_bytes()
    header, body = _parted(sample)

    def read(data: bytes) -> None:
        file.write_bytes(data)
        checkpoint = open_checkpoint(folder, "fuzzed")
        for name in checkpoint.layout.shapes:
            checkpoint.tensor(name, torch.float32)

    inputs = mutated((sample[: len(header) + 40],)) | framed(
        mutated((header,), JSON_PIECES), body, "<Q"
    )
    return Parser(inputs | noise(), read, (sample,), 30)


def checkpoint_config(scratch: Path) -> Parser:
    """config.json of a checkpoint: numbers that no model has, and classes that are none."""
    folder, config = scratch / "model", LlamaConfig(**SHAPE, tie_word_embeddings=True)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)  # type: ignore[arg-type]
    file = folder / "config.json"
    sample = file.read_bytes()

    def read(data: bytes) -> None:
        file.write_bytes(data)
        open_checkpoint(folder, "fuzzed")

    return Parser(mutated((sample,), JSON_PIECES) | noise(), read, (sample,), 20)


def adapter_weights(scratch: Path) -> Parser:
    """Headers of adapter_model.safetensors."""
    folder = write_adapter(scratch / "adapter")
    file = folder / "adapter_model.safetensors"
    sample, layout = file.read_bytes(), describe(LlamaConfig(**SHAPE), "base")
    header, body = _parted(sample)

    def read(data: bytes) -> None:
        file.write_bytes(data)
        read_adapter(folder, "fuzzed", layout, ["base"])

    inputs = mutated((sample,)) | framed(mutated((header,), JSON_PIECES), body, "<Q")
    return Parser(inputs | noise(), read, (sample,), 50)


def adapter_config(scratch: Path) -> Parser:
    """adapter_config.json, beside sound factors."""
    folder = write_adapter(scratch / "adapter")
    file, layout = folder / "adapter_config.json", describe(LlamaConfig(**SHAPE), "base")
    stated = json.loads(file.read_text())
    more = {
        "rank_pattern": {"layers.0.self_attn.q_proj": 4},
        "alpha_pattern": {"q_proj": 16},
        "use_rslora": True,
        "exclude_modules": [],
        "layers_pattern": "layers",
        "bias": "none",
        "layers_to_transform": [0, 1],
        "init_lora_weights": True,
        "lora_dropout": 0.0,
    }
    samples = (json.dumps(stated).encode(), json.dumps({**stated, **more}).encode())

    def read(data: bytes) -> None:
        file.write_bytes(data)
        adapter = read_adapter(folder, "fuzzed", layout, ["base"])
        assert all(np.isfinite(vector.scale) for vector in adapter.vectors.values())

    return Parser(mutated(samples, JSON_PIECES) | noise(), read, samples, 40)


def kept_anchors(scratch: Path) -> Parser:
    """Anchors in the cache folder: a damaged one counts as missing."""
    file, device = scratch / "anchor.safetensors", torch.device("cpu")
    dense = Dense(torch.ones(2, 2), torch.tensor([1]), torch.tensor([0.5]))
    vectors: dict[str, LowRank | Dense] = {
        "a": dense,
        "b": LowRank(torch.ones(2, 1), torch.ones(1, 2), 0.5),
    }
    save_anchor(Anchor("x", "ab" * 16, vectors), file)
    assert load_anchor("x", file, device, lambda root: None) is not None
    sample = file.read_bytes()
    header, body = _parted(sample)

    def read(data: bytes) -> None:
        file.write_bytes(data)
        load_anchor("x", file, device, lambda root: None)

    inputs = mutated((sample,)) | framed(mutated((header,), JSON_PIECES), body, "<Q")
    return Parser(inputs | noise(), read, (sample,))


def gguf_files(scratch: Path) -> Parser:
    """GGUF files, as transformers converts them."""
    file, cache = scratch / "model.gguf", scratch / "cache"
    sample = tiny_gguf(file)

    def read(data: bytes) -> None:
        shutil.rmtree(cache, ignore_errors=True)
        file.write_bytes(data)
        with redirect_stderr(StringIO()):
            locate(str(file), cache, torch.bfloat16)

    return Parser(mutated((sample,)) | noise(), read, (sample,), 10)


def tiny_gguf(file: Path) -> bytes:
    """A Llama of one layer with a byte-level tokenizer, in GGUF."""
    rng = np.random.default_rng(0)
    writer = gguf.GGUFWriter(file, "llama")
    tokens = [chr(place + 256) for place in range(63)]
    tokens.append(tokens[0] + tokens[1])
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(16)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * len(tokens))
    writer.add_token_merges([f"{tokens[0]} {tokens[1]}"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    shapes = {
        "token_embd": (64, 32),
        "output_norm": (32,),
        "blk.0.attn_norm": (32,),
        "blk.0.ffn_norm": (32,),
    }
    shapes |= {f"blk.0.{name}": (32, 32) for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
    shapes |= {f"blk.0.{name}": (32, 32) for name in ("ffn_gate", "ffn_up", "ffn_down")}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", rng.standard_normal(shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file.read_bytes()


def recipes(scratch: Path) -> Parser:
    """recipe.json of an exported expert, read back into a genome."""
    sample = {
        "format": "acdc-recipe-1",
        "blocks": ["embeddings", "layers.0", "head"],
        "anchors": [{"name": "a", "content_hash": "h", "coefficients": [1.0, 0.5, 0.0]}],
        "displacements": {"layers.0.q": [0.25, 0.0]},
        "noise": [{"seed": 3, "scale": "relative", "strengths": [0.0, 1.0, 0.0]}],
    }
    samples = (json.dumps(sample).encode(),)

    def read(data: bytes) -> None:
        try:
            written = json.loads(data)
        except (ValueError, RecursionError):
            return
        genome = read_genome(written, {"g": 0, "h": 1}, 3)
        assert Genome.from_bytes(genome.to_bytes()) == genome

    return Parser(mutated(samples, JSON_PIECES) | noise(), read, samples)


def merge_plans(scratch: Path) -> Parser:
    """YAML files of mergekit that `models.merges` names."""
    file = scratch / "merge.yml"
    sample = (
        b"merge_method: ties\nbase_model: base\nmodels:\n"
        b"  - model: a+b\n    parameters: {weight: 0.5}\n"
        b"  - model: /m/c\nparameters: {normalize: true}\ndtype: float32\n"
    )
    merge = MergeSettings(name="m", config=str(file))

    def read(data: bytes) -> None:
        file.write_bytes(data)
        read_plan(merge, file)

    return Parser(mutated((sample,), YAML_PIECES) | noise(), read, (sample,))


def _parted(content: bytes) -> tuple[bytes, bytes]:
    """Header and body of a safetensors file."""
    end = 8 + int.from_bytes(content[:8], "little")
    return content[8:end], content[end:]


WEIGHTS: dict[str, Callable[[Path], Parser]] = {
    "adapter-config": adapter_config,
    "adapter-weights": adapter_weights,
    "checkpoint-config": checkpoint_config,
    "checkpoints": checkpoints,
    "genomes": genomes,
    "gguf": gguf_files,
    "kept-anchors": kept_anchors,
    "merge-plans": merge_plans,
    "recipes": recipes,
}
