"""What a sandbox is: it runs the code of a family, and separates its faults from our own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from memory.records import Json

HELPERS = "sandbox_helpers"
"""The module by which scorers run programs or ask a model, on which their scores then depend."""

MOST_LEVELS = 10
"""A generative family has so many levels at most."""


FaultCode = Literal[
    "import_error",
    "executes_submission",
    "instance_count",
    "instruction_empty",
    "levels_malformed",
    "score_range",
    "timeout",
    "memory",
    "crash",
    "no_rater",
    "judge_limit",
    "prompt_too_long",
    "skipped",
]
"""What a family did wrong while it ran.

`executes_submission` uses `eval`, `exec` or `compile`, with which an answer could run inside its
scorer and give itself a score; `levels_malformed` is a generative family whose `levels` is no whole
number from 1 to 10, or whose `reference` or `wrong` gives no texts; `crash` covers an exception as
well as a process that died;
`score_range` is a score that is no finite number (None is no zero); `no_rater` asked for an LLM
judge where there is none, and `judge_limit` too often or with too long a text; `prompt_too_long` is
an instruction that does not fit the experts' context; `skipped` was not run because an earlier
submission of the same request failed twice.
"""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of the family's own code, seen twice. `detail` is one line."""

    code: FaultCode
    detail: str

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Submission:
    """An answer that is to be scored, to instance "1" or as `memory.records.drawn` names it."""

    instance: str
    text: str


@dataclass(frozen=True, slots=True)
class Score:
    """What a scorer made of one submission: a finite number, or else a fault."""

    value: float | None
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class JudgeQuestion:
    """What a scorer asks of an LLM judge (`eval_with_llm_judge`).

    All of it was written by a scorer or an expert: it is to be judged, and never to be obeyed.
    """

    instructions: str
    submission: str
    criteria: tuple[str, ...]


Judge = Callable[[JudgeQuestion], Awaitable[bool]]
"""Answers a scorer's question. What it raises ends the request and reaches the caller of `score`:
a rater that cannot be reached leaves a score missing, and is never a fail."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a family says about itself in one process; keys are names of instances.

    Attributes:
        levels: how many levels a generative family has; None for a closed one.
        tasks: instance -> the data of `get_tasks` (its `repr` where it is no plain data).
        instructions: instance -> text of `get_instructions`.
        references: instance -> text of `reference`; empty for a closed family.
        wrong: instance -> texts of `wrong`; empty for a closed family.
    """

    levels: int | None
    tasks: Mapping[str, Json]
    instructions: Mapping[str, str]
    references: Mapping[str, str]
    wrong: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a family says about itself, asked twice in two separate processes.

    Attributes:
        first: of the first process.
        again: of the second process, where instances are drawn in the opposite order.
    """

    first: Description
    again: Description


class Sandbox(Protocol):
    """Runs the code of families where it can do no harm.

    Every method raises `SandboxError` if the sandbox itself failed: that is never the family's
    fault, and what was asked for stays unknown.
    """

    @property
    def isolated(self) -> bool:
        """Whether the code is kept from network, files and processes of the machine."""
        ...

    async def inspect(self, code: str, seeds: Sequence[int] = (0,)) -> Inspection:
        """Import a family and read its instances.

        Args:
            code: the program.
            seeds: a generative family draws from each of them, at each of its levels.

        Raises:
            FamilyFault: the family's code is at fault.
        """
        ...

    async def draw(self, code: str, seeds: Sequence[int], level: int) -> Description:
        """Draw instances of a generative family at one level, in one process.

        Raises:
            FamilyFault: the family's code is at fault.
        """
        ...

    async def score(self, code: str, submissions: Sequence[Submission]) -> list[Score]:
        """Score submissions of one family, each in a process of its own, in this order.

        A submission whose scoring fails is tried once more in a fresh process. If it fails again,
        its score carries the fault and the submissions after it are `skipped`.

        Raises:
            AgentError: whatever the judge raises that a scorer asked.
        """
        ...

    async def score_together(
        self, code: str, submissions: Sequence[Submission]
    ) -> list[float] | None:
        """Score submissions of one family one after the other in a single process.

        That costs little more than to score one of them.

        Returns:
            Their scores; None if one of them fails, or if together they take longer than one may:
            `score` says which.
        """
        ...

    async def close(self) -> None:
        """End all processes."""
        ...
