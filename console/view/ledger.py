"""What each answer cost, in the order in which they were recorded.

Answers are never changed or deleted, so each is read once; a page of a run with 200,000 answers
then adds up arrays instead of reading 100 MB of JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memory.store import RunStore

_NEW = """
SELECT rowid, genome_id, IFNULL(json_extract(record, '$.reply.tokens_in'), 0),
    IFNULL(json_extract(record, '$.reply.tokens_out'), 0)
FROM answers WHERE rowid > ? ORDER BY rowid
"""


@dataclass(frozen=True)
class Ledger:
    """The cost of the answers of a run.

    Attributes:
        last: rowid of the last one; 0 for none.
        tokens: (answers, 2) what experts read and wrote.
        genomes: genome -> its number.
        whose: (answers,) number of the genome that answered.
    """

    last: int
    tokens: NDArray[np.int64]
    genomes: Mapping[str, int]
    whose: NDArray[np.int64]

    @classmethod
    def empty(cls) -> Ledger:
        """Of no answers."""
        return cls(0, np.zeros((0, 2), dtype=np.int64), {}, np.zeros(0, dtype=np.int64))

    def extended(self, store: RunStore) -> Ledger:
        """With the answers that were recorded since."""
        _, new = store.table(_NEW, (self.last,))
        if not new:
            return self
        tokens = np.array([row[2:] for row in new], dtype=np.int64)
        genomes = dict(self.genomes)
        whose = [genomes.setdefault(row[1], len(genomes)) for row in new]
        return Ledger(
            new[-1][0],
            np.concatenate([self.tokens, tokens]),
            genomes,
            np.concatenate([self.whose, np.array(whose, dtype=np.int64)]),
        )

    @property
    def total(self) -> tuple[int, int]:
        """All tokens read and written."""
        read, written = self.tokens.sum(axis=0).tolist() if len(self.tokens) else (0, 0)
        return read, written

    def by_genome(self) -> dict[str, int]:
        """Tokens, read and written, of the answers of each genome."""
        sums = np.bincount(
            self.whose, weights=self.tokens.sum(axis=1), minlength=len(self.genomes)
        ).tolist()
        return {genome: int(sums[number]) for genome, number in self.genomes.items()}

    def after(self, share: float) -> int:
        """Tokens, read and written, of the first share of the answers."""
        return int(self.tokens[: round(share * len(self.tokens))].sum())
