"""What other users of the machine can do with what a run leaves: not write, nor read secrets."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agents.families.folders import write_family
from console.run.permissions import machine_key, permit, unpermitted
from memory.files import replace_file
from memory.store import RunStore
from tests.agents.cases import family


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_permitted_is_the_users_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACDC_CACHE", str(tmp_path / "cache"))
    with umask(0):
        permit(["import a module"])
        key = machine_key()
    assert not unpermitted(["import a module"])
    assert machine_key() == key
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {mode(file) for file in files} == {0o600}
    assert len(files) == 2
    [record] = (path for path in files if path.read_bytes() != key)
    assert mode(record.parent) == 0o700


def test_nobody_else_can_write_to_a_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with umask(0o022), RunStore.open(run):
        write_family(run / "tasks", family(1))
        replace_file(run / "config.json", "{}")
        found = [run, *run.rglob("*")]
        assert {"run.db", "config.json", "task.py"} <= {path.name for path in found}
        assert [path for path in found if mode(path) & 0o022] == []
