"""Families that a run is given to begin with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.errors import FamilyFolderError
from agents.families.folders import METADATA
from agents.pool.adoption import family_folders


def family_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / METADATA).write_text(json.dumps({}))
    return folder


def test_a_path_is_a_family_or_a_folder_of_families(tmp_path: Path) -> None:
    second = family_folder(tmp_path / "tasks" / "second")
    first = family_folder(tmp_path / "tasks" / "first")
    (tmp_path / "tasks" / "notes").mkdir()
    alone = family_folder(tmp_path / "alone")
    found = family_folders([str(tmp_path / "tasks"), str(alone)])
    assert found == [first, second, alone]


def test_a_path_without_families_is_named(tmp_path: Path) -> None:
    with pytest.raises(FamilyFolderError, match="nothing-here"):
        family_folders([str(tmp_path / "nothing-here")])
