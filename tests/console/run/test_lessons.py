"""Lessons in whole runs: after a kill, against a single lesson, exported and distilled."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

import acdc as python
from agents.evaluation.run import Plan
from agents.evaluation.tasks import Task
from agents.lessons.record import lessons_of
from agents.progress import ProgressEvent
from console.commands.evaluate import evaluate
from console.commands.measured import report
from console.run.folder import RunFolder
from console.run.permissions import permit, requests_of
from evolution.merging.settings import REGMEAN
from memory.records import FINALS, is_learning
from memory.store import RunStore
from tests.console.conftest import Acdc, outcome_of, the_line

PROGRAM = """
import random


class TaskFamily:
    levels = 1

    def get_tasks(self, seed=0, level=1):
        rng = random.Random(seed)
        wanted = zip("12", rng.sample([1, 2, 3], 2))
        return {n: {"number": rng.randrange(10**6), "want": want} for n, want in wanted}

    def get_instructions(self, t):
        text = f"Name a letter of kind {t['want']} for {t['number']}"
        return text + chr(33 + (-sum(map(ord, text)) - 33) % 4)

    def reference(self, t):
        return chr(100 + t["want"])

    def wrong(self, t):
        return [chr(100 + (t["want"] + 1) % 4)]

    def score(self, t, submission):
        return 1.0 if sum(map(ord, submission)) % 4 == t["want"] else 0.0
"""
"""A family on which a constant answer passes a third; of the question and of nothing the sum of
character codes is 0 modulo 4."""

FACTS = {
    "name": "Letters",
    "description": "A letter whose character code has a remainder.",
    "capability": "character codes",
    "difficulty": 2,
}

DYING = """
import os, signal, sys
from agents.archive import tutoring
from console.app import main
from evolution.tutoring import lesson

moment = sys.argv.pop(1)
step, record = lesson._step, tutoring._record
done = []

def die(place):
    if moment == place:
        os.kill(os.getpid(), signal.SIGKILL)

def stepping(*given):
    done.append(given)
    if len(done) == 3:
        die("learning")
    return step(*given)

def recording(*given):
    record(*given)
    die("recording")

lesson._step, tutoring._record = stepping, recording
main()
"""
"""The command, killed in the middle of its first lesson, or with its transaction still open."""


@pytest.fixture(scope="session")
def lessons_config(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lessons")
    family = folder / "families" / "letters"
    family.mkdir(parents=True)
    (family / "task.py").write_text(PROGRAM)
    (family / "task.json").write_text(json.dumps(FACTS))
    text = tiny_config.read_text().replace("generations = 4", "generations = 2")
    text = text.replace("children = 3", "children = 1").replace("max_tokens = 6", "max_tokens = 8")
    text = text.replace("[pool]", f'[pool]\nfamilies = ["{folder / "families"}"]')
    text += """
[breeding.regmean]
founding = false
adapting = false

[breeding.graft]
every = 0

[breeding.tutor]
steps = 60
every = 2
learning_rate = 0.01
"""
    file = folder / "lessons.toml"
    file.write_text(text)
    return file


@pytest.fixture(scope="session")
def taught_run(acdc: Acdc, lessons_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "taught"
    acdc("run", folder, "--config", lessons_config)
    return folder


@pytest.mark.slow
def test_a_run_that_is_killed_in_a_lesson_has_the_same_archive_and_anchor(
    acdc: Acdc, lessons_config: Path, taught_run: Path, tmp_path: Path
) -> None:
    killed = tmp_path / "killed"
    for moment in ("learning", "recording"):
        acdc.die(DYING, moment, "run", killed, "--config", lessons_config)
        with RunStore.open(killed, read_only=True) as store:
            assert lessons_of(store) == []
    acdc("run", killed, "--config", lessons_config)
    assert outcome_of(killed) == outcome_of(taught_run)
    [file], [same] = ([*(run / "anchors").iterdir()] for run in (killed, taught_run))
    assert (file.name, file.read_bytes()) == (same.name, same.read_bytes())
    with (
        RunStore.open(killed, read_only=True) as store,
        RunStore.open(taught_run, read_only=True) as whole,
    ):
        assert lessons_of(store) == lessons_of(whole) != []
        assert store.experts() == whole.experts()


def test_a_lesson_is_a_span_with_what_came_of_it(taught_run: Path) -> None:
    with RunStore.open(taught_run, read_only=True) as store:
        [span] = [span for span in store.spans() if span.kind == "lesson"]
        [taught] = [expert for expert in store.experts() if expert.operator == "tutor"]
    assert span.attributes["acdc.expert"] == taught.id
    assert "given-letters" in str(span.attributes["output.value"])
    assert span.error is None


def test_status_tells_of_lessons_and_the_taught_expert_was_judged(
    acdc: Acdc, taught_run: Path
) -> None:
    status = acdc.json("status", taught_run)
    assert status["lessons"] == {
        "given": 1,
        "families": {"given-letters": 1},
        "refused": [],
    }
    assert "lessons: 1, about given-letters" in acdc("status", taught_run).stdout
    with RunStore.open(taught_run, read_only=True) as store:
        [expert] = [each for each in store.experts() if each.operator == "tutor"]
        assert store.skill_counts(expert.id)["given-letters"].asked == 4
        [lesson] = lessons_of(store)
    assert lesson.losses[1] < 0.5 * lesson.losses[0]
    shown = acdc("trace", taught_run, "--expert", expert.id).stdout
    assert "tutor" in shown


def test_a_run_goes_on_with_other_lessons(acdc: Acdc, taught_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(taught_run, run)
    rate = "breeding.tutor.learning_rate=0.02"
    acdc("run", run, "--set", "generations=4", "--set", rate)
    with RunStore.open(run, read_only=True) as store:
        rates = {lesson.generation: lesson.learning_rate for lesson in lessons_of(store)}
    assert rates == {1: 0.01, 3: 0.02}


def test_what_a_lesson_learnt_from_is_named_so_in_the_table_of_tasks(taught_run: Path) -> None:
    with RunStore.open(taught_run, read_only=True) as store:
        learnt = {each.name for each in store.instances() if is_learning(each.period)}
        periods = {each.period for each in store.instances() if each.period >= 0} - {FINALS}
    tasks = python.Run(taught_run).table("tasks").to_pylist()
    assert {row["instance"] for row in tasks if row["use"] == "lesson"} == learnt != set()
    assert {row["period"] for row in tasks if row["use"] == "period"} == periods
    assert all(row["period"] is None for row in tasks if row["use"] != "period")


@pytest.mark.slow
def test_one_lesson_to_the_best_seed_is_a_baseline_and_what_was_learnt_is_no_test(
    acdc: Acdc, taught_run: Path, tmp_path: Path
) -> None:
    with RunStore.open(taught_run, read_only=True) as store:
        learnt = next(each for each in store.instances() if is_learning(each.period))
    tasks = [{"id": f"t{n}", "instructions": f"Say {n}.", "answer": "1"} for n in range(4)]
    tasks.append({"id": "leak", "instructions": learnt.instructions + " ", "answer": "x"})
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(json.dumps(task) + "\n" for task in tasks))
    command = ("evaluate", taught_run, file, "-n", "1", "-n", "3", "--baselines")
    found: dict[str, Any] = acdc.json(*command)
    rows = {(row["name"], row["n"]) for row in found["rows"]}
    assert {("tutor_once", 1), ("tutor_once", 3)} <= rows
    assert (found["tasks"], found["learnt"]) == (4, ["leak"])
    assert set(found["runs"][0]["left_out"]) == {"merge_once", "merge_tutor_once"}
    assert "a lesson asked the same: leak" in acdc(*command).stdout
    kept = list((Path(acdc.environment["ACDC_CACHE"]) / "lessons").iterdir())
    assert len(kept) == 1, "given once"
    file.write_text(json.dumps(tasks[-1]) + "\n")
    line = the_line(acdc("evaluate", taught_run, file, code=2).stderr)
    assert "every task is, word for word, one that a run was taught" in line


async def test_the_same_lesson_to_the_founding_merge_is_a_baseline(
    taught_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACDC_CACHE", str(tmp_path / "cache"))
    run = RunFolder(Path(shutil.copytree(taught_run, tmp_path / "run")))
    permit(requests_of(run.manifest()["config"]))
    with RunStore.open(run.path) as store:
        founder = next(each for each in store.experts(0) if not each.is_seed)
        merge = founder.model_copy(update={"operator": REGMEAN})
        store._write(
            "UPDATE experts SET record = ? WHERE id = ?", (merge.model_dump_json(), merge.id)
        )
    tasks = [Task(id="t", instructions="Say 1.", answer="1", generator="g")]
    told: list[ProgressEvent] = []
    plan = Plan(tasks, (1,), baselines=True, without=["random_genomes"])
    [rows] = await evaluate([run], plan, told.append)
    assert rows.rows["merge_once", 1].experts == (merge.id,)
    assert rows.rows["merge_tutor_once", 1].experts == ("merge_tutor_once",)
    assert rows.left_out == {"random_genomes": "it was not asked for"}
    theirs = {(each["ours"], each["theirs"]) for each in report([rows], None)["differences"]}
    assert {("best_expert", "merge_tutor_once"), ("force", "merge_tutor_once")} <= theirs
    for name in ("tutor-once", "merge-tutor-once"):
        steps = [each.done for each in told if each.text == f"lesson: {name}"]
        assert steps == [*range(61)], "a lesson takes long, and says how far it is"


def test_a_run_without_lessons_says_why_it_has_no_such_baseline(
    acdc: Acdc, finished_run: Path, tmp_path: Path
) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text(json.dumps({"id": "t", "instructions": "Say 1.", "answer": "1"}) + "\n")
    found = acdc.json("evaluate", finished_run, file, "-n", "1", "--baselines")
    reason = "the run gave no lessons (breeding.tutor.steps)"
    assert found["runs"][0]["left_out"] == {"tutor_once": reason, "merge_tutor_once": reason}


def test_a_taught_expert_is_exported(acdc: Acdc, taught_run: Path, tmp_path: Path) -> None:
    with RunStore.open(taught_run, read_only=True) as store:
        [expert] = [each for each in store.experts() if each.operator == "tutor"]
    acdc("export", taught_run, expert.id, tmp_path / "taught")
    acdc("export", taught_run, expert.parents[0], tmp_path / "parent")
    models = [
        AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("taught", "parent")
    ]
    tokens = torch.tensor([[1, 50, 60]])
    with torch.no_grad():
        taught, parent = (model(tokens).logits for model in models)
    assert not torch.allclose(taught, parent)


def test_a_task_force_that_is_right_nowhere_cannot_be_distilled(
    acdc: Acdc, taught_run: Path, tmp_path: Path
) -> None:
    """Random models never end an answer by themselves, and mark none."""
    out = tmp_path / "out"
    given = ("export", taught_run, out, "--distil", "--instances", "3", "--steps", "4", "-n", "1")
    line = the_line(acdc(*given, code=2).stderr)
    assert "of 3 fresh questions the task force solves none" in line
    assert not out.exists()


def test_words_that_do_not_fit_are_told_at_once(
    acdc: Acdc, taught_run: Path, tmp_path: Path
) -> None:
    line = the_line(acdc("export", taught_run, tmp_path / "out", code=2).stderr)
    assert "export DIR EXPERT OUT" in line
    out = tmp_path / "out"
    done = acdc("export", taught_run, "alpha", out, "--distil", code=2)
    assert "export DIR OUT --distil" in the_line(done.stderr)
    done = acdc("export", taught_run, out, "--distil", "--select", "majorty", code=2)
    assert "majority" in the_line(done.stderr)
