"""What the parts of a run cost, for `scale`: seconds, measured where this repository measures them.

Every number is a parameter. Its default is what a benchmark here printed (named beside it), a data
sheet, a publication, or an assumption, and is called so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from console.commands.forecast import CALL_OUT, LEVELS, REPLY_SHARE

Seeds = Literal["lora", "full"]

COPIED = 0.6
"""Share of the speed of memory at which weights are materialised (`benchmarks.roofline`)."""
LOW_RANK = 2.4
"""How much longer it takes with rank 64 (`benchmarks.roofline`: 2.29 and 2.49)."""
WITNESS = 0.05
"""In which vLLM shows what it computes with after a swap (`benchmarks.swap`)."""
RESTART = 19.2
"""In which vLLM starts (`benchmarks.swap`)."""
DISK = 2e9
"""Bytes of checkpoints that a worker reads in a second (assumption)."""
ADAPTER = 0.02
"""Weights of a LoRA adapter to those of its base (assumption)."""


@dataclass(frozen=True)
class Device:
    """What an engine computes on.

    Attributes:
        flops: of dense products in bfloat16, a second.
        bandwidth: bytes of its memory, a second; `link` from locked memory of the host.
        memory: bytes.
        reads: share of `flops` at which prompts are read.
        writes: share of `bandwidth`, and of `flops` in large batches, at which answers are written.
        price: dollars an hour; 0 for a processor, whose memory is that of the host.
    """

    flops: float
    bandwidth: float
    link: float
    memory: float
    reads: float
    writes: float
    price: float


DEVICES = {
    # Data sheets of the SXM cards; shares, link and prices are assumptions.
    "h100": Device(989e12, 3.35e12, 50e9, 80e9, reads=0.5, writes=0.6, price=2.5),
    "a100": Device(312e12, 2.04e12, 25e9, 80e9, reads=0.5, writes=0.6, price=1.5),
    # docs/benchmarks.md: two cores of an EPYC in bfloat16, with the shares of `quickstart_time`.
    "cpu": Device(510e9, 21.5e9, 21.5e9, 16e9, reads=0.66, writes=0.54, price=0.0),
}


@dataclass(frozen=True)
class Workload:
    """What is done in a generation.

    Attributes:
        children: bred for each engine; the archive has `archive` times as many places.
        families: that are active, of which `instances` are asked.
        prompt: tokens of a question; `max_tokens` that an answer may have.
        adapt_every: generations between adaptations, each of `assignments`.
        panel: experts that are asked about each draft.
        trial: instances that they are asked, at each of several levels.
        kept: share of the children that enter the archive (`benchmarks.racing`: 60 % of 4).
        draft_ahead: families are drafted beside the judge of the generation before
            (`pool.draft_ahead`), instead of after it.
    """

    children: int = 8
    archive: float = 1.0
    families: int = 40
    instances: int = 4
    prompt: int = 150
    max_tokens: int = 256
    adapt_every: int = 2
    assignments: int = 8
    panel: int = 3
    trial: int = 4
    kept: float = 0.6
    draft_ahead: bool = False

    @property
    def prompts(self) -> int:
        """Of one expert."""
        return self.families * self.instances

    @property
    def reply(self) -> float:
        """Tokens of an answer on average, as `acdc doctor` reckons."""
        return self.max_tokens * REPLY_SHARE

    @property
    def trial_prompts(self) -> int:
        """Of one expert of the panel, for one draft."""
        return round(LEVELS * self.trial)


@dataclass(frozen=True)
class Costs:
    """Seconds, where nothing else is said.

    Attributes:
        swap: from a genome to an expert in the engine.
        start: of an engine with its bank.
        step: in which a small batch writes a token each; in a large one each takes `token`.
        read: of a token of a prompt.
        spread: standard deviation of the logarithm of a chunk's time (assumption).
        straggling: share of chunks that take `slowdown` times as long (assumption).
        failing: failures in an hour of an engine (assumption: Llama 3 saw one in 40,000 hours of a
            GPU, arXiv 2407.21783, 419 in 54 days on 16,384; engines crash more often).
        answer: of the run's own process for one answer (assumption; `benchmarks.growth` prints
            twice as much on a machine that is busy otherwise, with all else of a generation);
            `breed` for a child, `admit` for a draft, `select` for a generation besides (spans of a
            quickstart).
        score: of a sandbox process for one expert's answers to one family (`benchmarks.sandbox`:
            568 scores a second by two of them).
        gates: of a sandbox process for one draft (spans of a quickstart).
        draw: of the fresh instances of a family, one family after the other (likewise).
        guests: sandbox processes.
        call: of a scientist or critic (assumption: 720 tokens, 40 a second).
        concurrency: calls at a time.
        refined: share of drafts that are drafted again (`acdc doctor`).
        price: dollars for an hour of an engine.
    """

    swap: float
    start: float
    step: float
    token: float
    read: float
    spread: float = 0.1
    straggling: float = 0.002
    slowdown: float = 10.0
    failing: float = 0.001
    answer: float = 0.0005
    breed: float = 0.006
    admit: float = 0.04
    select: float = 0.1
    score: float = 2 / 568
    gates: float = 2.5
    draw: float = 0.02
    guests: int = 2
    call: float = CALL_OUT / 40
    concurrency: int = 16
    refined: float = 0.3
    price: float = 0.0


@dataclass(frozen=True)
class Placed:
    """A bank of anchors, and where it lies.

    Attributes:
        weights: bytes of an expert.
        bytes: of the bank.
        resident: on the device, next to the engine; else on the host, from where it is streamed.
    """

    weights: float
    bytes: float
    resident: bool


def place(parameters: float, device: Device, seeds: Seeds, count: int = 3) -> Placed:
    """Place the bank of a family as `evolution.planning` does for vLLM.

    Args:
        parameters: of an expert.
        device: which an engine has for itself.
        seeds: full checkpoints, or LoRA adapters.
        count: of the seeds.
    """
    weights = 2 * parameters
    bank = weights * (1 + count * (1.0 if seeds == "full" else ADAPTER))
    free = 0.9 * device.memory
    return Placed(weights, bank, not device.price or free - bank >= free / 2)


def costs_of(parameters: float, device: Device, seeds: Seeds, count: int = 3) -> Costs:
    """What a family costs on a device, by its roofline; see `place`."""
    bank = place(parameters, device, seeds, count)
    swap = (bank.bytes + bank.weights) / (COPIED * device.bandwidth)
    if seeds == "lora":
        swap *= LOW_RANK
    if not bank.resident:
        swap = max(swap, bank.bytes / device.link)
    return Costs(
        swap=swap + WITNESS,
        start=RESTART + bank.bytes / DISK,
        step=bank.weights / (device.writes * device.bandwidth),
        token=2 * parameters / (device.writes * device.flops),
        read=2 * parameters / (device.reads * device.flops),
        price=device.price,
    )


def chunk_seconds(costs: Costs, work: Workload, prompts: int, rng: np.random.Generator) -> float:
    """Of a chunk: its prompts are read, then all answers written side by side, the longest last."""
    drawn = np.ceil(rng.exponential(work.reply, prompts)).astype(int)
    lengths = np.clip(drawn, 1, work.max_tokens)
    left = prompts - np.cumsum(np.bincount(lengths)[:-1])
    written = np.maximum(costs.step, costs.token * left).sum()
    slow = costs.slowdown if rng.random() < costs.straggling else 1.0
    return float(costs.read * work.prompt * prompts + written) * noise(costs, rng) * slow


def noise(costs: Costs, rng: np.random.Generator) -> float:
    """By what one thing takes longer than usual, or shorter."""
    return float(np.exp(costs.spread * rng.standard_normal()))
