"""How far tasks lie from what a history has asked."""

from __future__ import annotations

import pytest

from agents.evaluation.rows import RunRows, by_distance
from agents.evaluation.tasks import GymDataset, Task
from agents.evaluation.transfer import Distance, Known, subjects_of
from tests.agents.cases import family


def known(*generators: str, field: str = "") -> Known:
    told = {"field": field}
    history = [
        family(place).model_copy(update={**told, "id": f"f{place}", "generator": generator})
        for place, generator in enumerate(generators)
    ]
    return Known.of(history)


@pytest.mark.parametrize(
    ("dataset", "distance"),
    [("gcd", "near"), ("spell_backward", "near"), ("lcm", "same_category"), ("sudoku", "far")],
)
def test_a_dataset_is_near_in_the_same_category_or_far(dataset: str, distance: Distance) -> None:
    history = known("gcd", "chain_sum, spell_backward")
    [task] = GymDataset(reasoning_gym=dataset, size=1).tasks()
    assert history.distance(task) == distance


def test_families_without_a_generator_are_known_by_themselves_and_by_their_field() -> None:
    history = known("", field="number theory")

    def distance(**told: str) -> Distance | None:
        return history.distance(Task(id="t", instructions="?", answer="1", **told))  # type: ignore[arg-type]

    assert distance(generator="f0") == "near"
    assert distance(field="number theory") == "same_category"
    assert distance(field="grammar") == "far"
    assert distance() is None, "nobody knows where it belongs"
    [task] = GymDataset(reasoning_gym="gcd", size=1).tasks()
    assert history.distance(task) == "same_category", "the catalogue knows its field"


def test_categories_are_those_of_reasoning_gym() -> None:
    assert "arithmetic" in subjects_of("chain_sum")
    assert "games" in subjects_of("sudoku")
    assert subjects_of("no_such_dataset") == set()


def test_what_one_run_has_asked_is_near_in_all() -> None:
    clusters = {"a": "g1", "b": "g2", "c": "g3", "d": "g4"}
    one = RunRows("1", 1, clusters, distances={"a": "near", "b": "far", "c": "far"})
    other = RunRows("2", 2, clusters, distances={"a": "far", "b": "same_category", "c": "far"})
    found = {name: set(runs[1].clusters) for name, runs in by_distance([one, other]).items()}
    assert found == {"near": {"a"}, "same_category": {"b"}, "far": {"c"}}
