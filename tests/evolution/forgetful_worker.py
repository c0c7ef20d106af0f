"""A worker as vLLM's own would be: it leaves a tied head with the expert before."""

from __future__ import annotations

from evolution.engines import vllm_worker
from evolution.engines.vllm_worker import BankWorker

vllm_worker._pack_tied_heads = lambda model: None


class ForgetfulWorker(BankWorker):
    """Loading its module is what makes it forgetful."""
