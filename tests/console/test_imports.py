"""What the command loads before it knows what it has to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "torch",
    "transformers",
    "chromadb",
    "openai",
    "langgraph",
    "mergekit",
    "reasoning_gym",
}
SHOW_LOADED = """import atexit, sys
atexit.register(lambda: print('loaded', *sorted({} & set(sys.modules)), file=sys.stderr))
"""


def loaded(program: str) -> set[str]:
    """Which of the heavy libraries are loaded when a program ends."""
    show = SHOW_LOADED.format(HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", show + program],
        capture_output=True,
        text=True,
        check=False,
    )
    [line] = [line for line in done.stderr.splitlines() if line.startswith("loaded")]
    return set(line.split()[1:])


def test_the_command_line_is_there_without_any_library() -> None:
    assert loaded("import console.app") == set()


def test_nor_does_the_viewer_need_any() -> None:
    assert loaded("import console.view.server") == set()


def test_a_library_that_is_loaded_would_be_seen() -> None:
    assert "openai" in loaded("import console.app, openai")


@pytest.mark.parametrize(
    "words", [["status"], ["trace"], ["status", "--json"], ["report", "--json"]], ids=" ".join
)
def test_a_run_is_looked_at_without_any_library(finished_run: Path, words: list[str]) -> None:
    command = ["acdc", words[0], str(finished_run), *words[1:]]
    program = f"import sys; sys.argv = {command!r}\nfrom console.app import main; main()"
    assert loaded(program) == set()
