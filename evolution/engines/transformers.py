"""The engine that runs anywhere: transformers, one model, materialised in place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
import transformers

from evolution.bank import Bank
from evolution.engines.base import Chat
from evolution.engines.decoding import Decoder, Task
from evolution.engines.drawing import log_probabilities
from evolution.engines.encoding import BUCKETS, Encoder, longest_context
from evolution.engines.held import HeldEngine, Order, processor
from evolution.errors import EngineError
from evolution.genome import Genome
from evolution.materialise import materialise
from evolution.settings import EngineSettings
from memory.records import Reply

ALGORITHM = 2
"""Version of the decode loop: to be raised whenever a reply may come out differently."""

_ROWS = {"cpu": 32, "cuda": 128}
_PREFILL_TOKENS = {"cpu": 512, "cuda": 8192}


class TransformersEngine(HeldEngine):
    """Holds one model; a lease materialises an expert in it.

    All work on the model happens in one thread, so that the number of its threads is the same for
    every reply.

    Args:
        bank: gives the model, its weights and its tokenizer.
        settings: device, threads and batch shape.

    Raises:
        EngineError: the device is not there.
    """

    def __init__(self, bank: Bank, settings: EngineSettings) -> None:
        self._device = _device(settings.device)
        self._threads = settings.threads or torch.get_num_threads()
        super().__init__(bank, lambda: torch.set_num_threads(self._threads))
        self._rows = settings.rows or _ROWS.get(self._device.type, 32)
        self._prefill_tokens = settings.prefill_tokens or _PREFILL_TOKENS.get(
            self._device.type, 512
        )
        self._model: Any = bank.model().to(self._device)
        self._encoder = Encoder(bank.tokenizer, longest_context(self._model.config))
        self._decoder = Decoder(
            self._model,
            self._rows,
            self._prefill_tokens,
            self._encoder.end_tokens(self._model.generation_config),
        )

    @property
    def profile(self) -> str:
        """JSON of everything beside genome, prompt and sampling that can change an answer."""
        on_cpu = self._device.type == "cpu"
        return json.dumps(
            {
                "engine": "transformers",
                "algorithm": ALGORITHM,
                "transformers": transformers.__version__,
                "torch": torch.__version__,
                "dtype": str(self._model.dtype).removeprefix("torch."),
                "attention": self._model.config._attn_implementation,
                "device": processor(self._device),
                "threads": self._threads if on_cpu else None,
                "rows": self._rows,
                "prefill_tokens": self._prefill_tokens,
                "buckets": BUCKETS,
            },
            sort_keys=True,
        )

    def _swap(self, genome: Genome) -> None:
        self._decoder.forget()
        materialise(self._bank, genome, self._model)

    def _complete(
        self, prompts: Sequence[Chat], seeds: Sequence[int] | None, order: Order
    ) -> list[Reply]:
        encoded = [self._encoder.encode(chat, order.sampling.max_tokens) for chat in prompts]
        if seeds is None:
            tasks = [Task(prompt) for prompt in encoded]
        else:
            streams = [torch.Generator().manual_seed(seed) for seed in seeds]
            tasks = [Task(p, stream) for p, stream in zip(encoded, streams, strict=True)]
        self._decoder.run(tasks, order)
        return [self._reply(task, order) for task in tasks]

    def _reply(self, task: Task, order: Order) -> Reply:
        spoken = task.tokens[:-1] if task.ended else task.tokens
        return Reply(
            text=self._encoder.decode(spoken),
            tokens_in=len(task.prompt),
            tokens_out=len(task.tokens),
            finish_reason="stop" if task.ended else "length",
            seconds=task.seconds,
            logprob=task.logprob / len(task.tokens) if order.logprobs else None,
            certainty=task.certainty / len(task.tokens) if order.logprobs else None,
            tokens=self._encoder.spell(spoken, task.logprobs) if order.tokens else None,
        )

    @torch.inference_mode()
    def _judge(self, prompts: Sequence[Chat], texts: Sequence[str]) -> list[list[float]]:
        found: list[list[float]] = []
        for chat, text in zip(prompts, texts, strict=True):
            tokens, length = self._encoder.encode_with(chat, text)
            given = torch.tensor([tokens], device=self._device)
            logits = self._model(given, use_cache=False, logits_to_keep=length + 1).logits[0, :-1]
            chosen = log_probabilities(logits, given[0, len(tokens) - length :])
            found.append(chosen.tolist())
        return found


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise EngineError(
            f"device {name!r} is not there ({torch.cuda.device_count()} GPUs): set engine.device "
            "to auto or cpu"
        )
    return device
