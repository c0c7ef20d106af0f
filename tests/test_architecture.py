"""Imports point one way only: between rooms, between folders of agents/, between modules."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
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
LAYERS = (
    {"errors", "progress", "concurrency", "settings", "rejections"},
    {"chat", "sandbox", "offline", "families"},
    {"config"},
    {"context"},
    {"judge", "critic"},
    {"trial", "task_force"},
    {"lessons"},
    {"scientist", "evaluation"},
    {"pool"},
    {"archive"},
    {"graph"},
)
"""Of agents/, the lowest first: services, what nodes work with, nodes, the run's graph."""


def imported_rooms(file: Path) -> set[str]:
    rooms: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            rooms.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            rooms.add(node.module.split(".")[0])
    return rooms & ({*MAY_IMPORT, "acdc", "seeds", "tests", "benchmarks"})


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


def test_every_folder_of_agents_has_its_layer() -> None:
    found = {path.stem for path in (ROOT / "agents").glob("*") if not path.name.startswith("__")}
    assert found == set[str]().union(*LAYERS)


def test_folders_of_agents_import_only_from_the_layers_below() -> None:
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    upwards = {
        f"{file.relative_to(ROOT)} -> {module}"
        for file in sorted((ROOT / "agents").rglob("*.py"))
        for module in modules_imported(ast.walk(ast.parse(file.read_text())))
        if module.startswith("agents.")
        if (own := file.relative_to(ROOT / "agents").parts[0].removesuffix(".py")) != "__init__"
        if (other := module.split(".")[1]) != own and level[other] >= level[own]
    }
    assert upwards == set()


def test_no_modules_import_each_other() -> None:
    """Of what is imported when a module is; functions may import what imports them."""
    files = [file for room in MAY_IMPORT for file in (ROOT / room).rglob("*.py")]
    names = {name_of(file): file for file in files}
    graph = {
        name: {
            module
            for module in modules_imported(when_imported(ast.parse(file.read_text())))
            if module in names and not name.startswith(f"{module}.")
        }
        for name, file in names.items()
    }
    graphlib.TopologicalSorter(graph).prepare()


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def when_imported(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when a module is imported: no bodies of functions, nothing for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield child
            yield from when_imported(child)


def modules_imported(nodes: Iterator[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


LOADERS = {"from_pretrained", "from_config"}


def test_no_checkpoint_may_bring_code_of_its_own() -> None:
    """transformers asks at the terminal, or runs it, unless the argument is given."""
    lacking = []
    for room in MAY_IMPORT:
        for file in sorted((ROOT / room).rglob("*.py")):
            for call in ast.walk(ast.parse(file.read_text())):
                if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                    continue
                auto = isinstance(call.func.value, ast.Name) and call.func.value.id.startswith(
                    "Auto"
                )
                refuses = any(
                    word.arg == "trust_remote_code" and ast.unparse(word.value) == "False"
                    for word in call.keywords
                )
                if call.func.attr in LOADERS and auto and not refuses:
                    lacking.append(f"{file.relative_to(ROOT)}:{call.lineno}")
    assert not lacking
