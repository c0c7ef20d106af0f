"""What becomes of each checkpoint that transformers can write: read or refused.

`python -m tests.evolution.engines.contract_cases` tells it of the whole grid, and of adapters.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import tempfile
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM

from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import ModelSettings, SeedSettings, SpectralSettings
from evolution.engines.settings import EngineSettings
from evolution.engines.transformers.engine import TransformersEngine
from evolution.errors import EvolutionError
from memory.records import ChatMessage, Sampling
from tests.conftest import SHAPE, make_family, make_tokenizer
from tests.evolution.bank.adapter_cases import ADAPTERS, adapter_outcome
from tests.evolution.engines.contract_grid import CASES, Case
from tests.evolution.engines.engine_cases import ask, questions, texts

TOLERANCE = 1e-3
"""Of log-probabilities, in float32."""


def write(case: Case, folder: Path) -> None:
    """A base and a seed near it, as transformers saves them."""
    tokenizer: Any = make_tokenizer()
    kind: Any = getattr(transformers, case.kind)
    tokens = {
        key: getattr(tokenizer, key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")
    }
    known = {*inspect.signature(kind).parameters}
    shape = {
        "vocab_size": len(tokenizer),
        **{k: v for k, v in SHAPE.items() if k in known},
        **tokens,
    }
    config = kind(**{**shape, **case.more})
    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    size: dict[str, Any] = {} if case.shards is None else {"max_shard_size": case.shards}
    with torch.no_grad():
        for parameter in model.parameters():
            # What every format holds exactly, so that only the reading is compared.
            parameter.add_(0.05 * torch.randn_like(parameter)).copy_(parameter.bfloat16())
        for name in ("base", "seed"):
            saved = copy.deepcopy(model).to(getattr(torch, case.stored))
            saved.save_pretrained(folder / name, **size)
            tokenizer.save_pretrained(folder / name)
            for parameter in model.parameters():
                parameter.mul_(1 + torch.randint_like(parameter, 2))
    file = folder / "seed" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **case.seed}))


def outcome(case: Case, folder: Path) -> str:
    """`read`, or the line that refuses it.

    Raises:
        AssertionError: it computes something else than transformers does.
    """
    write(case, folder)
    models = ModelSettings(
        base=str(folder / "base"),
        seeds=(SeedSettings(name="seed", path=str(folder / "seed")),),
        dtype="float32",
    )
    try:
        bank = load_bank(models, SpectralSettings(rank=2), folder / "cache")
        said = asyncio.run(_said(bank))
    except EvolutionError as error:
        return str(error)
    library: Any = AutoModelForCausalLM.from_pretrained(folder / "seed", dtype=torch.float32)
    apart = max(_apart(library.eval(), bank.tokenizer, *each) for each in zip(*said, strict=True))
    assert apart < TOLERANCE, f"log-probabilities are {apart:.2g} apart"
    return "read"


PROMPTS: list[list[ChatMessage]] = [*questions(5), [ChatMessage(role="user", content="one two")]]
SAID = texts(len(PROMPTS))


async def _said(
    bank: Bank,
) -> tuple[list[list[ChatMessage]], list[list[float]], list[str], list[list[float]]]:
    """What the engine answers, token by token, and what it thinks of given answers."""
    settings = EngineSettings(kind="transformers", device="cpu", rows=4, compute="float32")
    engine = TransformersEngine(bank, settings)
    genome = bank.seed_genome("seed")
    try:
        replies = await ask(engine, genome, PROMPTS, Sampling(max_tokens=12), tokens=True)
        async with engine.lease(genome) as lease:
            scores = await lease.score(PROMPTS, SAID)
    finally:
        await engine.close()
    answered = [[token.logprob for token in reply.tokens or ()] for reply in replies]
    return PROMPTS, answered, SAID, scores


@torch.inference_mode()
def _apart(
    model: Any,
    tokenizer: Any,
    prompt: list[ChatMessage],
    answered: list[float],
    said: str,
    scores: list[float],
) -> float:
    """Largest difference from the library's own forward pass, without any cache."""
    chat = [message.model_dump() for message in prompt]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    tokens: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    given: list[int] = tokenizer(said, add_special_tokens=False)["input_ids"]
    whole = model(torch.tensor([tokens + given]), use_cache=False).logits[0].log_softmax(-1)
    rows = whole[len(tokens) - 1 : -1]
    wanted = rows.gather(1, torch.tensor(given)[:, None])[:, 0].tolist()
    differences: list[float] = [abs(one - other) for one, other in zip(scores, wanted, strict=True)]
    for logprob in answered:
        best = model(torch.tensor([tokens]), use_cache=False).logits[0, -1].log_softmax(-1).max(-1)
        differences.append(abs(logprob - float(best.values)))
        tokens.append(int(best.indices))
    return max(differences)


def main() -> None:
    """Print what becomes of every case, and how many were read."""
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    checkpoints: dict[str, Callable[[Path], str]] = {
        name: partial(outcome, case) for name, case in CASES.items()
    }
    _print("checkpoints of transformers", checkpoints)
    with tempfile.TemporaryDirectory() as scratch:
        family = make_family(Path(scratch), transformers.LlamaConfig, tied=True)
        adapters = {
            name: partial(adapter_outcome, changes, family) for name, changes in ADAPTERS.items()
        }
        _print("adapters of PEFT", adapters)


def _print(what: str, grid: Mapping[str, Callable[[Path], str]]) -> None:
    read = 0
    for name, look in grid.items():
        with tempfile.TemporaryDirectory() as folder:
            found = look(Path(folder))
        read += found == "read"
        print(f"{name:40} {found.replace(folder, '')}", flush=True)
    print(f"{len(grid)} {what}: {read} read, {len(grid) - read} refused", flush=True)


if __name__ == "__main__":
    main()
