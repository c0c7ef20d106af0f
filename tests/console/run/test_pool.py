"""Whole runs of the real command with a pool of workers."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import psutil
import pytest

from memory.store import RunStore
from tests.console.conftest import Acdc, outcome_of
from tests.console.moments import has_come, has_drafted, progress_of, wait_until

WORKERS = ["--set", "cluster.kind=local", "--set", "cluster.workers=2", "--set", "cluster.chunk=3"]
ACTORS = ["cluster.kind=ray", "cluster.workers=3", "cluster.cpus=0.1", "cluster.chunk=3"]


def test_two_workers_end_with_the_archive_of_one_engine(
    acdc: Acdc, tiny_config: Path, finished_run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "pool"
    acdc("run", folder, "--config", tiny_config, *WORKERS)
    assert outcome_of(folder) == outcome_of(finished_run)


@pytest.mark.slow
def test_a_run_whose_worker_and_then_itself_is_killed_goes_on_to_the_same_archive(
    acdc: Acdc, tiny_config: Path, finished_run: Path, tmp_path: Path
) -> None:
    folder, length = tmp_path / "killed", progress_of(finished_run)
    process = acdc.fork("run", folder, "--config", tiny_config, *WORKERS)
    wait_until(process, partial(has_come, folder, 0.3 * length))
    workers = workers_of(process.pid)
    assert len(workers) == 2
    os.kill(workers[0].pid, signal.SIGKILL)
    wait_until(process, partial(has_come, folder, 0.5 * length))
    workers = workers_of(process.pid)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the run ended before it was killed"
    assert psutil.wait_procs(workers, 60)[1] == [], "its workers end with it"
    acdc("run", folder, "--config", tiny_config)
    assert outcome_of(folder) == outcome_of(finished_run)


@pytest.mark.slow
def test_a_run_that_drafts_beside_the_judge_goes_on_after_a_kill_to_the_same_archive(
    acdc: Acdc, tiny_config: Path, finished_run: Path, tmp_path: Path
) -> None:
    ahead: list[str | Path] = ["--config", tiny_config, "--set", "pool.draft_ahead=true"]
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    acdc("run", undisturbed, *ahead)
    beside = drafted_beside_the_judge(undisturbed)
    assert {name.partition("-")[0] for name in beside} == {"g2", "g4"}, "both adaptations"
    assert not drafted_beside_the_judge(finished_run)
    process = acdc.fork("run", killed, *ahead, *WORKERS)
    wait_until(process, partial(has_drafted, killed, 2))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the run ended before it was killed"
    (killed / "graph.db").unlink()
    acdc("run", killed, *ahead, *WORKERS)
    assert outcome_of(killed) == outcome_of(undisturbed)


def drafted_beside_the_judge(folder: Path) -> set[str]:
    """Assignments whose scientist began before the judge of the generation before ended."""
    with RunStore.open(folder, read_only=True) as store:
        spans = list(store.spans())
    ends = {
        each.attributes["acdc.generation"]: each.ended_ns for each in spans if each.name == "judge"
    }
    found = set()
    for each in spans:
        if each.name == "scientist":
            name = str(each.attributes["acdc.assignment"])
            before = int(name[1:].partition("-")[0]) - 1
            if before in ends and each.started_ns < ends[before]:
                found.add(name)
    return found


def workers_of(pid: int) -> list[psutil.Process]:
    """Processes of a run in which experts answer."""
    every = psutil.Process(pid).children(recursive=True)
    return [each for each in every if "evolution.engines.pool.serve" in _command(each)]


def _command(process: psutil.Process) -> list[str]:
    """Its words; none of one that has ended since it was found, as programs in the sandbox do."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


@pytest.mark.slow
def test_three_actors_of_ray_end_with_the_archive_of_one_engine(
    acdc: Acdc, tiny_config: Path, finished_run: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason='Ray is not installed: pip install -e ".[ray]"')
    folder = tmp_path / "ray"
    actors = [word for setting in ACTORS for word in ("--set", setting)]
    acdc("run", folder, "--config", tiny_config, *actors)
    assert outcome_of(folder) == outcome_of(finished_run)
