"""Datasets that no two processes draw alike are kept as they were drawn."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.errors import TaskFileError
from agents.evaluation.kept import UNSTABLE, kept_lines
from agents.evaluation.tasks import read_tasks

ROOT = Path(__file__).resolve().parents[3]
READ = """
import json, sys
from pathlib import Path
from agents.evaluation.tasks import read_tasks
kept = Path(sys.argv[2]) if len(sys.argv) > 2 else None
print(json.dumps([task.model_dump(mode="json") for task in read_tasks([Path(sys.argv[1])], kept)]))
"""
DRAW = """
import contextlib, io, json, sys
import reasoning_gym
from reasoning_gym.factory import DATASETS
found = {}
for name in sorted(set(DATASETS) - {"composite"}):
    # Integration by parts differs rarely.
    size = 40 if name in sys.argv[1:] else 6
    with contextlib.redirect_stdout(io.StringIO()):
        entries = list(reasoning_gym.create_dataset(name, size=size, seed=1234))
    found[name] = json.dumps(entries, sort_keys=True, default=str)
print(json.dumps(found))
"""


def process(hash_seed: int, program: str, *words: Path | str) -> Any:
    """What a process of its own prints, with its own order of sets."""
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-c", program, *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def datasets(folder: Path, size: int) -> Path:
    lines: list[dict[str, Any]] = [{"reasoning_gym": name} for name in [*sorted(UNSTABLE), "gcd"]]
    file = folder / f"tasks-{size}.jsonl"
    file.write_text("".join(json.dumps({**line, "size": size, "seed": 7}) + "\n" for line in lines))
    return file


@pytest.mark.slow
def test_processes_with_other_hash_seeds_ask_the_same_and_more_only_adds(tmp_path: Path) -> None:
    few, more, kept = datasets(tmp_path, 3), datasets(tmp_path, 6), tmp_path / "drawn"
    first = process(0, READ, few, kept)
    assert process(1, READ, few, kept) == first
    second = {task["id"]: task for task in process(2, READ, more, kept)}
    assert len(second) == 2 * len(first)
    assert all(second[task["id"]] == task for task in first)
    assert process(0, READ, more, kept) == list(second.values())
    assert {file.name.rsplit("-", 1)[0] for file in kept.iterdir()} == UNSTABLE


@pytest.mark.slow
def test_the_datasets_that_are_kept_are_those_that_hash_seeds_change() -> None:
    one, other = (process(seed, DRAW, *sorted(UNSTABLE)) for seed in (0, 1))
    assert [name for name in one if one[name] != other[name]] == sorted(UNSTABLE)


def test_what_is_kept_is_a_task_file(tmp_path: Path) -> None:
    kept = tmp_path / "drawn"
    tasks = read_tasks([datasets(tmp_path, 2)], kept)
    files = sorted(kept.iterdir())
    assert {task.id for task in read_tasks(files)} == {
        task.id for task in tasks if task.cluster != "gcd"
    }


def test_a_kept_file_that_is_damaged_is_named(tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text(json.dumps({"reasoning_gym": "ransom_note", "size": 1}))
    read_tasks([file], tmp_path / "drawn")
    [kept] = (tmp_path / "drawn").iterdir()
    kept.write_text('{"id": \n')
    with pytest.raises(TaskFileError, match=rf"{kept.name}:1: this is not JSON"):
        read_tasks([file], tmp_path / "drawn")
    (tmp_path / "blocked").write_text("")
    with pytest.raises(TaskFileError, match="cannot be kept"):
        read_tasks([file], tmp_path / "blocked")


def test_only_missing_lines_are_drawn(tmp_path: Path) -> None:
    drawn: list[int] = []

    def draw(start: int) -> list[str]:
        drawn.append(start)
        return [f"line {place}" for place in range(start, 4)]

    file = tmp_path / "a" / "b.jsonl"
    assert kept_lines(file, 4, draw) == ["line 0", "line 1", "line 2", "line 3"]
    assert kept_lines(file, 2, draw) == ["line 0", "line 1"]
    assert drawn == [0]


def test_a_folder_that_stays_locked_is_waited_for_so_long_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.evaluation.kept.LOCK_SECONDS", 0.2)
    holder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(TaskFileError, match="locked by another process"):
            kept_lines(tmp_path / "tasks", 1, lambda first: ["a"])
    finally:
        os.close(holder)
    assert kept_lines(tmp_path / "tasks", 1, lambda first: ["a"]) == ["a"]
