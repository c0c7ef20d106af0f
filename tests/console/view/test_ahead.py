"""What is read before the first page is asked for."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from console.view.ahead import read_ahead
from console.view.matrix import SkillMatrix
from console.view.source import find_runs


def test_skills_and_costs_are_read_once(finished_run: Path) -> None:
    [source] = find_runs([finished_run])
    read_ahead([source]).join()
    with source.open() as run:
        _, known = source.kept["skills"]
        assert SkillMatrix.of(run) is known
        assert len(run.ledger.tokens) == len(run.store.answers_of())


def test_a_damaged_run_is_left_to_its_page(finished_run: Path, tmp_path: Path) -> None:
    for name in ("damaged", "whole"):
        shutil.copytree(finished_run, tmp_path / name)
    with closing(sqlite3.connect(tmp_path / "damaged" / "run.db")) as damaged:
        damaged.execute("DROP TABLE skills")
        damaged.commit()
    sources = find_runs([tmp_path])
    read_ahead(sources).join()
    assert ["skills" in source.kept for source in sources] == [False, True]
