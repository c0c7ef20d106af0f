"""Commands that read a run: beside its writer, and without a trace in its folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from memory.store import RunStore
from tests.console.conftest import Acdc

TASKS = [
    {"id": "sum", "instructions": "What is 2 + 2?", "answer": "4", "score": "number"},
    {"id": "word", "instructions": "Say yes.", "answer": "yes"},
]


def contents(folder: Path) -> dict[str, Any]:
    """Every file with its bytes, but for what SQLite itself shares between readers and writer."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(json.dumps(task) + "\n" for task in TASKS))
    return file


def test_a_run_that_another_process_writes_can_be_asked_and_evaluated(
    acdc: Acdc, run: Path, tasks: Path
) -> None:
    with RunStore.open(run):
        assert len(acdc.json("ask", run, "What is 2 + 2?", "-n", "2")["answers"]) == 2
        found = acdc.json("evaluate", run, tasks, "-n", "1")
        assert {row["name"] for row in found["rows"]} >= {"force", "best_expert"}
        assert acdc.json("status", run)["finished"]
        assert acdc.json("trace", run)["assignments"]


def test_readers_leave_the_folder_as_it_was(acdc: Acdc, run: Path, tasks: Path) -> None:
    before = contents(run)
    acdc.json("ask", run, "What is 2 + 2?")
    acdc.json("evaluate", run, tasks, "-n", "1")
    acdc.json("status", run)
    acdc.json("trace", run)
    assert contents(run) == before


def test_a_run_whose_families_are_not_isolated_can_be_asked(
    acdc: Acdc, run: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of a family is run for an answer, so no isolation is needed.

    Where code has to run, the folder's own word that it may is worth nothing.
    """
    file = run / "config.json"
    manifest = json.loads(file.read_text())
    manifest["config"]["sandbox"] |= {"kind": "process", "allow_unsafe": True}
    file.write_text(json.dumps(manifest))
    assert acdc.json("ask", run, "What is 2 + 2?")["answers"]
    assert acdc.json("evaluate", run, tasks, "-n", "1")["rows"]
    # Code of the offline scientist is trusted; what another one may have written is not.
    manifest["config"]["endpoints"]["scientist"] |= {"base_url": "http://127.0.0.1:9", "model": "x"}
    file.write_text(json.dumps(manifest))
    # Where another test has evaluated a copy of this run, grades were kept.
    monkeypatch.setitem(acdc.environment, "ACDC_CACHE", str(tmp_path / "cache"))
    acdc("trust", run, "--yes")
    refused = acdc("evaluate", run, tasks, "-n", "1", "--baselines", code=2)
    assert "must not run without isolation" in refused.stderr
    found = acdc.json("evaluate", run, tasks, "-n", "1", "--baselines", "--allow-unsafe-sandbox")
    assert any(row["name"] == "random_genomes" for row in found["rows"])
