"""What lessons are planned to take."""

from __future__ import annotations

from pathlib import Path

import pytest

from evolution.bank.settings import SpectralSettings
from evolution.breeding.settings import BreedingSettings
from evolution.engines.settings import EngineSettings
from evolution.planning.lessons import Lessons, plan_lesson, plan_lessons
from evolution.planning.merging import Occasions
from evolution.planning.plan import Machine, plan_memory
from evolution.planning.sizes import measure_layout, measure_sizes
from evolution.tutoring.settings import TutorSettings
from tests.conftest import TinyFamily
from tests.evolution.conftest import models_of

GIB = 2**30


def planned(
    family: TinyFamily, cache: Path, device: str = "cpu", **tutor: object
) -> Lessons | None:
    breeding = BreedingSettings.model_validate({"tutor": tutor})
    occasions = Occasions(breeding, generations=5, adapt_every=2, tokens=124)
    return plan_lessons(models_of(family), cache, occasions, device)


def test_lessons_are_planned_where_there_are_any(tiny_family: TinyFamily, cache: Path) -> None:
    assert planned(tiny_family, cache) is None
    assert planned(tiny_family, cache, steps=20, every=7) is None
    on_gpu = planned(tiny_family, cache, device="cuda")
    assert on_gpu is not None
    assert (on_gpu.lessons, on_gpu.steps, on_gpu.device) == (3, 120, "cuda")
    found = planned(tiny_family, cache, steps=7, every=1)
    assert found is not None
    assert (found.lessons, found.steps, found.anchors) == (5, 7, 5 * found.plan.anchor)


def test_an_anchor_is_as_large_as_its_factors(tiny_family: TinyFamily, cache: Path) -> None:
    layout = measure_layout(models_of(tiny_family), cache)
    plan = plan_lesson(layout, TutorSettings(rank=4), 20, 124)
    sides = sum(sum(layout.shapes[name]) for name in layout.matrices)
    assert plan.anchor == 4 * 4 * sides


def test_more_steps_take_longer_and_larger_batches_more_memory(
    tiny_family: TinyFamily, cache: Path
) -> None:
    layout = measure_layout(models_of(tiny_family), cache)
    one, small = (plan_lesson(layout, TutorSettings(batch=2), n, 60) for n in (1, 20))
    assert small.operations == 20 * one.operations
    assert small.memory == one.memory
    large = plan_lesson(layout, TutorSettings(batch=6), 20, 60)
    assert large.memory > small.memory
    assert large.operations > small.operations
    half = plan_lesson(layout, TutorSettings(batch=2), 20, 60, item=2)
    assert half.memory < small.memory
    assert half.seconds(1.0) == pytest.approx(half.operations / 1e9)


def test_the_plan_of_a_run_counts_lessons(tiny_family: TinyFamily, cache: Path) -> None:
    models, rank = models_of(tiny_family), SpectralSettings(rank=4)
    sizes = measure_sizes(models, rank, cache)
    lessons = planned(tiny_family, cache, steps=20)
    assert lessons is not None
    places = {}
    for machine in (Machine(GIB, None), Machine(GIB, GIB), Machine(GIB, 24 * 2**20)):
        plan = plan_memory(sizes, EngineSettings(rows=2), machine, tokens=64, lessons=lessons)
        [lesson] = [need for need in plan.needs if need.what == "a lesson (20 steps)"]
        [anchors] = [need for need in plan.needs if need.what.startswith("anchors of lessons")]
        assert (lesson.bytes, anchors.bytes) == (lessons.plan.memory, lessons.anchors)
        places[machine.gpu_memory] = lesson.place
    assert places == {None: "memory", GIB: "GPU memory", 24 * 2**20: "memory"}
    small = Machine(lessons.plan.memory, None)
    plan = plan_memory(sizes, EngineSettings(rows=2), small, tokens=64, lessons=lessons)
    assert plan.verdict == "too large"
