"""What a run will take, estimated from its settings before anything is asked or loaded.

Counts follow from how a run goes; how often a draft is refined, how long prompts and answers are,
and how much of a processor's speed is reached are as measured on the quickstart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from agents.config import RunConfig

CALL_IN, CALL_OUT = 4_000, 720
"""Tokens of one call of scientist or critic, on average; reasoning comes on top."""
REFINED = 1.3
"""Drafts of an assignment."""
LEVELS = 1.5
"""Levels at which the trial panel is asked."""
PROMPT, REPLY_SHARE = 80, 1 / 3
"""Tokens of an expert's prompt, and the share of `judge.max_tokens` that it uses."""
EXAMPLES = 12
"""Questions of the example families, which seeds answer first."""
READS, WRITES = 0.9, 0.4
"""Share of the speed of a matrix product at which prompts are read and answers written."""
GPU_GFLOPS = 20_000.0
"""What a forecast assumes of a large GPU, a small part of its speed on paper; none was measured."""
SIZES = {"135M": 135e6, "1B": 1e9, "7B": 7e9, "32B": 32e9}
_COPIES = 2
"""Of the weights: the bank, and the expert in the engine, both in 16 bits."""


@dataclass(frozen=True)
class Forecast:
    """An estimate.

    Attributes:
        assignments: of scientists.
        calls: of scientist and critic: if no draft is refined, and if all are to the end.
        tokens_in: of these calls, likewise; `tokens_out` their replies.
        answers: of experts.
        read: tokens of their prompts; `written` of what they say.
    """

    assignments: int
    calls: tuple[int, int]
    tokens_in: tuple[int, int]
    tokens_out: tuple[int, int]
    answers: int
    read: int
    written: int

    def hours(self, parameters: float, gflops: float) -> float:
        """In which experts of a size answer, at the speed of a matrix product."""
        operations = 2 * parameters * (self.read / READS + self.written / WRITES)
        return operations / (gflops * 1e9) / 3600

    @staticmethod
    def weights(parameters: float) -> float:
        """Bytes that the weights of such a run take; its memory plan tells more."""
        return _COPIES * 2 * parameters


def forecast(config: RunConfig) -> Forecast:
    """Estimate what a run takes, from its settings alone."""
    pool = config.pool
    adaptations = config.generations // pool.adapt_every
    assignments = pool.wave(pool.capacity)
    assignments += adaptations * pool.adaptations
    turns = 1 + config.scientist.critic
    calls = (turns * assignments, turns * assignments * (1 + config.scientist.max_refinements))
    answers = _answers(config, assignments, adaptations)
    return Forecast(
        assignments=assignments,
        calls=calls,
        tokens_in=(CALL_IN * calls[0], CALL_IN * calls[1]),
        tokens_out=(CALL_OUT * calls[0], CALL_OUT * calls[1]),
        answers=answers,
        read=PROMPT * answers,
        written=math.ceil(answers * config.judge.max_tokens * REPLY_SHARE),
    )


def hours_here(config: RunConfig, cache: Path) -> float | None:
    """In which the experts of a run answer on this machine; None where its speed is not known.

    Raises:
        BankError: a checkpoint is missing, or its headers cannot be read.
        EngineError: the number format cannot be computed here.
    """
    from evolution.engines.compute import choose_compute
    from evolution.planning.sizes import measure_sizes

    speeds = choose_compute(config.engine.settled(), config.models.dtype, cache)
    speed = speeds.gflops.get(speeds.dtype)
    if speed is None:
        return None
    return forecast(config).hours(
        measure_sizes(config.models, config.spectral, cache).parameters, speed
    )


def in_words(hours: float) -> str:
    """A length of time that is only estimated."""
    if hours < 1:
        return f"{max(1, round(60 * hours))} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.0f} days"


def _answers(config: RunConfig, assignments: int, adaptations: int) -> int:
    """Of experts: to the trial, before merging, in each generation, and in the finals."""
    pool, people, judge, finals = config.pool, config.population, config.judge, config.finals
    seeds = len(config.models.seeds)
    trial = REFINED * assignments * people.trial_panel * config.calibration.instances * LEVELS
    before = people.trial_panel * EXAMPLES + seeds * 2 * pool.capacity
    examined = people.founders + config.generations * people.children
    examined += adaptations * people.capacity  # all are asked the fresh instances of a new period
    judged = examined * pool.capacity * judge.instances * judge.samples
    families = min(finals.families, assignments)
    finalists = seeds + 2 + finals.experts  # with base and founding merge
    last = finalists * families * finals.instances * (1 + finals.samples)
    return math.ceil(trial + before + judged + last)
