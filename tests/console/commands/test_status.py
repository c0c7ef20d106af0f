"""`acdc status`: what it reads from a run store, its table, and hints on small forces."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest
from rich.console import Console

from agents.errors import AnsweringError
from agents.progress import ProgressEvent
from console.commands.ask import fewer_than
from console.commands.frame import note_unfinished
from console.commands.run import show as show_end
from console.commands.status import collect
from console.commands.status_shown import show
from console.run.folder import RunFolder
from console.run.now import put_waits, waits_of
from console.run.opening import reported
from memory.records import (
    ArchiveEntry,
    Assignment,
    Call,
    Emission,
    Emitter,
    Expert,
    GraftRefused,
    Json,
    LongWait,
    Rejection,
)
from memory.store import RunStore
from memory.waits import Wait
from tests.agents.cases import family

SKILLS = {"kept": "10", "best": "11", "twin": "11"}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run in its first generation: f0 and f1 grade, one assignment was rejected."""
    config: Json = {
        "generations": 2,
        "engine": {"compute": "float32"},
        "endpoints": {"scientist": {"base_url": "offline"}},
    }
    (tmp_path / "config.json").write_text(json.dumps({"config": config}))
    with RunStore.open(tmp_path) as store:
        for number in range(2):
            store.put_family(family(number))
        for birth, (name, passes) in enumerate(SKILLS.items()):
            operator = "seed" if name == "kept" else "linear"
            store.put_genome(name, name.encode())
            store.put_expert(
                Expert(id=name, genome_id=name, generation=0, birth=birth, operator=operator)
            )
            for number, passed in enumerate(passes):
                store.set_skill(name, f"f{number}", passed == "1")
        novelties = {"best": 999.0, "kept": 12.0, "twin": 0.0}
        store.put_archive(
            0,
            [
                ArchiveEntry(
                    expert=name, rank=rank, fitness=SKILLS[name].count("1") / 2, novelty=novelty
                )
                for rank, (name, novelty) in enumerate(novelties.items())
            ],
        )
        store.put_assignment(
            Assignment(id="g0-a00", generation=0, index=0, kind="novel", rng_seed=1)
        )
        store.finish_assignment("g0-a00", "rejected", Rejection(reason="leaked"))
        store.put_call(
            Call(
                key="k",
                role="scientist",
                purpose="propose",
                model="m",
                endpoint="e",
                assignment="g0-a00",
                round=0,
                messages=(),
                response="{}",
                tokens_in=7,
            )
        )
    return RunFolder(tmp_path)


def test_a_run_that_goes_on_is_read_from_its_store(folder: RunFolder) -> None:
    status = collect(folder)
    assert (status["generation"], status["generations"], status["finished"]) == (0, 2, False)
    assert [row["expert"] for row in status["archive"]] == ["best", "kept", "twin"]
    assert [row["novelty"] for row in status["archive"]] == [None, 12.0, 0.0]
    pool = status["pool"]
    assert (pool["active"], pool["history"], pool["rejected"]) == (2, 2, {"leaked": 1})
    coverage = status["coverage"]
    assert (coverage["archive"], coverage["seeds"], coverage["on"]) == (1.0, 0.5, "pool")
    assert coverage["task_force"][0] == {"n": 1, "coverage": 1.0, "experts": ["best"]}
    assert status["calls"]["scientist"]["tokens_in"] == 7
    assert status["offline"] == ["scientist"]
    assert status["compute"] == "float32"


def test_a_live_run_says_what_it_waits_for_and_a_killed_one_does_not(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waits = [Wait("b", "model call propose (scientist)", 75.0), Wait("a", "sandbox: score", 61.0)]
    with RunStore.open(folder.path) as store:
        put_waits(store, waits)
        status = collect(folder)
        assert list(status["waiting"]) == ["model call propose (scientist)", "sandbox: score"]
        show(status, Console(width=100))
        said = capsys.readouterr().out
        assert "waiting for model call propose (scientist), 75 s, and 1 more" in said
        put_waits(store, [])
        assert collect(folder)["waiting"] == {}
        put_waits(store, waits)
    later = time.time() + 3600
    monkeypatch.setattr("console.run.now.time.time", lambda: later)
    assert collect(folder)["waiting"] == {}, "nobody has written for an hour"


def test_a_run_that_is_under_way_names_its_process_and_one_that_was_stopped_does_not(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunStore.open(folder.path):
        status = collect(folder)
        assert status["process"] == os.getpid()
        show(status, Console(width=100))
    said = capsys.readouterr().out
    assert f"under way (process {os.getpid()}), generation 0 of 2 is complete" in said
    assert "to go on" not in said
    assert collect(folder)["process"] is None
    show(collect(folder), Console(width=200))
    assert "no process is at work on it; to go on: " in capsys.readouterr().out


def test_what_a_run_waits_for_is_passed_on_by_its_watchdog(folder: RunFolder) -> None:
    events: list[ProgressEvent] = []
    with RunStore.open(folder.path) as store:
        report = reported(store, events.append)
        lock, call = Wait("a", "a lock", 61.0), Wait("b", "a call", 70.0)
        report([lock], [])
        report([call, lock], [])
        assert set(waits_of(store)) == {"a lock", "a call"}
        report([call], [lock])
        assert set(waits_of(store)) == {"a call"}
        report([], [call])
        assert waits_of(store) == {}
        assert [
            LongWait.model_validate(event.payload).what for event in store.events("waiting")
        ] == ["a lock", "a call"]
    assert [(event.text, event.done) for event in events] == [
        ("a lock", 61),
        ("a call", 70),
        ("a lock", 61),
        ("a lock", 0),
        ("a call", 70),
        ("a call", 0),
    ]


def test_operators_are_counted_by_who_survived_and_emitters_by_what_they_found(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunStore.open(folder.path) as store:
        for birth, operator in enumerate(("slerp+spectral", "linear+spectral", "cma", "cma")):
            name = f"g1-{birth}"
            store.put_genome(name, name.encode())
            store.put_expert(
                Expert(id=name, genome_id=name, generation=1, birth=birth, operator=operator)
            )
        assert "slerp" not in collect(folder)["operators"], "generation 1 is not selected yet"
        entries = [
            ArchiveEntry(expert=name, rank=rank, fitness=0.5, novelty=1.0)
            for rank, name in enumerate(("best", "g1-0", "g1-3"))
        ]
        store.put_archive(1, entries)
        began = {"generation": 1, "parent": "best", "columns": (0,), "sigma": 0.3}
        store.put_emitter(Emitter.model_validate({"id": "e", "weights": {"f0": 1.0}, **began}))
        for name, value in (("g1-2", 0.25), ("g1-3", 0.5)):
            store.put_emission(Emission(expert=name, emitter="e", vector=(0.0,), value=value))
    status = collect(folder)
    # Of the founders the twin is in the archive as well.
    assert status["operators"] == {
        "cma": {"bred": 2, "survived": 1},
        "linear": {"bred": 3, "survived": 2},
        "slerp": {"bred": 1, "survived": 1},
        "spectral": {"bred": 2, "survived": 1},
    }
    [emitter] = status["emitters"]
    assert (emitter["children"], emitter["best"], emitter["ended"]) == (2, 0.5, None)
    show(status, Console(width=100))
    text = capsys.readouterr().out
    assert "cma 1/2, linear 2/3, slerp 1/1, spectral 1/2 (a child" in text.replace("\n", " ")
    assert "  e: from best, children 2, best gain 0.50 of what was lacked\n" in text


def test_an_unfinished_run_is_named_before_it_answers(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    note_unfinished(folder)
    said = capsys.readouterr().err
    assert "is not finished (generation 0 is complete): the current task force answers" in said
    with RunStore.open(folder.path) as store:
        store.put_meta("finished", True)
    note_unfinished(folder)
    assert not capsys.readouterr().err


def test_a_run_in_which_nobody_is_graded_yet_is_not_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunStore.open(tmp_path) as store:
        store.put_family(family(0))
    with pytest.raises(AnsweringError, match=r"is graded yet.*at the end of generation 0"):
        note_unfinished(RunFolder(tmp_path))
    assert not capsys.readouterr().err, "one error, and nothing that contradicts it"


@pytest.mark.parametrize("on", ["pool", "history"])
def test_the_fittest_come_first_and_coverage_says_on_what(
    folder: RunFolder, on: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if on == "history":
        force: list[Json] = [{"n": 1, "coverage": 0.5, "experts": ["best"]}]
        with RunStore.open(folder.path) as store:
            coverage: Json = {"archive": 0.5, "seeds": 0.25, "task_force": force}
            store.put_meta("summary", {"coverage": coverage})
            store.put_meta("finished", True)
    show(collect(folder), Console(width=100))
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines if line.startswith(tuple(SKILLS))]
    assert names == ["best", "twin", "kept"]
    assert any(line.startswith("best") and "undominated" in line for line in lines)
    assert any(f"Coverage on the {on} (" in line for line in lines)


def test_a_run_that_was_stopped_in_its_first_draft_says_how_far_it_came_and_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config: Json = {"generations": 4, "endpoints": {"scientist": {"base_url": "offline"}}}
    (tmp_path / "config.json").write_text(json.dumps({"config": config}))
    with RunStore.open(tmp_path) as store:
        for index in range(3):
            store.put_assignment(
                Assignment(id=f"g0-a0{index}", generation=0, index=index, kind="novel", rng_seed=1)
            )
        store.finish_assignment("g0-a01", "rejected", Rejection(reason="leaked"))
    status = collect(RunFolder(tmp_path))
    assert status["drafts"] == {"asked": 3, "open": 2}
    show(status, Console(width=200))
    said = capsys.readouterr().out
    assert "drafts of scientists: 1 of 3\n" in said
    assert status["go_on"].endswith(f" run {tmp_path}")
    assert "unfinished, generation 0 of 4 is not complete" in said
    assert f"no process is at work on it; to go on: {status['go_on']}\n" in said
    assert "no archive yet" in said
    assert "solved by nobody" not in said
    assert "fittest first" not in said


def test_what_no_seed_was_asked_is_no_failure_of_the_seeds(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunStore.open(folder.path) as store:
        store.put_family(family(2))
        store.set_skill("best", "f2", False)
    status = collect(folder)
    coverage = status["coverage"]
    assert (coverage["seeds"], coverage["families_of_seeds"], coverage["families"]) == (0.5, 2, 3)
    show(status, Console(width=100))
    said = capsys.readouterr().out
    # The archive fails what the seed was never asked: on the same families it stands higher.
    assert coverage["archive"] == pytest.approx(2 / 3)
    assert coverage["archive_of_seeds_families"] == 1.0
    seeds = "1 seeds with the base  0.50  on the 2 of 3 families that all of them were asked\n"
    assert seeds in said
    assert "3 of the archive       0.67  on all 3 families, 1.00 on those of the seeds\n" in said
    with RunStore.open(folder.path) as store:
        store.put_genome("b", b"")
        store.put_expert(Expert(id="b", genome_id="b", generation=0, birth=99, operator="base"))
    again = collect(folder)["coverage"]
    assert (again["seeds"], again["families_of_seeds"]) == (0.5, 2), "gibberish is asked nothing"


def test_of_many_forces_the_small_ones_and_doubled_sizes_are_shown(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"e{n}" for n in range(1, 41)]
    forces = [{"n": n, "coverage": n / 40, "experts": names[:n]} for n in range(1, 41)]
    found = collect(folder)
    found["coverage"]["task_force"] = forces
    show(found, Console(width=100))
    rows = re.findall(r"^ *(\d+) +[01]\.\d\d  (.*)$", capsys.readouterr().out, re.MULTILINE)
    assert [int(n) for n, _ in rows] == [*range(1, 9), 16, 32, 40]
    assert [who.strip() for _, who in rows[:2]] == ["e1", "and e2"]


OLD: Json = {
    "families": 2,
    "coverage": {
        "archive": 1.0,
        "seeds": 0.5,
        "task_force": [{"n": 1, "coverage": 1.0, "experts": ["best"]}],
        "seed_force": [{"n": 1, "coverage": 0.5, "experts": ["kept"]}],
    },
    "example": {
        "family": "f1",
        "question": "How many?",
        "reference": "2",
        "solved_by": ["best"],
        "solved_by_seeds": [],
        "answers": [
            {"expert": "best", "extracted": "2"},
            {"expert": "twin", "extracted": "3"},
        ],
    },
}
NEW: Json = {
    "families": 2,
    "instances": 4,
    "fresh": 2,
    "coverage": {
        "archive": 1.0,
        "seeds": 0.5,
        "task_force": [
            {"n": 2, "coverage": 1.0, "experts": ["best", "best"], "temperatures": [0.7, 0.7]}
        ],
        "experts": [
            {"n": 2, "coverage": 0.5, "experts": ["kept", "kept"], "temperatures": [0.0, 0.7]}
        ],
    },
    "example": {
        "family": "f1",
        "instance": "1",
        "question": "How many?",
        "reference": "2",
        "solved_by": ["best at 0.7"],
        "solved_by_seeds": [],
        "answers": [
            {"expert": "best", "temperature": 0.7, "extracted": "2", "passed": True},
            {"expert": "best", "temperature": 0.7, "extracted": "3", "passed": False},
        ],
    },
}


@pytest.mark.parametrize(
    ("summary", "says"),
    [
        (OLD, ("history (all families", "1        1.00   0.50  +0.50  best", "✗ twin: 3")),
        (
            NEW,
            (
                "finals (4 instances of 2 families, 2 of them never seen by selection)",
                "N  task force  seeds resampled   lead  who",
                "2        1.00             0.50  +0.50  best at 0.7, best at 0.7",
                "solved by best at 0.7; of the seeds, by none",
                "✗ best at 0.7: 3",
            ),
        ),
    ],
)
def test_the_end_of_a_run_is_told_from_its_summary(
    folder: RunFolder, summary: Json, says: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with RunStore.open(folder.path) as store:
        store.put_meta("summary", summary)
        store.put_meta("finished", True)
    show_end(folder, Console(width=300))
    text = capsys.readouterr().out
    assert [each for each in says if each not in text] == []
    assert "✓ best" in text
    following = text[text.index("next:") :].splitlines()[1:]
    typed = [line.partition(str(folder.path))[0].split()[-1] for line in following]
    assert typed == ["view", "ask", "report", "trace", "trace", "status"]


@pytest.mark.parametrize(("asked", "told"), [(2, "generation 0 of 2"), (0, "generation 0 of 0")])
def test_generations_are_told_of_those_that_were_asked_for(
    folder: RunFolder, asked: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show({**collect(folder), "generations": asked}, Console(width=100))
    assert f"unfinished, {told}" in capsys.readouterr().out


def test_more_generations_than_asked_for_are_no_part_of_them(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    show({**collect(folder), "generation": 4, "finished": True}, Console(width=100))
    assert "finished, generation 4 (2 were asked for)" in capsys.readouterr().out


def test_a_force_smaller_than_asked_for_is_reported() -> None:
    assert fewer_than(8, 8) is None
    assert fewer_than(100, 8) == "8 experts answer, not 100: the run has no more that are graded"


def test_one_expert_stands_beside_the_founding_merge_and_the_best_seed(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    show(collect(folder), Console(width=100))
    text = capsys.readouterr().out
    assert "  best expert            1.00  best\n  best seed              0.50  kept\n" in text
    assert "merges" not in text
    with RunStore.open(folder.path) as store:
        bred = {"regmean": (0, "10", ("kept", "other")), "g2-5": (2, "11", ("regmean", "kept"))}
        for birth, (name, (generation, passes, parents)) in enumerate(bred.items(), start=3):
            store.put_genome(name, name.encode())
            store.put_expert(
                Expert(
                    id=name,
                    genome_id=name,
                    generation=generation,
                    birth=birth,
                    operator="regmean",
                    parents=parents,
                )
            )
            for number, passed in enumerate(passes):
                store.set_skill(name, f"f{number}", passed == "1")
        for reason in (
            "regmean: no expert passes a family",
            "regmean-g2: g1-0 passes nothing",
        ):
            store.add_event(GraftRefused(reason=reason))
    status = collect(folder)
    merge = {"expert": "regmean", "coverage": 0.5, "operator": "regmean"}
    assert status["alone"]["founding_merge"] == {**merge, "parents": ["kept", "other"]}
    assert status["merges"]["made"] == {"regmean": 2}
    show(status, Console(width=100))
    text = capsys.readouterr().out
    assert "  founding merge         0.50  regmean: regmean of kept, other\n" in text
    assert "merges: 2 by regmean\n" in text
    assert "merges refused: 2; the last: regmean-g2: g1-0 passes nothing\n" in text
    with RunStore.open(folder.path) as store:
        store.put_family(family(2))
        store.set_family_status("f1", "retired", "nobody fails it")
        store.set_skill("best", "f2", False)
    # f1 has left the pool and f2 has come, which nobody passes.
    assert collect(folder)["alone"]["best"]["coverage"] == 0.5
