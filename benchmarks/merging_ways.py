"""The merges that `benchmarks.merging` compares, by the names of its rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.merging_bench import Text
from benchmarks.merging_variants import (
    adapted,
    attention_of,
    core_ties,
    entropy,
    iso_c,
    knots_ties,
    merged,
    stretched,
    surprise,
    thirds,
    tsv_m,
)
from evolution.bank.anchors import Anchor
from evolution.bank.bank import Bank
from evolution.breeding.breed import breed
from evolution.breeding.settings import BreedingSettings
from evolution.genome.genome import Genome
from evolution.merging.merges import merge_experts
from evolution.merging.regmean import Member, merge_by_regmean, unit
from evolution.merging.settings import RegMeanSettings

REFERENCE = "RegMean x 1.2"
"""What the others are compared with."""

SCALE = 1.2


@dataclass
class Ways:
    """Makes merges of all seeds.

    Attributes:
        bank: of the seeds; merges join it.
        passed: seed -> what it is right on, with its own replies.
        texts: how many of them are read, of each seed.
        own: prompts with the replies of the merge called `REFERENCE`, right or not; filled before
            anything is adapted to them.
        scratch: for mergekit.
        steps: of what is learned.
    """

    bank: Bank
    passed: Mapping[str, Sequence[Text]]
    texts: int
    scratch: Path
    steps: int = 24
    own: list[Text] = field(default_factory=list)
    _made: dict[str, tuple[tuple[Anchor, ...], float]] = field(default_factory=dict, init=False)

    def by_name(self) -> dict[str, Callable[[], tuple[Genome, float]]]:
        """Row -> makes the expert; and the seconds that its merge took."""
        rows: dict[str, Callable[[], Any]] = {
            name: partial(self.bank.seed_genome, name) for name in self.passed
        }
        rows |= self._elsewhere()
        for onward, name, scales, shrinks in (
            ("member", "RegMean", (1.0, 1.1, 1.2, 1.3, 1.4), (1.0, 0.95, 0.5, 0.0)),
            ("merged", "RegMean++", (1.0, 1.1, 1.2, 1.3, 1.4), (1.0, 0.95)),
        ):
            way = partial(self._regmean, onward=onward)
            rows |= {f"{name} x {scale}": partial(way, scale) for scale in scales}
            rows |= {f"{name}, {texts} texts": partial(way, texts=texts) for texts in (10, 12, 30)}
            rows |= {f"{name}, draw {draw} of texts": partial(way, draw=draw) for draw in (1, 2)}
            rows |= {
                f"{name}, shrink {shrink:g}": partial(way, shrink=shrink) for shrink in shrinks
            }
        rows |= {f"RegMean, {name} x 3": partial(self._regmean, heavy=name) for name in self.passed}
        rows |= self._stretched() | self._adapted()
        return {name: partial(self._timed, way) for name, way in rows.items()}

    def members(self, texts: int, draw: int = 0, heavy: str = "") -> list[Member]:
        """The seeds with texts that are drawn of those that they pass."""
        found = []
        for name, passed in self.passed.items():
            order = np.random.default_rng(draw).permutation(len(passed))[:texts]
            read = [passed[index].tokens for index in sorted(order)]
            weight = 3.0 if name == heavy else 1.0
            found.append(Member(self.bank.seed_genome(name), read, weight))
        return found

    @property
    def seeds(self) -> list[Anchor]:
        return [anchor for anchor in self.bank.anchors if anchor.name in self.passed]

    def _elsewhere(self) -> dict[str, Callable[[], Genome]]:
        bank, genomes = self.bank, [self.bank.seed_genome(name) for name in self.passed]
        blocks = len(bank.blocks)

        def arithmetic(weight: float) -> Genome:
            return bank.geometry.blend(genomes, np.full((len(genomes), blocks), weight))

        def slerp() -> Genome:
            settings = BreedingSettings(crossovers={"slerp": 1.0}, mutations={})
            return breed(bank, genomes[:2], 0, settings).genome

        def by_mergekit(method: str) -> Genome:
            members = dict(zip(self.passed, genomes, strict=True))
            parameters = {"weight": 1.0, "density": 0.5}
            bank.append(merge_experts(method, bank, members, method, parameters, 0, self.scratch))
            return bank.seed_genome(method)

        def of_factors(name: str, method: Any, scale: float) -> Genome:
            if name not in self._made:
                begun = time.perf_counter()
                anchor = merged(name, self.seeds, method)
                self._made[name] = (anchor,), time.perf_counter() - begun
                bank.append(anchor)
            return unit(bank, self._made[name][0], scale)

        rows: dict[str, Callable[[], Genome]] = {
            "mean": partial(arithmetic, 1 / len(genomes)),
            "task arithmetic 0.6": partial(arithmetic, 0.6),
            "task arithmetic 1.0": partial(arithmetic, 1.0),
            "slerp of the first two": slerp,
            "TIES": partial(by_mergekit, "ties"),
            "DARE-TIES": partial(by_mergekit, "dare_ties"),
        }
        for name, method, scales in (
            ("TSV-M", tsv_m, (0.33, 0.6, 1.0)),
            ("Iso-C", iso_c, (0.6, 1.0)),
            ("KnOTS-TIES", knots_ties, (1.0, 1.5)),
            ("Core-TIES", core_ties, (1.0, 1.5)),
        ):
            rows |= {
                f"{name} x {scale:g}": partial(of_factors, name, method, scale) for scale in scales
            }
        return rows

    def _stretched(self) -> dict[str, Callable[[], Genome]]:
        def depth(*lengths: float) -> Genome:
            anchors = self._anchors()
            layers = sum(block.startswith("layers.") for block in self.bank.blocks)
            by_layer = thirds(layers, *lengths)
            return stretched(self.bank, {anchor.name: by_layer for anchor in anchors})

        def parts(attention: float, mlp: float) -> Genome:
            anchors = self._anchors()
            others = [attention_of(anchor) for anchor in anchors]
            self.bank.append(*others)
            lengths = {anchor.name: mlp for anchor in anchors}
            return stretched(self.bank, lengths | {a.name: attention - mlp for a in others})

        thirds_of = ((1.4, 1.2, 1.0), (1.0, 1.2, 1.4))
        return {
            **{f"RegMean, depth {'/'.join(map(str, of))}": partial(depth, *of) for of in thirds_of},
            "RegMean, attention 1.4, MLP 1.1": partial(parts, 1.4, 1.1),
            "RegMean, attention 1.1, MLP 1.4": partial(parts, 1.1, 1.4),
        }

    def _adapted(self) -> dict[str, Callable[[], Genome]]:
        def right() -> list[Text]:
            found = []
            for passed in self.passed.values():
                order = np.random.default_rng(0).permutation(len(passed))[: self.texts]
                found += [passed[index] for index in sorted(order)]
            return found

        def by_entropy() -> Genome:
            return adapted(self.bank, self._anchors(), self.own, entropy, SCALE, self.steps)

        def by_replies(raw: bool) -> Genome:
            anchors, start = (self.seeds, 1 / 3) if raw else (self._anchors(), SCALE)
            return adapted(self.bank, anchors, right(), surprise, start, self.steps)

        return {
            "RegMean, entropy": by_entropy,
            "RegMean, likelihood": partial(by_replies, False),
            "task vectors, likelihood": partial(by_replies, True),
        }

    def _regmean(
        self,
        scale: float = SCALE,
        texts: int | None = None,
        draw: int = 0,
        heavy: str = "",
        **given: Any,
    ) -> Genome:
        return unit(self.bank, self._anchors(texts, draw, heavy, **given), scale)

    def _anchors(
        self, texts: int | None = None, draw: int = 0, heavy: str = "", **given: Any
    ) -> tuple[Anchor, ...]:
        """Columns of a merge by RegMean, made once."""
        settings = RegMeanSettings(**{"onward": "member", "shrink": 0.9, **given})
        texts = texts or self.texts
        key = f"{texts} {draw} {heavy} {settings.onward} {settings.shrink}"
        if key not in self._made:
            members = self.members(texts, draw, heavy)
            begun = time.perf_counter()
            anchors = merge_by_regmean(f"regmean {key}", self.bank, members, settings)
            self._made[key] = anchors, time.perf_counter() - begun
            self.bank.append(*anchors)
        return self._made[key][0]

    def _timed(self, way: Callable[[], Genome]) -> tuple[Genome, float]:
        """The seconds of the merge that it is made of count, if that was made before."""
        before = list(self._made.values())
        begun = time.perf_counter()
        genome = way()
        seconds = time.perf_counter() - begun
        columns = np.flatnonzero(self.bank.geometry.fit(genome).coefficients.any(axis=0))
        used = {self.bank.anchors[column].name for column in columns}
        for anchors, earlier in before:
            if used & {anchor.name for anchor in anchors}:
                seconds += earlier
        return genome, seconds
