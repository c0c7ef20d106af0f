"""Grafts and configured merges in whole runs: the same anchors after a kill, and after a move."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from memory.records import Graft
from memory.store import RunStore
from tests.console.conftest import Acdc, outcome_of, the_line
from tests.console.moments import wait_until

GRAFTING = """
[breeding.regmean]
founding = false

[breeding.graft]
every = 1
probability = 1.0
methods = { dare_ties = { weight = 0.5, density = 0.5 } }
"""


DYING = """
import os, signal, sys
from agents.archive import grafting
from console.app import main
from evolution.merging.layerwise import LayerwiseModel

moment, generation = sys.argv.pop(1), int(sys.argv.pop(1))
merge, read, record = grafting._merge, LayerwiseModel.read, grafting._record
now = []

def die(place):
    if moment == place and now == [generation]:
        os.kill(os.getpid(), signal.SIGKILL)

def merging(context, bank, plan, generation):
    now[:] = [generation]
    return merge(context, bank, plan, generation)

def reading(model, layer, texts, *rest, **more):
    if layer == 1:
        die("reading")
    return read(model, layer, texts, *rest, **more)

def recording(context, bank, anchors, plan, generation):
    record(context, bank, anchors, plan, generation)
    die("recording")

grafting._merge, LayerwiseModel.read, grafting._record = merging, reading, recording
main()
"""
"""The command, killed in the middle of a merge by RegMean, or with its transaction still open."""


@pytest.fixture(scope="session")
def merging_config(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Merges at the founding and after the pool has adapted."""
    file = tmp_path_factory.mktemp("config") / "merge.toml"
    text = tiny_config.read_text().replace("generations = 4", "generations = 2")
    file.write_text(text.replace("children = 3", "children = 1"))
    return file


@pytest.fixture(scope="session")
def grafting_config(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("config") / "graft.toml"
    text = tiny_config.read_text().replace("generations = 4", "generations = 1")
    small = text.replace("children = 3", "children = 1").replace("capacity = 8", "capacity = 4")
    file.write_text(small.replace("adaptations = 4", "adaptations = 1") + GRAFTING)
    return file


def grafts_of(folder: Path) -> list[Graft]:
    with RunStore.open(folder, read_only=True) as store:
        return [Graft.model_validate(event.payload) for event in store.events("graft")]


@pytest.mark.slow
def test_a_killed_run_has_the_same_anchors_and_a_moved_one_exports_them(
    acdc: Acdc, grafting_config: Path, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    acdc("run", whole, "--config", grafting_config)
    _kill_when(acdc, killed, grafting_config, lambda: any(killed.glob("anchors/.part-*/*")))
    assert not any(killed.glob("anchors/*.safetensors"))
    _kill_when(acdc, killed, grafting_config, lambda: _recorded(killed))
    acdc("run", killed, fresh=True)
    assert outcome_of(killed) == outcome_of(whole)
    [graft] = grafts_of(killed)
    assert [graft] == grafts_of(whole)
    assert [path.name for path in (killed / "anchors").iterdir()] == [Path(graft.path).name]
    moved = killed.rename(tmp_path / "moved")
    written = acdc.json("export", moved, "g1-1", tmp_path / "out")
    assert written["no_mergekit_because"] == (
        "the anchor graft-g1 was merged by this run and is not a published checkpoint"
    )
    with RunStore.open(moved, read_only=True) as store:
        assert store.expert("g1-1").operator == "graft"
        assert store.expert("g1-1").parents == graft.parents
        assert store.skills("g1-1"), "it was graded as others are"
    (moved / graft.path).unlink()
    line = the_line(acdc("export", moved, "g1-1", tmp_path / "again", code=2).stderr)
    assert "is missing or damaged" in line


@pytest.mark.slow
def test_a_run_that_is_killed_in_its_merges_has_the_same_archive_and_anchors(
    acdc: Acdc, merging_config: Path, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    acdc("run", whole, "--config", merging_config)
    wanted = grafts_of(whole)
    places = ["regmean-g0+rest", "regmean-g2+rest"]
    assert [graft.anchor for graft in wanted if graft.anchor.startswith("regmean")] == places
    for generation, merges in ((0, places[:0]), (2, places[:1])):
        for moment in ("reading", "recording"):
            acdc.die(DYING, moment, str(generation), "run", killed, "--config", merging_config)
            found = [graft.anchor for graft in grafts_of(killed)]
            assert [anchor for anchor in found if anchor.startswith("regmean")] == merges
            kept = {Path(graft.path).name for graft in wanted[: len(found)]}
            files = {path.name for path in (killed / "anchors").glob("*")}
            assert (files > kept) == (moment == "recording"), "kept before anything refers to it"
    acdc("run", killed, "--config", merging_config)
    assert outcome_of(killed) == outcome_of(whole)
    assert grafts_of(killed) == wanted
    assert _files_of(killed) == _files_of(whole)
    with RunStore.open(killed, read_only=True) as store, RunStore.open(whole, read_only=True) as w:
        assert store.experts() == w.experts()
        assert store.expert("regmean").parents == wanted[0].parents
    written = acdc.json("export", killed, "regmean", tmp_path / "out")
    assert written["no_mergekit_because"] == (
        "the anchor regmean-g0+rest was merged by this run and is not a published checkpoint"
    )


def _files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "anchors").iterdir()}


def _recorded(folder: Path) -> bool:
    return bool(grafts_of(folder))


def _kill_when(acdc: Acdc, folder: Path, config: Path, come: Callable[[], bool]) -> None:
    process = acdc.fork("run", folder, "--config", config)
    wait_until(process, come)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the run ended before it was killed"


def test_an_expert_is_exported_from_the_command_line(
    acdc: Acdc, finished_run: Path, tmp_path: Path
) -> None:
    best = acdc.json("status", finished_run)["archive"][0]["expert"]
    out = tmp_path / "out"
    written = acdc.json("export", finished_run, best, out, fresh=True)
    assert set(written["files"]) == {path.name for path in out.iterdir()}
    assert {"config.json", "model.safetensors", "recipe.json", "README.md"} <= set(written["files"])
    line = the_line(acdc("export", finished_run, best, out, code=2).stderr)
    assert "is not empty: choose another folder, or replace its model (--force" in line
    assert "wrote" in acdc("export", finished_run, best, out, "--force").stdout


def test_an_unknown_expert_is_named_with_the_nearest(
    acdc: Acdc, finished_run: Path, tmp_path: Path
) -> None:
    line = the_line(acdc("export", finished_run, "alhpa", tmp_path / "out", code=2).stderr)
    assert "no expert 'alhpa'" in line
    assert "did you mean alpha" in line
    assert not (tmp_path / "out").exists()


def test_an_unknown_method_of_mergekit_is_named_with_the_nearest(
    acdc: Acdc, grafting_config: Path, tmp_path: Path
) -> None:
    given = "breeding.graft.methods={ dare_tise = {} }"
    done = acdc("run", tmp_path / "r", "--config", grafting_config, "--set", given, code=2)
    assert "no method 'dare_tise' (did you mean dare_ties" in the_line(done.stderr)
    assert not (tmp_path / "r").exists()
