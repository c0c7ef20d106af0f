"""The engine that runs anywhere: transformers, one model, materialised in place."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
import transformers

from evolution.bank.bank import Bank
from evolution.engines.base import Ask, Chat
from evolution.engines.compute import choose_compute, device_of, machine_name
from evolution.engines.encoding import BUCKETS, Encoder, longest_context
from evolution.engines.held import HeldEngine, processor
from evolution.engines.settings import EngineSettings
from evolution.engines.transformers.attention import (
    UNFIT,
    attends_by_segments,
    unfit,
    use_grouped_attention,
    use_plain_head,
)
from evolution.engines.transformers.decoding import Decoder, DecodingTask
from evolution.engines.transformers.packing import ModelWeights
from evolution.engines.transformers.passes import candidates
from evolution.engines.transformers.proof import prove, remembered
from evolution.engines.transformers.sampling import log_probabilities
from evolution.errors import SchemaError
from evolution.genome.genome import Genome
from memory.hashing import json_hash
from memory.records import Reply
from memory.threads import usual_threads

ALGORITHM = 3
"""Version of the decode loop: to be raised whenever a reply may come out differently."""

_SWITCH_SECONDS = 0.0002
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
        EngineError: the device does not exist, or the model's layers are of another kind.
    """

    def __init__(self, bank: Bank, settings: EngineSettings) -> None:
        self._device = device_of(settings.device)
        compute = choose_compute(
            settings, str(bank.dtype).removeprefix("torch."), bank.origin.cache_dir
        ).dtype
        self._threads = settings.threads or usual_threads()
        super().__init__(bank, lambda: torch.set_num_threads(self._threads))
        # After each of its many short operations the engine's thread needs the interpreter again,
        # which the rest of a run may hold for as long as this.
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._rows = settings.rows or _ROWS.get(self._device.type, 32)
        self._prefill_tokens = settings.prefill_tokens or _PREFILL_TOKENS.get(
            self._device.type, 512
        )
        self._model: Any = bank.model(getattr(torch, compute)).to(self._device)
        self._weights = ModelWeights(self._model)
        self._encoder = Encoder(bank.tokenizer, longest_context(self._model.config))
        use_grouped_attention(self._model)
        use_plain_head(self._model)
        # Made in the thread, and with the threads, that everything is computed in.
        try:
            self._decoder: Decoder = self._thread.submit(self._new_decoder).result()
        except UNFIT as error:
            self._thread.shutdown()
            raise unfit(self._model, error) from error

    @property
    def profile(self) -> str:
        """JSON of everything besides genome, prompt and sampling that can change an answer."""
        on_cpu = self._device.type == "cpu"
        return json.dumps(
            {
                "engine": "transformers",
                "algorithm": ALGORITHM,
                "transformers": transformers.__version__,
                "torch": torch.__version__,
                "dtype": str(self._bank.dtype).removeprefix("torch."),
                "compute": str(self._model.dtype).removeprefix("torch."),
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
        self._weights.write(self._bank, genome)
        self._decoder.forget()

    def _new_decoder(self) -> Decoder:
        self._weights.write(self._bank, self._bank.base_genome())
        side_by_side = attends_by_segments(self._model)
        tried = candidates(self._rows, self._prefill_tokens)
        shape = self._model.config.to_dict()
        machine = machine_name(self._device)
        known = json_hash([self.profile, machine, shape, asdict(tried), side_by_side], 32)
        file = self._bank.origin.cache_dir / "passes" / f"{known}.json"
        sizes = remembered(file, tried, lambda: prove(self._model, tried, side_by_side))
        return Decoder(self._model, self._rows, sizes, self._bank.end_tokens, side_by_side)

    def _complete(self, ask: Ask, stop: threading.Event) -> list[Reply]:
        if ask.json_schema is not None:
            raise SchemaError(
                "the transformers engine does not constrain replies to a JSON schema: "
                "set engine.kind to vllm"
            )
        encoded = [self._encoder.encode(chat, ask.sampling.max_tokens) for chat in ask.prompts]
        if ask.seeds is None:
            tasks = [DecodingTask(prompt) for prompt in encoded]
        else:
            streams = [torch.Generator().manual_seed(seed) for seed in ask.seeds]
            tasks = [DecodingTask(p, stream) for p, stream in zip(encoded, streams, strict=True)]
        self._decoder.run(tasks, ask, stop)
        return [self._reply(task, ask) for task in tasks]

    def _reply(self, task: DecodingTask, ask: Ask) -> Reply:
        spoken = task.tokens[:-1] if task.ended else task.tokens
        return Reply(
            text=self._encoder.decode(spoken),
            tokens_in=len(task.prompt),
            tokens_out=len(task.tokens),
            finish_reason="stop" if task.ended else "length",
            seconds=task.seconds,
            logprob=task.logprob / len(task.tokens) if ask.logprobs else None,
            certainty=task.certainty / len(task.tokens) if ask.logprobs else None,
            tokens=self._encoder.spell(spoken, task.logprobs) if ask.tokens else None,
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
