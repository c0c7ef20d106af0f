"""What a run will take: near what runs have taken, and more where more is asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.config import RunConfig
from console.commands.forecast import forecast

SEEDS = [{"name": name, "path": name} for name in ("numbers", "words", "logic")]


def _config(**sections: object) -> RunConfig:
    given = {"generations": 1, "models": {"base": "b", "seeds": SEEDS}, **sections}
    return RunConfig.model_validate(given)


@pytest.mark.parametrize(("answers", "calls"), [(1134, 22), (616, 20)])
def test_it_is_near_what_two_small_quickstart_runs_took(answers: int, calls: int) -> None:
    """Of pool.capacity 6, pool.adaptations 0 and one generation, seeds 1 and 2."""
    will = forecast(_config(pool={"capacity": 6, "adaptations": 0}))
    assert will.assignments == 9
    assert will.answers / 2 < answers < 2 * will.answers
    assert will.calls[0] <= calls <= will.calls[1]


@given(
    generations=st.integers(0, 50),
    capacity=st.integers(2, 100),
    children=st.integers(1, 40),
    more=st.sampled_from(["generations", "capacity", "children"]),
)
def test_more_work_is_never_estimated_to_be_less(
    generations: int, capacity: int, children: int, more: str
) -> None:
    def of(**added: int) -> tuple[float, ...]:
        will = forecast(
            _config(
                generations=generations + added.get("generations", 0),
                pool={"capacity": capacity + added.get("capacity", 0)},
                population={"children": children + added.get("children", 0)},
            )
        )
        return will.answers, *will.calls, *will.tokens_in, will.hours(1e9, 100.0)

    assert all(larger >= before for before, larger in zip(of(), of(**{more: 1}), strict=True))


def test_time_grows_with_the_model_and_falls_with_the_speed() -> None:
    will = forecast(_config())
    assert will.hours(7e9, 100.0) == pytest.approx(7 * will.hours(1e9, 100.0))
    assert will.hours(1e9, 200.0) == pytest.approx(will.hours(1e9, 100.0) / 2)
