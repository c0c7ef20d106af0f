"""Curves of a run in TensorBoard, MLflow or Weights & Biases, beside what the terminal shows.

A tracker gets the settings of a run and every pulse that has measures; each tool is set up by its
own environment variables (`MLFLOW_TRACKING_URI`, `WANDB_PROJECT`, ...). A run that goes on
continues its curves. Whoever wants something else passes a function as `progress`
(docs/python.md).
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.config import RunConfig
from agents.progress import Progress, ProgressEvent
from console.errors import UsageError
from console.run.folder import RunFolder
from memory.messages import did_you_mean, first_line
from memory.store import RunStore

Log = Callable[[int, Mapping[str, float]], None]
"""Takes a generation and what was measured after it."""


@dataclass(frozen=True)
class Tracked:
    """What a tracker gets to know of a run.

    Attributes:
        path: its folder.
        run_id: what it is called in a tool that knows many, wherever its folder is.
        settings: as flat names, `pool.capacity` -> value.
    """

    path: Path
    run_id: str
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """What its folder is called."""
        return self.path.resolve().name


@contextmanager
def tracked(
    progress: Progress, names: Sequence[str], folder: RunFolder, config: RunConfig
) -> Iterator[Progress]:
    """A progress that also goes to trackers, which are closed with the block.

    Args:
        progress: where everything is reported as well.
        names: of trackers, see `TRACKERS`.
        folder: of the run.
        config: of the run.

    Raises:
        UsageError: an unknown tracker, or one that is not installed or cannot be set up.
    """
    if not names:
        yield progress
        return
    for name in names:
        _require(name)
    with RunStore.open(folder.path) as store:
        run_id = store.run_id()
    run = Tracked(folder.path, run_id, dict(_flat(config.model_dump(mode="json"))))
    with ExitStack() as stack:
        logs = [stack.enter_context(TRACKERS[name](run)) for name in names]

        def report(event: ProgressEvent) -> None:
            progress(event)
            for log in logs if event.measures else ():
                log(event.done, event.measures)

        yield report


def _require(name: str) -> None:
    if name not in TRACKERS:
        hint = did_you_mean(name, TRACKERS)
        raise UsageError(f"there is no tracker {name!r}{hint}; there are {', '.join(TRACKERS)}")
    if importlib.util.find_spec(name) is None:
        raise UsageError(f"{name} is not installed: pip install -e '.[tracking]'")


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


@contextmanager
def _tensorboard(run: Tracked) -> Iterator[Log]:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(run.path / "tensorboard")
    writer.add_text("settings", "\n".join(f"    {k} = {v}" for k, v in run.settings.items()))

    def log(generation: int, measures: Mapping[str, float]) -> None:
        for name, value in measures.items():
            writer.add_scalar(name, value, generation)
        writer.flush()

    try:
        yield log
    finally:
        writer.close()


@contextmanager
def _mlflow(run: Tracked) -> Iterator[Log]:
    import mlflow

    try:
        experiment = mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", "acdc"))
    except mlflow.MlflowException as error:
        raise UsageError(f"mlflow: {first_line(error)}") from error
    wanted = f"tags.`acdc.run` = '{run.run_id}'"
    known = mlflow.search_runs([experiment.experiment_id], wanted, output_format="list")
    earlier = known[0].info.run_id if known else None
    with mlflow.start_run(run_id=earlier, run_name=run.name):
        if earlier is None:
            mlflow.set_tag("acdc.run", run.run_id)
            mlflow.log_params(run.settings)

        def log(generation: int, measures: Mapping[str, float]) -> None:
            mlflow.log_metrics(dict(measures), step=generation)

        yield log


@contextmanager
def _wandb(run: Tracked) -> Iterator[Log]:
    import wandb

    project = os.environ.get("WANDB_PROJECT", "acdc")
    told: dict[str, Any] = {
        "id": run.run_id,
        "name": run.name,
        "config": run.settings,
        "dir": str(run.path),
    }
    try:
        started = wandb.init(project=project, resume="allow", **told)
    except wandb.Error as error:
        raise UsageError(f"wandb: {first_line(error)}") from error
    with started as session:

        def log(generation: int, measures: Mapping[str, float]) -> None:
            session.log(dict(measures), step=generation)

        yield log


TRACKERS: dict[str, Callable[[Tracked], AbstractContextManager[Log]]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
    "wandb": _wandb,
}
"""Who can follow a run, by the name of the package."""
