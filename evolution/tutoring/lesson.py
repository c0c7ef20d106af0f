"""A lesson: a short LoRA run from one expert on examples, with replay of what it passes already.

It minimises the cross entropy of the answers alone, from the expert's own weights as they are
rounded; what it has learnt is the factors, an anchor of low rank that any genome can weigh. The
model is one of its own and goes with the thread that made it: no engine is touched, and no global
random stream.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evolution.bank.anchors import Anchor
from evolution.bank.bank import Bank
from evolution.bank.fingerprint import tensors_hash
from evolution.errors import TutorError
from evolution.genome.genome import Genome
from evolution.materialise.weights import materialise
from evolution.stages import Stages, no_stages
from evolution.tutoring.factors import Factors, attach
from evolution.tutoring.packing import Example, Row, rows_of
from evolution.tutoring.settings import TutorSettings
from memory.messages import first_line

_CLIP, _BETAS = 1.0, (0.9, 0.98)
_RISE, _LEAST = 0.1, 0.1
"""Share of the steps in which the learning rate rises; share of it that is left at the end."""

_UNFIT = (AttributeError, IndexError, NotImplementedError, TypeError, ValueError)
"""What architectures raise that do not attend by the masks and positions that they are given."""


@dataclass(frozen=True)
class Lesson:
    """What came of a lesson.

    Attributes:
        anchor: the factors; not part of the bank yet.
        losses: mean cross entropy of a token that is learnt, step by step.
    """

    anchor: Anchor
    losses: tuple[float, ...]


def teach(
    name: str,
    bank: Bank,
    genome: Genome,
    examples: Sequence[Example],
    replay: Sequence[Example],
    settings: TutorSettings,
    steps: int,
    seed: int,
    device: torch.device,
    compute: torch.dtype = torch.float32,
    stages: Stages = no_stages,
) -> Lesson:
    """Let an expert learn. Equal arguments give equal bits on the same machine.

    Args:
        name: of the anchor.
        bank: that the expert belongs to.
        genome: the expert.
        examples: what is to be learnt.
        replay: what it does already, with its own replies; may be empty.
        settings: rank, batch, learning rate and share of replay.
        steps: of gradient descent.
        seed: of the factors, and of the order of the examples.
        device: where to compute.
        compute: number format of the model; factors and their moments are float32.
        stages: called with the steps that are done.

    Raises:
        TutorError: there is nothing to learn, the architecture cannot be taught, the device has no
            room, or what was learnt is not finite.
        GenomeError: the genome does not fit the bank.
    """
    if not examples or steps < 1:
        raise TutorError(f"{name}: a lesson needs examples and steps")
    try:
        model = bank.skeleton(compute).to(device)
        materialise(bank, genome, model)
        factors = attach(model, bank.layout.matrices, settings.rank, seed, device)
        if not factors or any(isinstance(each, nn.Conv1d) for each in model.modules()):
            # Examples side by side would be read into each other, whatever the mask says.
            kind = type(model).__name__
            raise TutorError(f"{kind} cannot be taught: its layers convolve, or are not linear")
        losses: list[float] = []
        optimiser = torch.optim.AdamW(
            [each for of in factors.values() for each in of], betas=_BETAS, weight_decay=0.0
        )
        batches = _batches(examples, replay, settings, seed)
        for step in range(steps):
            stages(f"lesson: {name}", step, steps)
            rate = settings.learning_rate * _share(step, steps)
            losses.append(_step(model, optimiser, next(batches), rate))
        stages(f"lesson: {name}", steps, steps)
    except torch.OutOfMemoryError as error:
        raise TutorError(
            f"{name}: no room on {device} ({first_line(error)}): lower breeding.tutor.batch or "
            "engine.rows"
        ) from error
    return Lesson(_anchor(name, bank, factors), tuple(losses))


def learnt(bank: Bank, genome: Genome, anchor: Anchor) -> Genome:
    """The expert with all that it has learnt: a one in the column of the anchor.

    Args:
        bank: of which the anchor is part.
        genome: who was taught.
        anchor: of the lesson.
    """
    fitted = bank.geometry.fit(genome)
    coefficients = fitted.coefficients.copy()
    coefficients[:, [each.name for each in bank.anchors].index(anchor.name)] = 1.0
    return replace(fitted, coefficients=coefficients)


def _batches(
    examples: Sequence[Example], replay: Sequence[Example], settings: TutorSettings, seed: int
) -> Iterator[list[Example]]:
    """Batches without end; of each kind, everything comes before anything comes again."""
    rng = np.random.default_rng(seed)
    again = round(settings.batch * settings.replay) if replay else 0
    new, old = _endless(examples, rng), _endless(replay, rng)
    while True:
        fresh = max(1, settings.batch - again)
        yield [next(new) for _ in range(fresh)] + [next(old) for _ in range(again)]


def _endless(examples: Sequence[Example], rng: np.random.Generator) -> Iterator[Example]:
    while examples:
        for place in rng.permutation(len(examples)):
            yield examples[place]


def _share(step: int, steps: int) -> float:
    """Share of the learning rate: a linear rise, then a cosine."""
    rise = max(1, round(_RISE * steps))
    if step < rise:
        return (step + 1) / rise
    progress = (step - rise) / max(1, steps - rise)
    return _LEAST + (1 - _LEAST) * 0.5 * (1 + math.cos(math.pi * progress))


def _step(
    model: Any, optimiser: torch.optim.Optimizer, batch: Sequence[Example], rate: float
) -> float:
    """One step of AdamW, row by row; gives the loss before it."""
    total, count = 0.0, sum(example.learnt for example in batch)
    for row in rows_of(batch):
        loss = _loss(model, row) / count
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    for group in optimiser.param_groups:
        group["lr"] = rate
    trained = [each for group in optimiser.param_groups for each in group["params"]]
    nn.utils.clip_grad_norm_(trained, _CLIP)
    optimiser.step()
    optimiser.zero_grad()
    return total


def _loss(model: Any, row: Row) -> Tensor:
    """Summed cross entropy of what is learnt in a row."""
    device, visible = model.device, row.pack.visible.to(model.device)
    mask = torch.zeros(visible.shape, dtype=model.dtype, device=device)
    try:
        scores: Tensor = model(
            input_ids=row.pack.tokens.to(device),
            attention_mask=mask.masked_fill_(~visible, float("-inf")),
            position_ids=row.pack.positions.to(device),
            use_cache=False,
            logits_to_keep=row.places.to(device),
        ).logits
    except _UNFIT as error:
        kind = type(model).__name__
        raise TutorError(f"{kind} cannot be taught: {first_line(error)}") from error
    return nn.functional.cross_entropy(scores[0].float(), row.targets.to(device), reduction="sum")


def _anchor(name: str, bank: Bank, factors: dict[str, Factors]) -> Anchor:
    """The factors as a column of the bank.

    Raises:
        TutorError: they are not finite.
    """
    vectors = {tensor: each.vector(bank.device) for tensor, each in factors.items()}
    parts = [
        (f"{tensor}|{part}", getattr(vector, part))
        for tensor, vector in vectors.items()
        for part in ("up", "down")
    ]
    if not all(tensor.isfinite().all() for _, tensor in parts):
        raise TutorError(f"{name}: the factors are not finite: lower breeding.tutor.learning_rate")
    return Anchor(name, tensors_hash(parts), vectors)
