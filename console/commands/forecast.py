"""What a run will take, estimated from its settings before anything is asked or loaded.

Counts follow from how a run goes; how often a draft is refined, how long prompts and answers are,
and how much of a processor's speed is reached are as measured on the quickstart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

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
