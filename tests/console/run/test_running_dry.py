"""A pool whose families run out of questions: the run ends there, and what it found stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from memory.records import FINALS, Instance
from memory.store import RunStore
from tests.console.conftest import Acdc, outcome_of

PROGRAM = """
import random


class TaskFamily:
    def get_tasks(self, seed=0, level=1):
        numbers = random.Random(f"{seed}").sample(range(10, 22), 2)
        return {str(place): number for place, number in enumerate(numbers, start=1)}

    def get_instructions(self, t):
        return f"Which number comes PLACE {t}? Say it on a line that begins with Answer:"

    def reference(self, t):
        return str(t + STEP)

    def wrong(self, t):
        return [str(t), str(t + 2 * STEP)]

    def score(self, t, submission):
        return 1.0 if submission.strip() == self.reference(t) else 0.0
"""


def given(folder: Path) -> Path:
    for name, place, step in (("after", "after", "1"), ("before", "before", "-1")):
        program = PROGRAM.replace("PLACE", place).replace("STEP", step)
        (folder / name).mkdir(parents=True)
        (folder / name / "task.py").write_text(program)
        facts: dict[str, Any] = {"name": name, "description": f"What comes {place} a number"}
        facts |= {"capability": f"counting {name}", "difficulty": 1}
        (folder / name / "task.json").write_text(json.dumps(facts))
    return folder


def begun(folder: Path, config: Path, tasks: Path, generations: int, instances: int) -> list[Any]:
    settings = [f'pool.families=["{tasks}"]', "pool.capacity=2", "pool.adaptations=0"]
    settings += ["pool.adapt_every=1", f"generations={generations}", f"judge.instances={instances}"]
    words = [word for setting in settings for word in ("--set", setting)]
    return ["run", folder, "--config", config, *words]


@pytest.mark.parametrize("instances", [4, 8])
def test_a_pool_without_a_new_question_ends_the_run_with_its_finals(
    acdc: Acdc, tiny_config: Path, tmp_path: Path, instances: int
) -> None:
    folder = tmp_path / "run"
    words = begun(folder, tiny_config, given(tmp_path / "tasks"), 8, instances)
    said = acdc(*words).stdout
    assert "no family has a new question left" in said
    status = acdc.json("status", folder)
    assert status["finished"]
    assert status["generation"] < 8
    assert status["pool"]["active"] == 0
    assert len(status["archive"]) == 4
    assert status["coverage"]["on"] == "finals"
    assert status["coverage"]["instances"] == status["coverage"]["fresh"] > 0
    # The same command finds nothing to do.
    acdc(*words)
    again = acdc.json("status", folder)
    assert {**again, "seconds": None} == {**status, "seconds": None}


@pytest.mark.slow
def test_a_run_that_goes_on_ends_as_one_that_was_begun_as_long(
    acdc: Acdc, tiny_config: Path, tmp_path: Path
) -> None:
    """Questions are scarce here: what the finals ask of a family was set aside in both."""
    tasks = given(tmp_path / "tasks")
    acdc(*begun(tmp_path / "extended", tiny_config, tasks, 1, 2))
    acdc("run", tmp_path / "extended", "--set", "generations=3")
    acdc(*begun(tmp_path / "whole", tiny_config, tasks, 3, 2))
    asked = [instances_of(tmp_path / name) for name in ("extended", "whole")]
    assert asked[0] == asked[1]
    assert {instance.period for instance in asked[0]} >= {0, 1, FINALS}
    assert outcome_of(tmp_path / "extended") == outcome_of(tmp_path / "whole")


def instances_of(folder: Path) -> list[Instance]:
    with RunStore.open(folder, read_only=True) as store:
        return store.instances()
