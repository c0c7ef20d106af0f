"""Curves of a run in the tools that draw them, and in a function of the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

import acdc as python
from agents.progress import ProgressEvent
from console.run.tracking import TRACKERS
from tests.console.conftest import Acdc


@pytest.fixture
def surroundings(acdc: Acdc, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setitem(acdc.environment, "MLFLOW_TRACKING_URI", (tmp_path / "mlflow").as_uri())
    monkeypatch.setitem(acdc.environment, "MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setitem(acdc.environment, "WANDB_MODE", "offline")
    return tmp_path / "run"


@pytest.mark.slow
def test_a_run_is_drawn_by_every_tracker_and_goes_on_in_the_same_curves(
    acdc: Acdc, tiny_config: Path, surroundings: Path
) -> None:
    words = [word for name in ("tensorboard", "mlflow") for word in ("--track", name)]
    acdc("run", surroundings, "--config", tiny_config, "--set", "generations=1", *words)
    acdc("run", surroundings, "--set", "generations=2", *words)
    coverage = [
        row["coverage"] for row in acdc.json("status", surroundings)["coverage"]["task_force"]
    ]
    curves = {"tensorboard": _tensorboard(surroundings), "mlflow": _mlflow(surroundings.parent)}
    for found in curves.values():
        assert sorted(found["archive/best_fitness"]) == [0, 1, 2]
        assert found["archive/best_fitness"] == curves["tensorboard"]["archive/best_fitness"]
        assert all(0 <= value <= 1 for value in found["archive/coverage"].values())
        assert found["finals/task_force_2"][2] == pytest.approx(coverage[1])
        assert found["scientist/tokens_out"][2] > found["scientist/tokens_out"][0] > 0


def _tensorboard(folder: Path) -> dict[str, dict[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {
        name: {event.step: event.value for event in events.Scalars(name)}
        for name in events.Tags()["scalars"]
    }


def _mlflow(folder: Path) -> dict[str, dict[int, float]]:
    from mlflow import MlflowClient

    client = MlflowClient((folder / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("acdc")
    assert experiment is not None
    [run] = client.search_runs([experiment.experiment_id])
    assert run.data.params["pool.capacity"] == "8"
    return {
        name: {each.step: each.value for each in client.get_metric_history(run.info.run_id, name)}
        for name in run.data.metrics
    }


@pytest.mark.slow
def test_weights_and_biases_keeps_a_run_without_a_network(
    acdc: Acdc, tiny_config: Path, surroundings: Path
) -> None:
    words = ["--set", "generations=1", "--track", "wandb"]
    acdc("run", surroundings, "--config", tiny_config, *words)
    [file] = (surroundings / "wandb").glob("offline-run-*/run-*.wandb")
    found = file.read_bytes()
    assert found.count(b"archive/best_fitness") >= 2, "one for each generation"
    assert b"finals/task_force_1" in found
    assert b"pool.capacity" in found


def test_a_tracker_that_cannot_be_set_up_is_one_line_before_any_work(
    acdc: Acdc, tiny_config: Path, surroundings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(acdc.environment, "MLFLOW_TRACKING_URI", "nonsense://here")
    words = ("--config", tiny_config, "--track", "mlflow")
    refused = acdc("run", surroundings, *words, code=2)
    assert "error: mlflow: " in refused.stderr
    assert not surroundings.exists()


def test_a_function_of_the_users_own_hears_every_pulse(tiny_config: Path, tmp_path: Path) -> None:
    heard: list[ProgressEvent] = []
    run = python.coevolve(tmp_path / "run", tiny_config, progress=heard.append)
    pulses = [event for event in heard if event.kind == "pulse"]
    assert [event.done for event in pulses] == [0, 1, 2, 3, 4, 4]
    assert pulses[-1].measures["finals/task_force_1"] == pytest.approx(
        run.status()["coverage"]["task_force"][0]["coverage"]
    )


@pytest.mark.parametrize("name", ["tensorbord", "nothing"])
def test_an_unknown_tracker_is_refused_and_nothing_is_left(
    acdc: Acdc, tiny_config: Path, tmp_path: Path, name: str
) -> None:
    words = ("--config", tiny_config, "--track", name)
    refused = acdc("run", tmp_path / "run", *words, code=2)
    assert name in refused.stderr
    assert all(known in refused.stderr for known in TRACKERS)
    assert not (tmp_path / "run").exists()
