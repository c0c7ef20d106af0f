"""What lessons take, from the shapes of a model alone: memory, arithmetic, anchors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from evolution.bank.layout import EMBEDDINGS, Layout
from evolution.bank.settings import ModelSettings
from evolution.merging.layerwise import PACK
from evolution.planning.merging import Occasions
from evolution.planning.sizes import measure_layout
from evolution.tutoring.settings import TutorSettings

_FLOAT32 = 4
_KEPT = 4
"""Of each factor: itself, its gradient and two moments."""
_HEAD = 64
"""Numbers of an attention head, about."""
_OPENING = 40
"""Tokens with which all prompts begin, about: a row reads them once."""
_ANSWER = 16
"""Tokens of an answer, about: the head is computed on those alone."""


@dataclass(frozen=True, slots=True)
class LessonPlan:
    """What one lesson takes.

    Attributes:
        memory: bytes at the peak, beside the bank and the engine.
        operations: multiplications and additions of all steps.
        anchor: bytes of what it adds to the bank.
    """

    memory: int
    operations: int
    anchor: int

    def seconds(self, gflops: float) -> float:
        """How long it takes, about, at a speed in the format that experts are computed in."""
        return self.operations / gflops / 1e9


@dataclass(frozen=True, slots=True)
class Lessons:
    """What the lessons of a run take.

    Attributes:
        lessons: how many there are, at most.
        steps: of one.
        device: type of the device that they are given on.
        plan: of one.
        anchors: bytes of what all of them add to the bank, at most.
    """

    lessons: int
    steps: int
    device: str
    plan: LessonPlan
    anchors: int


def plan_lessons(
    models: ModelSettings, cache_dir: Path, occasions: Occasions, device: str, item: int = _FLOAT32
) -> Lessons | None:
    """Plan the lessons of a run, from headers; None if there will be none.

    Args:
        models: base and seeds.
        cache_dir: where checkpoints of the hub are kept.
        occasions: how often, and how.
        device: type of the device that experts answer on.
        item: bytes of a number that they are computed with.

    Raises:
        BankError: the base is missing, or its headers cannot be read.
    """
    settings = occasions.breeding.tutor
    steps = settings.steps_on(device)
    count = (occasions.generations + 1) // settings.every - 1 // settings.every
    if not steps or not count:
        return None
    layout = measure_layout(models, cache_dir)
    plan = plan_lesson(layout, settings, steps, occasions.tokens, item)
    kept = min(count, occasions.breeding.regmean.anchors)
    return Lessons(count, steps, device, plan, kept * plan.anchor)


def plan_lesson(
    layout: Layout, settings: TutorSettings, steps: int, tokens: int, item: int = _FLOAT32
) -> LessonPlan:
    """Plan a lesson: frozen weights, factors with their moments, and what a row keeps of itself.

    Args:
        layout: of the architecture.
        settings: batch and rank.
        steps: of gradient descent.
        tokens: of an example.
        item: bytes of a number that the model computes with.
    """
    shapes = [layout.shapes[name] for name in layout.matrices]
    sides = sum(m + n for m, n in shapes)
    factors = sum(min(settings.rank, m, n) * (m + n) for m, n in shapes)
    vocabulary, width = max(
        layout.shapes[name][:2]
        for name, block in layout.tensor_blocks.items()
        if layout.blocks[block] == EMBEDDINGS and len(layout.shapes[name]) == 2
    )
    own = max(tokens - _OPENING, 1)
    batch = settings.batch * own + _OPENING * math.ceil(settings.batch * own / PACK)
    row = max(tokens, min(PACK, batch))
    attention = len(layout.blocks) * max(width // _HEAD, 1) * row * row
    scores = 3 * _FLOAT32 * settings.batch * _ANSWER * vocabulary
    weights = item * sum(math.prod(shape) for shape in layout.shapes.values())
    memory = weights + _KEPT * _FLOAT32 * factors + item * (2 * row * sides + attention) + scores
    # Forwards, and backwards to the inputs; factors have gradients of their own.
    per_token = 4 * sum(m * n for m, n in shapes) + 6 * factors
    operations = steps * (batch * per_token + 4 * settings.batch * _ANSWER * vocabulary * width)
    return LessonPlan(memory, operations, _FLOAT32 * factors)
