"""A witness of reading: scores of one short prompt, ours beside those of transformers and PEFT."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AutoModelForCausalLM

from evolution.bank.adapters import is_adapter
from evolution.bank.bank import Bank
from evolution.bank.sources import locate
from evolution.engines.transformers.attention import (
    UNFIT,
    attends_by_segments,
    unfit,
    use_grouped_attention,
)
from evolution.engines.transformers.reading import read_texts
from evolution.materialise.weights import weigh

_PROMPT = "What is the sum of 12 and 30?"
_ROUNDED, _EXACT = 0.25, 0.01
"""How far scores may be apart where weights are differences in bf16, and where they are exact."""


@dataclass(frozen=True)
class Seen:
    """An expert that the libraries made, too.

    Attributes:
        name: of the base, or a seed.
        apart: largest difference of a score, in float32.
        most: that rounding explains.
    """

    name: str
    apart: float
    most: float


def witness_bytes(bank: Bank) -> int:
    """Memory that it takes: two models in float32."""
    return 2 * 4 * sum(tensor.numel() for tensor in bank.base.values())


@torch.no_grad()
def witness(bank: Bank, in_engine: bool = True) -> Iterator[Seen]:
    """Compare base and seeds with what the libraries make of the same folders.

    Args:
        bank: of the seeds.
        in_engine: read the prompt as the engine of transformers does.

    Raises:
        EngineError: it cannot serve this architecture.
        BankError: a checkpoint has gone.
    """
    models = bank.origin.models
    places = {seed.name: seed.path for seed in models.seeds}
    folders = {
        name: locate(path, bank.origin.cache_dir, bank.dtype) for name, path in places.items()
    }
    ours = bank.model(torch.float32)
    if in_engine:
        use_grouped_attention(ours)
    tokens: list[int] = bank.tokenizer(_PROMPT, add_special_tokens=False)["input_ids"]
    if models.base is not None:
        place = locate(models.base, bank.origin.cache_dir, bank.dtype)
        library = _loaded(bank, str(place))
        yield Seen(
            bank.base_name,
            _apart(bank, bank.base_name, ours, library, tokens, in_engine),
            _EXACT,
        )
        for name, folder in folders.items():
            if is_adapter(folder):
                adapted = _adapted(library, str(folder))
                apart = _apart(bank, name, ours, adapted, tokens, in_engine)
                library = adapted.unload()
                yield Seen(name, apart, _EXACT)
        del library
    for name, folder in folders.items():
        if not is_adapter(folder):
            library = _loaded(bank, str(folder))
            yield Seen(name, _apart(bank, name, ours, library, tokens, in_engine), _ROUNDED)


def _loaded(bank: Bank, folder: str) -> Any:
    """By transformers, rounded to the format of the experts and computed in float32."""
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=bank.dtype, trust_remote_code=False
    )
    return model.to(bank.device).float().eval()


def _adapted(model: Any, folder: str) -> Any:
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PeftModel.from_pretrained(model, folder).eval()


def _apart(
    bank: Bank, name: str, ours: Any, library: Any, tokens: list[int], in_engine: bool
) -> float:
    """Largest difference of a score of the next token; infinite where one is no number."""
    state = ours.state_dict(keep_vars=True)
    for key, tensor in weigh(bank, bank.seed_genome(name)):
        state[key].copy_(tensor)
    scores = _read if in_engine else _forward
    apart = float((scores(ours, tokens) - _forward(library, tokens)).abs().max())
    return apart if math.isfinite(apart) else math.inf


def _forward(model: Any, tokens: list[int]) -> Float[Tensor, " vocabulary"]:
    """By the library's own pass, without a cache."""
    given = torch.tensor([tokens], device=model.device)
    logits: Tensor = model(input_ids=given, use_cache=False).logits
    return logits[0, -1]


def _read(model: Any, tokens: list[int]) -> Float[Tensor, " vocabulary"]:
    """As the engine of transformers reads a prompt."""
    try:
        side_by_side = attends_by_segments(model)
        logits, _ = read_texts(model, [tokens], (), len(tokens), 1, side_by_side)
    except UNFIT as error:
        raise unfit(model, error) from error
    return logits[0]
