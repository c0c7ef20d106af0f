"""`acdc study`: a grid of tiny runs that share what they answered."""

from __future__ import annotations

import json
import tomllib
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from agents.progress import ProgressEvent, silent
from console.commands.study import conduct, show
from console.commands.study_file import FULL, VARIANTS, StudySettings, read_study
from console.display import Terminal
from console.errors import ConfigError
from evolution.breeding.settings import EMITTERS, BreedingSettings
from evolution.registry import Kind, operators
from memory.store import RunStore


def write_study(folder: Path, run: dict[str, Any], **keys: Any) -> Path:
    (folder / "tasks.jsonl").write_text(
        "".join(
            json.dumps({"id": f"t{n}", "instructions": f"Say {n}.", "answer": "1"}) + "\n"
            for n in range(4)
        )
    )
    tree = {"tasks": ["tasks.jsonl"], "seeds": [0], "n": [1, 2], **keys}
    lines = [f"{key} = {json.dumps(value)}" for key, value in tree.items()]
    file = folder / "study.toml"
    file.write_text("\n".join([*lines, "", _toml("run", run)]))
    return file


def _toml(name: str, tree: dict[str, Any]) -> str:
    plain = [f"{k} = {_inline(v)}" for k, v in tree.items() if not isinstance(v, dict)]
    tables = [_toml(f"{name}.{k}", v) for k, v in tree.items() if isinstance(v, dict)]
    return "\n".join([f"[{name}]", *plain, *tables])


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value)


@pytest.fixture
def run_settings(tiny_config: Path) -> dict[str, Any]:
    tree = tomllib.loads(tiny_config.read_text())
    return {**tree, "generations": 1, "pool": {"capacity": 6, "adaptations": 0}}


class Killed(Exception):
    pass


@pytest.mark.slow
async def test_a_study_goes_on_after_a_kill_and_shares_what_was_answered(
    run_settings: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ACDC_CACHE", str(tmp_path / "cache"))
    study = read_study(write_study(tmp_path, run_settings, variants=["no_mutation"]))
    assert study.names == (FULL, "no_mutation")

    def kill(event: ProgressEvent) -> None:
        if event.text.startswith("no_mutation-0"):
            raise Killed

    with pytest.raises(Killed):
        await conduct(study, kill)
    assert (study.folder / "full-0" / "run.db").is_file()
    assert not (study.folder / "study.json").exists()
    found = await conduct(study, silent)
    full, other = found["variants"]
    assert (full["name"], other["name"]) == (FULL, "no_mutation")
    assert full["differences"] == []
    assert {(d["name"], d["n"]) for d in other["differences"]} == {
        ("best_expert", 1),
        ("force", 1),
        ("force", 2),
    }
    by_name = {(row["name"], row["n"]): row["coverage"] for row in full["rows"]}
    for difference in other["differences"]:
        place = (difference["name"], difference["n"])
        own = next(r["coverage"] for r in other["rows"] if (r["name"], r["n"]) == place)
        assert difference["value"] == pytest.approx(own - by_name[place], abs=1e-3)
        assert difference["by_seed"] == [difference["value"]]
    assert json.loads((study.folder / "study.json").read_text()) == found
    _answers_are_shared(study)
    assert _timeless(await conduct(study, silent)) == _timeless(found)
    from rich.console import Console

    show(found, Console(width=120))
    assert "no_mutation" in capsys.readouterr().out


def _answers_are_shared(study: StudySettings) -> None:
    """The seeds answered the founding families once, and both runs have their answers."""
    kept = []
    for variant in study.names:
        with RunStore.open(study.folder / f"{variant}-0", read_only=True) as store:
            base = store.expert("base").genome_id
            kept.append({answer.key: answer.reply for answer in store.answers_of(base)})
    assert kept[0]
    # Wall-clock times are part of a reply: equal ones were made once.
    assert kept[0] == kept[1]


def _timeless(found: dict[str, Any]) -> dict[str, Any]:
    return {
        **found,
        "variants": [
            {**variant, "rows": [{**row, "seconds": 0} for row in variant["rows"]]}
            for variant in found["variants"]
        ],
    }


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_every_variant_departs_from_the_defaults(variant: str) -> None:
    study = StudySettings(tasks=(Path("t"),))
    assert study.config(variant, 3) != study.config(FULL, 3)
    assert study.config(variant, 3).seed == 3


def _own(kind: Kind) -> list[str]:
    """The operators of the project; another test of this process may have registered others."""
    found = operators(kind)
    return [name for name in found if found[name].function.__module__.startswith("evolution.")]


def test_every_operator_and_emitter_has_a_variant_without_or_with_it() -> None:
    default = BreedingSettings()
    found = [StudySettings(tasks=(Path("t"),)).config(name, 3).breeding for name in VARIANTS]
    for name in _own("crossover"):
        on = default.crossovers.get(name, 0.0) > 0.0
        assert any((each.crossovers.get(name, 0.0) > 0.0) != on for each in found), name
    for name in _own("mutation"):
        on = name in default.mutations
        assert any((name in each.mutations and each.mutation_rate > 0) != on for each in found), (
            name
        )
    for name in EMITTERS:
        on = default.emitters[name] > 0.0
        assert any((each.emitters[name] > 0.0) != on for each in found), name
    assert any(not each.graft.every and not each.regmean.founding for each in found)


def test_the_page_names_every_variant() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "evaluating.md").read_text("utf-8")
    assert [name for name in VARIANTS if f"`{name}`" not in page] == []


def test_an_own_variant_is_a_table(tmp_path: Path) -> None:
    file = write_study(tmp_path, {}, variants=["small"])
    file.write_text(file.read_text() + '\n[define.small]\n"population.capacity" = 3\n')
    assert read_study(file).config("small", 0).population.capacity == 3


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"variants": ["fitnes_only"]}, "did you mean fitness_only"),
        ({"varients": []}, "did you mean variants"),
        ({"n": "three"}, "n: "),
    ],
)
def test_a_bad_study_is_told_before_any_run_begins(
    tmp_path: Path, keys: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        read_study(write_study(tmp_path, {}, **keys))


def test_a_bad_run_is_told_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"did you mean pool\.capacity"):
        read_study(write_study(tmp_path, {"pool": {"capacitty": 3}}))


def test_every_number_is_whole_in_80_columns() -> None:
    rows = [{"name": "best_expert", "n": 1, "coverage": 0.5}]
    difference = {"value": -0.051, "ci": (-0.208, 0.135), "by_seed": [-0.124, 0.022, 0.101]}
    found = {
        "study": "runs/study",
        "seeds": [1, 2, 3],
        "tasks": 90,
        "generators": 15,
        "variants": [
            {"name": FULL, "rows": rows, "differences": []},
            {
                "name": "no_founding_merge",
                "rows": rows,
                "differences": [{"name": "best_expert", "n": 1, **difference}],
            },
        ],
    }
    said = StringIO()
    show(found, Terminal(file=said, width=80))
    for number in ("-0.051", "-0.208 to +0.135", "-0.124 +0.022", "+0.101"):
        assert number in said.getvalue()
    assert "…" not in said.getvalue()
