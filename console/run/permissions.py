"""What a run folder asks of this machine, and what has been permitted here.

A run may come from somebody else, and its config.json says which modules are imported, which
servers are called and which keys they are sent. None of that is done on the folder's word. What a
user has begun, or permitted with `acdc trust`, is recorded on this machine by content, outside of
all run folders.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

from agents.chat.endpoints import OFFLINE
from agents.settings import SandboxSettings
from console import calling
from console.errors import NotPermittedError, UsageError
from console.run.config import cache_folder
from evolution.bank.settings import ModelSettings
from memory.files import replace_file
from memory.hashing import text_hash
from memory.messages import not_written, printable
from memory.records import Role

RECORD = "permitted"
"""Folder of the cache with one file for each permission."""
KEY = "machine.key"
"""File of the cache with the secret of this machine."""
MAX_PLUGIN = 2**24
"""Bytes of a plugin's file; a longer one is no module."""


def requests_of(tree: Mapping[str, Any]) -> list[str]:
    """What a configuration asks for that could do harm, each in one line and by content.

    Also what it would ask for if another setting were different, as the address of an embedder that
    is not in use: whoever changes that setting has not chosen the address.

    Args:
        tree: a configuration as it was written, not yet validated.
    """
    return list(dict.fromkeys(_one_line(line) for line in _requests(tree)))


def _one_line(text: str) -> str:
    """A request that cannot look like two of them, or like another one."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def refuse_unpermitted(
    folder: Path, stored: Mapping[str, Any], tree: Mapping[str, Any], given: Mapping[str, Any]
) -> None:
    """Refuse what a run folder asks for, unless the user has permitted or asked for it.

    Args:
        folder: of the run.
        stored: the configuration in it.
        tree: what the command would use: `stored` with what was given to the command.
        given: what was given to the command alone.

    Raises:
        NotPermittedError: names the first request, and the command that permits it.
    """
    if not unpermitted(requests_of(stored)):
        return  # This folder is the user's own, and so is whatever was given besides.
    asked_for = requests_of(given)
    refused = [line for line in unpermitted(requests_of(tree)) if line not in asked_for]
    if refused:
        first = next((line for line in refused if line.startswith("send")), refused[0])
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        raise NotPermittedError(
            f"{folder}: its config.json asks to {first}{more}, which was not permitted on this "
            "machine: the run comes from elsewhere, or what it asks for has changed; nothing was "
            f"done. See all that it asks for, and permit it, with: {calling.line('trust', folder)}"
        )


def unpermitted(requests: Sequence[str]) -> list[str]:
    """Those requests that were not permitted on this machine."""
    return [line for line in requests if not _record(line).is_file()]


def permit(requests: Sequence[str]) -> None:
    """Record that requests are permitted on this machine.

    Raises:
        UsageError: the cache folder cannot be written.
    """
    for line in unpermitted(requests):
        file = _record(line)
        try:
            file.parent.mkdir(0o700, parents=True, exist_ok=True)
            replace_file(file, line + "\n", 0o600)
        except OSError as error:
            raise UsageError(
                f"{not_written(file, error)}; ACDC_CACHE names another folder"
            ) from None


def machine_key() -> bytes:
    """A secret of this machine, by which it knows again what it has left in a run folder.

    Where it cannot be kept, it is another one each time.
    """
    file = cache_folder() / KEY
    with suppress(OSError):
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            replace_file(file, secrets.token_bytes(32), 0o600)
        return file.read_bytes()
    return secrets.token_bytes(32)


def _record(line: str) -> Path:
    return cache_folder() / RECORD / text_hash(line, 64)


def _requests(tree: Mapping[str, Any]) -> Iterator[str]:
    for name in _listed(tree.get("plugins")):
        yield f"import the module {name} ({_content_of(str(name))})"
    for role in get_args(Role):
        address, key = _endpoint(tree, role)
        if address != OFFLINE or key:
            yield f"send prompts to {address} {_with_key(key)}"
    yield from _of_novelty(_section(tree, "novelty"))
    yield from _of_sandbox(_section(tree, "sandbox"))
    yield from _of_models(tree)
    if joined := _section(tree, "cluster").get("address"):
        # Whoever runs the cluster decides what its members execute.
        yield f"join the Ray cluster at {joined}"


def _of_novelty(novelty: Mapping[str, Any]) -> Iterator[str]:
    place, variable = novelty.get("embedder_url"), novelty.get("embedder_key_env")
    if novelty.get("embedder") == "openai" or place or variable:
        variable = variable or ("" if place else "OPENAI_API_KEY")
        yield f"send texts to the embedder at {place or 'api.openai.com'} {_with_key(variable)}"
    if novelty.get("chroma_url"):
        yield f"keep texts on the Chroma server {novelty['chroma_url']}"


def _of_sandbox(sandbox: Mapping[str, Any]) -> Iterator[str]:
    usual = SandboxSettings()
    image = sandbox.get("docker_image", usual.docker_image)
    if sandbox.get("kind") == "docker" or image != usual.docker_image:
        yield f"run the Docker image {image}"
    modules = sandbox.get("preimport", usual.preimport)
    foreign = [name for name in _listed(modules) if name not in usual.preimport]
    if foreign:
        yield f"import {', '.join(map(str, foreign))} in sandbox processes"


def _of_models(tree: Mapping[str, Any]) -> Iterator[str]:
    models, answering = _section(tree, "models"), _section(tree, "answering")
    seeds = [seed.get("path") for seed in _listed(models.get("seeds")) if isinstance(seed, Mapping)]
    for path in (models.get("base"), *seeds, answering.get("reward_model")):
        if isinstance(path, str) and _is_remote(path):
            yield f"download the model {path}"
    for merge in _listed(models.get("merges")):
        file = merge.get("config") if isinstance(merge, Mapping) else None
        if file:
            yield f"merge what the file {file} names ({_hash(Path(str(file)))})"


def _is_remote(path: str) -> bool:
    """Whether a checkpoint is neither built in nor on this machine."""
    own = path.startswith(("builtin:", "/", ".", "~")) or path == ModelSettings().base
    return not own and not os.path.exists(path)


def _listed(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _endpoint(tree: Mapping[str, Any], role: Role) -> tuple[str, str]:
    """Address and key variable of a role, inherited as `EndpointsSettings.of` does."""
    endpoints = _section(tree, "endpoints")
    first, own = _section(endpoints, "scientist"), _section(endpoints, role)
    general = first.get("base_url") or OFFLINE
    address = own.get("base_url") or general
    key = own.get("api_key_env")
    if key is None and address == general:
        key = first.get("api_key_env")
    return str(address), str(key or "")


def _section(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = tree.get(name)
    return found if isinstance(found, Mapping) else {}


def _with_key(variable: str) -> str:
    return f"with the key in ${variable}" if variable else "without a key"


def _content_of(name: str) -> str:
    """Which module a name stands for now; nothing of it is run."""
    if name.endswith(".py"):
        return _hash(Path(name))
    top = name.partition(".")[0]
    try:
        found = importlib.util.find_spec(top) if top else None
    except (ImportError, ValueError):
        found = None
    if found is None or found.origin is None:
        return "which is not here"
    files, folder = [Path(found.origin)], Path(found.origin).parent
    for part in name.split(".")[1:]:
        inside = (folder / f"{part}.py", folder / part / "__init__.py")
        files += [path for path in inside if path.is_file()]
        folder = folder / part
    return f"{files[-1]}, {' '.join(map(_hash, files))}"


def _hash(file: Path) -> str:
    try:
        if not file.is_file() or file.stat().st_size > MAX_PLUGIN:
            return "which is not here"
        return f"sha256 {hashlib.sha256(file.read_bytes()).hexdigest()}"
    except OSError as error:
        return f"which cannot be read: {error.strerror}"
