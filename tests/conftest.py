"""Fixtures of general use: families of tiny real models, made once per test session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

# A law holds on a busy machine too, where an example may take as long as it likes.
settings.register_profile(
    "unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unhurried")

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = [
    "Solve the task. You may reason first. End with one line: Answer: <your final answer>",
    "system user assistant one two three four five six seven eight nine ten",
    "What is the sum of 12 and 30? Spell the word backward. Sort these words. Yes or no?",
]
SHAPE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 1024,
    "initializer_range": 0.2,
}


@dataclass(frozen=True)
class TinyFamily:
    """Folders of a tiny base and of checkpoints that lie near it.

    Attributes:
        base: Hugging Face folder (config, bf16 safetensors, tokenizer with a chat template).
        seeds: name -> folder of a full checkpoint; `alpha`, `beta`, `gamma`.
    """

    base: Path
    seeds: dict[str, Path]


def anything(_: str) -> bool:
    """Lets a sandbox run all code without isolation, as only tests do."""
    return True


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on the spot, with ChatML special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
    )


def make_family(
    folder: Path, config_class: Callable[..., PretrainedConfig], *, tied: bool, spread: float = 0.1
) -> TinyFamily:
    """Write a random base and three seeds; a seed differs by `spread` relative to each tensor."""
    tokenizer = make_tokenizer()
    config = config_class(
        **SHAPE,
        vocab_size=len(tokenizer),
        tie_word_embeddings=tied,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
        model = model.to(torch.bfloat16)
    base = {name: parameter.detach().float() for name, parameter in model.named_parameters()}
    generator = torch.Generator().manual_seed(1)
    names = ["base", "alpha", "beta", "gamma"]
    for name in names:
        for key, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            scale = spread * base[key].square().mean().sqrt() if name != "base" else 0.0
            parameter.data.copy_(base[key] + scale * noise)
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return TinyFamily(folder / "base", {name: folder / name for name in names[1:]})


@pytest.fixture(scope="session")
def tiny_family(tmp_path_factory: pytest.TempPathFactory) -> TinyFamily:
    """Llama architecture, head tied to the embeddings, as in SmolLM2."""
    return make_family(tmp_path_factory.mktemp("tiny_llama"), LlamaConfig, tied=True)


@pytest.fixture(scope="session")
def tiny_qwen_family(tmp_path_factory: pytest.TempPathFactory) -> TinyFamily:
    """Qwen2 architecture: biases in attention, untied head."""
    return make_family(tmp_path_factory.mktemp("tiny_qwen"), Qwen2Config, tied=False)
