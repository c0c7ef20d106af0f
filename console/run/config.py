"""The one configuration: each room's settings composed, TOML in, resolved JSON out.

Order of precedence: `--set` on the command line, environment (`ACDC_POOL__CAPACITY=20`), the TOML
file or the run's own config.json, defaults.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from agents.config import RunConfig
from console.errors import ConfigError
from evolution.errors import OperatorError
from evolution.plugins import load_plugin
from memory.messages import first_problem, nearest

OTHER_VARIABLES = ("ACDC_CACHE", "ACDC_RUN", "ACDC_SERVE_TOKEN")
"""Variables of the prefix that are no settings of a run."""
MAY_CHANGE = (
    "generations",
    "cluster",
    "endpoints",
    "sandbox",
    "answering",
    "breeding.tutor",
    "finals.experts",
    "finals.instances",
    "prompts.folder",
    "novelty.chroma_url",
    "novelty.embedder_url",
    "novelty.embedder_key_env",
)
"""What a resumed run may be given anew; everything else is part of keys and decisions."""

_DEEP_KEY = re.compile(r"""(?<![\w"'-])[\w"'-]++(?:[ \t]*+\.[ \t]*+[\w"'-]++){100}""")


def cache_folder() -> Path:
    """Where what is computed once is kept across runs, by content.

    `$ACDC_CACHE`, or acdc/ in `$XDG_CACHE_HOME` or ~/.cache; an empty variable counts as not set.
    """
    own, common = os.environ.get("ACDC_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(own)
    return (Path(common) if common else Path.home() / ".cache") / "acdc"


def resolve(
    file: Path | None,
    overrides: Sequence[str],
    settings: Mapping[str, Any] | None = None,
) -> RunConfig:
    """The configuration of a command, without a run.

    Args:
        file: a TOML file, or None.
        overrides: `a.b=value` items; the value is read as TOML where it is TOML, else as text.
        settings: a tree of settings from Python, over file and environment.

    Raises:
        ConfigError: unreadable file, unknown key (with the nearest known one), or bad value.
    """
    return validated(given_tree(file, overrides, settings), overrides)


def given_tree(
    file: Path | None,
    overrides: Sequence[str],
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What is given to a command: file, environment, `settings` and overrides, not yet validated.

    Raises:
        ConfigError: unreadable file, or an override or variable that is no setting.
    """
    tree: dict[str, Any] = {}
    if file is not None:
        tree = read_toml(file)
        _anchor_plugins(tree, file.parent)
    _merge(tree, _from_environment())
    _merge(tree, settings or {})
    for item in overrides:
        key, separator, value = item.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"--set {item!r} is not of the form section.key=value")
        _merge(tree, _nested(key.strip().split("."), _toml_value(value)))
    _anchor_plugins(tree, Path())
    return tree


def over(stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A stored configuration with what was given laid over it."""
    tree: dict[str, Any] = json.loads(json.dumps(stored))
    _merge(tree, given)
    return tree


def validated(tree: Mapping[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """A configuration in full; its plugins are imported.

    Args:
        tree: the configuration as it was written.
        overrides: which of it was given by `--set`, for messages.

    Raises:
        ConfigError: unknown key (with the nearest known one), or bad value.
    """
    _load_plugins(tree)
    try:
        return RunConfig(**tree)
    except ValidationError as error:
        raise ConfigError(_explain(error, _named_by(overrides))) from None


def _named_by(overrides: Sequence[str]) -> dict[str, str]:
    """By key, what gave its value where that is not the file: an environment variable or --set."""
    given = {".".join(path): f"environment variable {name}" for name, path in _variables()}
    return given | {item.partition("=")[0].strip(): "--set" for item in overrides}


def check_resume(config: RunConfig, stored: Mapping[str, Any], folder: Path) -> None:
    """Refuse a configuration that would change what the run's keys stand for.

    Raises:
        ConfigError: names the first key that differs, with both values.
    """
    # A key that is younger than the run had its default there.
    try:
        before = dict(_leaves(as_tree(RunConfig(**stored))))
    except ValidationError as error:
        raise ConfigError(f"{folder}/config.json: {_explain(error)}") from None
    after = dict(_leaves(as_tree(config)))
    for key in sorted({*before, *after}):
        if _may_change(key) or before.get(key) == after.get(key):
            continue
        raise ConfigError(
            f"{folder} was begun with {key} = {before.get(key)!r}, not {after.get(key)!r}; "
            "this setting is fixed for a run: leave it out, or use a new run folder"
        )


def _may_change(key: str) -> bool:
    return any(key == free or key.startswith(f"{free}.") for free in MAY_CHANGE)


def as_tree(config: RunConfig) -> dict[str, Any]:
    """The resolved configuration as plain JSON values."""
    tree: dict[str, Any] = json.loads(config.model_dump_json())
    return tree


def _anchor_plugins(tree: dict[str, Any], folder: Path) -> None:
    """Make the paths of .py files absolute, so that a run finds them from everywhere."""
    given = tree.get("plugins")
    if isinstance(given, list):
        tree["plugins"] = [
            str((folder / name).resolve()) if str(name).endswith(".py") else name for name in given
        ]


def _load_plugins(tree: Mapping[str, Any]) -> None:
    """Import modules that register operators, which the configuration may then name.

    Raises:
        ConfigError: a module cannot be imported.
    """
    given = tree.get("plugins")
    try:
        for name in given if isinstance(given, list) else ():
            load_plugin(str(name))
    except OperatorError as error:
        raise ConfigError(f"configuration: plugins: {error}") from None


def read_toml(file: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        ConfigError: it cannot be read, or is none.
    """
    try:
        return _parsed(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from None
    # Beside what is no TOML: bytes that are no text, numbers without end, lists too deep.
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from None


def _parsed(text: str) -> dict[str, Any]:
    """TOML without dates and times; ValueError or RecursionError for what is none."""
    # The time and memory that tomllib takes grow with the square of the parts of one key.
    if _DEEP_KEY.search(text):
        raise ValueError("a key of more than 100 parts")
    found = tomllib.loads(text)
    try:
        json.dumps(found)
    except TypeError as error:
        raise ValueError("a date or time, which no setting is") from error
    return found


def _from_environment() -> dict[str, Any]:
    """The `ACDC_...` variables as a tree; sections are divided by two underscores.

    Raises:
        ConfigError: a variable of that prefix names no key.
    """
    tree: dict[str, Any] = {}
    for name, path in _variables():
        if path[0] not in RunConfig.model_fields:
            near = _nearest(".".join(path), _known_keys())
            hint = f"; did you mean ACDC_{near.upper().replace('.', '__')}?" if near else ""
            raise ConfigError(f"the environment variable {name} is not a setting{hint}")
        _merge(tree, _nested(path, _toml_value(os.environ[name])))
    return tree


def _variables() -> Iterable[tuple[str, list[str]]]:
    """The variables of the prefix that stand for settings, each with the path of its key."""
    for name in os.environ:
        if name.startswith("ACDC_") and name not in OTHER_VARIABLES:
            yield name, name.removeprefix("ACDC_").lower().split("__")


def _toml_value(text: str) -> Any:
    try:
        return _parsed(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _nested(path: Sequence[str], value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return dict(value)


def _merge(tree: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = value


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _explain(error: ValidationError, named_by: Mapping[str, str] | None = None) -> str:
    """One line for the first problem, naming the key, and the nearest known one if unknown.

    Args:
        error: of the first problem.
        named_by: what gave a key its value; a key that is not in it came from a file.
    """
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    origin = next((who for key, who in (named_by or {}).items() if _within(where, key)), None)
    place = f"configuration ({origin})" if origin else "configuration"
    if first["type"] != "extra_forbidden":
        return f"{place}: {first_problem(error, quote=True)}"
    near = _nearest(where, _known_keys())
    hint = f"; did you mean {near}?" if near else ""
    return f"{place}: unknown key {where}{hint}"


def _within(where: str, key: str) -> bool:
    """Whether a problem lies in a key, or in a part of it."""
    return where == key or where.startswith(f"{key}.")


NEAR = 0.7
"""How alike a name must be to be suggested: one letter wrong in four, two in seven."""


def _nearest(where: str, known: Sequence[str]) -> str | None:
    """A key of the same section that is named alike, or one of that name in another section."""
    section, _, name = where.rpartition(".")
    siblings = {key.rpartition(".")[2]: key for key in known if key.rpartition(".")[0] == section}
    everywhere = {key.rpartition(".")[2]: key for key in known}
    alike_as_a_whole = {key: key for key in known if key.endswith(f".{name}")}
    for asked, names in ((name, siblings), (where, alike_as_a_whole), (name, everywhere)):
        if near := nearest(asked, names, NEAR):
            return names[near]
    return None


def _known_keys(model: type[BaseModel] = RunConfig, prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        keys.append(f"{prefix}{name}")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += _known_keys(field.annotation, f"{prefix}{name}.")
    return keys
