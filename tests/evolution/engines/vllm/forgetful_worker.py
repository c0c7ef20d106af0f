"""A worker that goes wrong in the ways that a test asks for."""

from __future__ import annotations

from typing import Any

from vllm.model_executor.layers.linear import UnquantizedLinearMethod

from evolution.engines.vllm import worker
from evolution.engines.vllm.worker import BankWorker


class ForgetfulWorker(BankWorker):
    """Does nothing wrong until a test asks for it."""

    def fail_once_in_packing(self) -> str:
        """Once, in the middle of an expert."""
        packing: Any = UnquantizedLinearMethod
        process, calls = packing.process_weights_after_loading, []

        def failing(method: Any, layer: Any) -> None:
            calls.append(layer)
            if len(calls) == 3:
                packing.process_weights_after_loading = process
                raise RuntimeError("no memory is left")
            process(method, layer)

        packing.process_weights_after_loading = failing
        return "{}"

    def forget_heads_in_packing(self) -> str:
        """From now on leave a tied head with the expert before."""
        for slot in self._acdc_packer._slots.values():
            slot.heads = ()
        return "{}"

    def forget_heads_in_reloading(self) -> str:
        """Likewise, as vLLM itself does."""
        worker.pack_tied_heads = lambda model: None
        return "{}"
