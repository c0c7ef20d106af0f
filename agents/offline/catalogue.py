"""All that the offline scientist can write about, read from `data/`, and how to find it."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterable
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from agents.offline.entries import Entry

FIELD_FILES = ("arithmetic", "words", "logic", "integers")


class _EntryFile(BaseModel):
    """One file of `data/`."""

    model_config = ConfigDict(extra="forbid")

    entries: tuple[Entry, ...]


def _read(name: str) -> tuple[Entry, ...]:
    text = files("agents.offline").joinpath("data", f"{name}.toml").read_text(encoding="utf-8")
    return _EntryFile.model_validate(tomllib.loads(text)).entries


def _interleaved(fields: Iterable[Iterable[Entry]]) -> tuple[Entry, ...]:
    """One entry of each field in turn, so that neighbours test different things."""
    rows = itertools.zip_longest(*fields)
    return tuple(entry for row in rows for entry in row if entry is not None)


CATALOGUE = _interleaved(map(_read, FIELD_FILES))
WITHIN_REACH = tuple(entry for entry in CATALOGUE if entry.within_reach)
STRETCH = tuple(entry for entry in CATALOGUE if not entry.within_reach)
_BY_GENERATOR = {entry.generator: entry for entry in CATALOGUE}


def entry_of(generator: str) -> Entry | None:
    """The entry of a generator, None if the catalogue has none."""
    return _BY_GENERATOR.get(generator)


def entries_named_in(text: str) -> list[Entry]:
    """Entries whose title, or a title of whose wordings, occurs in a text."""
    return [entry for entry in CATALOGUE if any(title in text for title in entry.titles)]


def entries_with(capability: str) -> list[Entry]:
    """Entries that test one of the capabilities named in a text."""
    return [entry for entry in CATALOGUE if entry.capability in capability]


def entries_of(field: str) -> list[Entry]:
    """Entries of a field of capability, those within reach first."""
    found = [entry for entry in CATALOGUE if entry.field == field]
    return sorted(found, key=lambda entry: not entry.within_reach)
