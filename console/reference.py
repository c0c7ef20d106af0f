"""The reference pages of the documentation, written from the code: settings and commands.

python -m console.reference          # writes docs/configuration.md and docs/commands.md
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel
from typer.cli import get_docs_for_click

import console.app  # noqa: F401  (makes the commands known)
from agents.config import RunConfig
from console.commands.frame import app
from console.commands.init import toml_value
from console.run.config import as_tree

DOCS = Path(__file__).parents[1] / "docs"


def configuration_page() -> str:
    """Every setting of a run with its default, by section."""
    lines = [
        "# Configuration",
        "",
        "Every setting of a run, as `acdc init FILE` writes them too. A value comes from, in this",
        "order: `--set a.b=value`, the environment (`ACDC_A__B`), the file (`--config FILE`), the",
        "default. Where a run goes on without a file, what it was begun with takes the place of",
        "file and default; a file stands for the whole configuration then, too. This page is",
        "written by `python -m console.reference`.",
    ]
    lines += _section(RunConfig, as_tree(RunConfig()), "")
    return "\n".join(lines) + "\n"


def _section(model: type[BaseModel], defaults: dict[str, Any], path: str) -> Iterator[str]:
    inner, rows = [], []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            inner.append((name, kind))
            continue
        default = defaults.get(name)
        shown = "" if default is None else f"`{_cell(toml_value(default))}`"
        rows.append(f"| `{name}` | {shown} | {_cell(field.description or '')} |")
    if rows:
        yield from ("", f"## `[{path}]`" if path else "## At the top", "")
        yield from ("| setting | default | what it is |", "|---|---|---|", *rows)
    for name, kind in inner:
        yield from _section(kind, defaults.get(name) or {}, f"{path}.{name}" if path else name)


def commands_page() -> str:
    """Every command with its arguments and options, in the order of the help, as typer has it."""
    group: Any = typer.main.get_command(app)
    # In an order that does not depend on what was imported first.
    group.commands = dict(sorted(group.commands.items()))
    context: Any = group.make_context("acdc", ["help"], resilient_parsing=True)
    return get_docs_for_click(obj=group, ctx=context, name="acdc", title="Commands").strip() + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


PAGES = {"configuration.md": configuration_page, "commands.md": commands_page}
"""File in docs/ -> its text."""


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
