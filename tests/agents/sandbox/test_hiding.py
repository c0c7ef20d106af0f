"""What families cannot import."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from agents.sandbox.guest.hiding import PROJECT

ROOT = Path(__file__).parents[3]
TRIED = """
import sys
from agents.sandbox.guest.hiding import HiddenProject
sys.meta_path.insert(0, HiddenProject({root!r}))
sys.path[:0] = {path!r}
for name in [name for name in sys.modules if name.partition(".")[0] in ("memory", "acdc")]:
    del sys.modules[name]
try:
    import {name}
except ModuleNotFoundError as error:
    print(error)
else:
    print({name}.WHOSE)
"""


@pytest.mark.parametrize(
    ("path", "name", "found"),
    [
        (["site"], "memory", "No module named 'memory'"),
        (["site"], "memory.store", "No module named 'memory'"),
        (["site"], "acdc", "No module named 'acdc'"),
        (["site"], "installed", "somebody's"),
        (["own", "site"], "memory", "a submission's"),
    ],
)
def test_the_project_is_hidden_where_it_is_installed_and_nothing_else(
    tmp_path: Path, path: list[str], name: str, found: str
) -> None:
    (tmp_path / "site/memory/store").mkdir(parents=True)
    (tmp_path / "site/memory/__init__.py").touch()
    (tmp_path / "site/acdc.py").write_text("WHOSE = 'ours'")
    (tmp_path / "site/installed.py").write_text('WHOSE = "somebody\'s"')
    (tmp_path / "own").mkdir()
    (tmp_path / "own/memory.py").write_text('WHOSE = "a submission\'s"')
    folders = [str(tmp_path / folder) for folder in path]
    program = TRIED.format(root=str(tmp_path / "site"), path=folders, name=name)
    tried = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert tried.stdout.strip() == found


def test_all_that_is_installed_is_hidden() -> None:
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {name.rstrip("*") for name in found["packages"]["find"]["include"]}
    assert set(PROJECT) == packages | set(found["py-modules"])
