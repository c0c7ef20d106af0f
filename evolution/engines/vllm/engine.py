"""The engine for throughput: vLLM, whose worker holds the bank and materialises experts itself.

vLLM runs in processes of its own. A swap sends a genome, a few kilobytes; the worker turns it into
weights, and a witness there compares what the layers compute with to what they were given. Then the
prefix cache is emptied, which still holds keys of the expert before.
"""

from __future__ import annotations

import itertools
import json
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import vllm
from safetensors.torch import save_file
from vllm import SamplingParams
from vllm.exceptions import VLLMValidationError
from vllm.v1.engine.exceptions import EngineDeadError

from evolution.bank.anchors import Anchor, StoredVectors, save_anchor
from evolution.bank.bank import Bank
from evolution.engines.base import Ask, Chat
from evolution.engines.encoding import Encoder
from evolution.engines.held import HeldEngine, Stopped, processor
from evolution.engines.settings import EngineSettings
from evolution.engines.vllm.requests import parameters_of, require_stamp
from evolution.engines.vllm.start import LaunchPlan, last_cause, plan, start
from evolution.errors import EngineError, SchemaError
from evolution.genome.genome import Genome
from evolution.materialise.weights import rounded
from memory.messages import first_line
from memory.records import Reply

ALGORITHM = 3
"""Version of what happens around vLLM: to be raised whenever a reply may come out differently."""

_log = logging.getLogger(__name__)


class WorkerError(EngineError):
    """The worker could not do what it was called for."""


class VllmEngine(HeldEngine):
    """Serves one expert at a time with vLLM.

    Three ways lead to its weights, and the first that works is kept to: in place, into the
    parameters of a GPU, or, after one expert that vLLM has loaded, layer by layer into what a CPU
    computes with; else through vLLM's own reloading, tensor by tensor; else through a temporary
    folder that is written here, should the worker be unable to make the weights.

    Should vLLM die, what it was asked fails, and the next lease starts it again.

    Args:
        bank: loaded here; the worker loads the same one from its settings and cache.
        settings: device, threads and memory.

    Attributes:
        swapped: what the worker reported of the last swap: how (packed, copied, reloaded), seconds,
            and how many tensors were seen.

    Raises:
        EngineError: vLLM cannot serve this model here.
    """

    def __init__(self, bank: Bank, settings: EngineSettings) -> None:
        self._plan: LaunchPlan = plan(bank, settings)
        super().__init__(bank)
        self._encoder = Encoder(bank.tokenizer, self._plan.context)
        self._end_tokens = sorted(bank.end_tokens)
        self._numbers = itertools.count()
        self._folder = TemporaryDirectory(prefix="acdc-vllm-")
        self._anchors_sent: int | None = None
        self._set_aside: set[str] = set()
        self._ways = [self._in_place, self._by_reloading, self._through_folder]
        self.swapped: dict[str, Any] = {}
        self._stamp = ""
        self._llm: Any = start(bank, self._plan, Path(self._folder.name))

    @property
    def profile(self) -> str:
        """JSON of everything besides genome, prompt and sampling that can change an answer."""
        return json.dumps(
            {
                "engine": "vllm",
                "algorithm": ALGORITHM,
                "vllm": vllm.__version__,
                "torch": torch.__version__,
                "dtype": str(self._bank.dtype).removeprefix("torch."),
                "compute": self._plan.compute,
                "device": processor(self._plan.device),
                "threads": self._plan.threads,
                "rows": self._plan.rows,
                "context": self._plan.context,
            },
            sort_keys=True,
        )

    def swap_through_folders(self) -> None:
        """From now on swap through folders, as if the worker's bank had failed."""
        self._ways = [self._through_folder]
        self._loaded = None

    def _release(self) -> None:
        if self._llm is not None:
            self._llm.llm_engine.engine_core.shutdown()
            self._llm = None
        self._folder.cleanup()

    def _swap(self, genome: Genome) -> None:
        if self._llm is None:
            self._restart()
        while True:
            way = self._ways[0]
            try:
                self.swapped = way(genome)
                break
            except WorkerError as error:
                if len(self._ways) == 1:
                    raise EngineError(
                        f"{error}; no way to swap weights is left: set engine.kind to transformers"
                    ) from error
                _log.warning("%s: trying another way to swap weights", error)
                self._ways.remove(way)
        with self._alive():
            # Abandoned replies may still be in flight: they release their blocks.
            if not self._llm.llm_engine.reset_prefix_cache(reset_running_requests=True):
                raise EngineError("vLLM still holds keys of the previous expert: cache in use")
            self._stamp = self._bank.genome_id(genome)
            self._llm.update_weight_version(self._stamp)

    def _restart(self) -> None:
        if self._llm is not None:
            self._llm.llm_engine.engine_core.shutdown()
        self._loaded = self._anchors_sent = None
        self._llm = start(self._bank, self._plan, Path(self._folder.name))

    def _in_place(self, genome: Genome) -> dict[str, Any]:
        return self._by_worker(genome, in_place=True)

    def _by_reloading(self, genome: Genome) -> dict[str, Any]:
        return self._by_worker(genome, in_place=False)

    def _by_worker(self, genome: Genome, in_place: bool) -> dict[str, Any]:
        """Let the worker make the weights of what must be, by content, the same expert as here."""
        self._send_bank()
        swapped = self._call("acdc_swap", genome.to_bytes(), in_place)
        if swapped["genome"] != self._bank.genome_id(genome):
            raise WorkerError("the worker loaded a different bank: did a seed change on disk?")
        return swapped

    def _through_folder(self, genome: Genome) -> dict[str, Any]:
        with TemporaryDirectory(dir=self._folder.name) as folder:
            for number, (name, tensor) in enumerate(rounded(self._bank, genome)):
                file = Path(folder) / f"{number:05}.safetensors"
                save_file({name: tensor.cpu().contiguous()}, file)
            return self._call("acdc_read_folder", folder)

    def _send_bank(self) -> None:
        """Let the worker load the bank, once, and take up the anchors that were grafted since."""
        if self._anchors_sent is None:
            origin = self._bank.origin
            models, spectral = origin.models.model_dump_json(), origin.spectral.model_dump_json()
            loaded = self._call("acdc_load_bank", models, spectral, str(origin.cache_dir))
            self._anchors_sent = int(loaded["anchors"])
            self._set_aside.clear()
        new = self._bank.anchors[self._anchors_sent :]
        if new:
            self._send_anchors(new)
        files = {
            anchor.name: str(anchor.vectors.path)
            for anchor in self._bank.anchors
            if isinstance(anchor.vectors, StoredVectors) and anchor.name not in self._set_aside
        }
        if files:
            self._call("acdc_set_aside", list(files), list(files.values()))
            self._set_aside.update(files)

    def _send_anchors(self, anchors: Sequence[Anchor]) -> None:
        with TemporaryDirectory(dir=self._folder.name) as folder:
            files = [str(Path(folder) / f"{place:03}.safetensors") for place in range(len(anchors))]
            for anchor, file in zip(anchors, files, strict=True):
                save_anchor(anchor, Path(file))
            names = [anchor.name for anchor in anchors]
            appended = self._call("acdc_append_anchors", names, files)
        self._anchors_sent = int(appended["anchors"])

    def _call(self, method: str, *arguments: Any) -> dict[str, Any]:
        """Call the worker.

        Raises:
            WorkerError: with the error that it reports.
            EngineError: vLLM has died.
        """
        with self._alive():
            [said] = self._llm.collective_rpc(method, args=arguments)
        reported: dict[str, Any] = json.loads(said)
        if "error" in reported:
            raise WorkerError(reported["error"])
        return reported

    def _complete(self, ask: Ask, stop: threading.Event) -> list[Reply]:
        sampling = ask.sampling
        tokens = [self._encoder.encode(chat, sampling.max_tokens).tokens for chat in ask.prompts]
        parameters = parameters_of(ask, self._end_tokens)
        begun = time.perf_counter()
        outputs = self._run(tokens, parameters, stop)
        spoken = sum(len(output.outputs[0].token_ids) for output in outputs)
        per_token = (time.perf_counter() - begun) / max(spoken, 1)
        return [self._reply(output, ask, per_token) for output in outputs]

    def _reply(self, output: Any, ask: Ask, seconds_per_token: float) -> Reply:
        said = output.outputs[0]
        tokens, ended = list(said.token_ids), said.finish_reason == "stop"
        spoken = tokens[:-1] if ended else tokens
        spelled = None
        if ask.tokens:
            places = zip(tokens, said.logprobs, strict=True)
            spelled = self._encoder.spell(spoken, [at[token].logprob for token, at in places])
        return Reply(
            text=self._encoder.decode(spoken),
            tokens_in=len(output.prompt_token_ids),
            tokens_out=len(tokens),
            finish_reason="stop" if ended else "length",
            seconds=seconds_per_token * len(tokens),
            logprob=said.cumulative_logprob / len(tokens) if ask.logprobs else None,
            tokens=spelled,
        )

    def _judge(self, prompts: Sequence[Chat], texts: Sequence[str]) -> list[list[float]]:
        pairs = zip(prompts, texts, strict=True)
        given = [self._encoder.encode_with(chat, text) for chat, text in pairs]
        reading = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False)
        outputs = self._run([tokens for tokens, _ in given], [reading] * len(given))
        found = []
        for (tokens, length), output in zip(given, outputs, strict=True):
            places = range(len(tokens) - length, len(tokens))
            found.append([output.prompt_logprobs[i][tokens[i]].logprob for i in places])
        return found

    def _run(
        self,
        prompts: Sequence[list[int]],
        parameters: Sequence[SamplingParams],
        stop: threading.Event | None = None,
    ) -> list[Any]:
        """Outputs of vLLM, in the order of the prompts.

        Raises:
            Stopped: `stop` was set.
            SchemaError: vLLM cannot constrain replies to the JSON schema.
            EngineError: vLLM has died, or a reply is another expert's.
        """
        done: dict[str, Any] = {}
        names = [str(next(self._numbers)) for _ in prompts]
        with self._alive():
            engine = self._llm.llm_engine
            try:
                for name, tokens, wanted in zip(names, prompts, parameters, strict=True):
                    engine.add_request(name, {"prompt_token_ids": tokens}, wanted)
            except VLLMValidationError as error:
                engine.abort_request(names)
                if parameters[0].structured_outputs is None:
                    raise
                raise SchemaError(
                    f"vLLM cannot constrain replies to this JSON schema: {first_line(error)}"
                ) from error
            while engine.has_unfinished_requests():
                if stop is not None and stop.is_set():
                    engine.abort_request(names)
                    raise Stopped
                done |= {output.request_id: output for output in engine.step() if output.finished}
        for output in done.values():
            require_stamp(output.outputs[0], self._stamp)
        return [done[name] for name in names]

    @contextmanager
    def _alive(self) -> Iterator[None]:
        """Turns the death of vLLM's processes into an error of this one request."""
        if self._llm is None:
            raise EngineError("vLLM has died; the next lease starts it again")
        try:
            yield
        except EngineDeadError as error:
            self._llm.llm_engine.engine_core.shutdown()
            self._llm = self._loaded = None
            cause = last_cause(Path(self._folder.name)) or first_line(error)
            raise EngineError(f"vLLM has died: {cause}") from error
