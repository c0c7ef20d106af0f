"""Experts that read texts layer by layer, with the weights of one layer in memory at a time."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from evolution.bank.bank import Bank
from evolution.errors import MergeError
from evolution.genome.genome import Genome
from evolution.materialise.weights import rounded
from memory.messages import first_line

Inputs = dict[str, list[Float[Tensor, "1 tokens n"]]]
"""Matrix -> what it was multiplied by, pack by pack. Matrices that are given the same tensor, as
queries, keys and values are, hold the same one."""

PACK = 512
"""Tokens that are read side by side: products of few rows are slow, attention to many is too."""

_UNFIT = (AttributeError, IndexError, TypeError, ValueError)
"""What architectures raise that do not attend by the masks and positions that they are given."""

_LAYER = re.compile(r"^(.*?)\.(\d+)\.")

_Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Pack:
    """Texts side by side in one row, behind the opening that they have in common.

    Attributes:
        tokens: of the opening, then of what follows it in each text.
        positions: place of each token in its text.
        visible: which tokens each one attends to.
    """

    tokens: Int[Tensor, "1 tokens"]
    positions: Int[Tensor, "1 tokens"]
    visible: Bool[Tensor, "1 1 tokens tokens"]


@dataclass
class Reading:
    """Where one expert stands in its texts.

    Attributes:
        genome: the expert.
        hidden: what the next layer is given, pack by pack.
        calls: pack -> layer -> what else that layer is given: masks, positions.
    """

    genome: Genome
    hidden: list[Float[Tensor, "1 tokens width"]] = field(default_factory=list)
    calls: list[list[_Call]] = field(default_factory=list)


def opening_of(texts: Sequence[Sequence[int]], most: int | None = None) -> int:
    """How many tokens all texts begin with, up to so many."""
    alike = itertools.takewhile(lambda tokens: len(set(tokens)) == 1, zip(*texts, strict=False))
    return sum(1 for _ in itertools.islice(alike, most))


def packs(
    texts: Sequence[Sequence[int]], most: int = PACK, opening: int | None = None
) -> list[Pack]:
    """Texts, as token ids, in packs of up to so many tokens; a longer text is one by itself.

    What all of them begin with is read once in each pack: all of that, or so many tokens.
    """
    opening = opening_of(texts) if opening is None else opening
    groups: list[list[Sequence[int]]] = []
    room = 0
    for text in texts:
        if not groups or len(text) - opening > room:
            groups.append([])
            room = most - opening
        groups[-1].append(text[opening:])
        room -= len(text) - opening
    return [_pack(texts[0][:opening], group) for group in groups]


def _pack(opening: Sequence[int], rests: Sequence[Sequence[int]]) -> Pack:
    parts = [opening, *rests]
    owner = torch.repeat_interleave(torch.tensor([len(part) for part in parts]))
    own = owner[:, None] == owner[None, :]
    positions = [*range(len(opening))]
    for rest in rests:
        positions += range(len(opening), len(opening) + len(rest))
    return Pack(
        torch.tensor([[token for part in parts for token in part]]),
        torch.tensor([positions]),
        (own | (owner == 0)).tril()[None, None],
    )


class LayerwiseModel:
    """A model of a bank's architecture of which one layer has weights at a time.

    Args:
        bank: gives architecture and weights.
        device: where the layers compute.
        compute: number format that they compute in.

    Raises:
        MergeError: the architecture has no single stack of layers, or layers that carry something
            from token to token beside their attention, or that multiply by no linear module.
    """

    def __init__(self, bank: Bank, device: torch.device, compute: torch.dtype) -> None:
        self._bank = bank
        self._device = device
        self._model = bank.skeleton(compute)
        names = [name for name in bank.layout.shapes if _LAYER.match(name)]
        paths = {match[1] for name in names if (match := _LAYER.match(name))}
        if len(paths) != 1:
            raise MergeError("this architecture has no single stack of layers to read one by one")
        [self._path] = paths
        self._layers = list(self._model.get_submodule(self._path))
        modules = [module for layer in self._layers for module in layer.modules()]
        if any(isinstance(module, nn.Conv1d) for module in modules):
            # Texts side by side would be read into each other, whatever the mask says.
            raise self._unfit("its layers convolve over tokens")
        if not any(isinstance(module, nn.Linear) for module in modules):
            raise self._unfit("its layers have no linear modules")
        self._decoder = self._model.base_model
        self._outer = self._outer_tensors()

    def __len__(self) -> int:
        return len(self._layers)

    def tensors(self, layer: int) -> list[str]:
        """Names of a layer's tensors."""
        prefix = f"{self._path}.{layer}."
        return [name for name in self._bank.layout.shapes if name.startswith(prefix)]

    def matrices(self, layer: int) -> list[str]:
        """Names of a layer's matrices that multiply an input: weights of its linear modules."""
        prefix = f"{self._path}.{layer}."
        return [f"{prefix}{name}.weight" for name, _ in self._linear(layer)]

    @torch.inference_mode()
    def begin(self, genome: Genome, texts: Sequence[Sequence[int]]) -> Reading:
        """Embed texts, given as token ids, as an expert does.

        Raises:
            MergeError: the architecture does not take masks and positions of tokens.
        """
        state = self._model.state_dict(keep_vars=True)
        for name, tensor in rounded(self._bank, genome, self._device, self._outer.keys()):
            state[name].copy_(tensor)
        reading = Reading(genome)
        for pack in packs(texts):
            visible = pack.visible.to(self._device)
            mask = torch.zeros(visible.shape, dtype=self._model.dtype, device=self._device)
            calls: list[_Call] = []
            try:
                with self._stubs(calls):
                    self._decoder(
                        input_ids=pack.tokens.to(self._device),
                        attention_mask=mask.masked_fill_(~visible, float("-inf")),
                        position_ids=pack.positions.to(self._device),
                        use_cache=False,
                    )
            except _UNFIT as error:
                raise self._unfit(first_line(error)) from error
            # What enters the first layer is handed on by all of them.
            reading.hidden.append(calls[0][0][0])
            reading.calls.append([(given[1:], named) for given, named in calls])
        return reading

    @torch.inference_mode()
    def read(self, layer: int, reading: Reading, onward: bool = True) -> Inputs:
        """Let an expert read its texts with its next layer.

        Args:
            layer: number of the layer.
            reading: of which `hidden` enters this layer.
            onward: whether what leaves the layer is to enter the next; it costs a product more.

        Returns:
            What each matrix of the layer was given on the way.
        """
        self._load(layer, reading.genome)
        inputs: Inputs = {}
        names, waiting = self.matrices(layer), set[str]()

        def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
            def hook(_: nn.Module, given: tuple[Tensor, ...]) -> None:
                inputs.setdefault(name, []).append(given[0])
                waiting.discard(name)
                if not (onward or waiting):
                    raise _SeenError

            return hook

        hooks = [
            module.register_forward_pre_hook(keep(name))
            for name, (_, module) in zip(names, self._linear(layer), strict=True)
        ]
        left = []
        for place in range(len(reading.hidden)):
            waiting.update(names)
            with suppress(_SeenError):
                left.append(self._output(layer, reading, place))
        if onward:
            reading.hidden = left
        for hook in hooks:
            hook.remove()
        return inputs

    @torch.inference_mode()
    def advance(
        self, layer: int, readings: Sequence[Reading], weights: Mapping[str, Tensor]
    ) -> None:
        """Take texts through a layer that has other weights than their experts'.

        Args:
            layer: number of the layer.
            readings: of which `hidden` enters this layer.
            weights: of its tensors, all of them.
        """
        state = self._layers[layer].state_dict(keep_vars=True)
        prefix = f"{self._path}.{layer}."
        for name, tensor in weights.items():
            state[name.removeprefix(prefix)].copy_(tensor)
        for reading in readings:
            places = range(len(reading.hidden))
            reading.hidden = [self._output(layer, reading, place) for place in places]

    def release(self, layer: int) -> None:
        """Give back the memory of a layer."""
        self._layers[layer].to("meta")

    def _unfit(self, reason: str) -> MergeError:
        kind = type(self._model).__name__
        return MergeError(f"{kind} cannot be read layer by layer: {reason}")

    def _output(self, layer: int, reading: Reading, place: int) -> Tensor:
        given, named = reading.calls[place][layer]
        output = self._layers[layer](reading.hidden[place], *given, **named)
        hidden: Tensor = output[0] if isinstance(output, tuple) else output
        return hidden

    def _load(self, layer: int, genome: Genome) -> None:
        module = self._layers[layer].to(self._device)
        state = module.state_dict(keep_vars=True)
        prefix = f"{self._path}.{layer}."
        for name, tensor in rounded(self._bank, genome, self._device, set(self.tensors(layer))):
            state[name.removeprefix(prefix)].copy_(tensor)

    def _linear(self, layer: int) -> list[tuple[str, nn.Linear]]:
        modules = self._layers[layer].named_modules()
        return [(name, module) for name, module in modules if isinstance(module, nn.Linear)]

    def _outer_tensors(self) -> Mapping[str, Tensor]:
        """The decoder's tensors outside of its layers, brought to the device."""
        owner, _, attribute = self._path.rpartition(".")
        parent = self._model.get_submodule(owner)
        layers = getattr(parent, attribute)
        setattr(parent, attribute, nn.ModuleList())
        self._decoder.to(self._device)
        held = {id(tensor) for tensor in self._decoder.state_dict(keep_vars=True).values()}
        setattr(parent, attribute, layers)
        state = self._model.state_dict(keep_vars=True)
        names = [name for name in self._bank.layout.shapes if id(state[name]) in held]
        return {name: state[name] for name in names}

    @contextmanager
    def _stubs(self, calls: list[_Call]) -> Iterator[None]:
        """Layers that hand on what they are given, and keep what else that was."""

        def stub(*given: Any, **named: Any) -> Tensor:
            if "hidden_states" in named:
                given = (named.pop("hidden_states"), *given)
            calls.append((given, named))
            hidden: Tensor = given[0]
            return hidden

        for layer in self._layers:
            layer.forward = stub
        try:
            yield
        finally:
            for layer in self._layers:
                del layer.forward


class _SeenError(Exception):
    """Every matrix of a layer has been given its input: the rest of it need not be computed."""
