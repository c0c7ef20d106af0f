"""Faults that `benchmarks.faults` injects into whole runs, a few of them, and what it would see."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.faults_cases import sandbox_killed
from benchmarks.faults_kills import killed_runs
from benchmarks.faults_lab import Lab, difference
from benchmarks.resume import length_of
from tests.console.conftest import Acdc


@pytest.fixture
def lab(acdc: Acdc, tiny_config: Path, finished_run: Path, tmp_path: Path) -> Lab:
    return Lab(acdc, tiny_config, finished_run, length_of(finished_run), tmp_path)


@pytest.mark.slow
def test_signals_at_random_moments_leave_archive_answers_and_grades_as_they_would_be(
    lab: Lab,
) -> None:
    runs = list(killed_runs(lab, kills=4, seed=0))
    kills = [kill for run in runs for kill in run.kills]
    assert len(kills) == 4
    assert [kill for kill in kills if kill.strange or kill.left] == []
    assert [str(run.difference) for run in runs] == ["none"] * len(runs)


def test_processes_of_the_sandbox_that_are_killed_do_no_harm(lab: Lab) -> None:
    outcome = sandbox_killed(lab)
    assert not outcome.harm, outcome.found


HARM = {
    "lost": "DELETE FROM grades WHERE rowid = 1",
    "added": "INSERT INTO grades SELECT 'k', answer_key, passed, json_set(record, '$.key', 'k', "
    "'$.code_hash', 'other') FROM grades LIMIT 1",
    "doubled": "INSERT INTO grades SELECT 'k', answer_key, passed, json_set(record, '$.key', 'k') "
    "FROM grades LIMIT 1",
    "changed": "UPDATE answers SET genome_id = 'other', record = json_set(record, '$.genome_id', "
    "'other') WHERE rowid = 1",
    "archive": "DELETE FROM archive_entries WHERE rank = 3 AND generation = 4",
}


@pytest.mark.parametrize("harm", HARM)
def test_every_harm_is_seen(finished_run: Path, tmp_path: Path, harm: str) -> None:
    folder = tmp_path / "harmed"
    shutil.copytree(finished_run, folder)
    assert not difference(folder, finished_run)
    with closing(sqlite3.connect(folder / "run.db")) as database, database:
        database.execute(HARM[harm])
    assert getattr(difference(folder, finished_run), harm) == 1
