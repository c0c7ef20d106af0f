"""Experts as LoRA adapters in vLLM: many in one batch and no swap; `swap` measures them.

An expert is one adapter where everything that it adds to the base is of low rank: coefficients of
LoRA anchors and displacements of singular values, but no full differences, and no noise. Its rank
is that of all its terms side by side. Its weights are never rounded as a whole, so it is not quite
the expert that the same genome is elsewhere.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from agents.settings import JudgeSettings
from evolution.bank.bank import Bank
from evolution.engines.base import Ask, Chat
from evolution.engines.encoding import Encoder
from evolution.engines.settings import EngineSettings
from evolution.genome.genome import Genome
from evolution.materialise.weights import materialise, sums_of
from memory.records import Sampling

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks of adapters that vLLM knows."""

_TURNS = 2

Factors = dict[str, tuple[Tensor, Tensor]]
"""Name of a matrix -> what is added to it, as (rows, rank) and (rank, columns)."""


def factors_of(bank: Bank, genome: Genome) -> Factors | None:
    """What an expert adds to the base; None where that is no adapter."""
    found: Factors = {}
    for name, total in sums_of(bank, genome):
        if total.dense or total.noise is not None:
            return None
        if total.factors is not None:
            found[name] = total.factors
    return found


def rank_of(experts: Sequence[Factors]) -> int:
    """The smallest rank of vLLM that holds them all.

    Raises:
        ValueError: there is none.
    """
    needed = max(down.shape[0] for factors in experts for _, down in factors.values())
    for rank in RANKS:
        if rank >= needed:
            return rank
    raise ValueError(f"vLLM has no adapters of rank {needed}: {RANKS[-1]} at most")


def write_adapter(factors: Factors, rank: int, folder: Path) -> None:
    """Write an adapter as PEFT does, each matrix filled up with zeros to one rank."""
    tensors = {}
    for name, (up, down) in factors.items():
        module = f"base_model.model.{name.removesuffix('.weight')}"
        more = rank - down.shape[0]
        tensors[f"{module}.lora_A.weight"] = torch.nn.functional.pad(down, (0, 0, 0, more))
        tensors[f"{module}.lora_B.weight"] = torch.nn.functional.pad(up, (0, more))
    folder.mkdir()
    save_file(
        {name: each.cpu().contiguous() for name, each in tensors.items()},
        folder / "adapter_model.safetensors",
    )
    targets = sorted({name.removesuffix(".weight").rpartition(".")[2] for name in factors})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": rank,
        "bias": "none",
        "target_modules": targets,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))


class AdapterServer:
    """vLLM with the base, and room for so many experts as adapters.

    Args:
        bank: of the experts.
        settings: of vLLM.
        experts: side by side.
        rank: of their adapters.
    """

    def __init__(self, bank: Bank, settings: EngineSettings, experts: int, rank: int) -> None:
        from evolution.engines.vllm.start import plan, start

        self._bank, self._rank = bank, rank
        self._folder = TemporaryDirectory(prefix="acdc-adapters-")
        self._place = Path(self._folder.name)
        launch = plan(bank, settings)
        self._encoder = Encoder(bank.tokenizer, launch.context)
        model = bank.model()
        materialise(bank, bank.base_genome(), model)
        model.save_pretrained(self._place)
        self._llm: Any = start(
            bank,
            launch,
            self._place,
            load_format="auto",
            enable_lora=True,
            max_lora_rank=rank,
            max_loras=experts,
        )
        self._count = 0

    def answer(
        self, experts: Sequence[Genome], questions: Sequence[Chat], sampling: Sampling
    ) -> tuple[list[list[str]], dict[str, float]]:
        """Let every expert answer every question greedily, all in one batch.

        Returns:
            Replies expert by expert; and seconds of writing the adapters, and of all the rest.

        Raises:
            ValueError: an expert is no adapter.
        """
        from vllm.lora.request import LoRARequest

        from evolution.engines.vllm.requests import parameters_of

        begun = time.perf_counter()
        requests = []
        for genome in experts:
            factors = factors_of(self._bank, genome)
            if factors is None:
                raise ValueError("an expert with full differences or noise is no adapter")
            self._count += 1
            folder = self._place / f"adapter-{self._count}"
            write_adapter(factors, self._rank, folder)
            requests.append(LoRARequest(folder.name, self._count, str(folder)))
        written = time.perf_counter()
        prompts = [
            {"prompt_token_ids": self._encoder.encode(chat, sampling.max_tokens).tokens}
            for chat in questions
        ]
        ends = sorted(self._bank.end_tokens)
        outputs = self._llm.generate(
            prompts * len(experts),
            parameters_of(Ask(questions, sampling), ends) * len(experts),
            lora_request=[each for each in requests for _ in questions],
            use_tqdm=False,
        )
        said = []
        for output in outputs:
            reply = output.outputs[0]
            tokens = list(reply.token_ids)
            ended = reply.finish_reason == "stop"
            said.append(self._encoder.decode(tokens[:-1] if ended else tokens))
        seconds = {"written": written - begun, "answered": time.perf_counter() - written}
        size = len(questions)
        return [said[first : first + size] for first in range(0, len(said), size)], seconds

    def close(self) -> None:
        """End vLLM."""
        self._llm.llm_engine.engine_core.shutdown()
        self._folder.cleanup()


async def side_by_side(
    bank: Bank, settings: EngineSettings, genomes: Sequence[Genome], questions: Sequence[Chat]
) -> list[dict[str, Any]]:
    """Greedy answers of several experts by swaps and as adapters; none where one is no adapter.

    By turns, of which the first, in which all warms up, does not count.
    """
    from evolution.engines.vllm.engine import VllmEngine

    experts = [factors_of(bank, genome) for genome in genomes]
    adapters = [factors for factors in experts if factors is not None]
    if len(adapters) < len(genomes):
        return []
    sampling = JudgeSettings().sampling.model_copy(update={"temperature": 0.0})
    engine = VllmEngine(bank, settings)
    server = AdapterServer(bank, settings, len(genomes), rank_of(adapters))
    swaps, batches, same = [], [], []
    for _ in range(1 + _TURNS):
        begun, one_by_one = time.perf_counter(), []
        for genome in genomes:
            async with engine.lease(genome) as expert:
                one_by_one.append(await expert.answer(Ask(questions, sampling)))
        swaps.append(time.perf_counter() - begun)
        together, seconds = server.answer(genomes, questions, sampling)
        batches.append(sum(seconds.values()))
        same += [
            reply.text == text
            for replies, texts in zip(one_by_one, together, strict=True)
            for reply, text in zip(replies, texts, strict=True)
        ]
    server.close()
    await engine.close()
    slow, fast = statistics.median(swaps[1:]), statistics.median(batches[1:])
    count = len(genomes) * len(questions)
    return [
        {
            "name": f"{len(genomes)} by swaps",
            "seconds": round(slow, 2),
            "answers_per_second": round(count / slow, 1),
        },
        {
            "name": f"{len(genomes)} as adapters",
            "seconds": round(fast, 2),
            "answers_per_second": round(count / fast, 1),
            "adapters": {
                "rank": rank_of(adapters),
                "times_swaps": round(fast / slow, 2),
                "last_seconds": {name: round(value, 2) for name, value in seconds.items()},
                "same_replies": round(statistics.mean(same), 3),
            },
        },
    ]
