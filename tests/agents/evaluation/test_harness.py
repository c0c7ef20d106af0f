"""Sample logs of lm-evaluation-harness."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.errors import TaskFileError
from agents.evaluation.elsewhere import measure_logs
from agents.evaluation.sample_logs import is_log, read_logs
from tests.agents.evaluation.log_cases import sample, write


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [
        write(tmp_path, "m1", "gsm8k", sample(0, "4", True), sample(1, "3", False)),
        # Another order, and an item that is missing.
        write(tmp_path, "m2", "gsm8k", sample(2, "9", True), sample(1, "5", True)),
        write(tmp_path, "m3", "gsm8k", sample(0, "1", False), sample(1, "5", True)),
        write(tmp_path, "m1", "math_algebra", sample(0, "x", False), sample(1, "y", False)),
    ]


async def test_coverage_is_the_union_by_item_and_not_by_position(files: list[Path]) -> None:
    assert all(map(is_log, files))
    logs = read_logs(files)
    assert set(logs) == {"m1", "m2", "m3"}
    found = await measure_logs(logs, ["m1", "m2", "m3"], [1, 2, 3, 8], "logs")
    assert [place[1] for place in found.rows] == [1, 2, 3]
    assert set(found.clusters.values()) == {"gsm8k", "math_algebra"}
    solved = {place[1]: sum(row.solved.values()) for place, row in found.rows.items()}
    assert solved == {1: 1, 2: 3, 3: 3}
    chosen = found.rows["logs", 3].chosen["majority"]
    assert chosen["gsm8k/1"], "two of three say 5"
    assert chosen["gsm8k/0"], "a tie goes to the first"
    assert found.rows["logs", 2].ungraded == 4


def test_several_filters_want_a_choice(tmp_path: Path) -> None:
    lines = [sample(0, "4", True), sample(0, "7", False, filter="flexible-extract")]
    file = write(tmp_path, "m", "gsm8k", *lines)
    with pytest.raises(TaskFileError, match="--filter: flexible-extract, strict-match"):
        read_logs([file])
    assert read_logs([file], filter_name="flexible-extract")["m"]["gsm8k/0"].answer == "7"
    with pytest.raises(TaskFileError, match="no sample of filter 'other'"):
        read_logs([file], filter_name="other")


def test_a_metric_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    file = write(tmp_path, "m", "arc", sample(0, "4", True, acc=1.0, metrics=["acc", "acc_norm"]))
    assert read_logs([file])["m"]["arc/0"].passed
    with pytest.raises(TaskFileError, match=r"jsonl:1: no metric 'f1'.*acc, acc_norm"):
        read_logs([file], metric="f1")


def test_one_item_twice_is_no_log_of_one_model(tmp_path: Path) -> None:
    file = write(tmp_path, "m", "gsm8k", sample(0, "4", True), sample(0, "4", True))
    with pytest.raises(TaskFileError, match="twice"):
        read_logs([file])
