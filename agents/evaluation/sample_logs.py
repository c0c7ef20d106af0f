"""Sample logs of lm-evaluation-harness (`--log_samples`): Coverage of runs made elsewhere.

One JSON line per document and filter, in `samples_TASK_TIME.jsonl`, mostly in a folder named after
the model. Items are identified by task *and* document, and aligned by that, not by position; an
item that a log lacks is missing, which solves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.errors import TaskFileError
from agents.evaluation.tasks import read_lines
from agents.task_force.ballot import CandidateAnswer

_FILE = re.compile(r"samples_(?P<task>.+?)(?:_\d{4}-\d\d-\d\dT[\d.:-]+)?\.jsonl")


@dataclass(frozen=True, slots=True)
class Sample:
    """What one model made of one item.

    Attributes:
        task: of the harness; the cluster for intervals.
        question: what it was asked, as far as the log says.
    """

    task: str
    question: str
    answer: str
    text: str
    passed: bool

    def candidate(self, expert: str) -> CandidateAnswer:
        """As a candidate for best-of-N by answers."""
        return CandidateAnswer(expert, self.text, self.answer, 0)


Log = Mapping[str, Sample]
"""Item (task/document) -> sample, of one model."""


def is_log(file: Path) -> bool:
    """Whether a file holds samples of the harness and no tasks; its first line says it.

    Raises:
        TaskFileError: the file cannot be read.
    """
    for _, line in read_lines(file):
        return "doc_id" in line and "resps" in line
    return False


def read_logs(
    files: Sequence[Path], metric: str | None = None, filter_name: str | None = None
) -> Mapping[str, Log]:
    """Logs by model, in the order of the files; several files of one model are joined.

    Args:
        files: sample logs; the folder of a file names its model.
        metric: whose value 1 means solved; the log's first if None.
        filter_name: which of the harness's filters; needed where a log has several.

    Raises:
        TaskFileError: names file and line, and what there is to choose from.
    """
    logs: dict[str, dict[str, Sample]] = {}
    for file in files:
        task = _task(file)
        own = logs.setdefault(file.resolve().parent.name, {})
        for item, sample in _read(file, task, metric, filter_name).items():
            if item in own:
                raise TaskFileError(
                    f"{file}: {item} is in another log of {file.resolve().parent.name} too; give "
                    "each model a folder of its own, and each task once"
                )
            own[item] = sample
    return logs


def _task(file: Path) -> str:
    named = _FILE.fullmatch(file.name)
    return named["task"] if named else file.stem


def _read(file: Path, task: str, metric: str | None, filter_name: str | None) -> dict[str, Sample]:
    samples: dict[str, Sample] = {}
    filters: set[str] = set()
    for number, line in read_lines(file):
        if "doc_id" not in line:
            raise TaskFileError(f"{file}:{number}: this is not a sample of lm-evaluation-harness")
        named = str(line.get("filter", "none"))
        filters.add(named)
        if filter_name is not None and named != filter_name:
            continue
        item = f"{task}/{line['doc_id']}"
        if item in samples:
            if len(filters) == 1:
                raise TaskFileError(f"{file}:{number}: {item} is there twice")
            raise TaskFileError(
                f"{file} has several filters: name one of them with --filter: "
                f"{', '.join(sorted(filters))}"
            )
        samples[item] = _sample(file, number, task, line, metric)
    if not samples:
        there = f"; there are {', '.join(sorted(filters))}" if filters else ""
        raise TaskFileError(f"{file} has no sample of filter {filter_name!r}{there}")
    return samples


def _sample(
    file: Path, number: int, task: str, line: Mapping[str, Any], metric: str | None
) -> Sample:
    stated = line.get("metrics")
    known = [str(name) for name in stated] if isinstance(stated, list) else []
    name = metric or (known[0] if known else "exact_match")
    value = line.get(name)
    if not isinstance(value, bool | int | float):
        offered = known or [
            key for key, entry in line.items() if isinstance(entry, float) and key != "doc_id"
        ]
        raise TaskFileError(
            f"{file}:{number}: no metric {name!r}; name one with --metric: {', '.join(offered)}"
        )
    return Sample(
        task=task,
        question=_question(line),
        answer=_text(line.get("filtered_resps")),
        text=_text(line.get("resps")),
        passed=value >= 1,
    )


def _question(line: Mapping[str, Any]) -> str:
    arguments = line.get("arguments")
    if isinstance(arguments, Mapping):
        arguments = list(arguments.values())
    return _text(arguments)


def _text(value: Any) -> str:
    """The first text in the nested lists and objects that the harness writes."""
    while isinstance(value, list | tuple | Mapping) and value:
        value = next(iter(value.values())) if isinstance(value, Mapping) else value[0]
    return value if isinstance(value, str) else ""
