"""What vLLM is asked, and whose its reply is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

from evolution.engines.base import Ask
from evolution.errors import EngineError, SchemaError


def parameters_of(ask: Ask, end_tokens: Sequence[int]) -> list[SamplingParams]:
    """How each prompt is to be answered.

    Args:
        ask: prompts and sampling.
        end_tokens: that end a reply.
    """
    sampling = ask.sampling
    return [
        SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            stop_token_ids=list(end_tokens),
            seed=seed,
            logprobs=0 if ask.logprobs or ask.tokens else None,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
            structured_outputs=_constraint(ask.json_schema),
        )
        for seed in (ask.seeds if ask.seeds is not None else [None] * len(ask.prompts))
    ]


def require_stamp(said: Any, stamp: str) -> None:
    """See that every token of a reply was sampled by the weights that it is credited to.

    Args:
        said: a finished output of vLLM.
        stamp: version of the weights: the expert that was swapped in.

    Raises:
        SchemaError: there is no reply, since its JSON schema makes no grammar.
        EngineError: some tokens are of other weights, or of unknown ones.
    """
    if said.finish_reason == "error":
        raise SchemaError("vLLM cannot constrain replies to this JSON schema")
    found = {span.version for span in said.weight_versions or ()}
    if found != {stamp}:
        named = ", ".join(sorted(found)) or "unknown weights"
        raise EngineError(f"vLLM gave a reply of {named}, and not of expert {stamp}")


def _constraint(json_schema: str | None) -> StructuredOutputsParams | None:
    return None if json_schema is None else StructuredOutputsParams(json=json_schema)
