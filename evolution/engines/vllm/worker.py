"""The part of the vLLM engine that lives in vLLM's worker: it holds the bank and makes the weights.

vLLM mixes `BankWorker` into its own worker class (`worker_extension_cls`) and calls the methods by
name (`collective_rpc`). Genomes come in, weights never travel between processes.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

from evolution.bank.anchors import Anchor
from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import ModelSettings, SpectralSettings
from evolution.engines.vllm.blocks import UsedBlocks
from evolution.engines.vllm.packing import Packer
from evolution.engines.vllm.witness import Findings, Witness
from evolution.errors import EngineError, EvolutionError
from evolution.genome.genome import Genome
from evolution.materialise.weights import rounded

Tensors = Iterable[tuple[str, Tensor]]

_WORKER_ERRORS = (RuntimeError, ValueError, KeyError, AttributeError, OSError)
"""What a swap may fail with: a genome or file that does not fit, no memory, a model that vLLM
cannot load in this way. What else happens is a fault and ends the worker's call as such."""


def _reported(method: Callable[..., dict[str, Any]]) -> Callable[..., str]:
    """Answer in JSON, errors included: vLLM hands an exception on without its type."""

    @functools.wraps(method)
    def reporting(*args: Any) -> str:
        try:
            return json.dumps(method(*args))
        except EvolutionError as error:
            return json.dumps({"error": str(error)})
        except _WORKER_ERRORS as error:
            return json.dumps({"error": f"{type(error).__name__}: {error}".splitlines()[0]})

    return reporting


class BankWorker:
    """Mixed into vLLM's worker, whose `model_runner` and `device` it uses."""

    model_runner: Any
    device: torch.device
    _acdc_bank: Bank | None
    _acdc_blocks: UsedBlocks
    _acdc_packer: Packer
    _acdc_loads_plainly: bool = False

    @_reported
    def acdc_load_bank(self, models: str, spectral: str, cache_dir: str) -> dict[str, Any]:
        """Load the bank that the engine's process holds too, from the same settings and cache.

        Beside a GPU it stays in the host's memory where the device has no room left for it: tensors
        are then moved as they are summed.
        """
        origin = (
            ModelSettings.model_validate_json(models),
            SpectralSettings.model_validate_json(spectral),
            Path(cache_dir),
        )
        bank = load_bank(*origin)
        place = self.device
        if place.type == "cuda" and bank.memory_bytes * 1.1 < torch.cuda.mem_get_info(place)[0]:
            bank = load_bank(*origin, device=str(place))
        self._acdc_bank = bank
        return {"anchors": len(bank.anchors), "device": str(bank.device)}

    @_reported
    def acdc_append_anchors(self, names: list[str], paths: list[str]) -> dict[str, Any]:
        """Take up anchors that joined the bank in the engine's process, and measure them once."""
        bank = self._acdc_held()
        new: list[Anchor] = []
        for name, path in zip(names, paths, strict=True):
            anchor = bank.stored_anchor(name, Path(path))
            if anchor is None and new:
                # Its left factors may be those of one that comes along with it.
                bank.append(*new)
                new.clear()
                anchor = bank.stored_anchor(name, Path(path))
            if anchor is None:
                raise EngineError(f"anchor {name!r} cannot be read from {path}")
            new.append(anchor)
        bank.append(*new)
        return {"anchors": len(bank.anchors)}

    @_reported
    def acdc_set_aside(self, names: list[str], paths: list[str]) -> dict[str, Any]:
        """Read anchors from their files whenever they are used, as the engine's process does."""
        for name, path in zip(names, paths, strict=True):
            self._acdc_held().set_aside(name, Path(path))
        return {"set_aside": len(names)}

    @_reported
    def acdc_swap(self, payload: bytes, in_place: bool) -> dict[str, Any]:
        """Materialise an expert in the model, and see that the model computes with it.

        Args:
            payload: bytes of the genome.
            in_place: not through vLLM's reloading: on a GPU, copy into the parameters as they are,
                fused or not, and process nothing, which is right where vLLM computes with its
                parameters themselves; on a CPU, write and pack layer by layer, where all layers
                are known, from the second expert on.
        """
        bank = self._acdc_held()
        genome = Genome.from_bytes(payload)

        def weights() -> Tensors:
            return rounded(bank, genome, self.device)

        if in_place and self._acdc_packs():
            done = self._acdc_pack(genome)
        else:
            done = self._acdc_install(weights, in_place and self.device.type != "cpu")
        return {"genome": bank.genome_id(genome)} | done

    @_reported
    def acdc_read_folder(self, folder: str) -> dict[str, Any]:
        """Take over the weights of a folder that the engine's process has written."""
        return self._acdc_install(lambda: _stored(Path(folder)), in_place=False)

    def _acdc_held(self) -> Bank:
        bank: Bank | None = getattr(self, "_acdc_bank", None)
        if bank is None:
            raise EngineError("the worker holds no bank")
        return bank

    def _acdc_packs(self) -> bool:
        """Whether this is a CPU, all layers are known, and need nothing but their tensors.

        Some models bring rows into another order while they load. Only their own loading knows of
        that, which the first expert goes through; the witness finds it the same or not.
        """
        if self.device.type != "cpu" or not self._acdc_loads_plainly:
            return False
        if not hasattr(self, "_acdc_packer"):
            self._acdc_packer = Packer(self.model_runner.model, self._acdc_held().layout.shapes)
        return self._acdc_packer.reaches_all

    def _acdc_pack(self, genome: Genome) -> dict[str, Any]:
        bank, witness, begun = self._acdc_held(), Witness(), time.perf_counter()
        self._acdc_wipe()
        with torch.no_grad():
            self._acdc_packer.write(bank, genome, witness)
        return self._acdc_judged("packed", witness, lambda: rounded(bank, genome), begun)

    def _acdc_wipe(self) -> None:
        if not hasattr(self, "_acdc_blocks"):
            self._acdc_blocks = UsedBlocks(self.model_runner)
        self._acdc_blocks.wipe()

    def _acdc_install(self, weights: Callable[[], Tensors], in_place: bool) -> dict[str, Any]:
        model, witness, begun = self.model_runner.model, Witness(), time.perf_counter()
        self._acdc_wipe()
        with torch.no_grad():
            if in_place:
                model.load_weights(witness.watch(weights()))
            else:
                self.model_runner.reload_weights(weights_iterator=witness.watch(weights()))
                pack_tied_heads(model)
        return self._acdc_judged("copied" if in_place else "reloaded", witness, weights, begun)

    def _acdc_judged(
        self, how: str, witness: Witness, weights: Callable[[], Tensors], begun: float
    ) -> dict[str, Any]:
        made = time.perf_counter()
        verdict = witness.judge(self.model_runner.model)
        _check(verdict, weights)
        # An expert whose weights overflow shows nothing of how they are loaded.
        self._acdc_loads_plainly |= how == "reloaded" and not verdict.unclear
        seconds = {"made": made - begun, "seen": time.perf_counter() - made}
        return {"how": how, "seen": verdict.seen, "seconds": seconds}


def _check(verdict: Findings, weights: Callable[[], Tensors]) -> None:
    """Raises:
    EngineError: the model does not compute with the weights it was given, or it is unknown.
    """
    if verdict.unseen:
        raise EngineError(
            f"vLLM keeps {len(verdict.unseen)} tensors that cannot be verified after a swap: "
            f"{', '.join(verdict.unseen[:3])}"
        )
    others = set(verdict.differing)
    if verdict.unclear:
        others |= {n for n, t in weights() if n in verdict.unclear and bool(t.isfinite().all())}
    if others or not verdict.seen:
        named = ", ".join(sorted(others)[:3]) or "all tensors"
        raise EngineError(
            f"vLLM does not compute with the weights it was given ({len(others)} tensors differ: "
            f"{named})"
        )


def pack_tied_heads(model: Any) -> None:
    """Pack a tied head anew: vLLM's reload takes it for its embeddings, and leaves it behind."""
    owners: dict[int, Any] = {}
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.numel():
            first = owners.setdefault(id(weight), module)
            if first is not module and isinstance(module, ParallelLMHead):
                module.quant_method.process_weights_after_loading(module)


def _stored(folder: Path) -> Iterator[tuple[str, Tensor]]:
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as stored:
            for name in stored.keys():  # noqa: SIM118
                yield name, stored.get_tensor(name)
