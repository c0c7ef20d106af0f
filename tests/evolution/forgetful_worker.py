"""A worker as vLLM's own would be: it leaves a tied head with the expert before."""

from __future__ import annotations

from dataclasses import replace

from evolution.engines import vllm_packing, vllm_worker
from evolution.engines.vllm_worker import BankWorker

_slots = vllm_packing._slots

vllm_worker._pack_tied_heads = lambda model: None
vllm_packing._slots = lambda model, shapes: [
    replace(slot, heads=()) for slot in _slots(model, shapes)
]


class ForgetfulWorker(BankWorker):
    """Loading its module is what makes it forgetful."""
