"""`acdc init`: a commented configuration file, generated from the settings themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from agents.config import RunConfig
from console import calling
from console.commands.frame import AsJson, Debug, app, finish, out, print_json
from console.errors import UsageError
from console.run.config import as_tree, resolve
from memory.messages import not_written

HEADER = """\
# Configuration of an AC/DC run. Lines that begin with # are the defaults: take the # away to change
# one. Use it with: acdc run DIR --config {name}
"""


EXAMPLES = """Examples:

acdc init mine.toml    all defaults, commented

acdc init mine.toml --scientist-url http://localhost:8000/v1 --scientist-model Qwen2.5-72B

acdc init mine.toml --scientist-url https://HOST/v1 --scientist-model M --scientist-key-env MY_KEY
"""


_LONGER = (
    "judge.max_tokens = {}, as models of your own may reason before they answer: the time of a run "
    "grows with it"
)


@app.command(epilog=EXAMPLES)
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE")] = Path("acdc.toml"),
    scientist_url: Annotated[
        str | None, typer.Option(help="Base URL of an OpenAI-compatible endpoint.")
    ] = None,
    scientist_model: Annotated[str | None, typer.Option(help="Model name at the endpoint.")] = None,
    scientist_key_env: Annotated[
        str | None,
        typer.Option(
            metavar="VARIABLE",
            help="Environment variable that holds the key of a hosted endpoint; never the key.",
        ),
    ] = None,
    base: Annotated[str | None, typer.Option(help="Base: a folder, hub id or GGUF.")] = None,
    seed_model: Annotated[
        list[str] | None, typer.Option(help="A seed: folder, hub id or adapter; repeat it.")
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write a commented configuration file."""

    def action() -> None:
        settings = filled_in(
            scientist_url, scientist_model, base, seed_model or [], scientist_key_env
        )
        write_config(file, settings)
        name = "mine" if file.stem == "acdc" else file.stem
        following = calling.line("run", f"runs/{name}", "--config", file)
        checking = calling.line("doctor", "--config", file)
        if as_json:
            print_json({"file": str(file), "check": checking, "next": following})
        else:
            out.message(f"wrote {file}")
            if settings.judge.max_tokens != RunConfig().judge.max_tokens:
                out.message(_LONGER.format(settings.judge.max_tokens))
            out.message(f"check it, and see what it takes: {checking}")
            out.message(f"run it with: {following}")

    finish(action, debug)


def filled_in(
    scientist_url: str | None,
    scientist_model: str | None,
    base: str | None,
    seeds: Sequence[str],
    key_env: str | None = None,
) -> RunConfig:
    """The default configuration with what the command line named filled in.

    Raises:
        UsageError: a key stands where its variable should.
        ConfigError: a value is not possible.
    """
    overrides = []
    if scientist_url is not None:
        overrides.append(f"endpoints.scientist.base_url={json.dumps(scientist_url)}")
    if scientist_model is not None:
        overrides.append(f"endpoints.scientist.model={json.dumps(scientist_model)}")
    if key_env is not None:
        if not key_env.isidentifier():
            raise UsageError(
                "--scientist-key-env takes the name of an environment variable, as in "
                "OPENAI_API_KEY; keys are never written into files"
            )
        overrides.append(f"endpoints.scientist.api_key_env={json.dumps(key_env)}")
    if base is not None:
        overrides.append(f"models.base={json.dumps(base)}")
    if seeds:
        names = _seed_names(seeds)
        named = [{"name": name, "path": path} for name, path in zip(names, seeds, strict=True)]
        overrides.append(f"models.seeds={toml_value(named)}")
    if base is not None or seeds:
        # The built-in experts answer in a few words; others may want to reason first.
        overrides.append("judge.max_tokens=512")
    return resolve(None, overrides)


def _seed_names(paths: Sequence[str]) -> list[str]:
    """A name for each seed: the end of its path without revision, numbered where two are alike."""
    names: list[str] = []
    for path in paths:
        last = re.split(r"[/:]", path.rstrip("/"))[-1].split("@")[0].lower()
        name = re.sub(r"[^a-z0-9_.-]+", "-", last).lstrip("-._") or "seed"
        taken = [other for other in names if re.fullmatch(rf"{re.escape(name)}(-\d+)?", other)]
        names.append(f"{name}-{len(taken) + 1}" if taken else name)
    return names


def write_config(file: Path, config: RunConfig) -> None:
    """Write a commented configuration; what differs from the defaults is set, the rest commented.

    Raises:
        UsageError: the file exists already or cannot be written.
    """
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(render_config(config, file.name))
    except FileExistsError:
        raise UsageError(f"{file} exists already; name another file or remove it") from None
    except OSError as error:
        raise UsageError(not_written(file, error)) from None


def render_config(config: RunConfig, name: str = "acdc.toml") -> str:
    """The text of the configuration file."""
    lines = [HEADER.format(name=name)]
    _section(lines, RunConfig, as_tree(config), as_tree(RunConfig()), ())
    return "\n".join(lines) + "\n"


def _section(
    lines: list[str],
    model: type[BaseModel],
    values: Mapping[str, Any],
    defaults: Mapping[str, Any],
    path: tuple[str, ...],
) -> None:
    """Scalars first, then sub-sections, as TOML wants it."""
    inner = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            inner.append((name, field.annotation))
            continue
        if field.description:
            lines.append(f"# {field.description}")
        mark = "# " if values[name] == defaults.get(name) else ""
        lines.append(_assignment(mark, name, values[name]))
    for name, kind in inner:
        here = (*path, name)
        lines += ["", f"[{'.'.join(here)}]"]
        _section(lines, kind, values[name], defaults.get(name) or {}, here)


def _assignment(mark: str, name: str, value: Any) -> str:
    if value is None:
        return f"# {name} ="
    return f"{mark}{name} = {toml_value(value)}"


def toml_value(value: Any) -> str:
    """A JSON value in TOML, on one line."""
    if isinstance(value, Mapping):
        inner = ", ".join(
            f"{_key(key)} = {toml_value(item)}" for key, item in value.items() if item is not None
        )
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False)


def _key(key: str) -> str:
    bare = key.replace("_", "").replace("-", "")
    return key if bare.isascii() and bare.isalnum() else json.dumps(key)
