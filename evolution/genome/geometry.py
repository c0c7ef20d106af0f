"""Lengths and angles of task vectors, from Gram matrices: no weights are read.

With orthonormal singular vectors the inner product of two experts' task vectors in a block is

    <tau_a, tau_b> = l_a^T G l_b + sum_t (l_a^T C_t d_b + l_b^T C_t d_a + d_a . d_b)

where `G[i, j] = sum_t <T[t,i], T[t,j]>` over the block's tensors, `C_t[i, k] = u_k^T T[t,i] v_k`,
and `d` are the displacements of matrix t. Noise fields are orthogonal to all else (see
`evolution.genome.noise`); one that both experts have adds the product of their strengths times its
squared length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from evolution.errors import GenomeError
from evolution.genome.genome import Genome, NoiseField, NoiseScale, NoiseTerm


@dataclass(frozen=True)
class Geometry:
    """All that breeding has to know of a bank. Arrays are float64.

    Attributes:
        blocks: names of the blocks, in the order of the rows of coefficients.
        gram: (blocks, anchors, anchors) inner products of the anchors' task vectors.
        cross: matrix -> (anchors, rank), `u_k^T T_i v_k`.
        matrix_blocks: mutable matrix -> index of its block.
        singular_values: matrix -> (rank,) of the base.
        norms: mutable matrix -> Frobenius norm of the base's.
        sizes: mutable matrix -> number of its weights.
        seeds: how many of the first anchors are seeds; later ones were grafted on.
    """

    blocks: tuple[str, ...]
    gram: Float64[np.ndarray, "blocks anchors anchors"]
    cross: Mapping[str, Float64[np.ndarray, "anchors rank"]]
    matrix_blocks: Mapping[str, int]
    singular_values: Mapping[str, Float64[np.ndarray, " rank"]]
    norms: Mapping[str, float]
    sizes: Mapping[str, int]
    seeds: int

    @property
    def anchors(self) -> int:
        """Number of anchors, the base not counted."""
        return int(self.gram.shape[1])

    def fit(self, genome: Genome) -> Genome:
        """The genome with a column for every anchor, checked against this bank.

        Raises:
            GenomeError: names what does not fit, with the shape expected and the one found.
        """
        if genome.coefficients.shape[0] != len(self.blocks):
            raise GenomeError(
                f"genome has coefficients for {genome.coefficients.shape[0]} blocks, the bank has "
                f"{len(self.blocks)}"
            )
        for name, displacement in genome.displacements.items():
            known = self.singular_values.get(name)
            if known is None:
                raise GenomeError(f"genome displaces {name}, which has no spectral basis here")
            if known.shape != displacement.shape:
                raise GenomeError(
                    f"genome displaces {name} by shape {displacement.shape}, its spectral basis "
                    f"has {known.shape}: was it bred with another rank?"
                )
        return genome.widened(self.anchors)

    def noise_squares(self, scale: NoiseScale) -> Float64[np.ndarray, " blocks"]:
        """Squared length, block by block, of a noise field of strength 1."""
        squares = np.zeros(len(self.blocks))
        for name, block in self.matrix_blocks.items():
            squares[block] += self.norms[name] ** 2 if scale == "relative" else self.sizes[name]
        return squares

    def noise_terms(self, genome: Genome, name: str) -> tuple[NoiseTerm, ...]:
        """What each noise field of a genome adds to one tensor; nothing where it does not mutate.

        Args:
            genome: of this bank.
            name: of any tensor.
        """
        if name not in self.matrix_blocks:
            return ()
        rms = self.norms[name] / self.sizes[name] ** 0.5
        found = {
            field: float(strengths[self.matrix_blocks[name]])
            for field, strengths in genome.noise.items()
        }
        return tuple(
            NoiseTerm(field.seed, strength * (rms if field.scale == "relative" else 1.0))
            for field, strength in found.items()
            if strength != 0.0
        )

    def inner(self, a: Genome, b: Genome) -> Float64[np.ndarray, " blocks"]:
        """Inner products, block by block, of the full task vectors of two experts."""
        a, b = self.fit(a), self.fit(b)
        rows_a = a.coefficients.astype(np.float64)
        rows_b = b.coefficients.astype(np.float64)
        products: Float64[np.ndarray, " blocks"] = np.einsum(
            "bi,bij,bj->b", rows_a, self.gram, rows_b
        )
        for name, block in self.matrix_blocks.items():
            delta_a, delta_b = a.displacements.get(name), b.displacements.get(name)
            if delta_b is not None:
                products[block] += rows_a[block] @ self.cross[name] @ delta_b.astype(np.float64)
            if delta_a is not None:
                products[block] += rows_b[block] @ self.cross[name] @ delta_a.astype(np.float64)
            if delta_a is not None and delta_b is not None:
                products[block] += delta_a.astype(np.float64) @ delta_b.astype(np.float64)
        for field in a.noise.keys() & b.noise.keys():
            shared = a.noise[field].astype(np.float64) * b.noise[field]
            products += shared * self.noise_squares(field.scale)
        return products

    def coefficient_norms(self, genome: Genome) -> Float64[np.ndarray, " blocks"]:
        """Length, block by block, of the part of the task vector that is made of anchors."""
        rows = self.fit(genome).coefficients.astype(np.float64)
        squares = np.einsum("bi,bij,bj->b", rows, self.gram, rows)
        lengths: Float64[np.ndarray, " blocks"] = np.sqrt(np.maximum(squares, 0.0))
        return lengths

    def blend(
        self,
        parents: Sequence[Genome],
        weights: Float[np.ndarray, "parents blocks"],
        displacement_weights: Float[np.ndarray, "parents blocks"] | None = None,
    ) -> Genome:
        """The child whose task vector is, block by block, a weighted sum of the parents'.

        Args:
            parents: at least one genome.
            weights: (parents, blocks), applied to coefficients, and to displacements and noise too
                unless those have weights of their own.
            displacement_weights: (parents, blocks), or None.
        """
        fitted = [self.fit(parent) for parent in parents]
        delta_weights = weights if displacement_weights is None else displacement_weights
        rows = np.stack([parent.coefficients.astype(np.float64) for parent in fitted])
        coefficients = np.einsum("pb,pbi->bi", weights, rows)
        displacements: dict[str, np.ndarray] = {}
        for name, block in self.matrix_blocks.items():
            terms = [
                weight * parent.displacements[name].astype(np.float64)
                for weight, parent in zip(delta_weights[:, block], fitted, strict=True)
                if name in parent.displacements
            ]
            if terms:
                displacements[name] = np.sum(terms, axis=0).astype(np.float32)
        noise: dict[NoiseField, np.ndarray] = {}
        for shares, parent in zip(delta_weights, fitted, strict=True):
            for field, strengths in parent.noise.items():
                noise[field] = noise.get(field, 0.0) + shares * strengths.astype(np.float64)
        return Genome(coefficients.astype(np.float32), displacements, noise)
