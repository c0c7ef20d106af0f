"""Anchors that mergekit makes: of the seeds before a run, of two experts while it goes on."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from evolution.bank.anchors import Anchor, save_anchor
from evolution.bank.bank import Bank
from evolution.bank.files import UNREADABLE
from evolution.bank.merge_methods import check_method, configuration
from evolution.bank.settings import MergeSettings
from evolution.bank.sources import locate
from evolution.errors import MergeError
from evolution.genome.genome import Genome
from evolution.merging.mergekit import REFERENCES, merged
from memory.hashing import json_hash
from memory.messages import first_line
from memory.records import Json

_MOST_VALUES, _DEEPEST = 100_000, 50
"""Of a YAML file; those of mergekit hold some hundreds."""


def add_merges(bank: Bank, merges: Iterable[MergeSettings], cache_dir: Path) -> None:
    """Append the configured merges to a bank of base and seeds, in their order.

    Each is made once and then found again in the cache, by the content of all that enters it.

    Raises:
        MergeError: mergekit failed, or its configuration file cannot be used.
        BankError: the result does not fit the bank.
    """
    for merge in merges:
        members, plan, outside = _planned(bank, merge, cache_dir)
        hashes = {anchor.name: anchor.content_hash for anchor in bank.anchors}
        key = json_hash(
            [
                # What is kept is the difference from it, and adapters are merged on it.
                bank.base_hash,
                {name: hashes.get(name, bank.base_hash) for name in members},
                [_weights_hash(Path(folder)) for folder in outside],
                plan if not outside else _without(plan, outside),
                [merge.rng_seed, str(bank.dtype), importlib.metadata.version("mergekit")],
            ],
            32,
        )
        stored = cache_dir / "merges" / f"{key}.safetensors"
        anchor = bank.stored_anchor(merge.name, stored)
        if anchor is None:
            genomes = {name: bank.seed_genome(name) for name in members}
            label, scratch = f"merge {merge.name!r}", stored.parent
            with merged(label, bank, genomes, plan, merge.rng_seed, scratch) as folder:
                anchor = bank.read_anchor(merge.name, str(folder))
            save_anchor(anchor, stored)
        bank.append(anchor)


def merge_experts(
    name: str,
    bank: Bank,
    parents: Mapping[str, Genome],
    method: str,
    parameters: Mapping[str, Json],
    rng_seed: int,
    scratch: Path,
) -> Anchor:
    """Merge experts with mergekit into an anchor, which is not yet part of the bank.

    Args:
        name: of the anchor.
        bank: that the parents belong to.
        parents: expert id -> genome, at least two.
        method: of mergekit.
        parameters: of the method, one value for all.
        rng_seed: of methods that draw at random.
        scratch: folder for what is written on the way and deleted at the end.

    Raises:
        MergeError: mergekit refuses or fails.
        BankError: the result does not fit the bank.
    """
    check_method(method, parameters, tuple(parents))
    plan = configuration(method, parameters, tuple(parents), _dtype(bank))
    members = {**parents, **({bank.base_name: bank.base_genome()} if "base_model" in plan else {})}
    with merged(f"graft {name!r}", bank, members, plan, rng_seed, scratch) as folder:
        return bank.read_anchor(name, str(folder))


def _planned(
    bank: Bank, merge: MergeSettings, cache_dir: Path
) -> tuple[list[str], dict[str, Any], list[str]]:
    """Names of the members, the configuration of mergekit, and folders that are no members."""
    known = [bank.base_name, *(anchor.name for anchor in bank.anchors)]
    if merge.config is not None:
        plan = read_plan(merge, Path(merge.config).expanduser())
        outside: dict[str, str] = {}
        members: list[str] = []

        def place(reference: str) -> str:
            if reference in known:
                members.append(reference)
                return reference
            outside[reference] = str(locate(reference, cache_dir, bank.dtype).resolve())
            return outside[reference]

        resolved: dict[str, Any] = _mapped(plan, place)
        return sorted(set(members)), resolved, sorted(outside.values())
    assert merge.method is not None
    seeds = [name for name in bank.seed_names if name != bank.base_name]
    names = merge.members(seeds, known)
    plan = configuration(merge.method, merge.parameters, names, _dtype(bank))
    used = dict.fromkeys([*names, *([plan["base_model"]] if "base_model" in plan else [])])
    return list(used), plan, []


def read_plan(merge: MergeSettings, file: Path) -> dict[str, Any]:
    """The configuration of mergekit in a YAML file.

    Raises:
        MergeError: it cannot be read, or is none.
    """
    try:
        plan = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (*UNREADABLE, yaml.YAMLError) as error:
        raise MergeError(
            f"merge {merge.name!r}: {file} cannot be read: {first_line(error)}"
        ) from error
    if not isinstance(plan, dict) or "merge_method" not in plan:
        raise MergeError(f"merge {merge.name!r}: {file} is no mergekit configuration")
    if _is_endless(plan):
        raise MergeError(
            f"merge {merge.name!r}: {file} holds more than {_MOST_VALUES} values, or values that "
            f"lie more than {_DEEPEST} deep"
        )
    return plan


def _is_endless(plan: Any) -> bool:
    """Whether aliases (`&a`, `*a`) make much of a few lines, or something that holds itself."""
    left, waiting = _MOST_VALUES, [(plan, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > _DEEPEST:
            return True
        held = value.values() if isinstance(value, dict) else value
        if isinstance(value, dict | list):
            left -= len(value)
            if left < 0:
                return True
            waiting += [(item, depth + 1) for item in held]
    return False


def _mapped(value: Any, place: Callable[[str], str]) -> Any:
    """The configuration with every reference to a model put through `place`.

    Of `model+adapter`, mergekit's way to name a LoRA adapter on a model, each part is one.
    """
    if isinstance(value, dict):
        return {
            key: "+".join(map(place, item.split("+")))
            if key in REFERENCES and isinstance(item, str)
            else _mapped(item, place)
            for key, item in value.items()
        }
    return [_mapped(item, place) for item in value] if isinstance(value, list) else value


def _without(plan: dict[str, Any], outside: list[str]) -> Any:
    """The configuration with folders numbered: their content counts, not where they are."""
    return _mapped(plan, lambda name: f"#{outside.index(name)}" if name in outside else name)


def _weights_hash(folder: Path) -> str:
    """Hash of the files of a checkpoint that mergekit reads."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*.json")):
        with file.open("rb") as stream:
            digest.update(
                f"{file.name} {hashlib.file_digest(stream, 'sha256').hexdigest()}".encode()
            )
    return digest.hexdigest()


def _dtype(bank: Bank) -> str:
    return str(bank.dtype).removeprefix("torch.")
