"""Whole runs of the real command: real two-layer models, real HTTP, real sandbox and stores."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

from memory.store import RunStore
from tests.console.conftest import Acdc, outcome_of
from tests.console.forked import Process
from tests.console.moments import wait_until


def test_run_ends_with_bred_experts_graded_families_and_a_summary(
    acdc: Acdc, finished_run: Path
) -> None:
    status = acdc.json("status", finished_run, fresh=True)
    assert status["finished"]
    assert status["generation"] == 4
    assert len(status["archive"]) == 4
    assert status["pool"]["history"] > status["pool"]["active"] > 0
    assert [row["n"] for row in status["coverage"]["task_force"]] == [1, 2, 3, 4]
    assert status["calls"]["scientist"]["tokens_out"] > 0
    assert status["calls"]["critic"]["calls"] > 0
    assert {"founding", "draft", "judge", "selection", "evolution"} <= set(status["seconds"])
    with RunStore.open(finished_run, read_only=True) as store:
        assert any(not expert.is_seed for expert in store.experts())
        vectors = store.all_skills()
    assert len({frozenset(v.items()) for v in vectors.values()}) > 1, "experts must differ"


def test_the_same_command_on_a_finished_run_does_nothing(acdc: Acdc, finished_run: Path) -> None:
    before = outcome_of(finished_run)
    done = acdc("run", finished_run)
    assert "nothing is left to do" in done.stdout
    assert outcome_of(finished_run) == before


def test_larger_finals_are_held_for_a_finished_run(
    acdc: Acdc, finished_run: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(finished_run, tmp_path / "run"))
    with RunStore.open(folder) as store:
        before, generation = store.outcomes(), store.latest_archive()
    held = acdc("run", folder, "--set", "finals.experts=9")
    assert "nothing is left to do" not in held.stdout
    with RunStore.open(folder) as store:
        assert store.latest_archive() == generation
        assert {*before} <= {*store.outcomes()}
        assert store.meta("finished")
    assert "nothing is left to do" in acdc("run", folder).stdout


def test_interrupt_exits_130_and_the_same_command_goes_on(
    acdc: Acdc, tiny_config: Path, finished_run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "interrupted"
    said = _stopped(_long_run(acdc.start, folder, tiny_config), folder, signal.SIGINT)
    first, *between, last = [line for line in said.splitlines() if line]
    assert first == "stopping; a second Ctrl-C ends at once"
    # Between two pieces of work nothing is waited for.
    waits = [line for line in between if line != "still stopping"]
    assert [line for line in waits if not re.match(r"waiting for .+, \d+ s", line)] == []
    assert last == "interrupted; everything is kept, run the same command to go on"
    acdc("run", folder, "--set", "generations=4")
    assert outcome_of(folder) == outcome_of(finished_run)


def test_a_second_interrupt_ends_it_at_once(acdc: Acdc, tiny_config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "hurried"
    _stopped(_long_run(acdc.fork, folder, tiny_config), folder, signal.SIGINT, signal.SIGINT)
    assert acdc.json("status", folder)["pool"]["history"] > 0


def test_a_run_in_the_background_ends_well_at_sigterm(
    acdc: Acdc, tiny_config: Path, tmp_path: Path
) -> None:
    """A shell starts what it puts in the background with SIGINT ignored."""
    folder = tmp_path / "background"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = _long_run(acdc.start, folder, tiny_config)
    finally:
        signal.signal(signal.SIGINT, before)
    assert "run the same command to go on" in _stopped(process, folder, signal.SIGTERM)


def _long_run(start: Callable[..., Process], folder: Path, config: Path) -> Process:
    """Long enough that no signal can come too late."""
    return start("run", folder, "--config", config, "--set", "generations=400")


def _stopped(process: Process, folder: Path, *signals: signal.Signals) -> str:
    """What a run says that gets signals once it has accepted a family, and ends by them."""
    wait_until(process, partial(_accepted_one, folder))
    for each in signals:
        process.send_signal(each)
    try:
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, said
    return said


def _accepted_one(folder: Path) -> bool:
    return (folder / "tasks").is_dir() and any((folder / "tasks").iterdir())


def test_a_moved_run_with_a_space_in_its_path_can_be_extended_and_asked(
    acdc: Acdc, finished_run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "another place" / "my run"
    shutil.copytree(finished_run, folder)
    reply = acdc.json("ask", folder, "What is 1 + 1?", "-n", "3", fresh=True)
    assert len(reply["answers"]) == 3
    assert reply["chosen"] in [answer["expert"] for answer in reply["answers"]]
    assert 1 / 3 <= reply["agreement"] <= 1
    acdc("run", folder, "--set", "generations=5")
    assert acdc.json("status", folder)["generation"] == 5


def test_trace_shows_the_conversation_behind_a_family(acdc: Acdc, finished_run: Path) -> None:
    with RunStore.open(finished_run, read_only=True) as store:
        family = store.families()[0]
    [trace] = acdc.json("trace", finished_run, "--family", family.id, fresh=True)["assignments"]
    purposes = [call["purpose"] for call in trace["calls"]]
    assert purposes[0] == "propose"
    assert "critique" in purposes
    assert trace["rounds"][-1]["proposal"]["code"] == family.code
    assert trace["rounds"][-1]["gates"]["code"] is None
    shown = acdc("trace", finished_run, "--family", family.id, "--full").stdout
    assert "class TaskFamily" in shown
    assert "all gates passed" in shown


def test_trace_of_an_expert_shows_lineage_and_answers(acdc: Acdc, finished_run: Path) -> None:
    [trace] = acdc.json("trace", finished_run, "--expert", "g1-0")["experts"]
    assert len(trace["expert"]["parents"]) == 2
    assert trace["answers"]


def test_a_run_can_begin_with_the_families_of_another(
    acdc: Acdc, tiny_config: Path, finished_run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "second"
    settings = [f'pool.families=["{finished_run}/tasks"]', "generations=1", "pool.adaptations=0"]
    words = [word for setting in settings for word in ("--set", setting)]
    said = acdc("run", folder, "--config", tiny_config, *words).stdout
    with RunStore.open(finished_run, read_only=True) as store:
        before = {family.code_hash for family in store.families()}
    with RunStore.open(folder, read_only=True) as store:
        given = [family for family in store.families() if family.id.startswith("given-")]
    assert f"pool.families: {len(given)} added" in said
    assert {family.code_hash for family in given} == before
    assert all((folder / "tasks" / family.id / "task.py").is_file() for family in given)


def test_a_given_family_that_fails_a_gate_is_named_and_nothing_is_left(
    acdc: Acdc, tiny_config: Path, finished_run: Path, tmp_path: Path
) -> None:
    first = next(iter(sorted((finished_run / "tasks").iterdir())))
    broken = tmp_path / "tasks" / first.name
    shutil.copytree(first, broken)
    program = (broken / "task.py").read_text()
    (broken / "task.py").write_text("raise RuntimeError('broken')\n" + program)
    words = ("--set", f'pool.families=["{tmp_path}/tasks"]')
    refused = acdc("run", tmp_path / "run", "--config", tiny_config, *words, code=2)
    assert first.name in refused.stderr
    assert "import_error" in refused.stderr
    assert not (tmp_path / "run").exists()


def test_trace_of_a_role_shows_only_what_it_said(acdc: Acdc, finished_run: Path) -> None:
    trace = acdc.json("trace", finished_run, "--role", "critic")
    assert trace["assignments"]
    assert {call["role"] for a in trace["assignments"] for call in a["calls"]} == {"critic"}
    assert "nothing matches" in acdc("trace", finished_run, "--role", "chooser").stdout


def test_trace_refuses_to_show_an_accepted_family_as_rejected(
    acdc: Acdc, finished_run: Path
) -> None:
    with RunStore.open(finished_run, read_only=True) as store:
        family = store.families()[0].id
    refused = acdc("trace", finished_run, "--family", family, "--rejected", code=2)
    assert f"{family} was not rejected" in refused.stderr
