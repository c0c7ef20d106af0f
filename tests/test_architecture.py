"""The rooms import one way only: console -> agents -> evolution -> memory; agents -> prompts."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "memory": set[str](),
    "prompts": set[str](),
    "evolution": {"memory"},
    "agents": {"memory", "evolution", "prompts"},
    "console": {"memory", "evolution", "prompts", "agents"},
}


def imported_rooms(file: Path) -> set[str]:
    rooms: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            rooms.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            rooms.add(node.module.split(".")[0])
    return rooms & ({*MAY_IMPORT, "seeds", "tests", "benchmarks"})


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_room_imports_only_the_rooms_below_it(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    offenders = {
        str(file.relative_to(ROOT)): sorted(extra)
        for file in files
        if (extra := imported_rooms(file) - MAY_IMPORT[room] - {room})
    }
    assert offenders == {}


def test_the_direction_is_a_chain_without_cycles() -> None:
    for room, below in MAY_IMPORT.items():
        for other in below:
            assert room not in MAY_IMPORT[other]
