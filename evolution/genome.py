"""Genomes: the coordinates of an expert in the bank (DESIGN section 4)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from evolution.errors import GenomeError

Coefficients = Float32[np.ndarray, "blocks anchors"]
Displacement = Float32[np.ndarray, " rank"]

_MAGIC = b"acdc-genome-1\n"


def _frozen(array: np.ndarray) -> np.ndarray:
    """A read-only little-endian float32 copy, with -0.0 turned into 0.0 so that bytes compare."""
    copy = np.array(array, dtype="<f4", order="C") + np.float32(0.0)
    copy.flags.writeable = False
    return copy


@dataclass(frozen=True, eq=False)
class Genome:
    """What an expert is: task-vector coefficients and displacements of singular values.

    Attributes:
        coefficients: (blocks, anchors) float32, one row per block; anchors without the base. Fewer
            columns than the bank has anchors mean zeros for the rest.
        displacements: matrix name -> (rank,) float32 displacements along the spectral basis. Only
            those that are not zero are kept.
    """

    coefficients: Coefficients
    displacements: Mapping[str, Displacement] = field(default_factory=dict)

    def __post_init__(self) -> None:
        coefficients = _frozen(self.coefficients)
        if coefficients.ndim != 2:
            raise GenomeError(
                f"coefficients must have shape (blocks, anchors), got {coefficients.shape}"
            )
        displacements = {
            name: _frozen(self.displacements[name]) for name in sorted(self.displacements)
        }
        for name, values in {"coefficients": coefficients, **displacements}.items():
            if not np.isfinite(values).all():
                raise GenomeError(f"genome holds values that are not finite, in {name}")
        object.__setattr__(self, "coefficients", coefficients)
        object.__setattr__(
            self, "displacements", {name: d for name, d in displacements.items() if d.any()}
        )

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
        return Genome(np.pad(self.coefficients, ((0, 0), (0, missing))), self.displacements)

    def to_bytes(self) -> bytes:
        """Canonical bytes: equal genomes give equal bytes in every process."""
        header = {
            "shape": list(self.coefficients.shape),
            "displacements": [[name, len(d)] for name, d in self.displacements.items()],
        }
        arrays = [self.coefficients, *self.displacements.values()]
        head = json.dumps(header, separators=(",", ":")).encode() + b"\n"
        return _MAGIC + head + b"".join(array.tobytes() for array in arrays)

    @classmethod
    def from_bytes(cls, payload: bytes) -> Genome:
        """Read what `to_bytes` wrote.

        Raises:
            GenomeError: if the bytes are damaged or of another format.
        """
        head, newline, body = payload.removeprefix(_MAGIC).partition(b"\n")
        if not payload.startswith(_MAGIC) or not newline:
            raise GenomeError("stored genome is not in a format that this version reads")
        try:
            header = json.loads(head)
            blocks, anchors = header["shape"]
            names = [(str(name), int(length)) for name, length in header["displacements"]]
        except (ValueError, KeyError, TypeError) as error:
            raise GenomeError(f"stored genome has a damaged header: {error}") from error
        values = np.frombuffer(body[: len(body) - len(body) % 4], dtype="<f4")
        expected = blocks * anchors + sum(length for _, length in names)
        if len(body) != 4 * expected:
            raise GenomeError(f"stored genome has {len(body)} bytes, expected {4 * expected}")
        ends = np.cumsum([blocks * anchors, *(length for _, length in names)])
        parts = np.split(values, ends[:-1])
        coefficients = parts[0].reshape(blocks, anchors)
        return cls(
            coefficients, {name: part for (name, _), part in zip(names, parts[1:], strict=True)}
        )
