"""A run that has done what is asked for needs nothing to say so."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from agents.progress import ProgressEvent
from console.errors import ConfigError
from console.run.coevolution import coevolve
from console.run.config import resolve
from console.run.folder import RunFolder
from evolution.errors import EngineError
from memory.errors import AcdcError, RunLockedError
from memory.records import ArchiveEntry, Expert
from memory.store import RunStore
from tests.console.conftest import Acdc, outcome_of

NOWHERE = "http://127.0.0.1:9"
MISSING = {
    "endpoint": (f'endpoints.scientist.base_url="{NOWHERE}/v1"', 'endpoints.scientist.model="m"'),
    "critic": (f'endpoints.critic.base_url="{NOWHERE}/v1"', 'endpoints.critic.model="m"'),
    "key": (
        f'endpoints.rater.base_url="{NOWHERE}/v1"',
        'endpoints.rater.model="m"',
        'endpoints.rater.api_key_env="NO_SUCH_VARIABLE"',
    ),
    "chroma": (f'novelty.chroma_url="{NOWHERE}"',),
    "embedder": ('novelty.embedder="/nowhere/embedder"',),
    "sandbox": (
        'sandbox.kind="process"',
        f'endpoints.scientist.base_url="{NOWHERE}/v1"',
        'endpoints.scientist.model="m"',
    ),
    "prompts": ('prompts.folder="/nowhere/prompts"',),
    "models": ('models.base="/nowhere/model"',),
}


def begun(path: Path, *settings: str) -> RunFolder:
    """A run of two generations that is finished, as far as its records say."""
    folder = RunFolder(path)
    quick = ("generations=2", "engine.compute=float32", *settings)
    folder.begin_as(resolve(None, quick))
    with RunStore.open(path) as store:
        store.put_genome("seed", b"")
        store.put_expert(
            Expert(id="seed", genome_id="seed", generation=0, birth=0, operator="seed")
        )
        for generation in range(3):
            entry = ArchiveEntry(expert="seed", rank=0, fitness=1.0, novelty=1.0)
            store.put_archive(generation, [entry])
        store.put_meta("finished", True)
    return folder


async def said(folder: RunFolder, *overrides: str) -> list[str]:
    events: list[ProgressEvent] = []
    await coevolve(folder, folder.begin(None, overrides), events.append)
    return [event.text for event in events]


@pytest.mark.parametrize("what", MISSING)
async def test_nothing_that_is_missing_is_missed(tmp_path: Path, what: str) -> None:
    folder = begun(tmp_path / "run", *MISSING[what])
    assert await said(folder) == [f"{folder.path} is finished; nothing is left to do"]
    with pytest.raises(AcdcError):
        await said(folder, "generations=3")
    with RunStore.open(folder.path, read_only=True) as store:
        assert store.meta("finished"), "what could not be begun changed nothing"


async def test_an_engine_that_is_not_installed_here_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = importlib.util.find_spec
    installed = True

    def find(name: str, package: str | None = None) -> object:
        if name == "vllm":
            return there("json") if installed else None
        return there(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    folder = begun(tmp_path / "run", "engine.kind=vllm")
    installed = False
    assert "nothing is left" in (await said(folder))[0]
    with pytest.raises(EngineError, match="not installed"):
        await said(folder, "generations=3")


async def test_what_a_finished_run_is_given_anew_is_kept_and_what_is_fixed_is_refused(
    tmp_path: Path,
) -> None:
    folder = begun(tmp_path / "run")
    with pytest.raises(ConfigError, match="seed"):
        await said(folder, "seed=9")
    await said(folder, 'endpoints.chooser.base_url="http://h:1/v1"', 'endpoints.chooser.model="m"')
    chooser = folder.manifest()["config"]["endpoints"]["chooser"]
    assert (chooser["base_url"], chooser["model"]) == ("http://h:1/v1", "m")


async def test_a_run_that_another_process_writes_is_not_said_to_be_finished(
    tmp_path: Path,
) -> None:
    folder = begun(tmp_path / "run")
    with RunStore.open(folder.path), pytest.raises(RunLockedError):
        await said(folder)


def test_the_command_ends_well_and_shows_the_run(
    acdc: Acdc, finished_run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    before = outcome_of(folder)
    words = ("--set", f'endpoints.scientist.base_url="{NOWHERE}/v1"', "--set", "generations=2")
    shown = acdc("run", folder, *words).stdout
    assert "nothing is left to do" in shown
    assert "finished, generation 4 (2 were asked for)" in shown
    assert "of 2" not in shown.split("archive")[0]
    assert outcome_of(folder) == before
