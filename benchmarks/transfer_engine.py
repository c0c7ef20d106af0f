"""Experts through vLLM's weight transfer: the way in that the engine does not take.

A genome travels, and the weights are made in the worker, by the same sums, packing and witness as
in the engine's own worker extension. vLLM finds it in the worker since `Registered` is imported
there; installed, it would be an entry point of the group `vllm.general_plugins`.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.model_executor.model_loader.reload import (
    finalize_layerwise_reload,
    initialize_layerwise_reload,
)

from evolution.bank.bank import Bank, load_bank
from evolution.bank.settings import ModelSettings, SpectralSettings
from evolution.engines.vllm.packing import Packer
from evolution.engines.vllm.witness import Witness
from evolution.engines.vllm.worker import pack_tied_heads
from evolution.genome.genome import Genome
from evolution.materialise.weights import rounded

BACKEND = "acdc_genome"


@dataclass
class BankInfo(WeightTransferInitInfo):
    """Where a worker finds the bank, as JSON of the settings."""

    models: str
    spectral: str
    cache: str


@dataclass
class GenomeInfo(WeightTransferUpdateInfo):
    """An expert: the bytes of its genome in base64, and its identifier."""

    genome: str
    genome_id: str


class GenomeTransfer(WeightTransferEngine[BankInfo, GenomeInfo]):
    """Makes an expert where vLLM computes; of an error vLLM hands on the text alone."""

    init_info_cls = BankInfo
    update_info_cls = GenomeInfo
    _bank: Bank
    _packer: Packer
    _loads_plainly = False

    def init_transfer_engine(self, init_info: BankInfo) -> None:
        """Load the bank that the other process holds too."""
        self._bank = load_bank(
            ModelSettings.model_validate_json(init_info.models),
            SpectralSettings.model_validate_json(init_info.spectral),
            Path(init_info.cache),
        )
        self._packer = Packer(self.model, self._bank.layout.shapes)

    def start_weight_update(self) -> None:
        """Nothing to prepare: what there is holds until the new expert is made."""

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """As in the base class, but for its synchronisation, which fails without an accelerator."""
        self.receive_weights(self.parse_update_info(update_info))

    def receive_weights(self, update_info: GenomeInfo) -> None:
        """Materialise, and see that the model computes with it.

        Raises:
            RuntimeError: the banks differ, or the model computes with something else.
        """
        genome = Genome.from_bytes(base64.b64decode(update_info.genome))
        if self._bank.genome_id(genome) != update_info.genome_id:
            raise RuntimeError("the worker's bank is another one")
        self._wipe()
        witness = Witness()
        with torch.no_grad():
            if self._loads_plainly and self._packer.reaches_all:
                self._packer.write(self._bank, genome, witness)
            else:
                initialize_layerwise_reload(self.model)
                self.model.load_weights(witness.watch(rounded(self._bank, genome, self.device)))
                finalize_layerwise_reload(self.model, self.model_config)
                pack_tied_heads(self.model)
        found = witness.judge(self.model)
        if found.differing or found.unseen:
            raise RuntimeError(f"{len([*found.differing, *found.unseen])} tensors differ")
        self._loads_plainly = True

    def _wipe(self) -> None:
        """All blocks of keys and values: which of them were used is not known here."""
        for layer in self.vllm_config.compilation_config.static_forward_context.values():
            caches = layer.kv_cache
            for cache in caches if isinstance(caches, list | tuple) else [caches]:
                cache.zero_()

    def finish_weight_update(self) -> None:
        """Nothing is left to do."""

    def shutdown(self) -> None:
        """Nothing is held but the bank."""


class Registered:
    """An extension of vLLM's worker that adds nothing: importing it registers the engine."""


WeightTransferEngineFactory.register_engine(BACKEND, GenomeTransfer)
