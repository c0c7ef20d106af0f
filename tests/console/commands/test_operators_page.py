"""The page on operators is true: its example is loaded and run, its tables are whole."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from console.errors import ConfigError
from console.run.config import resolve
from evolution.bank.bank import Bank, load_bank
from evolution.bank.merge_methods import check_method
from evolution.bank.settings import ModelSettings, SeedSettings, SpectralSettings
from evolution.breeding.breed import breed
from evolution.errors import OperatorError
from evolution.registry import Kind, mating, operators, survival
from evolution.selection import Candidate, survive
from evolution.selection.parents import choose_parents
from evolution.selection.settings import SelectionSettings
from tests.conftest import TinyFamily

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "operators.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def bank(tiny_family: TinyFamily, tmp_path_factory: pytest.TempPathFactory) -> Bank:
    seeds = tuple(
        SeedSettings(name=name, path=str(path)) for name, path in tiny_family.seeds.items()
    )
    models = ModelSettings(base=str(tiny_family.base), seeds=seeds)
    return load_bank(models, SpectralSettings(rank=4), tmp_path_factory.mktemp("cache"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_worked_example_breeds_mates_and_selects(bank: Bank, tmp_path: Path) -> None:
    [module], settings = blocks("python"), blocks("toml")[-1]
    (tmp_path / "my_operators.py").write_text(module)
    (tmp_path / "mine.toml").write_text(settings)
    config = resolve(tmp_path / "mine.toml", [])
    assert config.plugins == (str(tmp_path / "my_operators.py"),)
    seeds = [bank.seed_genome(name) for name in ("alpha", "beta")]
    children = [breed(bank, seeds, seed, config.breeding) for seed in range(8)]
    operators_used = {child.operator for child in children}
    assert operators_used == {"layer_swap+shrink+spectral", "slerp+shrink+spectral"}
    again = [breed(bank, seeds, seed, config.breeding) for seed in range(8)]
    assert again == children
    candidates = [
        Candidate(name, {"f": name == "b"}, generation, 0) for generation, name in enumerate("abc")
    ]
    kept = survive(candidates, ["f"], 2, config.selection).kept
    assert [entry.id for entry in kept] == ["c", "b"]

    first, second = choose_parents(candidates, ["f"], np.random.default_rng(0), config.selection)
    assert first == "b"
    assert second != "b"
    # The same configuration from elsewhere finds the same module.
    stored = config.model_dump(mode="json")
    assert resolve(None, [], stored) == config


def test_every_built_in_operator_is_on_the_page_with_its_parameters() -> None:
    rows = {match[1]: match[0] for match in re.finditer(r"^\| `(\w+)` \|.*$", PAGE, re.MULTILINE)}
    bred: tuple[Kind, ...] = ("crossover", "mutation")
    for kind in bred:
        for name, operator in operators(kind).items():
            if operator.function.__module__.startswith("evolution."):
                assert name in rows
                for parameter in operator.parameters.model_fields:
                    assert f"`{parameter}`" in rows[name], (name, parameter)
    chosen: tuple[Kind, ...] = ("mating", "survival")
    for kind in chosen:
        for name, operator in operators(kind).items():
            if operator.function.__module__.startswith("evolution."):
                assert f"`{name}`" in PAGE


def test_every_built_in_operator_names_its_source() -> None:
    for kind in get_args(Kind):
        for name, operator in operators(kind).items():
            if operator.function.__module__.startswith("evolution."):
                text = str(operator.function.__doc__)
                assert re.search(r"\b(19|20)\d\d\b|paper", text), (kind, name)


def test_the_merges_of_the_page_are_ones_that_mergekit_takes() -> None:

    merges = tomllib.loads(blocks("toml")[0])["models"]["merges"]
    check_method(merges[0]["method"], merges[0]["parameters"], merges[0]["seeds"])
    for method, parameters in tomllib.loads(blocks("toml")[1])["breeding"]["graft"][
        "methods"
    ].items():
        check_method(method, parameters, ("first", "second"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no module"),
        ("import nothing_of_that_name", "fails: ModuleNotFoundError: No module named 'nothing"),
        ("def broken(:", "fails: SyntaxError"),
        (
            "from evolution.registry import crossover\n"
            "@crossover('slerp')\ndef mine(parents, geometry, rng):\n    return parents[0], {}\n",
            "'slerp' is the name of a built-in crossover: choose another",
        ),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_one_clear_line(
    text: str | None, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "broken.py"
    if text is not None:
        file.write_text(text)
    (tmp_path / "a.toml").write_text('plugins = ["broken.py"]')
    with pytest.raises(ConfigError, match=message) as caught:
        resolve(tmp_path / "a.toml", [])
    assert str(file) in str(caught.value)
    with pytest.raises(ConfigError, match=r"there is no module no\.such\.module"):
        resolve(None, ['plugins=["no.such.module"]'])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"survival": "nds"}, r"unknown survival 'nds' \(did you mean dns"),
        ({"mating": "atraction"}, r"unknown mating 'atraction' \(did you mean attraction"),
        ({"mating_parameters": {"top": 1}}, "mating 'attraction' has no parameter 'top'"),
    ],
)
def test_rules_are_checked_when_settings_are_read(given: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SelectionSettings.model_validate(given)


def test_a_rule_that_gives_too_little_is_refused() -> None:

    @mating("short_for_test")
    def short(board: object, chosen: object) -> list[float]:
        return [1.0]

    @survival("lossy_for_test")
    def lossy(board: object) -> list[tuple[int, float]]:
        return [(0, 1.0)]

    candidates = [Candidate(name, {}, 0, birth) for birth, name in enumerate("ab")]
    settings = SelectionSettings(mating="short_for_test")
    with pytest.raises(OperatorError, match="must give 2 weights"):
        choose_parents(candidates, [], np.random.default_rng(0), settings)
    with pytest.raises(OperatorError, match="rank each of the 2 candidates once"):
        survive(candidates, [], 1, SelectionSettings(survival="lossy_for_test"))
