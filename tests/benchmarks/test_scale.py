"""Laws of the simulator: nothing is lost, no time is won, and one engine takes what things cost."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.scale import changed
from benchmarks.scale_clock import simulate
from benchmarks.scale_costs import DEVICES, Costs, Workload, costs_of, place
from benchmarks.scale_run import Outcome, Scenario, run
from evolution.engines.pool.settings import ClusterSettings

GATHER = 0.02
"""Seconds in which the pool waits for more of the same before each chunk."""
FREE = Costs(
    swap=0.5, start=3.0, step=1.0, token=0.01, read=0.001, spread=0.0, straggling=0.0, failing=0.0,
    answer=0.0, breed=0.0, admit=0.0, select=0.0, score=0.0, gates=0.0, draw=0.0, call=0.0,
)  # fmt: skip
"""Everything but the engines takes no time, and a chunk of a size always the same."""
PLAIN = Workload(children=2, families=5, instances=2, prompt=10, max_tokens=1, assignments=0)
CHUNK = 4


def scenario(engines: int, children: int, costs: Costs = FREE, **more: object) -> Scenario:
    work = replace(PLAIN, children=children)
    cluster = ClusterSettings(kind="local", chunk=CHUNK, reissue_after=20.0)
    return replace(Scenario(engines, costs, work, cluster, generations=1), **more)  # type: ignore[arg-type]


def chunk(prompts: int, costs: Costs = FREE) -> float:
    return costs.read * PLAIN.prompt * prompts + max(costs.step, costs.token * prompts)


def expert(costs: Costs = FREE) -> float:
    """Of one expert on one engine: ten prompts in chunks of 4, 4 and 2."""
    return costs.swap + 2 * chunk(4, costs) + chunk(2, costs) + 3 * GATHER


COSTS = st.builds(
    replace,
    st.just(FREE),
    swap=st.floats(0.0, 5.0),
    step=st.floats(0.01, 3.0),
    token=st.floats(0.0, 0.5),
    read=st.floats(0.0, 0.05),
)
ROUGH = st.builds(
    replace,
    COSTS,
    spread=st.floats(0.0, 0.5),
    straggling=st.floats(0.0, 0.3),
    failing=st.floats(0.0, 20.0),
    answer=st.floats(0.0, 0.1),
    score=st.floats(0.0, 0.2),
    call=st.floats(0.0, 20.0),
)


@given(costs=COSTS, children=st.integers(1, 4))
@settings(deadline=None, max_examples=20)
def test_one_engine_takes_the_sum_of_what_things_cost(costs: Costs, children: int) -> None:
    found = run(scenario(1, children, costs))
    assert found.phases["judge"] == pytest.approx(children * expert(costs), abs=1e-6)
    assert found.spent["swapping"] == pytest.approx(children * costs.swap, abs=1e-6)


@given(costs=ROUGH, engines=st.integers(1, 6), children=st.integers(1, 3), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=15)
def test_every_prompt_is_answered_once_and_all_time_is_accounted_for(
    costs: Costs, engines: int, children: int, seed: int
) -> None:
    work = replace(PLAIN, children=children, assignments=2, adapt_every=2, trial=4, panel=1)
    cluster = ClusterSettings(kind="local", chunk=CHUNK, reissue_after=5.0, restarts=10_000)
    found = run(Scenario(engines, costs, work, cluster, generations=2, seed=seed))
    judged = 3 * engines * children * work.prompts  # children of two generations, the archive once
    drafts = (found.answered + found.missing - judged) / work.trial_prompts
    assert drafts in (2, 3, 4), "each draft is tried once, and may be refined once"
    assert 0 < found.utilisation <= 1 + 1e-9
    assert found.share(*found.spent) == pytest.approx(1.0, abs=1e-6)
    assert all(seconds >= -1e-6 for seconds in found.spent.values())


@given(costs=COSTS, engines=st.sampled_from([1, 2, 3, 4]), each=st.integers(1, 3))
@settings(deadline=None, max_examples=25)
def test_twice_the_engines_are_never_slower_by_more_than_a_few_chunks(
    costs: Costs, engines: int, each: int
) -> None:
    """The same experts: helpers load one that another engine holds, and chunks end late."""
    few = run(scenario(engines, 2 * each, costs)).phases["judge"]
    many = run(scenario(2 * engines, each, costs)).phases["judge"]
    assert many <= few + 2 * (costs.swap + chunk(CHUNK, costs) + GATHER)
    assert many >= few / 2 - (costs.swap + chunk(CHUNK, costs) + GATHER), "no time is won"


def test_a_straggler_is_overtaken_where_a_worker_is_free() -> None:
    slow = replace(FREE, straggling=0.05, slowdown=1000.0)
    found = run(scenario(4, 2, slow, seed=1))
    assert found.spent["lost"] > 0, "what the straggler did counts for nothing"
    assert found.phases["judge"] < 1000.0


def test_a_lost_engine_is_started_again_and_nothing_is_missing() -> None:
    fragile = replace(FREE, failing=120.0)
    found = run(scenario(2, 8, fragile))
    assert found.spent["starting"] > 0
    assert found.answered == 2 * 8 * PLAIN.prompts


def test_drafting_ahead_leaves_engines_less_idle() -> None:
    work = replace(PLAIN, children=4, assignments=4, max_tokens=40)
    costs = replace(FREE, call=20.0, gates=2.0)
    behind = run(Scenario(4, costs, work, generations=4))
    ahead = run(Scenario(4, costs, replace(work, draft_ahead=True), generations=4))
    assert ahead.seconds < behind.seconds
    assert behind.bottleneck == "idle: draft"


def test_a_slow_process_is_named_as_what_holds_the_engines_up() -> None:
    found: Outcome = run(scenario(4, 2, replace(FREE, answer=0.5)))
    assert found.bottleneck == "run's process"
    assert run(scenario(4, 2, replace(FREE, score=5.0, guests=1))).bottleneck == "sandbox"


def test_a_full_bank_of_seven_billion_is_streamed_and_one_of_adapters_stays_on_the_gpu() -> None:
    h100 = DEVICES["h100"]
    assert not place(7e9, h100, "full").resident
    assert place(7e9, h100, "lora").resident
    assert costs_of(7e9, h100, "full").swap > 5 * costs_of(7e9, h100, "lora").swap


def test_names_that_are_set_are_those_of_costs_workload_or_pool() -> None:
    plain = scenario(1, 1)
    assert changed(plain, {"guests": "7"}).costs.guests == 7
    assert changed(plain, {"adapt_every": "4"}).generations == 4
    assert changed(plain, {"chunk": "9"}).cluster.chunk == 9
    for setting in ({"speed": "1"}, {"guests": "many"}):
        with pytest.raises(SystemExit, match="--set"):
            changed(plain, setting)


def test_in_simulated_time_what_waits_goes_on_in_order_and_at_once() -> None:
    order: list[tuple[float, str]] = []

    async def step(seconds: float, name: str) -> None:
        await asyncio.sleep(seconds)
        order.append((asyncio.get_running_loop().time(), name))

    async def work() -> None:
        await asyncio.gather(step(3e5, "late"), step(0.5, "soon"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(step(60.0, "never"), 10.0)

    simulate(work())
    assert order == [(0.5, "soon"), (3e5, "late")]


def test_waiting_for_nothing_is_an_error_and_not_for_ever() -> None:
    async def work() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="none of them for a moment that will come"):
        simulate(work())
