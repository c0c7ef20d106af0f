"""What each answer cost, in the order in which they were recorded.

Answers are never changed or deleted, so each is read once; a page of a run with 200,000 answers
then adds up arrays instead of reading 100 MB of JSON.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memory.store import RunStore

_NEW = """
SELECT rowid, IFNULL(json_extract(record, '$.reply.tokens_in'), 0),
    IFNULL(json_extract(record, '$.reply.tokens_out'), 0)
FROM answers WHERE rowid > ? ORDER BY rowid
"""


@dataclass(frozen=True)
class Ledger:
    """The cost of the answers of a run.

    Attributes:
        last: rowid of the last one; 0 for none.
        tokens: (answers, 2) what experts read and wrote.
    """

    last: int
    tokens: NDArray[np.int64]

    @classmethod
    def empty(cls) -> Ledger:
        """Of no answers."""
        return cls(0, np.zeros((0, 2), dtype=np.int64))

    def extended(self, store: RunStore) -> Ledger:
        """With the answers that were recorded since."""
        _, new = store.table(_NEW, (self.last,))
        if not new:
            return self
        tokens = np.array(new, dtype=np.int64)[:, 1:]
        return Ledger(new[-1][0], np.concatenate([self.tokens, tokens]))

    @property
    def total(self) -> tuple[int, int]:
        """All tokens read and written."""
        read, written = self.tokens.sum(axis=0).tolist() if len(self.tokens) else (0, 0)
        return read, written

    def after(self, share: float) -> int:
        """Tokens, read and written, of the first share of the answers."""
        return int(self.tokens[: round(share * len(self.tokens))].sum())
