"""The model card of an exported expert: what it is made of, where it comes from, what it can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np
import yaml

from evolution.bank.bank import Bank
from evolution.genome.genome import Genome
from evolution.genome.words import shares_of
from memory.records import Expert

if TYPE_CHECKING:
    from evolution.exporting.recipe import Sources

_LISTED = 40
"""Families of each verdict that a card names before it only counts them."""


@dataclass(frozen=True)
class Skill:
    """A family that an expert was graded on.

    Attributes:
        rate: share of the family's latest instances that it passes.
    """

    family: str
    capability: str
    rate: float

    @property
    def passed(self) -> bool:
        """Whether it passes more than half of them."""
        return 2 * self.rate > 1


@dataclass(frozen=True)
class About:
    """What an expert is and where it comes from.

    Attributes:
        run: name of the run.
        lineage: its ancestors, the oldest first.
        skills: what it was graded on.
        called: name of an anchor -> what it stands for, in words.
    """

    expert: Expert
    run: str
    lineage: Sequence[Expert] = ()
    skills: Sequence[Skill] = ()
    called: Mapping[str, str] = field(default_factory=dict)


def model_card(
    bank: Bank, genome: Genome, about: About, sources: Sources, obstacle: str | None
) -> str:
    """The text of README.md, with the metadata that the hub reads."""
    merged = (
        f"There is no mergekit recipe for it: {obstacle}."
        if obstacle
        else f"`mergekit.yml` is the same merge for mergekit: `{mergekit_command(sources)}`."
    )
    parts = [
        _metadata(sources),
        f"# {about.expert.id} of {about.run}",
        "An expert bred by AC/DC (Assessment Coevolving with Diverse Capabilities): its weights "
        "are a merge of checkpoints of one architecture, found by coevolution with tasks.",
        "## Recipe",
        _recipe(bank, genome, sources, about.called),
        f"All coordinates are in `recipe.json`. {merged}",
        "## Lineage",
        _lineage(about),
        "## Skills",
        _skills(about.skills),
        "## Use",
        "```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'folder = "."  # the folder of this card\n'
        'model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")\n'
        "tokenizer = AutoTokenizer.from_pretrained(folder)\n"
        'messages = [{"role": "user", "content": "What is 7 times 8?"}]\n'
        "prompt = tokenizer.apply_chat_template(\n"
        '    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True\n)\n'
        "reply = model.generate(**prompt, max_new_tokens=64)\n"
        'print(tokenizer.decode(reply[0, prompt["input_ids"].shape[1] :]))\n```',
    ]
    return "\n\n".join(parts) + "\n"


def mergekit_command(sources: Sources) -> str:
    """What makes the same merge; of adapters mergekit makes whole models first, and asks where."""
    options = " --lora-merge-cache adapters --lora-merge-dtype float32" if sources.adapters else ""
    return f"mergekit-yaml mergekit.yml OUT{options}"


def _metadata(sources: Sources) -> str:
    """YAML for the hub; a folder of this machine is no name there and is left out."""
    base = sources.published_base or sources.base
    named = [path for path in [base, *sources.seeds.values()] if path and path[0] != "/"]
    facts: dict[str, object] = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["merge", "acdc"],
    }
    if named:
        facts["base_model"] = named
    return f"---\n{yaml.safe_dump(facts, sort_keys=False)}---"


def _recipe(bank: Bank, genome: Genome, sources: Sources, called: Mapping[str, str]) -> str:
    fitted = bank.geometry.fit(genome)
    # Of a folder of this machine only the last part means something elsewhere.
    name = PurePath(sources.base).name if sources.base and sources.base[0] == "/" else sources.base
    named = sources.published_base or name or "mean of the seeds"
    base = f"{named}, content hash `{bank.base_hash}`"
    lines = ["| part | amount |", "|---|---|", f"| base | {base} |"]
    for share in shares_of(fitted, [anchor.name for anchor in bank.anchors]):
        even = share.low == share.high
        spread = "" if even else f" ({share.low:.3f} to {share.high:.3f} over the blocks)"
        words = called.get(share.anchor, share.anchor)
        part = words if words == share.anchor else f"{words} (`{share.anchor}`)"
        lines.append(f"| {part} | {share.mean:.3f}{spread} |")
    if fitted.displacements:
        sizes = [
            float(np.linalg.norm(delta)) / bank.geometry.norms[name]
            for name, delta in fitted.displacements.items()
        ]
        lines.append(
            f"| singular values | {len(sizes)} matrices, changed by {np.mean(sizes):.2%} of their "
            "norm on average |"
        )
    for noise, strengths in fitted.noise.items():
        lines.append(
            f"| gaussian noise | seed {noise.seed}, {noise.scale} strength up to "
            f"{float(np.abs(strengths).max()):.4f} |"
        )
    return "\n".join(lines)


def _lineage(about: About) -> str:
    rows = [
        f"| {each.id} | {each.generation} | {each.operator} | {', '.join(each.parents) or '-'} |"
        for each in [*about.lineage, about.expert]
    ]
    return "\n".join(["| expert | generation | operator | parents |", "|---|---|---|---|", *rows])


def _skills(skills: Sequence[Skill]) -> str:
    if not skills:
        return "It was not graded."
    passed = [skill for skill in skills if skill.passed]
    failed = [skill for skill in skills if not skill.passed]
    return (
        f"Of the {len(skills)} task families that it was graded on it passes "
        f"{sum(skill.rate for skill in skills) / len(skills):.0%} of the instances (mean over "
        f"families), and of {len(passed)} families more than half.\n\n"
        f"More than half: {_named(passed)}\n\nFewer: {_named(failed)}"
    )


def _named(skills: Sequence[Skill]) -> str:
    if not skills:
        return "none"
    names = [f"{skill.family} ({skill.capability})" for skill in skills[:_LISTED]]
    more = len(skills) - len(names)
    return ", ".join(names) + (f", and {more} more" if more else "")
