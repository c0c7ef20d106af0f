"""Logs as files that `inspect view` opens, written by Inspect's own library."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from console import calling
from console.errors import UsageError
from console.inspect_logs.log import PASSED, Log, Sample
from memory.errors import MissingDependencyError
from memory.messages import not_written


def require_inspect() -> None:
    """Refuse before any work what cannot be written at its end.

    Raises:
        MissingDependencyError: inspect_ai is not installed.
    """
    if importlib.util.find_spec("inspect_ai") is None:
        raise MissingDependencyError("Inspect logs need inspect_ai: pip install -e '.[inspect]'")


def write_logs(logs: Iterable[Log], folder: Path) -> list[Path]:
    """Write each log to a file of its own; one that was written before is replaced.

    Raises:
        MissingDependencyError: inspect_ai is not installed.
        UsageError: the folder cannot be written.
    """
    require_inspect()
    from inspect_ai.log import recompute_metrics, write_eval_log

    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for log in logs:
            found = _as_inspect(log)
            recompute_metrics(found)
            name = re.sub(r"[^\w.-]+", "-", f"{log.task}_{log.run}_{log.who}")
            file = folder / f"{name}_{log.id[:8]}.eval"
            write_eval_log(found, str(file))
            written.append(file)
    except OSError as error:
        raise UsageError(not_written(folder, error)) from None
    return written


def written_line(files: Sequence[Path], folder: Path) -> str:
    """What was written, and what opens it."""
    return f"{len(files)} Inspect logs in {folder}: inspect view start --log-dir {folder}"


def _as_inspect(log: Log) -> Any:
    """A log as Inspect's own record."""
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSpec, EvalStats
    from inspect_ai.model import GenerateConfig, ModelUsage

    epochs: dict[str, int] = {}
    samples = []
    for sample in log.samples:
        epochs[sample.id] = epochs.get(sample.id, 0) + 1
        samples.append(_as_sample(sample, epochs[sample.id], log.model))
    metrics = [
        {"name": "inspect_ai/accuracy"},
        {"name": "inspect_ai/stderr", "options": {"cluster": log.cluster}},
    ]
    usage: dict[str, ModelUsage] = {}
    for each in samples:
        for model, tokens in each.model_usage.items():
            usage[model] = usage[model] + tokens if model in usage else tokens
    # When an answer was given is not on record, but how long it took: that is what is shown.
    written = datetime.now(UTC)
    begun = written - timedelta(seconds=sum(each.answer.reply.seconds for each in log.samples))
    return EvalLog(
        status="success",
        eval=EvalSpec(
            eval_id=log.id,
            run_id=log.run_id,
            task_id=log.id,
            created=written.isoformat(timespec="seconds"),
            task=log.task,
            dataset=EvalDataset(name=log.run, samples=len(epochs), sample_ids=list(epochs)),
            model=log.model,
            model_generate_config=GenerateConfig(**log.sampling),
            config=EvalConfig(epochs=max(epochs.values(), default=1), epochs_reducer=[log.reducer]),
            packages={calling.DISTRIBUTION: calling.version()},
            metadata=dict(log.metadata),
            scorers=[{"name": name, "metrics": metrics} for name in log.scores],
        ),
        stats=EvalStats(
            started_at=begun.isoformat(), completed_at=written.isoformat(), model_usage=usage
        ),
        samples=samples,
    )


def _as_sample(sample: Sample, epoch: int, model: str) -> Any:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ChatMessageUser, ModelOutput, ModelUsage
    from inspect_ai.scorer import CORRECT, INCORRECT, Score

    reply = sample.answer.reply
    usage = ModelUsage(
        input_tokens=reply.tokens_in,
        output_tokens=reply.tokens_out,
        total_tokens=reply.tokens_in + reply.tokens_out,
    )
    ended = "stop" if reply.finish_reason == "stop" else "max_tokens"
    output = ModelOutput.from_content(model, reply.text, stop_reason=ended)
    output.usage, output.time = usage, reply.seconds
    return EvalSample(
        id=sample.id,
        epoch=epoch,
        input=sample.question,
        target=sample.reference,
        messages=[ChatMessageUser(content=sample.question), output.message],
        output=output,
        scores={
            name: Score(
                value=CORRECT if right else INCORRECT,
                answer=sample.answer.extracted if name == PASSED else None,
                explanation="\n\n".join(sample.notes)
                if name == PASSED
                else f"whether the answer that {name} chose is right",
            )
            for name, right in sample.verdicts.items()
        }
        or None,
        metadata=dict(sample.metadata) | {"sample": sample.answer.sample},
        model_usage={model: usage},
        total_time=reply.seconds,
        working_time=reply.seconds,
    )
