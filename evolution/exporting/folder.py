"""A folder that transformers, vLLM and mergekit load, put in its place as a whole or not at all."""

from __future__ import annotations

import copy
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from evolution.bank.bank import Bank
from evolution.errors import ExportError
from evolution.exporting.card import About, model_card
from evolution.exporting.recipe import Sources, mergekit_recipe, recipe
from evolution.exporting.shards import SHARD_BYTES, write_shards
from evolution.exporting.stored_names import Storage
from evolution.genome.genome import Genome
from evolution.materialise.weights import rounded
from memory.messages import not_written

CONFIG = "config.json"
"""Moved last and removed first: without it no program takes a folder for a model."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        weight_bytes: of all tensors.
        obstacle: why there is no mergekit recipe beside it; None if there is one.
    """

    folder: Path
    files: tuple[str, ...]
    weight_bytes: int
    obstacle: str | None


def export_expert(
    bank: Bank,
    genome: Genome,
    about: About,
    sources: Sources,
    out: Path,
    *,
    force: bool = False,
    shard_bytes: int = SHARD_BYTES,
) -> Exported:
    """Write an expert with tokenizer, recipe and model card.

    Everything is written beside `out` first and moved there when it is whole.

    Args:
        bank: that the genome belongs to.
        genome: the expert.
        about: for recipe and card.
        sources: where base and seeds are, for the mergekit recipe.
        out: an empty or missing folder; with `force` one whose model may be replaced.
        force: replace files of the same names; others in the folder stay.
        shard_bytes: largest weight file.

    Raises:
        ExportError: the place is taken, or cannot be written to.
        GenomeError: the genome does not fit the bank.
    """
    check_place(out, force)
    merge, obstacle = mergekit_recipe(bank, genome, sources)
    texts = {
        "recipe.json": json.dumps(recipe(bank, genome, about), indent=2) + "\n",
        "README.md": model_card(bank, genome, about, sources, obstacle),
        **({} if merge is None else {"mergekit.yml": merge}),
    }
    try:
        with _beside(out) as draft:
            weight_bytes = write_checkpoint(bank, genome, draft, shard_bytes)
            bank.tokenizer.save_pretrained(draft)
            for name, text in texts.items():
                (draft / name).write_text(text, encoding="utf-8")
            files = tuple(sorted(path.name for path in draft.iterdir()))
            _move(draft, out)
    except OSError as error:
        raise ExportError(not_written(out, error)) from error
    return Exported(out, files, weight_bytes, obstacle)


def check_place(out: Path, force: bool) -> None:
    """Refuse a place that is taken.

    Raises:
        ExportError: it is a file, or a folder that holds something and is not to be replaced. What
            is a run, or anything else whose configuration is called alike, is never replaced.
    """
    if out.exists() and not out.is_dir():
        raise ExportError(f"{out} is a file: choose a folder")
    config = out / "config.json"
    if config.exists() and not _is_of_a_model(config):
        raise ExportError(f"{config} does not belong to a model: choose another folder")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise ExportError(
            f"{out} is not empty: choose another folder, or replace its model (--force, force=True)"
        )


def _is_of_a_model(config: Path) -> bool:
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "model_type" in content


def write_checkpoint(
    bank: Bank, genome: Genome, folder: Path, shard_bytes: int = SHARD_BYTES
) -> int:
    """Write weights and configuration only, streamed: about one tensor is held at a time.

    Tensors have the names under which transformers stores them; tied ones come once.

    Args:
        bank: that the genome belongs to.
        genome: the expert.
        folder: that exists.
        shard_bytes: largest weight file.

    Returns:
        Bytes of weights.
    """
    config = copy.deepcopy(bank.config)
    config.dtype = bank.dtype
    storage = Storage(bank)
    weights = storage.named(rounded(bank, genome))
    written = write_shards(folder, storage.shapes, weights, bank.dtype, shard_bytes)
    config.architectures = [storage.architecture]
    bank.generation.save_pretrained(folder)
    config.save_pretrained(folder)
    return written


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A hidden folder on the same disk, which is removed at the end in any case."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=out.parent, prefix=f".{out.name}.", suffix=".part", ignore_cleanup_errors=True
    ) as scratch:
        # A folder of its own within: the temporary one is private, a model need not be.
        draft = Path(scratch) / "model"
        draft.mkdir()
        yield draft


def _move(draft: Path, out: Path) -> None:
    """Replace an empty folder in one step, or an earlier model file by file."""
    if not out.is_dir() or not any(out.iterdir()):
        os.replace(draft, out)
        return
    (out / CONFIG).unlink(missing_ok=True)
    # An earlier model may have been split into other shards, or been expressible for mergekit.
    for stale in [*out.glob("model*.safetensors*"), out / "mergekit.yml"]:
        stale.unlink(missing_ok=True)
    for file in sorted(draft.iterdir(), key=lambda path: path.name == CONFIG):
        if (out / file.name).is_dir():
            shutil.rmtree(out / file.name)
        os.replace(file, out / file.name)
