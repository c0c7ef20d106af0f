"""Emitters in whole runs: what they learn is in the store, and the same after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from memory.records import Emission, Emitter
from memory.store import RunStore
from tests.console.conftest import Acdc, outcome_of, the_line

EMITTING = """
[breeding.emitters]
genetic = 0.0
cma = 1.0

[breeding.regmean]
founding = false
adapting = false

[breeding.graft]
every = 0
"""

DYING = """
import os, signal, sys
from agents.archive import emitting
from console.app import main

moment, generation = sys.argv.pop(1), int(sys.argv.pop(1))
work = getattr(emitting, moment)

def dying(context, *given):
    found = work(context, *given)
    if generation in given:
        os.kill(os.getpid(), signal.SIGKILL)
    return found

setattr(emitting, moment, dying)
main()
"""
"""The command, killed after an emitter has asked or was told, with the transaction still open."""


@pytest.fixture(scope="module")
def emitting_config(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generations of twelve children: one batch of a search is told, and the next is asked."""
    file = tmp_path_factory.mktemp("config") / "emit.toml"
    text = tiny_config.read_text().replace("generations = 4", "generations = 2")
    small = text.replace("children = 3", "children = 14").replace("capacity = 8", "capacity = 4")
    file.write_text(small.replace("adaptations = 4", "adaptations = 0") + EMITTING)
    return file


def searched(folder: Path) -> tuple[list[Emitter], list[Emission]]:
    with RunStore.open(folder, read_only=True) as store:
        return store.emitters(), store.emissions()


@pytest.mark.slow
def test_a_killed_run_has_the_same_archive_and_the_same_searches(
    acdc: Acdc, emitting_config: Path, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    acdc("run", whole, "--config", emitting_config)
    emitters, emissions = searched(whole)
    assert emitters
    assert all(each.value is not None and 0.0 <= each.value <= 1.0 for each in emissions)
    acdc.die(DYING, "tell", "1", "run", killed, "--config", emitting_config)
    first = searched(killed)[1]
    assert {each.value for each in first} == {None}, "nobody was told before the step was whole"
    acdc.die(DYING, "ask", "2", "run", killed, "--config", emitting_config)
    assert searched(killed)[1] == emissions[: len(first)], "all are told, and no child is asked for"
    acdc("run", killed, "--config", emitting_config)
    assert outcome_of(killed) == outcome_of(whole)
    assert searched(killed) == (emitters, emissions)
    with RunStore.open(whole, read_only=True) as store:
        children = [each for each in store.experts() if each.operator == "cma"]
    assert [each.id for each in children] == [each.expert for each in emissions]
    drawn: list[Any] = [each.parameters["cma"] for each in children]
    assert {each["batch"] for each in drawn} == {0, 1}, "a batch was told, and another asked for"


def test_an_unknown_emitter_is_named_with_the_nearest(
    acdc: Acdc, tiny_config: Path, tmp_path: Path
) -> None:
    given = "breeding.emitters={ cmaes = 1.0 }"
    done = acdc("run", tmp_path / "r", "--config", tiny_config, "--set", given, code=2)
    assert "unknown emitter 'cmaes' (did you mean cma?)" in the_line(done.stderr)
    assert not (tmp_path / "r").exists()
