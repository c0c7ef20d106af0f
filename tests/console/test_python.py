"""The command from Python; the examples of docs/index.md and docs/python.md run as they stand."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import acdc
from memory.store import RunStore

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "python.md"
INDEX = ROOT / "docs" / "index.md"


@pytest.fixture
def run(finished_run: Path, at_home: None) -> acdc.Run:
    return acdc.Run(finished_run)


def test_a_run_is_read_while_another_process_writes_it(run: acdc.Run) -> None:
    with RunStore.open(run.path):
        archive = run.archive()
        assert [expert.id for expert in archive] == [
            row["expert"] for row in run.status()["archive"]
        ]
        best = run.expert(archive[0].id)
        assert best == archive[0]
        assert best.fitness is not None
        assert 0 <= best.fitness <= 1
        assert {answer.genome_id for answer in best.answers()} == {best.record.genome_id}
        assert {f.id for f in run.families("active")} < {f.id for f in run.families()}
        assert run.experts(0)[0].operator == "base"
        assert run.trace(expert=best.id)["experts"]


def test_the_collective_answers_several_questions(run: acdc.Run) -> None:
    with run.collective(2, "majority") as collective:
        first = collective.ask("What is 2 + 2?")
        assert [answer.expert for answer in first.answers] == collective.members
        again = collective.ask("What is 2 + 2?", max_tokens=2)
    assert max(answer.tokens for answer in again.answers) == 2
    assert first.answer == run.ask("What is 2 + 2?", 2, "majority").answer


def test_weights_are_what_the_export_holds(run: acdc.Run, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    expert = next(expert for expert in run.experts() if not expert.record.is_seed)
    written = expert.export(tmp_path / "out")
    stored = load_file(written.folder / "model.safetensors")
    weights = expert.weights()
    for name, tensor in stored.items():
        assert torch.equal(weights[name], tensor), name


def test_tasks_are_evaluated_from_a_file(run: acdc.Run, tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text(json.dumps({"id": "a", "instructions": "Say 1.", "answer": "1"}) + "\n")
    found = run.evaluate(file, [1])
    assert [row["name"] for row in found["rows"]] == ["best_expert", "force"]


def test_errors_say_what_the_command_says(run: acdc.Run, tmp_path: Path) -> None:
    with pytest.raises(acdc.AcdcError, match="is not a run folder"):
        acdc.Run(tmp_path)
    with pytest.raises(acdc.AcdcError, match="nobody"):
        run.expert("nobody")
    with pytest.raises(acdc.AcdcError, match="did you mean skill_routing"):
        run.ask("Why?", select="skill_ruting")
    with pytest.raises(acdc.AcdcError, match="unknown key"):
        acdc.coevolve(tmp_path / "new", {"generation": 1})
    assert not (tmp_path / "new").exists()


def test_the_page_s_examples_run_as_they_stand(
    tiny_config: Path, at_home: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other, on tiny models: only where the configuration comes from is changed."""
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    given = '{"generations": 2, "pool": {"capacity": 12}}'
    assert given in code
    exec(compile(code.replace(given, f'"{tiny_config}"'), str(PAGE), "exec"), {})
    assert (tmp_path / "runs/mine-best/config.json").is_file()


def test_the_example_of_the_first_page_runs_as_it_stands(
    finished_run: Path, at_home: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    shutil.copytree(finished_run, tmp_path / "runs" / "quickstart")
    monkeypatch.chdir(tmp_path)
    [code] = re.findall(r"```python\n(.*?)```", INDEX.read_text(), re.DOTALL)
    exec(compile(code, str(INDEX), "exec"), {})


def test_a_call_that_fails_before_anything_is_achieved_leaves_no_folder(
    tiny_config: Path, at_home: None, tmp_path: Path
) -> None:
    with pytest.raises(acdc.AcdcError):
        acdc.coevolve(tmp_path / "new", {"models": {"base": str(tmp_path / "nothing")}})
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda run: run.families("activ"), "unknown status 'activ'"),
        (lambda run: run.trace(role="boss"), "unknown role 'boss'"),
        (lambda run: run.expert("g99-9"), "no expert 'g99-9' in"),
        (lambda run: run.ask("Why?", 0), "size = 0: it must be at least 1"),
        (lambda run: run.evaluate([]), "nothing to evaluate"),
        (lambda run: run.archive()[0].export("out", shard_gb=0), "shard_gb = 0"),
    ],
)
def test_a_value_that_the_command_refuses_is_refused(
    run: acdc.Run, call: Callable[[acdc.Run], object], says: str
) -> None:
    with pytest.raises(acdc.AcdcError, match=re.escape(says)):
        call(run)


def test_a_session_answers_only_inside_its_block(run: acdc.Run) -> None:
    with run.collective(1, "majority") as collective:
        with pytest.raises(acdc.AcdcError, match="the force has 1 voice"):
            collective.ask("Why?", until_agree=2)
        with pytest.raises(acdc.AcdcError, match="max_tokens = 0"):
            collective.ask("Why?", max_tokens=0)
        for temperature in (-1, math.nan, math.inf):
            with pytest.raises(acdc.AcdcError, match=f"temperature = {temperature}"):
                collective.ask("Why?", temperature=temperature)
    with pytest.raises(acdc.AcdcError, match="inside its `with` block"):
        collective.ask("Why?")


async def test_serve_in_a_notebook_says_where_to_call_it(run: acdc.Run) -> None:
    with pytest.raises(acdc.AcdcError, match="in another thread"):
        run.serve()


def test_the_store_of_a_run_is_read_only(run: acdc.Run) -> None:
    with run.store() as store, pytest.raises(acdc.AcdcError, match="opened for reading only"):
        store.put_meta("finished", False)
