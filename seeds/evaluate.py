"""Measure the seed experts on fresh questions of all domains, and write their cards.

    python -m seeds.evaluate --count 32

The base is measured once and kept in `experts/base.json`. Experts are merged into bf16 weights as a
run would materialise them, and answer greedily.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any, TypedDict

import torch

from seeds.base_model import base_sha256, load_base
from seeds.card import write_card
from seeds.domains import DOMAINS, GENERATORS, PASS_SCORE, Domain
from seeds.lora import merge_adapter
from seeds.questions import Question, extract, held_out, prompt_tokens
from seeds.train_experts import EXPERTS

MAX_TOKENS = 32
ROWS = 32

Accuracies = dict[str, float]
"""Generator -> share of its questions that were solved."""


class Measurement(TypedDict):
    """Accuracies of one model on `count` questions of each generator."""

    count: int
    accuracies: Accuracies


class Results(TypedDict):
    """What `results.json` holds: accuracy per generator and its means, at home and abroad."""

    expert: str
    base_sha256: str
    count: int
    home: Accuracies
    abroad: Accuracies
    base: Accuracies
    home_mean: float
    abroad_mean: float
    base_home_mean: float


def answers(model: Any, tokenizer: Any, prompts: list[list[int]]) -> list[str]:
    """Greedy completions of one batch of prompts, padded on the left."""
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), tokenizer.pad_token_id)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    with torch.inference_mode():
        output = model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=MAX_TOKENS,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
        )
    return list(tokenizer.batch_decode(output[:, width:], skip_special_tokens=True))


def accuracies(model: Any, tokenizer: Any, questions: list[Question]) -> Accuracies:
    """Share of solved questions per generator."""
    asked = sorted(
        ((prompt_tokens(tokenizer, question.text), question) for question in questions),
        key=lambda pair: len(pair[0]),
    )
    solved: dict[str, list[bool]] = defaultdict(list)
    for first in range(0, len(asked), ROWS):
        batch = asked[first : first + ROWS]
        texts = answers(model, tokenizer, [prompt for prompt, _ in batch])
        for (_, question), text in zip(batch, texts, strict=True):
            solved[question.generator].append(question.score(extract(text)) >= PASS_SCORE)
    return {name: statistics.mean(map(float, passes)) for name, passes in sorted(solved.items())}


def all_questions(count: int) -> list[Question]:
    """The held-out questions of every domain."""
    return [asked for domain in DOMAINS for asked in held_out(domain, count)]


def measure_base(count: int) -> Measurement:
    """The base's accuracies, from `base.json` if it holds this measurement already."""
    file = EXPERTS / "base.json"
    if file.exists():
        known: Measurement = json.loads(file.read_text())
        names = {generator.name for domain in DOMAINS for generator in GENERATORS[domain]}
        if known["count"] == count and set(known["accuracies"]) == names:
            return known
    model, tokenizer = load_base()
    measured: Measurement = {
        "count": count,
        "accuracies": accuracies(model, tokenizer, all_questions(count)),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(measured, indent=2) + "\n")
    return measured


def measure_expert(domain: Domain, folder: Path, count: int) -> Results:
    """Measure the adapter in `folder` on all domains, and compare it with the base."""
    model, tokenizer = load_base()
    merge_adapter(model, folder)
    measured = accuracies(model, tokenizer, all_questions(count))
    base = measure_base(count)["accuracies"]
    own = {generator.name for generator in GENERATORS[domain]}
    home = {name: value for name, value in measured.items() if name in own}
    abroad = {name: value for name, value in measured.items() if name not in own}
    return {
        "expert": domain,
        "base_sha256": base_sha256(),
        "count": count,
        "home": home,
        "abroad": abroad,
        "base": base,
        "home_mean": round(statistics.mean(home.values()), 4),
        "abroad_mean": round(statistics.mean(abroad.values()), 4),
        "base_home_mean": round(statistics.mean(base[name] for name in home), 4),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--expert", choices=DOMAINS, action="append", help="default: all")
    parser.add_argument("--count", type=int, default=32, help="instances of each generator")
    parser.add_argument("--folder", type=Path, default=EXPERTS, help="where the adapters lie")
    given = parser.parse_args()
    for domain in given.expert or DOMAINS:
        folder = given.folder / domain
        results = measure_expert(domain, folder, given.count)
        (folder / "results.json").write_text(json.dumps(results, indent=2) + "\n")
        write_card(folder, results)
        print(
            f"{domain}: home {results['home_mean']:.2f} (base {results['base_home_mean']:.2f}), "
            f"abroad {results['abroad_mean']:.2f}",
            {name: round(value, 2) for name, value in results["home"].items()},
            {name: round(value, 2) for name, value in results["abroad"].items()},
            flush=True,
        )


if __name__ == "__main__":
    main()
