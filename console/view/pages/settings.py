"""How a run was set, and what it was made with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agents.config import RunConfig
from console.stories.anchors import anchor_in_words
from console.view.page import Choice, Column, Fact, Facts, Form, Page, Query, Row, Table
from console.view.source import Run


def settings(run: Run, query: Query, rest: str) -> Page:
    """Every setting beside its default, versions, and content hashes."""
    manifest = run.manifest
    defaults = dict(_flat(RunConfig().model_dump(mode="json")))
    rows: list[Row] = [
        {
            "setting": name,
            "value": value,
            "default": defaults.get(name),
            "changed": defaults.get(name) != value,
        }
        for name, value in _flat(run.config)
    ]
    if query.get("show") == "changed":
        rows = [row for row in rows if row["changed"]]
    facts = [
        Fact("run", str(run.store.meta("run_id") or ""), "code"),
        Fact("git commit", manifest.get("git_commit"), "code"),
        Fact("schema of run.db", run.store.schema_version, "count"),
        *(Fact(name, value, "code") for name, value in _bank(run)),
    ]
    versions = manifest.get("versions", {})
    options = [("", "all"), ("changed", "those that differ from the defaults")]
    return Page(
        "Settings",
        [
            Facts("Provenance", facts),
            Form([Choice("show", "Settings", query.get("show", ""), options, closed=True)]),
            Table(
                "settings",
                "Settings",
                [
                    Column("setting", "setting", "code"),
                    Column("value", "value", "code"),
                    Column("default", "default", "code"),
                    Column("changed", "changed", "yes"),
                ],
                rows,
                order="-changed",
            ),
            Table(
                "versions",
                "Versions",
                [Column("package", "package"), Column("version", "version", "code")],
                [{"package": name, "version": version} for name, version in versions.items()],
            ),
            _grafts(run),
        ],
    )


def _flat(tree: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by their dotted names; lists are values."""
    for name, value in tree.items():
        key = f"{before}{name}"
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{key}.")
        else:
            yield key, value


def _bank(run: Run) -> Iterator[tuple[str, str]]:
    bank = run.store.meta("bank")
    if isinstance(bank, dict):
        yield "content of the bank", str(bank.get("content_hash", ""))
    prompts = run.store.meta("prompts")
    if isinstance(prompts, dict):
        for name, digest in prompts.items():
            yield f"prompt {name}", str(digest)


def _grafts(run: Run) -> Table:
    rows = run.rows(
        "SELECT json_extract(payload, '$.anchor') AS anchor, "
        "json_extract(payload, '$.method') AS method, "
        "json_extract(payload, '$.content_hash') AS content, generation, at "
        "FROM events WHERE kind = 'graft' ORDER BY seq"
    )
    for row in rows:
        row["words"] = anchor_in_words(row["anchor"])
    return Table(
        "anchors",
        "Anchors that the run made itself",
        [
            Column("anchor", "anchor", "code"),
            Column("words", "what it is"),
            Column("method", "method"),
            Column("content", "content", "code"),
            Column("generation", "generation", "count"),
            Column("at", "at", "time"),
        ],
        rows,
    )
