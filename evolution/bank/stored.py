"""Stored weights: the safetensors files of a folder, each opened once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from evolution.bank.files import read_json
from evolution.errors import CheckpointError
from memory.messages import first_line

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
_PLAIN = ("BF16", "F16", "F32", "F64")


@dataclass(frozen=True)
class Stored:
    """The tensors of some safetensors files.

    Attributes:
        label: what the checkpoint is called in messages.
        files: tensor name -> file that holds it.
    """

    label: str
    files: Mapping[str, Path]
    _open: dict[Path, Any] = field(default_factory=dict)

    def read(self, name: str) -> Tensor:
        """A tensor, in the dtype in which it is stored.

        Raises:
            CheckpointError: it cannot be read.
        """
        try:
            tensor: Tensor = self._file(name).get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise _damaged(self.files[name], self.label, error) from error
        return tensor

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, from the header of its file.

        Raises:
            CheckpointError: its values are not plain numbers, or it cannot be read.
        """
        try:
            found = self._file(name).get_slice(name)
            shape, dtype = tuple(found.get_shape()), str(found.get_dtype())
        except (OSError, SafetensorError) as error:
            raise _damaged(self.files[name], self.label, error) from error
        if dtype not in _PLAIN:
            raise CheckpointError(
                f"{self.label}: tensor {name} is stored as {dtype}, whose values need scales: save "
                f"the checkpoint as one of {', '.join(_PLAIN)}"
            )
        return shape

    def elements(self) -> int:
        """Numbers in all tensors."""
        return sum(math.prod(self.shape(name)) for name in self.files)

    def _file(self, name: str) -> Any:
        """A header may name half a million tensors: it is parsed once."""
        path = self.files[name]
        if path not in self._open:
            self._open[path] = safe_open(path, framework="pt")
        return self._open[path]


def stored_weights(folder: Path, label: str) -> Stored:
    """What a folder holds; as in transformers, a whole file comes before an index beside it.

    Raises:
        CheckpointError: there are no safetensors, or they are damaged.
    """
    if (folder / SINGLE).is_file():
        shards = [folder / SINGLE]
    elif (folder / INDEX).is_file():
        named = read_json(folder / INDEX, label).get("weight_map")
        if not isinstance(named, dict) or not named:
            raise CheckpointError(f"{label}: {INDEX} is damaged: it has no weight_map")
        shards = sorted({folder / str(file) for file in named.values()})
    else:
        raise CheckpointError(
            f"{label} holds no weights: {SINGLE} is missing; pickles (pytorch_model.bin) are not "
            "read, they can run code: where you trust them, load the model with transformers and "
            "save it again (save_pretrained writes safetensors)"
        )
    return stored_in(shards, label)


def stored_in(files: Iterable[Path], label: str) -> Stored:
    """The tensors of some files.

    Raises:
        CheckpointError: one is missing or damaged.
    """
    return Stored(label, {name: file for file in files for name in _names(file, label)})


def _names(file: Path, label: str) -> Iterator[str]:
    if not file.is_file():
        raise CheckpointError(f"{label}: {file.name} is missing or damaged: no such file")
    try:
        with safe_open(file, framework="pt") as stored:
            yield from stored.keys()
    except (OSError, SafetensorError) as error:
        raise _damaged(file, label, error) from error


def _damaged(file: Path, label: str, error: Exception) -> CheckpointError:
    return CheckpointError(f"{label}: {file.name} is missing or damaged: {first_line(error)}")
