"""What adapter_config.json says of LoRA factors, read as PEFT reads it, or refused by name."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from evolution.bank.files import read_json
from evolution.bank.limits import LimitError, matching, within_limits
from evolution.errors import CheckpointError

CONFIG = "adapter_config.json"

_log = logging.getLogger(__name__)

_COMPUTED = frozenset(
    {
        "alpha_pattern",
        "exclude_modules",
        "layers_pattern",
        "layers_to_transform",
        "lora_alpha",
        "peft_type",
        "r",
        "rank_pattern",
        "target_modules",
        "use_rslora",
    }
)
"""Keys that say what the factors mean, and are followed here."""
_DESCRIPTIVE = frozenset(
    {
        "auto_mapping",
        "base_model_name_or_path",
        "corda_config",
        "eva_config",
        "inference_mode",
        "init_lora_weights",
        "loftq_config",
        "lora_dropout",
        "lora_ga_config",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "revision",
        "runtime_config",
        "task_type",
    }
)
"""Keys that say how factors were trained. The settings of initialisers are among them, since
`init_lora_weights` decides about those."""
_INITIALISERS = (True, False, "gaussian", "eva", "orthogonal")
"""Those that leave the base as it is. Others (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA, ...) change it,
and their factors are meant for the changed base."""
_ALL_LINEAR = "all-linear"
_PLAIN = re.compile(r"\^?[\w.]*\$?")
"""Patterns that cannot take long."""
_LAYER = r".*?\.[^.]*\.(\d+)\."
_ADVICE = "merge it into a full checkpoint"


@dataclass(frozen=True)
class AdapterConfig:
    """The configuration of a LoRA adapter.

    Attributes:
        label: what the adapter is called in messages.
        stated: the file.
    """

    label: str
    stated: Mapping[str, Any]

    def scales(self, ranks: Mapping[str, int]) -> dict[str, float]:
        """`alpha / rank` (or `alpha / sqrt(rank)`) of each module, by the patterns for some.

        Args:
            ranks: module that has factors -> their rank.

        Raises:
            CheckpointError: PEFT would not load these factors, or leave some out.
        """
        modules = sorted(ranks)
        stated = self._by_module("r", "rank_pattern", 8, modules)
        alphas = self._by_module("lora_alpha", "alpha_pattern", 8, modules)
        for module in modules:
            rank = stated[module]
            if rank != ranks[module] or rank < 1:
                raise CheckpointError(
                    f"{self.label}: {module} has factors of rank {ranks[module]}, but r or "
                    f"rank_pattern say {rank:g}"
                )
        self._check_targets(modules)
        root = math.sqrt if self.stated.get("use_rslora") else float
        return {module: alphas[module] / root(ranks[module]) for module in modules}

    def warn_of_another_base(self, names: Sequence[str]) -> None:
        """Say so if the adapter names a base that is called otherwise; it may fit all the same."""
        made_for = self.stated.get("base_model_name_or_path")
        if isinstance(made_for, str) and made_for and _last(made_for) not in map(_last, names):
            _log.warning(
                "%s was made for the base %s; it is used with %s", self.label, made_for, names[0]
            )

    def _by_module(
        self, key: str, pattern_key: str, usual: float, modules: Sequence[str]
    ) -> dict[str, float]:
        """A number for each module: that of the first pattern that matches, or the general one."""
        patterns = self.stated.get(pattern_key) or {}
        if not isinstance(patterns, dict):
            raise CheckpointError(f"{self.label}: {pattern_key} is no table of patterns")
        general = self._number(key, self.stated.get(key, usual))
        numbers = [self._number(pattern_key, number) for number in patterns.values()]
        matches = self._match(pattern_key, [*patterns], modules, r"(.*\.)?({})$")
        found = dict.fromkeys(modules, general)
        for number, matched in reversed([*zip(numbers, matches, strict=True)]):
            found.update(dict.fromkeys(matched, number))
        return found

    def _number(self, key: str, value: Any) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            # An integer beyond all floats overflows.
            with suppress(OverflowError):
                if math.isfinite(value):
                    return float(value)
        raise CheckpointError(f"{self.label}: {key} holds {value!r:.80}, which is no number")

    def _check_targets(self, modules: Sequence[str]) -> None:
        """Refuse factors of modules that the configuration leaves out: PEFT would drop them."""
        targets = self.stated.get("target_modules")
        if targets == _ALL_LINEAR:
            kept = {*modules}
        elif isinstance(targets, str):
            [kept] = self._match("target_modules", [targets], modules)
        else:
            kept = _named(self._names("target_modules"), modules) & self._transformed(modules)
        excluded = self.stated.get("exclude_modules") or []
        if isinstance(excluded, str):
            [left] = self._match("exclude_modules", [excluded], modules)
        else:
            left = _named(self._names("exclude_modules"), modules)
        dropped = sorted({*modules} - kept | left)
        if dropped:
            raise CheckpointError(
                f"{self.label} has factors of {dropped[0]}, which its configuration "
                "(target_modules, exclude_modules, layers_to_transform) leaves out: PEFT would "
                "drop them"
            )

    def _transformed(self, modules: Sequence[str]) -> set[str]:
        """Modules in the layers that the adapter is for; those of all if none are named."""
        layers = self.stated.get("layers_to_transform")
        if layers is None or layers == []:
            return {*modules}
        wanted = layers if isinstance(layers, list) else [layers]
        if not all(type(layer) is int for layer in wanted):
            raise CheckpointError(f"{self.label}: layers_to_transform holds {layers!r}")
        pattern = self.stated.get("layers_pattern") or []
        patterns = [pattern] if isinstance(pattern, str) else self._names("layers_pattern")
        if not all(map(_PLAIN.fullmatch, patterns)):
            raise CheckpointError(f"{self.label}: layers_pattern is no name: {_ADVICE}")
        forms = [rf"(?:^|.*?\.){each}\.(\d+)\." for each in patterns] or [_LAYER]
        kept = set()
        for module in modules:
            found = next(filter(None, (re.match(form, module) for form in forms)), None)
            if found and int(found[1]) in wanted:
                kept.add(module)
        return kept

    def _names(self, key: str) -> list[str]:
        names = self.stated.get(key) or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise CheckpointError(f"{self.label}: {key} is no list of names")
        return names

    def _match(
        self, key: str, patterns: Sequence[str], modules: Sequence[str], form: str = r"(?:{})\Z"
    ) -> list[set[str]]:
        """The modules that each pattern matches; one that may take long gets a deadline."""
        if not patterns:
            return []
        given = {"patterns": [form.format(each) for each in patterns], "names": modules}
        try:
            if all(map(_PLAIN.fullmatch, patterns)):
                matches = matching(given)
            else:
                matches = within_limits("match", given)
        except LimitError as error:
            raise CheckpointError(f"{self.label}: {key} cannot be used: {error}") from error
        return [{m for m, hit in zip(modules, row, strict=True) if hit} for row in matches]


def read_adapter_config(folder: Path, label: str) -> AdapterConfig:
    """Read the configuration, and refuse what may change what the factors mean.

    Raises:
        CheckpointError: names the file or the key.
    """
    stated = read_json(folder / CONFIG, label)
    kind = str(stated.get("peft_type", "LORA")).upper()
    if kind != "LORA":
        raise CheckpointError(
            f"{label} is a {kind} adapter; only LoRA is supported: merge it into a full checkpoint"
        )
    initialiser = stated.get("init_lora_weights", True)
    if initialiser not in _INITIALISERS:
        raise CheckpointError(
            f"{label}: init_lora_weights = {initialiser!r} is not known to leave the base as it "
            f"is: {_ADVICE}, or save the adapter as a plain LoRA (PEFT: "
            "path_initial_model_for_weight_conversion)"
        )
    unknown = sorted(
        key
        for key, value in stated.items()
        if value and (key, value) != ("bias", "none") and key not in _COMPUTED | _DESCRIPTIVE
    )
    if unknown:
        raise CheckpointError(
            f"{label} uses {unknown[0]}, which is not read for LoRA factors: {_ADVICE}"
        )
    return AdapterConfig(label, stated)


def _named(names: Collection[str], modules: Sequence[str]) -> set[str]:
    return {m for m in modules if any(m == name or m.endswith(f".{name}") for name in names)}


def _last(name: str) -> str:
    """What a base is called, whether by its folder or on the hub."""
    path = PurePosixPath(name.partition("@")[0].replace("\\", "/"))
    kept = [part for part in path.parts if part not in ("/", ".")]
    # The hub's cache: models--org--name/snapshots/REVISION.
    if len(kept) > 2 and kept[-2] == "snapshots":
        kept = kept[-3].split("--")
    return kept[-1].lower() if kept else ""
