"""Families that a run is given to begin with."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agents.config import RunConfig
from agents.errors import FamilyFolderError
from agents.families.folders import METADATA, PROGRAM, read_family, write_family
from agents.pool.adoption import adopt_given, family_folders
from agents.sandbox import Sandbox, open_sandbox
from agents.settings import PoolSettings, SandboxSettings
from memory.hashing import text_hash
from memory.novelty.memory import NoveltyMemory
from memory.records import Family
from memory.store import RunStore
from tests.agents.cases import family, run_context
from tests.agents.pool.test_admission import Words
from tests.conftest import anything


@pytest_asyncio.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    opened = open_sandbox(SandboxSettings(), ours=anything)
    yield opened
    await opened.close()


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
    (tmp_path / PROGRAM).write_text("")
    with pytest.raises(FamilyFolderError, match=r"has task\.py and no task\.json"):
        family_folders([str(tmp_path)])


CODE = """
import random


class TaskFamily:
    levels = 3

    def get_tasks(self, seed, level):
        rng = random.Random(10 * seed + level)
        size = 10 ** (level + 1)
        return {n: {"a": rng.randrange(size), "b": rng.randrange(size)} for n in ("1", "2")}

    def get_instructions(self, t):
        return f"What is {t['a']} plus {t['b']}?"

    def reference(self, t):
        return str(t["a"] + t["b"])

    def wrong(self, t):
        return [str(t["a"] + t["b"] + 1)]

    def score(self, t, submission):
        return float(submission.strip() == self.reference(t))
"""


async def adopted(tmp_path: Path, sandbox: Sandbox, **metadata: object) -> Family:
    """The family that a run makes of a folder with this metadata."""
    drawn = {"instructions": {"1": "?", "2": "?"}, "reference_answers": {"1": "7", "2": "22"}}
    told = family(0).model_copy(update={"code": CODE, "code_hash": text_hash(CODE)})
    told = told.model_copy(update={**drawn, "wrong_answers": {"1": ["8"], "2": ["9"]}, **metadata})
    folder = write_family(tmp_path / "tasks", told)
    config = RunConfig(pool=PoolSettings(families=(str(folder),)))
    with RunStore.open(tmp_path) as store, NoveltyMemory.open(tmp_path, Words()) as memory:
        await adopt_given(run_context(store, config, sandbox=sandbox, novelty=memory))
        [found] = store.families()
    return found


async def test_what_the_program_says_holds_whatever_the_metadata_says(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    found = await adopted(tmp_path, sandbox)
    assert (found.levels, found.level, found.seed) == (3, 1, 0)
    for number, text in found.instructions.items():
        a, b = map(int, re.findall(r"\d+", text))
        assert found.reference_answers[number] == str(a + b)
        assert found.wrong_answers[number] == [str(a + b + 1)]


async def test_a_level_that_the_program_does_not_have_is_named(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    with pytest.raises(FamilyFolderError, match="level 9 of a program that has 3"):
        await adopted(tmp_path, sandbox, level=9, levels=9, seed=1)


PAGE = Path(__file__).parents[3] / "docs" / "families.md"


async def test_the_family_of_the_documentation_can_be_given_as_it_stands(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    text = PAGE.read_text()
    own = text[text.index("my-families/change/task.py") :]
    folder = tmp_path / "my-families" / "change"
    folder.mkdir(parents=True)
    for language, name in (("python", PROGRAM), ("json", METADATA)):
        [found] = re.findall(rf"```{language}\n(.+?)```", own, flags=re.DOTALL)
        (folder / name).write_text(found)
    config = RunConfig(pool=PoolSettings(families=(str(folder.parent),)))
    with RunStore.open(tmp_path) as store, NoveltyMemory.open(tmp_path, Words()) as memory:
        await adopt_given(run_context(store, config, sandbox=sandbox, novelty=memory))
        [given] = store.families()
    assert (given.id, given.level, given.levels) == ("given-change", 2, 3)
    assert set(given.reference_answers) == {"1", "2"}


def test_all_that_an_author_has_to_state_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / PROGRAM).write_text(CODE)
    (tmp_path / METADATA).write_text(json.dumps({"name": "Sums"}))
    with pytest.raises(FamilyFolderError, match="does not state description, capability, diffic"):
        read_family(tmp_path)
