"""What all benchmarks have in common."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from benchmarks.reporting import run_as_command

OF_RUNS = {
    "lessons": [],
    "generations": [],
    "judged": [],
    "operators": [],
    "nearness": [],
    "tutoring": ["--expert", "regmean", "--run"],
    "bookkeeping": ["--run"],
}


@pytest.mark.parametrize("name", OF_RUNS)
def test_a_folder_that_is_no_run_is_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("no run\n")
    monkeypatch.setattr(sys, "argv", [name, *OF_RUNS[name], str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        run_as_command(importlib.import_module(f"benchmarks.{name}").main)
    assert ended.value.code == 2
    [said] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert str(tmp_path) in said
