"""`acdc compare`: two runs or two experts on the same items."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from agents.errors import AnsweringError
from agents.evaluation.comparison import Answered, Question, compared
from agents.evaluation.tasks import Task
from console.commands.compare import as_object, on_history, show, side_named
from console.errors import UsageError
from console.run.folder import RunFolder
from console.view.pages.comparison import comparison
from console.view.source import Source
from memory.errors import StoreError
from memory.store import RunStore
from tests.console.conftest import Acdc, the_line


def side(*passes: bool | None) -> dict[str, tuple[Question, Answered]]:
    """One expert's grades on questions of two generators in turn."""
    return {
        str(place): (
            Question(str(place), f"g{place % 2}", f"What is {place}?", str(place)),
            Answered.of([("e", f"said {place}", passed)]),
        )
        for place, passed in enumerate(passes)
    }


def test_what_differs_comes_first_and_gaps_are_left_out() -> None:
    found = compared(side(True, False, True, None, True), side(True, True, False, True, False))
    assert [pair.question.id for pair in found.pairs] == ["2", "4", "1", "0"]
    assert [pair.gain for pair in found.pairs] == [1, 1, -1, 0]
    assert (found.ungraded, found.not_asked) == (1, 0)
    assert found.interval.mean == pytest.approx(0.25)
    assert found.interval.low == -1.0, "all of the second generator is lost"
    assert found.interval.high == pytest.approx(2 / 3)


def test_what_a_side_was_not_asked_is_no_missing_grade(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from console.commands.compare import Side

    second = side(True, None, None)
    question, never = second["2"][0], Answered.of([("e", "", None)], asked=False)
    found = compared(side(True, True, True), {**second, "2": (question, never)})
    assert (len(found.pairs), found.ungraded, found.not_asked) == (1, 1, 1)
    sides = (Side("a", RunFolder(Path("a")), None), Side("b", RunFolder(Path("b")), None))
    shown = as_object("history", sides, [["e"], ["e"]], found)
    assert (shown["ungraded"], shown["not_asked"]) == (1, 1)
    show(shown, Console(width=100))
    said = capsys.readouterr().out
    assert "1 item of 1 family, in both histories\n" in said
    assert "1 other item not asked of both sides\n" in said
    assert "1 item left out: a grade is missing\n" in said


def test_the_command_and_the_viewer_leave_out_the_same(finished_run: Path) -> None:
    with RunStore.open(finished_run, read_only=True) as store:
        child = next(expert.id for expert in store.experts() if not expert.is_seed)
    sides = (side_named(f"{finished_run}:{child}"), side_named(f"{finished_run}:base"))
    source = Source("run", finished_run)
    with source.open() as run:
        page = comparison(run, {"a": child, "b": "base"}, "").as_json()
    left_out = page["facts"]["left out: a grade is missing"]
    assert on_history(sides, 1)["ungraded"] == left_out


def test_of_a_force_one_pass_is_enough_and_a_gap_is_no_fail() -> None:
    right, wrong, gap = ("a", "1", True), ("b", "2", False), ("c", "", None)
    assert Answered.of([wrong, right, gap]).solved is True
    assert Answered.of([wrong, gap]).solved is None
    assert Answered.of([wrong, wrong]).solved is False


def test_nothing_in_common_is_told() -> None:
    with pytest.raises(AnsweringError, match="asks both of them"):
        compared(side(True), {})


def test_two_experts_are_compared_on_what_the_history_graded(
    finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunStore.open(finished_run, read_only=True) as store:
        names = ["base", next(expert.id for expert in store.experts() if not expert.is_seed)]
        passes = {name: store.skills(name) for name in names}
        families = len(store.families())
    sides = (side_named(f"{finished_run}:{names[0]}"), side_named(f"{finished_run}:{names[1]}"))
    found = on_history(sides, 3)
    assert found["source"] == "history"
    assert [side["experts"] for side in found["sides"]] == [[names[0]], [names[1]]]
    assert 0 < found["items"] == found["generators"] <= families
    solved = [side["coverage"] for side in found["sides"]]
    assert found["difference"] == pytest.approx(solved[0] - solved[1], abs=2e-4)
    for pair in found["pairs"]:
        for name, answers in zip(names, pair["answers"], strict=True):
            # Of a family that was asked in the finals alone, the answers to both instances count.
            assert answers["solved"] == passes[name].get(pair["id"], answers["solved"])
            assert answers["said"][0]["answer"].startswith("(1) ")
    differing = [pair["differs"] for pair in found["pairs"]]
    assert differing == sorted(differing, reverse=True)
    show(found, Console(width=200))
    said = capsys.readouterr().out
    assert f"{found['items']} items of {found['generators']} families, in both histories" in said
    mirrored = on_history(sides[::-1], 3)
    assert mirrored["difference"] == -found["difference"]
    assert mirrored["only_first"] == found["only_second"]


def test_two_runs_are_compared_by_their_forces_and_nothing_is_written(
    acdc: Acdc, finished_run: Path, tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(finished_run, tmp_path / "again"))
    before = {file: file.read_bytes() for file in moved.rglob("*") if file.suffix == ".db"}
    found = acdc.json("compare", finished_run, moved, "-n", "2")
    assert found["difference"] == 0.0
    assert [side["n"] for side in found["sides"]] == [2, 2]
    assert not any(pair["differs"] for pair in found["pairs"])
    assert all(file.read_bytes() == content for file, content in before.items())
    few = acdc("compare", finished_run, moved, "-n", "99", code=2)
    assert "too few graded experts for a task force of 99 (-n 99)" in the_line(few.stderr)


def test_both_answer_a_file_of_tasks(acdc: Acdc, finished_run: Path, tmp_path: Path) -> None:
    tasks = [
        Task(id=f"t{place}", instructions=f"Say {place}.", answer="1", generator=f"g{place % 2}")
        for place in range(4)
    ]
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(task.model_dump_json() + "\n" for task in tasks))
    found = acdc.json("compare", f"{finished_run}:base", finished_run, file, "-n", "1")
    assert found["source"] == "tasks"
    assert {pair["id"] for pair in found["pairs"]} == {task.id for task in tasks}
    assert all(len(side["said"]) == 1 for pair in found["pairs"] for side in pair["answers"])
    assert found["pairs"][0]["reference"] == "1"


def test_what_is_no_side_is_told(finished_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="RUN:EXPERT"):
        side_named(str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="not a run folder"):
        side_named(str(tmp_path))
    with pytest.raises(UsageError, match="not a run folder"):
        side_named(f"{tmp_path / 'nowhere'}:base")
    with pytest.raises(StoreError, match="bsae"):
        side_named(f"{finished_run}:bsae")


def test_a_difference_is_printed_with_question_reference_and_both_answers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from console.commands.compare import Side

    found = compared(side(True, False, True), side(False, True, False))
    sides = (Side("a", RunFolder(Path("a")), None), Side("b:e", RunFolder(Path("b")), "e"))
    shown = as_object("tasks", sides, [["e"], ["e"]], found)
    show(shown, Console(width=100), most=1)
    said = capsys.readouterr().out
    assert "A - B: +0.333" in said
    assert "(may be chance)" in said
    assert "What is 0?\nreference: 0\nA right  e: said 0\nB wrong  e: said 0\n" in said
    assert "2 more differing items: --show 3, or --json" in said
    assert "What is 1?" not in said
    assert json.loads(json.dumps(shown)) == shown
