"""`acdc evaluate` on a finished run of tiny models, with every baseline."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from agents.errors import AnsweringError
from agents.evaluation.bench import TaskOutcome
from agents.evaluation.rows import Row, RunRows
from agents.evaluation.run import Plan
from agents.evaluation.tasks import Task
from agents.progress import ProgressEvent, silent
from agents.task_force.field import field_of
from console.commands.evaluate import (
    big_model_at,
    book_of,
    evaluate,
    evaluate_logs,
    sort_places,
)
from console.commands.measured import report
from console.errors import UsageError
from console.run.folder import RunFolder
from console.run.permissions import permit, requests_of
from memory.records import Answer, GibberishFound, GraftRefused, Reply
from memory.store import RunStore
from tests.agents.evaluation.log_cases import sample, write
from tests.console.conftest import Acdc
from tests.console.scientist_server import VERDICT

TASKS = [
    Task(id=f"t{number}", instructions=f"Say {number}.", answer="1", generator=f"g{number % 3}")
    for number in range(6)
]


@pytest.fixture
def folder(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A copy of a run on a machine that has evaluated nothing yet."""
    monkeypatch.setenv("ACDC_CACHE", str(tmp_path / "cache"))
    run = RunFolder(Path(shutil.copytree(finished_run, tmp_path / "run")))
    permit(requests_of(run.manifest()["config"]))
    return run


def answers_kept(folder: RunFolder) -> int:
    with RunStore.open(book_of(folder), read_only=True) as store:
        return int((store._one("SELECT COUNT(*) FROM answers") or (0,))[0])


async def measured(folder: RunFolder, *sizes: int, baselines: bool = False) -> RunRows:
    [rows] = await evaluate([folder], Plan(TASKS, sizes, baselines), silent)
    return rows


def unhurried(run: RunRows) -> dict[str, object]:
    rows = {str(place): (row.solved, row.chosen, row.experts) for place, row in run.rows.items()}
    return {"clusters": run.clusters, **rows}


async def test_all_baselines_have_the_same_number_of_answers(folder: RunFolder) -> None:
    run = await measured(folder, 1, 3, baselines=True)
    single = {("best_expert", 1), ("best_seed", 1)}
    names = ("force", "control", "experts", "merge_once", "random_genomes")
    assert set(run.rows) == single | {(name, n) for name in names for n in (1, 3)}
    for row in run.rows.values():
        assert len(row.experts) == row.n
        assert row.tokens <= row.n * len(TASKS) * 6, "the token limit of the run"
        assert row.ungraded == 0
        assert set(row.chosen) == (set() if row.n == 1 else FREE)
        for of_method in row.chosen.values():
            assert all(row.solved[task] >= right for task, right in of_method.items())
    assert len(set(run.rows["control", 3].experts)) == 1
    assert run.rows["control", 3].experts[0] == run.rows["best_seed", 1].experts[0]
    assert run.rows["control", 3].sampling == "T = 0.7"
    assert run.rows["experts", 3].sampling == "greedy"
    with RunStore.open(folder.path, read_only=True) as store:
        seeds = {expert.id for expert in store.experts(0) if expert.is_seed}
        [merge] = [expert.id for expert in store.experts(0) if expert.operator == "regmean"]
        drawn = len(store.experts()) - len(seeds) - 1
    assert set(run.rows["experts", 3].experts) <= seeds - {"base"}
    assert not set(run.rows["best_expert", 1].experts) & seeds
    assert run.rows["merge_once", 1].experts == (merge,)
    assert set(run.rows["merge_once", 3].experts[1:]) < seeds - {"base"}
    assert run.rows["merge_once", 3].sampling == "greedy"
    assert set(run.left_out) == {"tutor_once", "merge_tutor_once"}
    among = set(run.rows["random_genomes", 3].experts)
    assert among <= seeds | {merge} | {f"random-{number}" for number in range(drawn)}
    found = report([run, run], None)
    assert {"force", "best_expert"} == {found["ours"] for found in found["differences"]}
    compared = {(d["ours"], d["theirs"], d["n"]) for d in found["differences"]}
    assert {("best_expert", "merge_once", 1), ("force", "merge_once", 3)} <= compared
    assert all(d["n"] == d["their_n"] for d in found["differences"] if d["measure"] == "coverage")


async def test_there_are_as_many_random_genomes_as_bred_experts(folder: RunFolder) -> None:
    with RunStore.open(folder.path) as store:
        seed = next(expert for expert in store.experts(0) if expert.is_seed)
        # A seed that babbles is in no field, and is no bred expert all the same.
        store.add_event(GibberishFound(expert=seed.id, reason="one token, repeated"))
        # Base, seeds and their merge need no evolution.
        bred = sum(not expert.is_seed for expert in store.experts()) - 1
    told: list[ProgressEvent] = []
    await evaluate([folder], Plan(TASKS[:1], (1,), True), told.append)
    drawn = {event.text for event in told if event.text.startswith("drawn: ")}
    assert drawn == {f"drawn: random-{number}" for number in range(bred)}


@pytest.mark.parametrize("earlier", [0, 1, 2])
async def test_as_many_random_genomes_are_sampled_as_bred_experts_were(
    folder: RunFolder, earlier: int
) -> None:
    """A run that held finals several times has more finalists than one holds."""
    with RunStore.open(folder.path) as store:
        unbred = {e.id for e in store.experts(0) if e.is_seed or e.is_merge}
        heard = store.outcomes()
        [bred] = {outcome.expert for outcome in heard} - unbred
        others = [e.id for e in field_of(store) if e.id not in unbred | {bred}][:earlier]
        of_bred = [outcome for outcome in heard if outcome.expert == bred]
        store.put_outcomes(
            [each.model_copy(update={"expert": other}) for other in others for each in of_bred]
        )
    told: list[ProgressEvent] = []
    await evaluate([folder], Plan(TASKS[:1], (1,), True), told.append)
    sampled = {event.text for event in told if event.text.startswith("sampled: ")}
    assert len(sampled) == 1 + earlier


async def test_a_costly_baseline_can_be_left_out(folder: RunFolder) -> None:
    left = ("tutor_once", "merge_tutor_once", "random_genomes")
    plan = Plan(TASKS[:1], (1,), True, without=left)
    told: list[ProgressEvent] = []
    [run] = await evaluate([folder], plan, told.append)
    assert {"merge_once", "experts"} <= {name for name, _ in run.rows}
    assert "random_genomes" not in {name for name, _ in run.rows}
    assert not [event for event in told if event.text.startswith("drawn: ")]
    assert run.left_out == dict.fromkeys(left, "it was not asked for")


def test_what_is_no_costly_baseline_is_not_left_out() -> None:
    with pytest.raises(AnsweringError, match=r"did you mean random_genomes\?"):
        Plan(TASKS, without=["random_genome"])


async def test_greedy_forces_are_measured_where_they_are_asked_for(folder: RunFolder) -> None:
    [rows] = await evaluate([folder], Plan(TASKS, (1, 3), alone=True), silent)
    row = rows.rows["greedy_force", 3]
    assert len(set(row.experts)) == 3
    assert row.sampling == "greedy"
    assert ("greedy_force", 1) in rows.rows
    assert ("greedy_force", 3) not in (await measured(folder, 3)).rows


async def test_an_early_agreement_tells_how_many_were_asked(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    from console.commands.measured import show

    whole = await measured(folder, 1, 3)
    kept = answers_kept(folder)
    [early] = await evaluate([folder], Plan(TASKS, (1, 3), until_agree=2), silent)
    assert answers_kept(folder) == kept, "Coverage needs every answer; they are there"
    row, before = early.rows["force", 3], whole.rows["force", 3]
    assert (row.solved, row.tokens) == (before.solved, before.tokens)
    assert row.asked is not None
    assert set(row.asked) == {task.id for task in TASKS}
    assert set(row.asked.values()) <= {2, 3}
    spared = any(count < 3 for count in row.asked.values())
    assert (row.tokens_asked < row.tokens) == spared
    assert early.rows["force", 1].asked is None, "one voice cannot agree"
    assert before.asked is None
    for task, count in row.asked.items():
        if count == 2:
            chosen = {of_method[task] for of_method in row.chosen.values()}
            assert len(chosen) == 1, "what two agree on is chosen, whatever the method"
    found = report([early], None)
    mean = sum(row.asked.values()) / len(TASKS)
    [told] = [each for each in found["rows"] if (each["name"], each["n"]) == ("force", 3)]
    assert (told["asked"], told["tokens_asked"]) == (
        pytest.approx(mean, abs=1e-3),
        row.tokens_asked,
    )
    show(found, Console(width=1000))
    assert f"force: {told['asked']:.2f} of 3 answers asked per task" in capsys.readouterr().out
    with pytest.raises(AnsweringError, match="from 2 to 3"):
        await evaluate([folder], Plan(TASKS, (1, 3), until_agree=4), silent)


async def test_a_run_that_held_no_finals_is_measured_by_its_history(folder: RunFolder) -> None:
    with RunStore.open(folder.path) as store:
        store._write("DELETE FROM meta WHERE key = 'finals'", ())
    run = await measured(folder, 3, baselines=True)
    assert run.rows["force", 3].sampling == "greedy"
    assert run.rows["random_genomes", 3].sampling == "greedy"
    assert run.rows["experts", 3].sampling == "greedy"
    assert run.rows["control", 3].sampling == "T = 0.7"


async def test_behind_merge_and_seeds_the_merge_is_sampled(folder: RunFolder) -> None:
    run = await measured(folder, 6, baselines=True)
    with RunStore.open(folder.path, read_only=True) as store:
        [merge] = [expert.id for expert in store.experts(0) if expert.operator == "regmean"]
        seeds = [expert.id for expert in store.experts(0) if expert.operator == "seed"]
    row = run.rows["merge_once", 6]
    assert row.experts[0] == row.experts[4] == row.experts[5] == merge
    assert sorted(row.experts[1:4]) == sorted(seeds)
    assert row.sampling == "4 greedy, 2 at T = 0.7"


@pytest.mark.parametrize("refused", [True, False])
async def test_a_run_without_a_founding_merge_leaves_its_row_out_and_says_so(
    folder: RunFolder, refused: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    from console.commands.measured import show

    with RunStore.open(folder.path) as store:
        # As another version, or a refusal, would have left it: what was bred stands as it is.
        [merge] = [expert for expert in store.experts(0) if expert.operator == "regmean"]
        store._write(
            "UPDATE experts SET record = ? WHERE id = ?",
            (merge.model_copy(update={"operator": "linear"}).model_dump_json(), merge.id),
        )
        if refused:
            event = GraftRefused(reason="regmean: no expert passes a family").model_dump_json()
            store._write(
                "INSERT INTO events (at, generation, kind, payload) VALUES (0, 0, ?, ?)",
                (GraftRefused.kind, event),
            )
    run = await measured(folder, 1, 3, baselines=True)
    assert "merge_once" not in {name for name, _ in run.rows}
    assert {("random_genomes", 3), ("experts", 3), ("force", 3)} <= set(run.rows)
    found = report([run], None)
    assert set(found["runs"][0]["left_out"]) == {"merge_once", "tutor_once", "merge_tutor_once"}
    show(found, Console(width=1000))
    said = capsys.readouterr().out
    why = "could not be merged (regmean: no expert passes a family)" if refused else "version"
    [line] = [line for line in said.splitlines() if "has no row merge_once: its seeds" in line]
    assert why in line


FREE = {"majority", "weighted_majority", "skill_routing", "logprob", "self_certainty", "borda"}


async def test_what_was_answered_is_not_asked_again_and_more_only_adds(folder: RunFolder) -> None:
    first = await measured(folder, 1)
    kept = answers_kept(folder)
    assert unhurried(await measured(folder, 1)) == unhurried(first)
    assert answers_kept(folder) == kept
    more = await measured(folder, 1, 3)
    assert more.rows["force", 1].solved == first.rows["force", 1].solved
    assert more.rows["force", 3].experts[:1] == first.rows["force", 1].experts
    new = seats(more.rows["force", 3]) - seats(more.rows["force", 1])
    new -= seats(more.rows["best_expert", 1])
    assert answers_kept(folder) == kept + len(TASKS) * len(new)


def seats(row: Row) -> set[tuple[str, float, int]]:
    """Who answers how, and which sample it is of those of that voice."""
    voices = list(zip(row.experts, row.temperatures, strict=True))
    return {(*voice, voices[:place].count(voice)) for place, voice in enumerate(voices)}


async def test_a_big_model_answers_behind_an_endpoint(
    folder: RunFolder, scientist_url: str
) -> None:
    settings = big_model_at(scientist_url, "scripted", "")
    plan = Plan([*TASKS, VERDICT_TASK], (1,), big_model=settings)
    [run] = await evaluate([folder], plan, silent)
    row = run.rows["big_model", 1]
    assert row.solved["verdict"], "what the scripted server says"
    assert not any(row.solved[task.id] for task in TASKS)
    assert row.tokens == 50 * len(plan.tasks)
    found = report([run], None)
    assert ("force", "big_model") in {(d["ours"], d["theirs"]) for d in found["differences"]}
    with pytest.raises(UsageError, match="must be given together"):
        big_model_at(scientist_url, None, "")
    with pytest.raises(UsageError, match="http://host:port/v1"):
        big_model_at("localhost", "scripted", "")


VERDICT_TASK = Task(id="verdict", instructions="Which one?", answer=VERDICT)


class Interrupted(Exception):
    pass


async def test_an_interrupted_evaluation_goes_on(folder: RunFolder, tmp_path: Path) -> None:
    def stop(event: ProgressEvent) -> None:
        if event.text.startswith("evaluate"):
            raise Interrupted

    with pytest.raises(Interrupted):
        await evaluate([folder], Plan(TASKS, (3,)), stop)
    kept = answers_kept(folder)
    assert kept == len(TASKS), "what the first one answered"
    resumed = await measured(folder, 3)
    shutil.rmtree(book_of(folder))
    assert unhurried(resumed) == unhurried(await measured(folder, 3))


def test_the_command_prints_the_surface_that_programs_rely_on(
    acdc: Acdc, folder: RunFolder, tmp_path: Path
) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(task.model_dump_json() + "\n" for task in TASKS))
    found = acdc.json("evaluate", folder.path, file, "-n", "3", fresh=True)
    assert found["tasks"] == 6
    assert [(row["name"], row["n"]) for row in found["rows"]] == [("best_expert", 1), ("force", 3)]
    force = found["rows"][1]
    assert {"coverage", "coverage_ci", "best_of_n", "tokens", "seconds", "sampling"} <= set(force)
    assert set(force["best_of_n"]["majority"]) == {"accuracy", "ci"}
    items = found["runs"][0]["items"]
    assert [item["task"] for item in items] == [task.id for task in TASKS]
    for item, task in zip(items, TASKS, strict=True):
        assert (item["question"], item["reference"]) == (task.instructions, task.answer)
        [single, of_force] = item["rows"]
        assert (len(single["answers"]), len(of_force["answers"])) == (1, 3)
        passed = [each["passed"] for each in of_force["answers"]]
        assert of_force["solved"] == any(passed)
    solved = sum(item["rows"][1]["solved"] for item in items)
    assert force["coverage"] == pytest.approx(solved / len(TASKS), abs=1e-4)
    shown = acdc("evaluate", folder.path, file, "-n", "3").stdout
    assert "A best_expert, B force of 3" in " ".join(shown.split())
    assert all(any(line.startswith(task.id) for line in shown.splitlines()) for task in TASKS)


async def test_logs_made_elsewhere_are_ordered_by_the_run_and_not_by_the_test(
    folder: RunFolder, tmp_path: Path
) -> None:
    from agents.evaluation.sample_logs import read_logs

    names = ["g1-0", "base", "g2-1"]
    files = [
        write(tmp_path, name, "gsm8k", sample(0, "4", name == "base"), sample(1, "3", False))
        for name in names
    ]
    logs = read_logs(files)
    found = await evaluate_logs([folder], logs, [1, 3])
    assert [(row["name"], row["n"]) for row in found["rows"]] == [("force", 1), ("force", 3)]
    assert found["rows"][1]["coverage"] == 0.5
    with RunStore.open(folder.path, read_only=True) as store:
        passes = {name: sum(store.skills(name).values()) for name in names}
    assert passes[found["rows"][0]["experts"][0]] == max(passes.values())
    plain = await evaluate_logs([], logs, [1, 3])
    assert plain["rows"][0]["experts"] == ["g1-0"], "as they were given"
    with pytest.raises(UsageError, match="none of the log folders"):
        await evaluate_logs([folder], {"other": logs["base"]}, [1])


def test_a_run_without_a_file_of_tasks_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name a file of tasks"):
        sort_places([tmp_path])


def test_rows_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    from agents.evaluation.rows import Row
    from console.commands.measured import show

    solved = {"a": True, "b": False}
    row = Row("force", 3, solved, {"majority": solved}, ("x",) * 3, "greedy", 9, 30, 1.5, 1)
    single = Row("best_expert", 1, solved, {}, ("x",), "greedy", 3, 10, 0.5, 0)
    run = RunRows("r", 0, {"a": "g1", "b": "g2"}, {row.place: row, single.place: single})
    show(report([run, run], None), Console(width=120))
    said = capsys.readouterr().out
    assert "force: greedy" not in said, "rows that are drawn alike are told together"
    assert "force, best_expert: greedy" in said
    assert "majority 0.500" in said
    assert "1 answers" not in said
    assert "2 answers could not be graded" in said
    assert "Only 2 generators: bootstrap intervals over fewer than 10 are too narrow" in said
    many = RunRows(
        "r", 0, {str(n): f"g{n}" for n in range(10)}, {("force", 1): _solves_all(single, 10)}
    )
    show(report([many], None), Console(width=120))
    assert "too narrow" not in capsys.readouterr().out
    assert json.loads(json.dumps(report([run], 24)))["max_tokens"] == 24


def test_generators_that_guessing_passes_and_distances_stand_apart(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from rich.console import Console

    from agents.evaluation.chance import Guess
    from agents.evaluation.rows import Row
    from agents.evaluation.transfer import Distance
    from console.commands.measured import show

    clusters = {f"{name}{n}": name for name in ("flip", "sum", "maze") for n in range(4)}
    solved = {task: task in ("sum0", "sum1", "maze0") or "flip" in task for task in clusters}
    guesses = {
        task: Guess(name, "0", {"flip": 0.75, "sum": 0.25, "maze": 0.0}[name])
        for task, name in clusters.items()
    }
    row = Row("random_genomes", 1, solved, {}, ("x",), "greedy", 9, 30, 1.5, 0)
    distances: dict[str, Distance] = {
        task: "near" if name == "sum" else "far" for task, name in clusters.items()
    }
    run = RunRows("r", 0, clusters, {row.place: row}, guesses=guesses, distances=distances)
    found = report([run], None)
    assert (found["tasks"], found["generators"]) == (8, 2)
    [headline] = found["rows"]
    assert headline["coverage"] == 0.375
    assert headline["corrected"] == pytest.approx(((0.5 - 0.25) / 0.75 + 0.25) / 2, abs=1e-4)
    assert headline["corrected_ci"] == [0.25, 0.3333]
    [guessed] = found["guessed"]["generators"]
    assert guessed == {"generator": "flip", "answer": "0", "chance": 0.75}
    assert found["guessed"]["rows"][0]["coverage"] == 1.0
    apart = {each["distance"]: each["rows"][0]["coverage"] for each in found["distances"]}
    assert apart == {"near": 0.5, "far": 0.25}
    show(found, Console(width=80))
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    said = "\n".join(lines)
    assert "'0' passes 0.75" in said
    assert said.index("left out above") < said.index("near: 4 tasks") < said.index("far: 4 tasks")
    assert "less chance 0.292 0.250..0.333" in [" ".join(line.split()) for line in lines]


def _solves_all(row: Any, tasks: int) -> Any:
    return dataclasses.replace(row, name="force", solved={str(n): True for n in range(tasks)})


@pytest.mark.parametrize(("count", "each"), [(3, True), (31, False)])
def test_each_task_is_shown_with_what_was_said_where_tasks_are_few(
    count: int, each: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    from console.commands.measured import show

    tasks = [
        Task(id=f"task-{n}", instructions=f"What is {n} + {n}?", answer=str(2 * n))
        for n in range(count)
    ]
    rows = {}
    for name, said in (("best_expert", ["7"]), ("force", ["7", "0", "7"])):
        sheets = [{t.id: _outcome(text, t.answer == text) for t in tasks} for text in said]
        solved = {t.id: t.answer in said for t in tasks}
        many = len(said)
        rows[name, many] = Row(
            name, many, solved, {}, ("x",) * many, "greedy", 9, 30, 1.5, 0, (0.0,) * many,
            tuple(sheets),
        )  # fmt: skip
    run = RunRows("r", 0, {task.id: task.id for task in tasks}, rows)
    found = report([run], None, tasks)
    assert [row["answers"] for row in found["runs"][0]["items"][0]["rows"]] == [
        [{"expert": "x", "temperature": 0.0, "answer": "7", "passed": False}],
        [
            {"expert": "x", "temperature": 0.0, "answer": "7", "passed": False},
            {"expert": "x", "temperature": 0.0, "answer": "0", "passed": True},
            {"expert": "x", "temperature": 0.0, "answer": "7", "passed": False},
        ],
    ]
    show(found, Console(width=80))
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    text = "\n".join(" ".join(line.split()) for line in lines)
    assert ("task-0 ✗ ✓ What is 0 + 0? 0 ✗ 7 (2 times)\n✓ 0" in text) == each
    assert "--json (`items` of `runs`)" in text
    assert found["tasks"] == count
    assert f"{count} tasks of {count} generators, 1 run;" in text


def _outcome(text: str, passed: bool) -> TaskOutcome:
    answer = Answer(
        key=text,
        genome_id="g",
        instance_hash="i",
        sample=0,
        reply=Reply(text=text, finish_reason="stop", tokens_in=1, tokens_out=1, seconds=0.0),
        extracted=text,
        unmarked=False,
    )
    return TaskOutcome(answer, passed)


def test_the_longest_rows_fit_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    from agents.evaluation.rows import Row
    from console.commands.measured import show

    solved = {"a": True, "b": False}
    methods = ("majority", "weighted_majority", "skill_routing", "self_certainty")
    chosen = dict.fromkeys(methods, solved)
    rows = [
        Row(name, 128, solved, chosen, ("x",), "temperature 0.7", 10**8, 30, 99_999.0, 0)
        for name in ("force", "random_genomes")
    ]
    run = RunRows("r", 0, {"a": "g1", "b": "g2"}, {row.place: row for row in rows})
    show(report([run], None), Console(width=80))
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert "…" not in "".join(lines)
    [row] = [line for line in lines if line.startswith("random_genomes ") and "100M" in line]
    assert row.split()[:3] == ["random_genomes", "128", "0.500"]
    assert row.endswith("99999")
    for method in methods:
        assert sum(f"{method} 0.500" in line for line in lines) >= 2
