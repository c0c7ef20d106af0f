"""Train one seed expert: a LoRA adapter of the base on freshly generated questions of its domain.

    python -m seeds.train_experts --expert numbers --steps 300 --seed 1

Only the completion is learnt. Every step draws new instances, with seeds that the evaluation does
not use. `--resume-from FOLDER` adds a stage to an adapter. `python -m seeds.evaluate` then measures
the adapters and writes their cards.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from seeds.base_model import BASE_NAME, base_sha256, load_base
from seeds.domains import DOMAINS, GENERATORS, Domain, Generator
from seeds.lora import attach, load_adapter, save_adapter
from seeds.questions import answer_tokens, prompt_tokens, question

EXPERTS = Path(__file__).resolve().parent / "experts"
SAVE_EVERY = 25


@dataclass(frozen=True)
class Recipe:
    """What decides an adapter, beside the base and the table of domains."""

    steps: int
    seed: int
    batch: int = 16
    micro_batch: int = 16
    learning_rate: float = 1e-3
    warm_up: int = 10
    clip: float = 1.0


@dataclass(frozen=True)
class Example:
    """Token ids of a prompt followed by its completion of `learnt` tokens."""

    tokens: list[int]
    learnt: int


def batches(domain: Domain, tokenizer: Any, recipe: Recipe) -> Iterator[list[list[Example]]]:
    """An endless stream of batches of fresh examples, generators drawn by their weights.

    A batch comes in micro-batches of rows of similar length, so that little is padding.
    """
    generators = GENERATORS[domain]
    rng = random.Random(recipe.seed)
    weights = [generator.weight for generator in generators]
    streams = [
        examples(generator, tokenizer, first_seed(recipe.seed, position))
        for position, generator in enumerate(generators)
    ]
    while True:
        rows = [next(stream) for stream in rng.choices(streams, weights, k=recipe.batch)]
        rows.sort(key=lambda row: len(row.tokens))
        size = recipe.micro_batch
        yield [rows[first : first + size] for first in range(0, len(rows), size)]


def examples(generator: Generator, tokenizer: Any, seed: int) -> Iterator[Example]:
    """Up to a million fresh examples of one generator."""
    dataset = generator.dataset(seed, 1_000_000)
    for index in range(1_000_000):
        asked = question(generator, dataset, index)
        completion = answer_tokens(tokenizer, asked.answer)
        yield Example([*prompt_tokens(tokenizer, asked.text), *completion], len(completion))


def first_seed(recipe_seed: int, position: int) -> int:
    """First instance seed of the generator at this position of its domain's table."""
    return 10_000_000 * recipe_seed + 1_000_000 * position


def shared_prefix(rows: list[Example]) -> int:
    """How many leading tokens all rows have in common, their learnt tokens excluded."""
    shortest = min(len(row.tokens) - row.learnt for row in rows) - 1
    first = rows[0].tokens
    for length in range(shortest):
        if any(row.tokens[length] != first[length] for row in rows):
            return length
    return shortest


def completion_loss(model: Any, rows: list[Example], padding: int) -> Tensor:
    """Summed cross entropy of the completions.

    Work is spent where rows differ: the prefix that they share is computed once, and the head runs
    on the positions of the completions only. Rows are padded on the right, where causal attention
    makes padding harmless without a mask.
    """
    shared = shared_prefix(rows)
    cache = DynamicCache()
    prefix = torch.tensor([rows[0].tokens[:shared]])
    model.model(input_ids=prefix, past_key_values=cache, use_cache=True)
    for layer in cache.layers:
        assert isinstance(layer, DynamicLayer)
        assert layer.keys is not None
        assert layer.values is not None
        layer.keys = layer.keys.expand(len(rows), -1, -1, -1)
        layer.values = layer.values.expand(len(rows), -1, -1, -1)
    width = max(len(row.tokens) for row in rows) - shared
    ids = torch.full((len(rows), width), padding)
    for index, row in enumerate(rows):
        ids[index, : len(row.tokens) - shared] = torch.tensor(row.tokens[shared:])
    hidden = model.model(input_ids=ids, past_key_values=cache, use_cache=True).last_hidden_state
    states, targets = [], []
    for index, row in enumerate(rows):
        end = len(row.tokens) - shared
        states.append(hidden[index, end - row.learnt - 1 : end - 1])
        targets.append(ids[index, end - row.learnt : end])
    logits = model.lm_head(torch.cat(states)).float()
    return torch.nn.functional.cross_entropy(logits, torch.cat(targets), reduction="sum")


def rate(step: int, recipe: Recipe) -> float:
    """Learning rate of a step: linear warm-up, then a cosine down to 2 % of its height."""
    if step < recipe.warm_up:
        return recipe.learning_rate * (step + 1) / recipe.warm_up
    progress = (step - recipe.warm_up) / max(1, recipe.steps - recipe.warm_up)
    return recipe.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


def train(domain: Domain, recipe: Recipe, folder: Path, resume: Path | None = None) -> None:
    """Train and save the adapter of one domain, with `training.json` beside it.

    `resume` is the folder of an adapter to start from; its stages stay in the record.
    """
    model, tokenizer = load_base()
    model.set_attn_implementation("eager")  # short rows: the fused CPU kernel's backward is slow
    factors = attach(model, recipe.seed)
    earlier: list[dict[str, Any]] = []
    if resume is not None:
        load_adapter(model, resume)
        earlier = json.loads((resume / "training.json").read_text())["stages"]
    optimiser = torch.optim.AdamW(factors, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    stream = batches(domain, tokenizer, recipe)
    began, seen, smooth = time.monotonic(), 0, 0.0
    for step in range(recipe.steps):
        batch = next(stream)
        learnt = sum(row.learnt for rows in batch for row in rows)
        total = 0.0
        for rows in batch:
            loss = completion_loss(model, rows, tokenizer.pad_token_id) / learnt
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        for group in optimiser.param_groups:
            group["lr"] = rate(step, recipe)
        torch.nn.utils.clip_grad_norm_(factors, recipe.clip)
        optimiser.step()
        optimiser.zero_grad()
        seen += sum(len(row.tokens) for rows in batch for row in rows)
        smooth = total if step == 0 else 0.95 * smooth + 0.05 * total
        seconds = time.monotonic() - began
        if (step + 1) % 10 == 0 or step == 0:
            print(
                f"{domain} {step + 1}/{recipe.steps} loss {smooth:.3f} "
                f"{seen / seconds:.0f} tokens/s {seconds:.0f} s",
                flush=True,
            )
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == recipe.steps:
            save_adapter(model, folder, BASE_NAME)
            stage = stage_record(domain, recipe, step + 1, seen, seconds)
            write_record(folder, domain, [*earlier, stage])


def stage_record(
    domain: Domain, recipe: Recipe, steps: int, tokens: int, seconds: float
) -> dict[str, Any]:
    """One run of this script: recipe, data, and how far it came."""
    return {
        "recipe": asdict(recipe),
        "generators": [asdict(generator) for generator in GENERATORS[domain]],
        "steps_done": steps,
        "tokens": tokens,
        "seconds": round(seconds),
    }


def write_record(folder: Path, domain: Domain, stages: list[dict[str, Any]]) -> None:
    """Keep what made the adapter, stage by stage, for its card."""
    record = {
        "domain": domain,
        "base": BASE_NAME,
        "base_sha256": base_sha256(),
        "stages": stages,
    }
    (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--expert", choices=DOMAINS, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=Recipe.learning_rate)
    parser.add_argument("--out", type=Path, help="adapter folder (default seeds/experts/NAME)")
    parser.add_argument("--resume-from", type=Path, help="adapter folder to go on from")
    given = parser.parse_args()
    recipe = Recipe(steps=given.steps, seed=given.seed, learning_rate=given.learning_rate)
    train(given.expert, recipe, given.out or EXPERTS / given.expert, given.resume_from)


if __name__ == "__main__":
    main()
