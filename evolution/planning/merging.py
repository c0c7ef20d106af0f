"""What merges by RegMean take, from the shapes of a model alone: memory, arithmetic, anchors."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evolution.bank.layout import EMBEDDINGS, Layout
from evolution.bank.settings import ModelSettings, SpectralSettings
from evolution.breeding.settings import BreedingSettings
from evolution.merging.layerwise import PACK
from evolution.merging.settings import REGMEAN
from evolution.planning.sizes import measure_columns, measure_layout

_FLOAT32, _FLOAT64 = 4, 8

_DOUBLE = 2
"""How much longer an operation in float64 takes than one in float32."""

_RANK = 64
"""Of what is merged in a matrix, if all of it is of low rank: of a few seeds and spectral bases."""


@dataclass(frozen=True, slots=True)
class MergePlan:
    """What one merge takes.

    Attributes:
        memory: bytes at the peak, beside the bank and the anchors that come of it.
        reading: multiplications and additions of the layers, in the format that they compute in.
        solving: those of what is added, in float32; in float64 counted as often as they take
            longer.
    """

    memory: int
    reading: int
    solving: int

    def seconds(self, layers: float, float32: float) -> float:
        """How long it takes, about.

        Args:
            layers: GFLOP/s in the format that layers compute in.
            float32: GFLOP/s in float32.
        """
        return self.reading / layers / 1e9 + self.solving / float32 / 1e9


@dataclass(frozen=True, slots=True)
class Occasions:
    """How often a run merges experts.

    Attributes:
        breeding: how.
        generations: of the run.
        adapt_every: generations between two adaptations of the pool.
        tokens: of a question with its reply, about.
    """

    breeding: BreedingSettings
    generations: int
    adapt_every: int
    tokens: int

    @property
    def complements(self) -> int:
        """Merges of experts that complement each other."""
        settings = self.breeding.regmean
        adaptations = self.generations // self.adapt_every
        return settings.founding + settings.adapting * adaptations

    @property
    def pairs(self) -> int:
        """Merges of two parents, at most."""
        every = self.breeding.graft.every
        return self.generations // every if every else 0


@dataclass(frozen=True, slots=True)
class Merging:
    """What the merges of a run take.

    Attributes:
        merges: how many there are, at most.
        members: experts in one merge, at most.
        texts: that are read of each member.
        tokens: of a text, about.
        plan: of one merge, beside bank and engine; None where none is made by RegMean.
        anchors: bytes of what all merges add to the bank, at most.
    """

    merges: int
    members: int
    texts: int
    tokens: int
    plan: MergePlan | None
    anchors: int

    @property
    def memory(self) -> int:
        """Bytes of one merge."""
        return self.plan.memory if self.plan else 0


def plan_merging(
    models: ModelSettings,
    spectral: SpectralSettings,
    cache_dir: Path,
    occasions: Occasions,
    item: int = _FLOAT32,
) -> Merging | None:
    """Plan the merges of a run, from headers; None if there will be none.

    Args:
        models: base and seeds.
        spectral: rank of the bases.
        cache_dir: where checkpoints of the hub are kept.
        occasions: how often, and how.
        item: bytes of a number that layers compute with.

    Raises:
        BankError: a checkpoint is missing, or its headers cannot be read.
    """
    settings, graft = occasions.breeding.regmean, occasions.breeding.graft
    merges = occasions.complements + occasions.pairs
    by_regmean = occasions.complements or (occasions.pairs and REGMEAN in graft.methods)
    if not merges:
        return None
    factors, full = measure_columns(models, spectral, cache_dir)
    noisy = "gaussian" in occasions.breeding.mutations
    dense = noisy or bool(models.merges) or len(factors) < len(models.seeds) + (spectral.rank > 0)
    columns = (*factors, full) if dense else factors
    # The methods of mergekit make one full difference of two parents.
    of_pair = max((columns if name == REGMEAN else (full,) for name in graft.methods), key=sum)
    anchors = added_anchors(
        [columns] * occasions.complements + [of_pair] * occasions.pairs, settings.anchors
    )
    members = settings.members if occasions.complements else 2
    texts, passes = settings.texts, 2 if settings.onward == "merged" else 1
    plan = None
    if by_regmean:
        layout = measure_layout(models, cache_dir)
        plan = plan_merge(layout, members, texts * occasions.tokens, dense, item, passes)
    return Merging(merges, members, texts, occasions.tokens, plan, anchors)


def plan_merge(
    layout: Layout,
    members: int,
    tokens: int,
    dense: bool = False,
    item: int = _FLOAT32,
    passes: int = 2,
) -> MergePlan:
    """Plan a merge; a few percent off where matrices share inputs in another way than is taken.

    Taken is that two matrices of a layer that are equally wide share one input: queries, keys and
    values do, and the output has one of its own.

    Args:
        layout: of the architecture.
        members: how many experts are merged.
        tokens: that each of them reads.
        dense: whether members are full checkpoints, or have noise: not of low rank.
        item: bytes of a number that layers compute with.
        passes: of a text through a layer: with the member's weights, and with those of the merge.
    """
    outer = [math.prod(layout.shapes[name]) for name in _outer(layout)]
    held = item * sum(outer)
    memory = operations = forward = 0
    for block in range(len(layout.blocks)):
        shapes = [layout.shapes[n] for n in layout.matrices if layout.tensor_blocks[n] == block]
        if not shapes:
            continue
        inputs = {n: (count + 1) // 2 for n, count in Counter(n for _, n in shapes).items()}
        widest, width = max(inputs), min(inputs)
        read = item * members * tokens * sum(n * count for n, count in inputs.items())
        weights = item * sum(m * n for m, n in shapes)
        # Masks, and what enters the layer beside what leaves it.
        flow = item * members * tokens * (min(tokens, PACK) + 2 * width)
        # Inputs of the layer before stay until those of all members are there.
        reading = read + 3 * item * min(tokens, PACK) * widest
        solving = max(_solving(shapes, n, members, tokens, dense) for n in inputs)
        memory = max(memory, weights + flow + read + max(reading, solving))
        forward += passes * members * tokens * sum(2 * m * n for m, n in shapes)
        operations += members * tokens * sum(count * n * n for n, count in inputs.items())
        operations += _DOUBLE * sum(count * n**3 // 3 for n, count in inputs.items())
        along = sum(2 * (m if dense else min(_RANK, m)) * n * n for m, n in shapes)
        operations += _DOUBLE * (members + 1) * along
    if dense:
        # What has no inputs is averaged, one tensor at a time, and embeddings are large.
        memory = max(memory, (members * _FLOAT32 + 3 * _FLOAT64) * max(outer, default=0))
    return MergePlan(held + memory, forward, operations)


def added_anchors(merges: Sequence[Sequence[int]], most: int) -> int:
    """Bytes that merges have added to a bank in the end, at most.

    Args:
        merges: bytes of the anchors of each merge.
        most: anchors that are kept in memory; the others are read from their files.
    """
    return sum(sorted(itertools.chain(*merges), reverse=True)[:most])


def _outer(layout: Layout) -> list[str]:
    """Tensors that read the tokens, and stay in memory while the layers come and go."""
    return [n for n, block in layout.tensor_blocks.items() if layout.blocks[block] == EMBEDDINGS]


def _solving(
    shapes: Sequence[tuple[int, ...]], width: int, members: int, tokens: int, dense: bool
) -> int:
    """Bytes while what is added to the matrices of one input is solved for.

    Gram matrices in float32; their sum in float64, a copy of it and its factor, and later the
    factor beside one of them in float64; the rows of which they are made, in one piece.
    """
    grams = members * _FLOAT32 * width**2 + 3 * _FLOAT64 * width**2
    if not dense:
        return grams + _FLOAT32 * tokens * width
    sizes = [m * n for m, n in shapes if n == width]
    return grams + members * _FLOAT32 * sum(sizes) + 4 * _FLOAT64 * max(sizes)
