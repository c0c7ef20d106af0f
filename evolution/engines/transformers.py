"""The engine that runs anywhere: transformers, one model, materialised in place."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import torch
import transformers

from evolution.bank import Bank
from evolution.engines.base import Chat
from evolution.engines.decoding import Decoder, Order, Task
from evolution.engines.encoding import BUCKETS, Encoder
from evolution.errors import EngineError
from evolution.genome import Genome
from evolution.materialise import materialise
from evolution.settings import EngineSettings
from memory.records import Reply, Sampling
from memory.spans import span

ALGORITHM = 2
"""Version of the decode loop: to be raised whenever a reply may come out differently."""

_ROWS = {"cpu": 32, "cuda": 128}
_PREFILL_TOKENS = {"cpu": 512, "cuda": 8192}

Result = TypeVar("Result")


class TransformersEngine:
    """Holds one model; a lease materialises an expert in it.

    All work on the model happens in one thread of its own: so a swap never overtakes replies that
    nobody waits for any more, and the number of threads is the same for every reply.

    Args:
        bank: gives the model, its weights and its tokenizer.
        settings: device, threads and batch shape.

    Raises:
        EngineError: the device is not there.
    """

    def __init__(self, bank: Bank, settings: EngineSettings) -> None:
        self._bank = bank
        self._device = _device(settings.device)
        self._threads = settings.threads or torch.get_num_threads()
        self._rows = settings.rows or _ROWS.get(self._device.type, 32)
        self._prefill_tokens = settings.prefill_tokens or _PREFILL_TOKENS.get(
            self._device.type, 512
        )
        self._model: Any = bank.model().to(self._device)
        self._encoder = Encoder(bank.tokenizer, _context(self._model.config))
        self._decoder = Decoder(
            self._model,
            self._rows,
            self._prefill_tokens,
            self._encoder.end_tokens(self._model.generation_config),
        )
        self._loaded: str | None = None
        self._closed = False
        self._lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(
            1, "acdc-engine", initializer=torch.set_num_threads, initargs=(self._threads,)
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
                "device": _processor(self._device),
                "threads": self._threads if on_cpu else None,
                "rows": self._rows,
                "prefill_tokens": self._prefill_tokens,
                "buckets": BUCKETS,
            },
            sort_keys=True,
        )

    @asynccontextmanager
    async def lease(self, genome: Genome) -> AsyncIterator[TransformersLease]:
        """Materialise an expert, unless it is the one at hand; nobody else answers meanwhile.

        Raises:
            EngineError: the engine is closed.
            GenomeError: the genome does not fit the bank.
        """
        async with self._lock:
            await self._load(genome)
            lease = TransformersLease(self._answer)
            try:
                yield lease
            finally:
                lease.end()

    async def close(self) -> None:
        """Stop, after the current lease has ended."""
        async with self._lock:
            self._closed = True
            await asyncio.to_thread(self._thread.shutdown)

    async def _load(self, genome: Genome) -> None:
        genome_id = self._bank.genome_id(genome)
        if genome_id == self._loaded:
            return
        # Until the swap is complete the weights are nobody's.
        self._loaded = None
        with span("swap", genome_id):
            await self._in_thread(lambda: self._swap(genome))
        self._loaded = genome_id

    def _swap(self, genome: Genome) -> None:
        self._decoder.forget()
        materialise(self._bank, genome, self._model)

    async def _answer(
        self,
        prompts: Sequence[Chat],
        sampling: Sampling,
        seeds: Sequence[int] | None,
        logprobs: bool,
    ) -> list[Reply]:
        if sampling.temperature > 0.0 and seeds is None:
            raise ValueError("a temperature above 0 needs one seed per prompt")
        order = Order(sampling, logprobs, threading.Event())
        try:
            return await self._in_thread(lambda: self._complete(prompts, seeds, order))
        except asyncio.CancelledError:
            order.stop.set()
            raise

    def _complete(
        self, prompts: Sequence[Chat], seeds: Sequence[int] | None, order: Order
    ) -> list[Reply]:
        encoded = [self._encoder.encode(chat, order.sampling.max_tokens) for chat in prompts]
        if order.sampling.temperature == 0.0 or seeds is None:
            tasks = [Task(prompt) for prompt in encoded]
        else:
            streams = [torch.Generator().manual_seed(seed) for seed in seeds]
            tasks = [Task(p, stream) for p, stream in zip(encoded, streams, strict=True)]
        self._decoder.run(tasks, order)
        return [self._reply(task, order.logprobs) for task in tasks]

    def _reply(self, task: Task, logprobs: bool) -> Reply:
        spoken = task.tokens[:-1] if task.ended else task.tokens
        return Reply(
            text=self._encoder.decode(spoken),
            tokens_in=len(task.prompt),
            tokens_out=len(task.tokens),
            finish_reason="stop" if task.ended else "length",
            seconds=task.seconds,
            logprob=task.logprob / len(task.tokens) if logprobs else None,
            certainty=task.certainty / len(task.tokens) if logprobs else None,
        )

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        if self._closed:
            raise EngineError("the engine is closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


class TransformersLease:
    """One expert in the engine, until the lease ends."""

    def __init__(self, answer: Callable[..., Any]) -> None:
        self._engine_answer: Callable[..., Any] | None = answer

    async def answer(
        self,
        prompts: Sequence[Chat],
        sampling: Sampling,
        seeds: Sequence[int] | None = None,
        logprobs: bool = False,
    ) -> list[Reply]:
        """Answer each prompt as this expert; see `Lease.answer`."""
        if self._engine_answer is None:
            raise EngineError("the lease has ended: another expert may be in the engine")
        replies: list[Reply] = await self._engine_answer(prompts, sampling, seeds, logprobs)
        return replies

    def end(self) -> None:
        """From now on this lease cannot answer."""
        self._engine_answer = None


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


def _processor(device: torch.device) -> str:
    """What computes, as far as it can change an answer."""
    if device.type == "cuda":
        return f"cuda {torch.cuda.get_device_name(device)}"
    return f"{device.type} {torch.backends.cpu.get_cpu_capability()}"


def _context(config: Any) -> int:
    """The longest sequence for which full attention is what the model was made for."""
    limits = [getattr(config, "max_position_embeddings", None)]
    if "sliding_attention" in (getattr(config, "layer_types", None) or ()):
        limits.append(getattr(config, "sliding_window", None))
    return min((limit for limit in limits if limit), default=1 << 20)
