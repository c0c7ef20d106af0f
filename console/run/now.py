"""What a live run waits for, as other processes may read it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pydantic import BaseModel

from memory.store import RunStore
from memory.store.codec import reading
from memory.waits import EVERY_S, Wait

_KEY = "waiting"
_STALE_S = 6 * EVERY_S
"""A live run writes anew at each look; what is older was left by one that was killed."""


class _Waiting(BaseModel):
    what: str
    seconds: float


class _Now(BaseModel):
    at: float
    waits: list[_Waiting]


def put_waits(store: RunStore, waits: Sequence[Wait]) -> None:
    """Record what is waited for at this moment, in place of what was before."""
    listed = [_Waiting(what=wait.what, seconds=wait.seconds) for wait in waits]
    store.put_meta(_KEY, _Now(at=time.time(), waits=listed).model_dump())


def waits_of(store: RunStore) -> dict[str, float]:
    """What a run has been waiting for for long, with its seconds; none of a run that is not live.

    Raises:
        DamagedError: the record is no such thing.
    """
    kept = store.meta(_KEY)
    if kept is None:
        return {}
    with reading(store.path, "meta", _KEY):
        now = _Now.model_validate(kept)
    since = time.time() - now.at
    if abs(since) > _STALE_S:
        return {}
    return {wait.what: max(wait.seconds + since, 0.0) for wait in now.waits}
