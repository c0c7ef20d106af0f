"""What we tell to type next is what the user can type."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from console import calling


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """An `acdc` in a folder of programs."""
    file = tmp_path / ".venv" / "bin" / "acdc"
    file.parent.mkdir(parents=True)
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def test_the_command_is_as_it_was_called(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "argv", [".venv/bin/acdc", "run"])
    assert calling.line("ask", "runs/my run") == ".venv/bin/acdc ask 'runs/my run'"
    monkeypatch.setattr(sys, "argv", [str(program), "run"])
    assert calling.command() == ".venv/bin/acdc"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(program.parent)
    monkeypatch.setattr(sys, "argv", ["./acdc", "run"])
    assert calling.command() == "./acdc"
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(sys, "argv", [str(program), "run"])
    assert calling.command() == str(program)
    monkeypatch.setenv("PATH", str(program.parent))
    assert calling.command() == "acdc", "a shell puts the whole path where it found the name"
    monkeypatch.setattr(sys, "argv", ["/anywhere/console/__main__.py"])
    assert calling.command() == f"{sys.executable} -m console"
    monkeypatch.setattr(sys, "argv", ["/usr/bin/pytest"])
    assert calling.command() == "acdc"


def test_the_version_is_told() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "console", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"acdc {calling.version()}\n"
