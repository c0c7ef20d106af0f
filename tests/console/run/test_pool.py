"""Whole runs of the real command with a pool of workers."""

from __future__ import annotations

from pathlib import Path

from tests.console.conftest import Acdc, outcome_of

WORKERS = ["--set", "cluster.kind=local", "--set", "cluster.workers=2", "--set", "cluster.chunk=3"]


def test_two_workers_end_with_the_archive_of_one_engine(
    acdc: Acdc, tiny_config: Path, finished_run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "pool"
    acdc("run", folder, "--config", tiny_config, *WORKERS)
    assert outcome_of(folder) == outcome_of(finished_run)
