"""Runs mergekit, in a process of its own.

It seeds global random streams, keeps its files mapped and may take much memory: none of that is to
be left behind in a run. Equal input gives equal output, since nothing else enters.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from evolution.bank.bank import Bank
from evolution.errors import MergeError
from evolution.exporting import write_checkpoint
from evolution.genome.genome import Genome
from memory.messages import not_written

_OUT, _PLAN = ".merged", ".merge.yml"
"""No expert is called so: names begin with a letter or a digit."""
_OPTIONS = ("--quiet", "--no-write-model-card", "--no-copy-tokenizer")
_ADAPTERS = ("--lora-merge-cache", ".adapters", "--lora-merge-dtype", "float32")
"""Where mergekit may write models with LoRA adapters merged in, and how exactly."""
_START_SECONDS = 600.0
_BYTES_PER_SECOND = 5e6
"""mergekit may be as slow as this, over all that it reads: a slow disk, or a machine at work."""
REFERENCES = ("model", "base_model")
"""Keys of a configuration under which models are named."""


@contextmanager
def merged(
    label: str,
    bank: Bank,
    members: Mapping[str, Genome],
    configuration: Mapping[str, Any],
    rng_seed: int,
    scratch: Path,
) -> Iterator[Path]:
    """The folder of a merge, which is gone afterwards, as all that was written for it.

    Args:
        label: what the merge is called in messages.
        bank: that the members belong to.
        members: name -> genome, written as checkpoints under these names.
        configuration: of mergekit, in which models have these names.
        rng_seed: of methods that draw at random.
        scratch: where there is room for the members and the result.

    Raises:
        MergeError: mergekit failed, with its own last line.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=scratch, prefix=".part-", ignore_cleanup_errors=True) as work:
        place = Path(work)
        try:
            _write(bank, members, configuration, place)
        except OSError as error:
            raise MergeError(f"{label}: {not_written(scratch, error)}") from error
        _run(label, place, rng_seed)
        yield place / _OUT


def _write(
    bank: Bank, members: Mapping[str, Genome], configuration: Mapping[str, Any], place: Path
) -> None:
    """The members as checkpoints, and the configuration that names their folders."""
    for name, genome in members.items():
        if name in ("", "..") or Path(name).name != name:
            # Experts are named by a run's records, which may be anybody's.
            raise MergeError(f"{name!r} cannot name a folder: members of a merge become folders")
        folder = place / name
        folder.mkdir()
        write_checkpoint(bank, genome, folder)
        bank.tokenizer.save_pretrained(folder)
    text = yaml.safe_dump(_with_paths(configuration, set(members)), sort_keys=False)
    (place / _PLAN).write_text(text, encoding="utf-8")


def _run(label: str, place: Path, rng_seed: int) -> None:
    command = [sys.executable, "-m", "mergekit.scripts.run_yaml", _PLAN, _OUT]
    command += [*_OPTIONS, *_ADAPTERS, "--random-seed", str(rng_seed % 2**32)]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "TRANSFORMERS_VERBOSITY": "error"}
    seconds = deadline_of(place)
    try:
        done = subprocess.run(
            command,
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MergeError(
            f"{label}: mergekit did not end within {seconds:.0f} s, and was ended"
        ) from None
    if done.returncode != 0 or not (place / _OUT / "config.json").is_file():
        raise MergeError(f"{label}: mergekit failed: {_reason(done.returncode, done.stderr)}")


def deadline_of(place: Path) -> float:
    """Seconds that a merge of the checkpoints below a folder may take."""
    size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    return _START_SECONDS + size / _BYTES_PER_SECOND


def _reason(code: int, stderr: str) -> str:
    """The last error line of mergekit; a killed process leaves none."""
    if code < 0:
        hint = ", perhaps for lack of memory" if -code == signal.SIGKILL else ""
        return f"it was killed by signal {-code}{hint}"
    said = [line.strip() for line in stderr.splitlines() if line.strip()]
    return said[-1] if said else f"exit code {code}"


def _with_paths(value: Any, members: set[str]) -> Any:
    """The configuration with the folders of members in place of their names."""

    def placed(reference: str) -> str:
        parts = reference.split("+")
        return "+".join(f"./{part}" if part in members else part for part in parts)

    if isinstance(value, Mapping):
        return {
            key: placed(item)
            if key in (*REFERENCES, "tokenizer_source") and isinstance(item, str)
            else _with_paths(item, members)
            for key, item in value.items()
        }
    return [_with_paths(item, members) for item in value] if isinstance(value, list) else value
