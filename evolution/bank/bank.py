"""The bank: base, task vectors of the anchors, spectral bases and geometry, in memory once."""

from __future__ import annotations

import copy
import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.initialization import no_init_weights

from evolution.bank.adapters import is_adapter
from evolution.bank.anchors import (
    Anchor,
    StoredVectors,
    adapter_anchor,
    base_tensors,
    full_anchor,
    load_anchor,
    mean_tensors,
)
from evolution.bank.checkpoints import Checkpoint, check_compatible, open_checkpoint
from evolution.bank.fingerprint import tensors_hash
from evolution.bank.gram import measure
from evolution.bank.layout import Layout
from evolution.bank.merge_methods import BASE_NAME
from evolution.bank.settings import ModelSettings, SpectralSettings
from evolution.bank.sources import BUILT_IN_BASE, PUBLISHED_BASE, locate
from evolution.bank.spectral import SpectralBasis, basis_recipe, spectral_bases
from evolution.bank.task_vectors import LowRank
from evolution.bank.tokenizers import check_tokenizer, generation_of, load_tokenizer
from evolution.errors import BankError, GenomeError
from evolution.genome.genome import Genome
from evolution.genome.geometry import Geometry
from evolution.genome.noise import GENERATOR
from evolution.stages import Stages, no_stages
from memory.hashing import json_hash

_MODEL_LOCK = threading.Lock()


@dataclass(frozen=True)
class BankOrigin:
    """What a bank was loaded from: another process loads the same one with it."""

    models: ModelSettings
    spectral: SpectralSettings
    cache_dir: Path


class Bank:
    """Everything that genomes are coordinates in. Anchors are append-only.

    Attributes:
        origin: what it was loaded from, grafted anchors not counted.
        layout: tensors, blocks and mutable matrices of the architecture.
        base: tensor name -> base weights, in the dtype of the experts.
        base_hash: content hash of those weights.
        recipe: all that the spectral bases depend on.
        bases: matrix name -> spectral basis.
        tokenizer: of the base, with its chat template.
        geometry: lengths and angles of the task vectors.
    """

    base_name = BASE_NAME

    def __init__(
        self,
        source: Checkpoint,
        tokenizer: Any,
        base: Mapping[str, Tensor],
        anchors: Sequence[Anchor],
        origin: BankOrigin,
        stages: Stages = no_stages,
    ) -> None:
        spectral, cache_dir = origin.spectral, origin.cache_dir
        self.origin = origin
        self.layout: Layout = source.layout
        self.base = base
        self.base_hash = tensors_hash(base.items())
        self.tokenizer = tokenizer
        self._generation = generation_of(tokenizer, source.generation, source.label)
        self.recipe = basis_recipe(self.base_hash, spectral)
        bases = spectral_bases(base, self.layout.matrices, self.recipe, spectral, cache_dir, stages)
        self.bases: Mapping[str, SpectralBasis] = {
            name: basis.to(self.device) for name, basis in bases.items()
        }
        self._source = source
        self._cache_dir = cache_dir
        self._seeds = len(anchors)
        stages("geometry of the seeds", 0, 0)
        self._anchors: tuple[Anchor, ...] = ()
        self._set_anchors(anchors)

    @property
    def anchors(self) -> tuple[Anchor, ...]:
        """All anchors but the base, in the order of the columns of coefficients."""
        return self._anchors

    @property
    def config(self) -> Any:
        """A copy of the architecture's configuration, of transformers.

        It names the same end tokens as `generation`: some programs look here.
        """
        config = copy.deepcopy(self._source.config)
        for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
            setattr(config, key, getattr(self._generation, key))
        return config

    @property
    def generation(self) -> Any:
        """A copy of how experts answer (transformers), in engines and wherever they are exported.

        It names the tokens that end an answer, and nothing that an engine does not do.
        """
        return copy.deepcopy(self._generation)

    @property
    def end_tokens(self) -> frozenset[int]:
        """Tokens that end an answer."""
        return frozenset(self._generation.eos_token_id or ())

    @property
    def seed_names(self) -> tuple[str, ...]:
        """The base, which competes as one too, and the seeds."""
        return (self.base_name, *(anchor.name for anchor in self._anchors[: self._seeds]))

    @property
    def merge_names(self) -> tuple[str, ...]:
        """Anchors that joined behind the seeds: merges that were configured, then grafts."""
        return tuple(anchor.name for anchor in self._anchors[self._seeds :])

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of the rows of coefficients."""
        return self.layout.blocks

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the experts' weights."""
        return next(iter(self.base.values())).dtype

    @property
    def device(self) -> torch.device:
        """Where the bank is held."""
        return next(iter(self.base.values())).device

    @property
    def memory_bytes(self) -> int:
        """What base, task vectors and spectral bases take up."""
        vectors = [vector for anchor in self._anchors for vector in anchor.held]
        held = [part for owner in [*vectors, *self.bases.values()] for part in vars(owner).values()]
        tensors = [part for part in [*self.base.values(), *held] if isinstance(part, Tensor)]
        # Anchors may have left factors in common.
        return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())

    @property
    def content_hash(self) -> str:
        """Hash of base, anchors and basis recipe: equal hashes mean the same experts."""
        anchors = [anchor.content_hash for anchor in self._anchors]
        return json_hash([self.base_hash, anchors, self.recipe], 32)

    def base_genome(self) -> Genome:
        """The base: all zeros."""
        return Genome(np.zeros((len(self.blocks), len(self._anchors)), np.float32))

    def seed_genome(self, name: str) -> Genome:
        """A seed or another anchor: ones in its column; the base: zeros.

        Raises:
            BankError: no anchor of that name.
        """
        if name == self.base_name:
            return self.base_genome()
        names = [anchor.name for anchor in self._anchors]
        if name not in names:
            raise BankError(f"no anchor {name!r} in the bank (known: {', '.join(names)})")
        coefficients = np.zeros((len(self.blocks), len(names)), np.float32)
        coefficients[:, names.index(name)] = 1.0
        return Genome(coefficients)

    def check_genome(self, genome_id: str, genome: Genome) -> None:
        """Refuse a genome that is not the one of an identifier.

        Raises:
            GenomeError: it is another one.
        """
        if self.genome_id(genome) != genome_id:
            raise GenomeError(
                f"run.db is damaged in table genomes, record {genome_id} (its content is not that "
                "of its id), or the base or a seed is another one: restore the run folder from a "
                "copy"
            )

    def genome_id(self, genome: Genome) -> str:
        """Identifier of an expert by its content; an anchor that is added changes none.

        It covers the base, the non-zero columns with the content hash of their anchor, and, where
        something is displaced, the recipe of the spectral basis; and noise, where there is some.
        32 hexadecimal digits.
        """
        fitted = self.geometry.fit(genome)
        columns = sorted(
            (anchor.content_hash, fitted.coefficients[:, index].tobytes().hex())
            for index, anchor in enumerate(self._anchors)
            if fitted.coefficients[:, index].any()
        )
        parts: list[Any] = [self.base_hash, columns]
        if fitted.displacements:
            deltas = {name: delta.tobytes().hex() for name, delta in fitted.displacements.items()}
            parts += [self.recipe, deltas]
        if fitted.noise:
            noise = [[*of, strengths.tobytes().hex()] for of, strengths in fitted.noise.items()]
            parts += [{"noise": GENERATOR, "fields": noise}]
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def model(self, dtype: torch.dtype | None = None) -> Any:
        """A fresh transformers model of this architecture, on the CPU, with the base's weights.

        Args:
            dtype: number format that it computes in; that of the weights by default.
        """
        model = self.skeleton(dtype)
        with torch.no_grad():
            state = model.state_dict(keep_vars=True)
            for name, tensor in self.base.items():
                state[name].copy_(tensor)
        return model

    def skeleton(self, dtype: torch.dtype | None = None) -> Any:
        """As `model`, but its weights are undefined, and take up no memory until they are written.

        Args:
            dtype: as of `model`.
        """
        # Initialisers are switched off for the whole process: one model at a time.
        with _MODEL_LOCK, no_init_weights(), torch.no_grad():
            model = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
                self.config, dtype=dtype or self.dtype, trust_remote_code=False
            )
        model.tie_weights()
        model.generation_config = self.generation
        return model.requires_grad_(False).eval()

    def graft(self, name: str, path: str) -> None:
        """Append a checkpoint as a new anchor; it widens the span for all later breeding.

        Args:
            name: what it is called.
            path: as of a seed.

        Raises:
            BankError: the name is taken, or the checkpoint does not fit; the bank stays as it was.
        """
        self.append(self.read_anchor(name, path))

    def read_anchor(self, name: str, path: str) -> Anchor:
        """A checkpoint as an anchor of this bank, which it does not join yet.

        Args:
            name: what it is to be called.
            path: as of a seed.

        Raises:
            BankError: the name is taken, or the checkpoint does not fit.
        """
        if name in (self.base_name, *(anchor.name for anchor in self._anchors)):
            raise BankError(f"the bank already has an anchor {name!r}")
        folder = locate(path, self._cache_dir, self.dtype)
        check_tokenizer(folder, f"{name} ({folder})", self.tokenizer, self._source.label)
        if is_adapter(folder):
            names = _base_names(self.origin.models, self._source)
            return adapter_anchor(name, folder, self.layout, self.device, names)
        checkpoint = open_checkpoint(folder, name)
        check_compatible(checkpoint, self._source)
        return full_anchor(name, checkpoint, self.base)

    def stored_anchor(self, name: str, path: Path, others: Sequence[Anchor] = ()) -> Anchor | None:
        """An anchor that `save_anchor` kept, not part of the bank yet; None if it is damaged.

        Args:
            name: what it is called.
            path: of the file.
            others: anchors besides those of the bank whose left factors it may share.
        """
        left = partial(self.left_factors, others=others)
        return load_anchor(name, path, self.device, left)

    @property
    def spectral_root(self) -> str:
        """Stands for the left singular vectors of the spectral bases, see `Anchor.root`."""
        return json_hash(self.recipe, 32)

    def left_factors(self, root: str, others: Sequence[Anchor] = ()) -> Mapping[str, Tensor] | None:
        """Tensor name -> left factors of a root; None if neither bank nor others are one."""
        if root == self.spectral_root:
            return {name: basis.left for name, basis in self.bases.items()}
        for anchor in (*self._anchors, *others):
            if anchor.content_hash == root and not anchor.root:
                vectors = anchor.vectors.items()
                return {name: each.up for name, each in vectors if isinstance(each, LowRank)}
        return None

    def append(self, *anchors: Anchor) -> None:
        """Append anchors; one that is there already changes nothing.

        Raises:
            BankError: there is another one of that name; none is appended.
        """
        held = {each.name: each.content_hash for each in self._anchors}
        new: list[Anchor] = []
        for anchor in anchors:
            known = held.setdefault(anchor.name, anchor.content_hash)
            if known != anchor.content_hash or anchor.name == self.base_name:
                raise BankError(f"the bank already has an anchor {anchor.name!r}")
            if anchor.name not in {each.name for each in [*self._anchors, *new]}:
                new.append(anchor)
        if new:
            self._set_anchors([*self._anchors, *new])

    def set_aside(self, name: str, path: Path) -> None:
        """Let an anchor stay in its file, from which it is read whenever an expert is made of it.

        Args:
            name: of an anchor.
            path: where `save_anchor` has kept it.
        """
        self._anchors = tuple(
            replace(anchor, vectors=StoredVectors(anchor, path, self.device))
            if anchor.name == name and not isinstance(anchor.vectors, StoredVectors)
            else anchor
            for anchor in self._anchors
        )

    def bring_back(self, name: str) -> None:
        """Read an anchor that was set aside into memory again; one that is there stays.

        Raises:
            BankError: its file is missing or damaged.
        """
        self._anchors = tuple(
            replace(anchor, vectors=dict(anchor.vectors.items()))
            if anchor.name == name and isinstance(anchor.vectors, StoredVectors)
            else anchor
            for anchor in self._anchors
        )

    def _set_anchors(self, anchors: Sequence[Anchor]) -> None:
        """Take over anchors and measure them; geometry and anchors never disagree in between."""
        hashes = [self.base_hash, self.recipe, [anchor.content_hash for anchor in anchors]]
        self.geometry: Geometry = measure(
            self.layout,
            self.base,
            [anchor.vectors for anchor in anchors],
            self.bases,
            self._seeds,
            self._cache_dir / "gram" / f"{json_hash(hashes, 32)}.safetensors",
            getattr(self, "geometry", None),
        )
        self._anchors = tuple(anchors)


def load_bank(
    models: ModelSettings,
    spectral: SpectralSettings,
    cache_dir: Path,
    device: str = "cpu",
    stages: Stages = no_stages,
) -> Bank:
    """Load base and seeds, compute (or find again) spectral bases and geometry.

    Args:
        models: base and seeds; without a base their mean takes its place.
        spectral: recipe of the spectral bases.
        cache_dir: for what is computed once; nothing else is written.
        device: where the bank is held, as in torch.
        stages: called with the progress of loading.

    Raises:
        BankError: a checkpoint is missing, damaged, or of another architecture or vocabulary.
    """
    stages("base and seeds", 0, 0)
    dtype: torch.dtype = getattr(torch, models.dtype)
    place = torch.device(device)
    folders = {seed.name: locate(seed.path, cache_dir, dtype) for seed in models.seeds}
    full = {
        name: open_checkpoint(folder, name)
        for name, folder in folders.items()
        if not is_adapter(folder)
    }
    source = _source(models, full, folders, cache_dir, dtype)
    for checkpoint in full.values():
        check_compatible(checkpoint, source)
    tokenizer = load_tokenizer(source)
    for name, folder in folders.items():
        check_tokenizer(folder, f"{name} ({folder})", tokenizer, source.label)
    if models.base is None:
        base = mean_tensors(list(full.values()), dtype, place)
    else:
        base = base_tensors(source, dtype, place)
    anchors = [
        full_anchor(name, full[name], base)
        if name in full
        else adapter_anchor(name, folder, source.layout, place, _base_names(models, source))
        for name, folder in folders.items()
    ]
    return Bank(source, tokenizer, base, anchors, BankOrigin(models, spectral, cache_dir), stages)


def _source(
    models: ModelSettings,
    full: Mapping[str, Checkpoint],
    folders: Mapping[str, Path],
    cache_dir: Path,
    dtype: torch.dtype,
) -> Checkpoint:
    """The checkpoint that gives architecture and tokenizer: the base, or else the first seed."""
    if models.base is not None:
        folder = locate(models.base, cache_dir, dtype)
        if is_adapter(folder):
            raise BankError(
                f"the base ({folder}) is a LoRA adapter: set models.base to the model it adapts"
            )
        return open_checkpoint(folder, BASE_NAME)
    adapters = [name for name in folders if name not in full]
    if adapters:
        raise BankError(
            f"seed {adapters[0]!r} is a LoRA adapter and needs its base: set models.base"
        )
    return next(iter(full.values()))


def _base_names(models: ModelSettings, source: Checkpoint) -> tuple[str, ...]:
    """What the base may be called by an adapter on it."""
    known = [models.base, str(source.folder), getattr(source.config, "_name_or_path", None)]
    published = [PUBLISHED_BASE] if models.base == BUILT_IN_BASE else []
    return tuple(name for name in [*known, *published] if name)
