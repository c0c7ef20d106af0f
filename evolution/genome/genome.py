"""Genomes: the coordinates of an expert in the bank."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float32

from evolution.errors import GenomeError

Coefficients = Float32[np.ndarray, "blocks anchors"]
Displacement = Float32[np.ndarray, " rank"]
NoiseStrength = Float32[np.ndarray, " blocks"]

_MAGIC = b"acdc-genome-1\n"


NoiseScale = Literal["relative", "absolute"]


class NoiseField(NamedTuple):
    """A noise field.

    Attributes:
        seed: of everything that is drawn.
        scale: `relative`: unit noise has the Frobenius norm of the matrix that it is added to;
            `absolute`: unit noise has deviation 1 in every weight.
    """

    seed: int
    scale: NoiseScale


class NoiseTerm(NamedTuple):
    """What one field adds to one tensor: normal deviates of this standard deviation."""

    seed: int
    deviation: float


def _frozen(array: np.ndarray) -> np.ndarray:
    """A read-only little-endian float32 copy, with -0.0 turned into 0.0 so that bytes compare."""
    copy = np.array(array, dtype="<f4", order="C") + np.float32(0.0)
    copy.flags.writeable = False
    return copy


@contextmanager
def _record(genome_id: str) -> Iterator[None]:
    """Whatever is wrong with what a run has stored is said with its place."""
    try:
        yield
    except GenomeError as error:
        raise GenomeError(
            f"run.db is damaged in table genomes, record {genome_id} ({error}): restore the run "
            "folder from a copy"
        ) from error


def _counts(stated: Sequence[Any]) -> list[int]:
    """Numbers of something, as a header states them."""
    if not all(type(count) is int and 0 <= count < 2**31 for count in stated):
        raise ValueError(f"{stated!r:.80} are no numbers of anything")
    return [*stated]


@dataclass(frozen=True, eq=False)
class Genome:
    """What an expert is: task-vector coefficients, displacements of singular values, and noise.

    Attributes:
        coefficients: (blocks, anchors) float32, one row per block; anchors without the base. Fewer
            columns than the bank has anchors mean zeros for the rest.
        displacements: matrix name -> (rank,) float32 displacements along the spectral basis. Only
            those that are not zero are kept.
        noise: noise field -> (blocks,) float32, how much of it each block has; likewise.
    """

    coefficients: Coefficients
    displacements: Mapping[str, Displacement] = field(default_factory=dict)
    noise: Mapping[NoiseField, NoiseStrength] = field(default_factory=dict)

    def __post_init__(self) -> None:
        coefficients = _frozen(self.coefficients)
        if coefficients.ndim != 2:
            raise GenomeError(
                f"coefficients must have shape (blocks, anchors), got {coefficients.shape}"
            )
        displacements = {
            name: _frozen(self.displacements[name]) for name in sorted(self.displacements)
        }
        for name, displaced in displacements.items():
            if displaced.ndim != 1:
                raise GenomeError(
                    f"displacements of {name} must have shape (rank,), got {displaced.shape}"
                )
        for of in self.noise:
            if type(of.seed) is not int or of.scale not in get_args(NoiseScale):
                raise GenomeError(f"{tuple(of)!r:.80} is no noise field")
        noise = {of: _frozen(self.noise[of]) for of in sorted(self.noise)}
        for of, strengths in noise.items():
            if strengths.shape != coefficients.shape[:1]:
                raise GenomeError(
                    f"noise of seed {of.seed} must have shape {coefficients.shape[:1]}, one per "
                    f"block, got {strengths.shape}"
                )
        named = {f"noise {of.seed}": strengths for of, strengths in noise.items()}
        for name, values in {"coefficients": coefficients, **displacements, **named}.items():
            if not np.isfinite(values).all():
                raise GenomeError(f"genome holds values that are not finite, in {name}")
        object.__setattr__(self, "coefficients", coefficients)
        object.__setattr__(
            self, "displacements", {name: d for name, d in displacements.items() if d.any()}
        )
        object.__setattr__(self, "noise", {of: part for of, part in noise.items() if part.any()})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Genome) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    @property
    def anchors(self) -> int:
        """How many anchors (the base not counted) this genome has coefficients for."""
        return int(self.coefficients.shape[1])

    def widened(self, anchors: int) -> Genome:
        """The same expert in a bank that has grown to `anchors` anchors: zeros are appended.

        Raises:
            GenomeError: if the genome has coefficients for more anchors than that.
        """
        missing = anchors - self.anchors
        if missing < 0:
            raise GenomeError(
                f"genome has coefficients for {self.anchors} anchors, the bank has only {anchors}"
            )
        if missing == 0:
            return self
        wider = np.pad(self.coefficients, ((0, 0), (0, missing)))
        return replace(self, coefficients=wider)

    def to_bytes(self) -> bytes:
        """Canonical bytes: equal genomes give equal bytes in every process."""
        header: dict[str, list[Any]] = {
            "shape": list(self.coefficients.shape),
            "displacements": [[name, len(d)] for name, d in self.displacements.items()],
        }
        if self.noise:
            header["noise"] = [list(of) for of in self.noise]
        arrays = [self.coefficients, *self.displacements.values(), *self.noise.values()]
        head = json.dumps(header, separators=(",", ":")).encode() + b"\n"
        return _MAGIC + head + b"".join(array.tobytes() for array in arrays)

    @classmethod
    def stored(cls, genome_id: str, payload: bytes) -> Genome:
        """Read what a run has stored under an identifier.

        Raises:
            GenomeError: the bytes are damaged; names the record.
        """
        with _record(genome_id):
            return cls.from_bytes(payload)

    @classmethod
    def from_bytes(cls, payload: bytes) -> Genome:
        """Read what `to_bytes` wrote.

        Raises:
            GenomeError: if the bytes are damaged or of another format.
        """
        header, body = cls._parted(payload)
        try:
            blocks, anchors = _counts(header["shape"])
            names = [str(name) for name, _ in header["displacements"]]
            ranks = _counts([rank for _, rank in header["displacements"]])
            fields = [NoiseField(seed, scale) for seed, scale in header.get("noise", ())]
            sizes = [blocks * anchors, *ranks, *[blocks] * len(fields)]
            if len(names) > len({*names}) or len(fields) > len({*fields}):
                raise ValueError("it names something twice")
        except (ValueError, KeyError, TypeError) as error:
            raise GenomeError(f"stored genome has a damaged header: {error}") from error
        if len(body) != 4 * sum(sizes):
            raise GenomeError(f"stored genome has {len(body)} bytes, expected {4 * sum(sizes)}")
        values = np.frombuffer(body, dtype="<f4")
        first, *parts = np.split(values, np.cumsum(sizes)[:-1])
        return cls(
            first.reshape(blocks, anchors),
            dict(zip(names, parts[: len(names)], strict=True)),
            dict(zip(fields, parts[len(names) :], strict=True)),
        )

    @classmethod
    def stored_coefficients(cls, genome_id: str, payload: bytes) -> Coefficients:
        """The coefficients alone of what `stored` reads, where hundreds are looked at.

        Raises:
            GenomeError: the bytes are damaged; names the record.
        """
        with _record(genome_id):
            header, body = cls._parted(payload)
            try:
                blocks, anchors = _counts(header["shape"])
                values = np.frombuffer(body, dtype="<f4", count=blocks * anchors)
            except (ValueError, KeyError, TypeError) as error:
                raise GenomeError(f"stored genome has a damaged header: {error}") from error
            return values.reshape(blocks, anchors)

    @staticmethod
    def _parted(payload: bytes) -> tuple[dict[str, Any], bytes]:
        head, newline, body = payload.removeprefix(_MAGIC).partition(b"\n")
        if not payload.startswith(_MAGIC) or not newline:
            raise GenomeError("stored genome is not in a format that this version reads")
        try:
            header = json.loads(head)
        except (ValueError, RecursionError) as error:
            raise GenomeError(f"stored genome has a damaged header: {error}") from error
        if not isinstance(header, dict):
            raise GenomeError("stored genome has a damaged header: it is no object")
        return header, body
