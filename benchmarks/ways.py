"""Three ways from two parents to a child's first answer, each timed phase by phase."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.parents import FamilyOnDisk
from evolution.bank.bank import Bank
from evolution.breeding.breed import breed
from evolution.breeding.settings import BreedingSettings
from evolution.materialise.weights import materialise

QUESTION = [{"role": "user", "content": "What is 7 times 8?"}]
KEEP_RANK, DEVIATION = 256, 0.25
"""Of the published mutation: singular values that are displaced, and by how much."""


@dataclass
class Course:
    """How one child came to its first answer.

    Attributes:
        phases: name -> seconds, in their order.
        prompt_tokens: of the question, as the model was given it.
        new_tokens: of the answer.
    """

    phases: dict[str, float] = field(default_factory=dict)
    prompt_tokens: int = 0
    new_tokens: int = 0
    _since: float = field(default_factory=time.perf_counter)

    def done(self, phase: str) -> None:
        now = time.perf_counter()
        self.phases[phase] = now - self._since
        self._since = now

    def answer(self, model: Any, tokenizer: Any, tokens: int) -> None:
        """Ask the question; exactly `tokens` are replied, whatever the model would say."""
        prompt = tokenizer.apply_chat_template(
            QUESTION, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        reply = model.generate(
            **prompt, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False
        )
        tokenizer.decode(reply[0])
        self.prompt_tokens = int(prompt["input_ids"].shape[1])
        self.new_tokens = int(reply.shape[1]) - self.prompt_tokens
        self.done("answer")

    def load_and_answer(self, folder: Path, tokens: int) -> None:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self.done("load")
        self.answer(model, tokenizer, tokens)


Way = Callable[[Path], Course]
"""Makes a child and has it answer; what it writes goes to the given place, not there yet."""


def ours(bank: Bank, model: Any, parents: list[str], settings: BreedingSettings, n: int) -> Way:
    """Breed, materialise, answer: nothing is loaded and nothing written."""

    def way(_: Path) -> Course:
        course = Course()
        child = breed(bank, [bank.seed_genome(name) for name in parents], 0, settings).genome
        course.done("breed")
        materialise(bank, child, model)
        course.done("materialise")
        course.answer(model, bank.tokenizer, n)
        return course

    return way


def mergekit_way(family: FamilyOnDisk, tokens: int) -> Way:
    """Merge to disk, load, answer."""

    def way(out: Path) -> Course:
        course = Course()
        run_mergekit(average(family), out)
        course.done("merge to disk")
        course.load_and_answer(out, tokens)
        return course

    return way


def average(family: FamilyOnDisk) -> dict[str, Any]:
    """The average of both parents in bf16 throughout: mergekit's cheapest merge."""
    return {
        "merge_method": "linear",
        "dtype": "bfloat16",
        "parameters": {"weight": 0.5},
        "models": [{"model": str(path)} for path in family.parents],
    }


def run_mergekit(plan: dict[str, Any], out: Path, shard_bytes: int | None = None) -> None:
    options = MergeOptions(quiet=True, write_model_card=False)
    if shard_bytes is not None:
        options = options.model_copy(update={"out_shard_size": shard_bytes})
    run_merge(MergeConfiguration.model_validate(plan), str(out), options)


def published_way(family: FamilyOnDisk, tokens: int) -> Way:
    """Load base and parents, merge state dicts in bf16, noise on singular values, save, load."""

    def way(out: Path) -> Course:
        course = Course()
        base, first, second = (
            AutoModelForCausalLM.from_pretrained(path, dtype="auto")
            for path in (family.base, *family.parents)
        )
        origin, one, other = (each.state_dict() for each in (base, first, second))
        course.done("load parents")
        merged = {
            name: tensor + 0.5 * (one[name] - tensor) + 0.5 * (other[name] - tensor)
            for name, tensor in origin.items()
        }
        course.done("merge")
        mutate(origin, merged)
        course.done("SVD of each matrix")
        base.load_state_dict(merged)
        base.save_pretrained(out)
        AutoTokenizer.from_pretrained(family.base).save_pretrained(out)
        course.done("save")
        course.load_and_answer(out, tokens)
        return course

    return way


def mutate(origin: dict[str, Tensor], merged: dict[str, Tensor]) -> None:
    """In place; a tied head is one matrix here, the published code decomposes it twice."""
    done: dict[int, Tensor] = {}
    for name, tensor in merged.items():
        if tensor.ndim == 2 and "norm" not in name:
            key = origin[name].data_ptr()
            if key not in done:
                done[key] = displaced(tensor)
            merged[name] = done[key]


def displaced(matrix: Tensor) -> Tensor:
    """A full SVD, noise on the first singular values, and the product."""
    left, values, right = torch.linalg.svd(matrix.float(), full_matrices=False)
    rank = min(KEEP_RANK, len(values))
    values[:rank] += DEVIATION * torch.randn(rank)
    noisy: Tensor = (left * values.clamp_min(0.0)) @ right
    return noisy.to(matrix.dtype)
