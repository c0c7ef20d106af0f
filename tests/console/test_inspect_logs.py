"""Answers as Inspect logs: what the judge asked in a run, and what an evaluation asked."""

from __future__ import annotations

import shutil
import sys
from datetime import datetime
from pathlib import Path

import pytest

import acdc as python
from agents.evaluation.run import Plan
from agents.evaluation.tasks import Task
from agents.progress import silent
from agents.task_force.finals import FIRST_SAMPLE
from console.commands.evaluate import evaluate
from console.commands.measured import report
from console.inspect_logs.judged import judge_logs
from console.inspect_logs.log import PASSED, Log
from console.inspect_logs.measured import evaluation_logs
from console.inspect_logs.writing import write_logs
from console.run.folder import RunFolder
from console.run.permissions import permit, requests_of
from memory.records import Voice
from memory.store import RunStore
from tests.console.conftest import Acdc, the_line

TASKS = [
    Task(id=f"t{number}", instructions=f"Say {number}.", answer="1", generator=f"g{number % 3}")
    for number in range(6)
]
REASON = "Inspect is an extra: pip install -e '.[inspect]'"


@pytest.fixture
def folder(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A copy of a run on a machine that has evaluated nothing yet."""
    monkeypatch.setenv("ACDC_CACHE", str(tmp_path / "cache"))
    run = RunFolder(Path(shutil.copytree(finished_run, tmp_path / "run")))
    permit(requests_of(run.manifest()["config"]))
    return run


async def half_solved(folder: RunFolder, tasks: list[Task]) -> list[Task]:
    """Tasks of which every other one expects what the best expert answers."""
    [rows] = await evaluate([folder], Plan(tasks, (1,)), silent)
    [sheet] = rows.rows["best_expert", 1].sheets
    found = []
    for number, task in enumerate(tasks):
        answer = sheet[task.id].answer
        assert answer is not None
        right = task.model_copy(update={"answer": answer.extracted})
        found.append(task if number % 2 else right)
    return found


def test_every_answer_of_archive_and_seeds_is_in_the_log_of_its_voice(finished_run: Path) -> None:
    logs = list(judge_logs(RunFolder(finished_run)))
    with RunStore.open(finished_run, read_only=True) as store:
        archive = [expert.id for expert in store.archive_experts()]
        seeds = [expert.id for expert in store.experts(0) if expert.is_seed]
        for expert in {log.metadata["expert"] for log in logs}:
            own = [log for log in logs if log.metadata["expert"] == expert]
            answers = {a.key: a for a in store.answers_of(store.expert(expert).genome_id)}
            written = [sample for log in own for sample in log.samples]
            assert {sample.answer.key for sample in written} <= answers.keys()
            assert len(written) == len({sample.answer.key for sample in written})
            drafts = len(answers) - len(written)
            asked = {row["task"] for row in python.Run(finished_run).table("tasks").to_pylist()}
            assert drafts == sum(a.instance_hash not in asked for a in answers.values())
            for sample in written:
                verdict = store.verdict(sample.answer.key)
                assert sample.verdicts == ({} if verdict is None else {PASSED: verdict})
        outcomes = {each.voice for each in store.outcomes()}
    shown = {Voice(log.metadata["expert"], log.sampling["temperature"]) for log in logs}
    assert {voice.expert for voice in shown} == {*archive, *seeds}
    assert {voice for voice in outcomes if voice.expert in {*archive, *seeds}} <= shown
    sampled = [log for log in logs if log.sampling["temperature"] > 0]
    assert sampled
    assert all(s.answer.sample >= FIRST_SAMPLE for log in sampled for s in log.samples)
    assert {s.metadata["use"] for log in sampled for s in log.samples} <= {"finals", "closed"}


async def test_the_logs_of_an_evaluation_hold_what_it_reports(folder: RunFolder) -> None:
    tasks = await half_solved(folder, TASKS)
    runs = await evaluate([folder], Plan(tasks, (1, 3)), silent)
    logs = {log.who: log for log in evaluation_logs(runs, tasks, 5)}
    rows = report(runs, 5)["rows"]
    assert 0 < rows[0]["coverage"] < 1
    assert set(logs) == {f"{row['name']}-{row['n']}" for row in rows}
    for row in rows:
        log = logs[f"{row['name']}-{row['n']}"]
        assert len(log.samples) == row["n"] * len(TASKS)
        assert coverage(log) == pytest.approx(row["coverage"], abs=1e-4)
        assert {sample.metadata["expert"] for sample in log.samples} == set(row["experts"])
        for method, found in row["best_of_n"].items():
            right = {sample.id for sample in log.samples if sample.verdicts[method]}
            assert len(right) / len(TASKS) == pytest.approx(found["accuracy"], abs=1e-4)


async def test_generators_that_guessing_passes_have_logs_of_their_own(folder: RunFolder) -> None:
    own = [Task(id=f"u{n}", instructions=f"Name {n}.", answer="1", generator="u") for n in range(4)]
    asked = [*TASKS, *await half_solved(folder, own)]
    runs = await evaluate([folder], Plan(asked, (1,)), silent)
    found = report(runs, None)
    logs = {(log.task, log.who): log for log in evaluation_logs(runs, asked, None)}
    for task, part in (("evaluate", found), ("evaluate_guessed", found["guessed"])):
        for row in part["rows"]:
            log = logs[task, f"{row['name']}-{row['n']}"]
            assert len({sample.id for sample in log.samples}) == part["tasks"]
            assert coverage(log) == pytest.approx(row["coverage"], abs=1e-4)
    assert found["guessed"]["tasks"] == len(TASKS), "each generator has one answer"
    assert 0 < found["rows"][0]["coverage"] < 1


def coverage(log: Log) -> float:
    solved = {sample.id for sample in log.samples if sample.verdicts[PASSED]}
    return len(solved) / len({sample.id for sample in log.samples})


def test_without_the_library_the_extra_is_named_and_nothing_is_made(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "inspect_ai", None)
    run, out = python.Run(folder.path), tmp_path / "logs"
    with pytest.raises(python.AcdcError, match=r"inspect_ai: pip install -e '\.\[inspect\]'"):
        run.inspect_logs(out)
    with pytest.raises(python.AcdcError, match=r"pip install -e '\.\[inspect\]'"):
        run.evaluate(TASKS, (1,), inspect=out)
    assert not out.exists()
    assert not (tmp_path / "cache" / "evaluation").exists(), "refused before any work"


def test_a_report_has_one_form(acdc: Acdc, finished_run: Path, tmp_path: Path) -> None:
    line = the_line(acdc("report", finished_run, "--inspect", tmp_path, "--json", code=2).stderr)
    assert "--inspect" in line


def test_inspect_reads_what_a_run_wrote(acdc: Acdc, finished_run: Path, tmp_path: Path) -> None:
    log_files = pytest.importorskip("inspect_ai.log", reason=REASON)
    done = acdc("report", finished_run, "--inspect", tmp_path / "logs")
    assert f"inspect view start --log-dir {tmp_path / 'logs'}" in done.stdout
    written = {f"{log.run}/{log.who}": log for log in judge_logs(RunFolder(finished_run))}
    listed = log_files.list_eval_logs(str(tmp_path / "logs"))
    assert len(listed) == len(written) > 0
    for each in listed:
        found = log_files.read_eval_log(each)
        log = written[found.eval.model]
        assert (found.status, found.eval.task) == ("success", "judge")
        assert found.eval.config.epochs_reducer == ["mean"]
        assert found.eval.model_generate_config.temperature == log.sampling["temperature"]
        assert len(found.samples) == len(log.samples)
        begun, ended = found.stats.started_at, found.stats.completed_at
        took = (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds()
        assert took == pytest.approx(sum(s.answer.reply.seconds for s in log.samples), abs=1.0)
        replies = {sample.answer.key: sample for sample in log.samples}
        for sample in found.samples:
            ours = replies[sample.metadata["answer"]]
            assert (sample.input, sample.target) == (ours.question, ours.reference)
            assert sample.output.completion == ours.answer.reply.text
            assert sample.output.usage.output_tokens == ours.answer.reply.tokens_out
            assert sample.scores[PASSED].answer == ours.answer.extracted
            assert sample.scores[PASSED].value == ("C" if ours.verdicts[PASSED] else "I")
            assert f"reference: {ours.reference}" in sample.scores[PASSED].explanation
        by_question: dict[str, list[bool]] = {}
        for ours in log.samples:
            by_question.setdefault(ours.id, []).append(ours.verdicts[PASSED])
        rates = [sum(passes) / len(passes) for passes in by_question.values()]
        [score] = found.results.scores
        assert score.metrics["accuracy"].value == pytest.approx(sum(rates) / len(rates))
    again = python.Run(finished_run).inspect_logs(tmp_path / "logs")
    assert len(again) == len(listed) == len(list((tmp_path / "logs").iterdir())), "replaced"


async def test_inspect_reads_coverage_and_best_of_n(folder: RunFolder, tmp_path: Path) -> None:
    log_files = pytest.importorskip("inspect_ai.log", reason=REASON)
    tasks = await half_solved(folder, TASKS)
    runs = await evaluate([folder], Plan(tasks, (3,)), silent)
    rows = {f"{row['name']}-{row['n']}": row for row in report(runs, None)["rows"]}
    files = write_logs(evaluation_logs(runs, tasks, None), tmp_path / "logs")
    assert len(files) == len(rows) > 0
    assert 0 < rows["best_expert-1"]["coverage"] < 1
    for file in files:
        found = log_files.read_eval_log(str(file))
        row = rows[found.eval.model.split("/")[1]]
        assert found.eval.config.epochs == row["n"]
        scores = {score.name: score.metrics["accuracy"].value for score in found.results.scores}
        assert scores.pop(PASSED) == pytest.approx(row["coverage"], abs=1e-4)
        chosen = {name: of["accuracy"] for name, of in row["best_of_n"].items()}
        assert scores == pytest.approx(chosen, abs=1e-4)
