"""A worker that, once it is told to, leaves a tied head with the expert before."""

from __future__ import annotations

from dataclasses import replace

from evolution.engines import vllm_packing, vllm_worker
from evolution.engines.vllm_worker import BankWorker

_slots = vllm_packing._slots


class ForgetfulWorker(BankWorker):
    """Forgets nothing until it is told to, and then for good."""

    def forget_heads_in_packing(self) -> str:
        """To be told before the first expert is packed."""
        vllm_packing._slots = lambda model, shapes: [
            replace(slot, heads=()) for slot in _slots(model, shapes)
        ]
        return "{}"

    def forget_heads_in_reloading(self) -> str:
        vllm_worker._pack_tied_heads = lambda model: None
        return "{}"
