"""A base and two parents as folders: random ones made on the spot, or of the built-in experts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from benchmarks.families import SHAPES, SPREAD
from evolution.bank.bank import load_bank
from evolution.bank.settings import ModelSettings, SeedSettings, SpectralSettings
from evolution.exporting import write_checkpoint

_TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"


@dataclass(frozen=True)
class FamilyOnDisk:
    """A base and two full checkpoints of its architecture, as folders."""

    name: str
    base: Path
    parents: tuple[Path, Path]

    @property
    def settings(self) -> ModelSettings:
        seeds = tuple(SeedSettings(name=each.name, path=str(each)) for each in self.parents)
        return ModelSettings(base=str(self.base), seeds=seeds)


def random_parents(shape: str, folder: Path) -> FamilyOnDisk:
    """A random base in a shape of `benchmarks.families`, and two checkpoints that lie near it."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(SHAPES[shape]())  # type: ignore[no-untyped-call]
    model = model.to(torch.bfloat16)
    tokenizer = small_tokenizer()
    places = [folder / each for each in ("base", "first", "second")]
    for place in places:
        if place.name != "base":
            for parameter in model.parameters():
                step = SPREAD * parameter.detach().float().square().mean().sqrt()
                parameter.data.add_(torch.randn_like(parameter), alpha=float(step))
        model.save_pretrained(place)
        tokenizer.save_pretrained(place)
    return FamilyOnDisk(shape, places[0], (places[1], places[2]))


def built_in_parents(folder: Path, cache: Path) -> FamilyOnDisk:
    """SmolLM2-135M and two of its built-in experts, written out as full checkpoints."""
    bank = load_bank(ModelSettings(), SpectralSettings(rank=0), cache)
    places = []
    for name in bank.seed_names[:3]:
        place = folder / name
        place.mkdir(parents=True)
        write_checkpoint(bank, bank.seed_genome(name), place)
        bank.tokenizer.save_pretrained(place)
        places.append(place)
    return FamilyOnDisk("smollm2-135m", places[0], (places[1], places[2]))


def small_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes as tokens, and a chat template: enough to ask a question."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    train: Callable[..., Any] = trainers.BpeTrainer
    trainer = train(special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([], trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        pad_token="<|end|>",
        chat_template=_TEMPLATE,
    )
