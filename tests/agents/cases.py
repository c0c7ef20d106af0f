"""Runs, families and scripted services that the tests of several folders work with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.chat.client import ChatClient
from agents.chat.endpoints import EndpointsSettings
from agents.chat.structured import Completion, T, parse_object
from agents.config import RunConfig
from agents.context import RunContext
from agents.errors import EndpointError, FamilyFault
from agents.families.proposal import Proposal
from agents.sandbox import Description, Inspection, Score, Submission
from evolution.engines.base import Ask
from evolution.errors import PromptTooLongError
from evolution.genome.genome import Genome
from memory.hashing import json_hash, text_hash
from memory.records import (
    Assignment,
    AssignmentKind,
    Call,
    ChatMessage,
    Family,
    GateReport,
    Rejection,
    Reply,
    Role,
)
from memory.records import drawn as named
from memory.store import RunStore
from prompts import PromptLibrary


def run_context(store: RunStore, config: RunConfig | None = None, **rooms: Any) -> RunContext:
    """A run over a store; rooms that are not named are absent."""
    absent: dict[str, Any] = dict.fromkeys(("chat", "population", "novelty", "sandbox"))
    return RunContext(
        folder=store.path.parent,
        config=config or RunConfig(),
        store=store,
        prompts=PromptLibrary(),
        **(absent | rooms),
    )


async def unlike_all(assignment: Assignment, family: Family) -> Rejection | None:
    """A novelty memory to which every family is new."""
    return None


def report_of(proposal: Proposal) -> GateReport:
    """The report on a closed family that passed all gates."""
    return GateReport(
        code=None,
        instructions={"1": "One?", "2": "Two?"},
        references=proposal.references or {"1": "One.", "2": "Two."},
        wrong=proposal.wrong or {"1": ["Two."], "2": ["One."]},
    )


def generative(number: int) -> Family:
    """A family that draws; its own instances are of level 3 and seed 5."""
    return family(number).model_copy(update={"levels": 5, "level": 3, "seed": 5})


def family(number: int, kind: AssignmentKind = "novel", parents: tuple[str, ...] = ()) -> Family:
    return Family(
        id=f"f{number}",
        generation=0,
        name=f"family {number}",
        description="a family for this test",
        capability="counting",
        difficulty=1,
        code=f"class TaskFamily: ...  # {number}",
        code_hash=text_hash(f"class TaskFamily: ...  # {number}"),
        instructions={"1": "a", "2": "b"},
        reference_answers={"1": "a", "2": "b"},
        wrong_answers={"1": ["b"], "2": ["a"]},
        kind=kind,
        scientist="test",
        parents=parents,
    )


class ScriptedChat(ChatClient):
    """Says what it is told to, in order, role by role; keeps calls as the real client does."""

    def __init__(self, store: RunStore, scripts: dict[str, list[Any]], *, up: bool = True) -> None:
        super().__init__(EndpointsSettings(), store)
        self.store = store
        self.scripts = scripts
        self.up = up
        self.asked: list[tuple[str, tuple[ChatMessage, ...]]] = []

    async def raise_if_down(self, error: EndpointError) -> None:
        if not self.up:
            raise error

    async def complete(
        self,
        role: Role,
        purpose: str,
        messages: Sequence[ChatMessage],
        schema: type[T] | None,
        *,
        assignment: str | None,
        round: int = 0,
        sample: int = 0,
        seed: int | None = None,
        prompt_hash: str = "",
    ) -> Completion[T]:
        turns = [message.model_dump() for message in messages]
        key = json_hash([role, purpose, turns, assignment, round, sample, seed])
        call = self.store.call(key)
        if call is None:
            self.asked.append((purpose, tuple(messages)))
            said = self.scripts[role].pop(0)
            if isinstance(said, Exception):
                raise said
            call = Call(
                key=key,
                role=role,
                purpose=purpose,
                model=f"scripted-{role}",
                endpoint="none",
                assignment=assignment,
                round=round,
                messages=tuple(messages),
                response=said if isinstance(said, str) else json.dumps(said),
                prompt_hash=prompt_hash,
            )
            self.store.put_call(call)
        assert schema is not None
        text = call.response or ""
        parsed, problem = parse_object(text, schema, truncated=False)
        return Completion(key, text, parsed, problem)


@dataclass
class ScriptedBroker:
    """Answers by a table; `refused` prompts are too long, and `error` stops everything."""

    replies: dict[str, str] = field(default_factory=dict)
    profile: str = "{}"
    refused: set[str] = field(default_factory=set)
    error: Exception | None = None
    asked: list[list[str]] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)

    async def answer(self, genome_id: str, genome: Genome, ask: Ask) -> list[Reply]:
        texts = [prompt[-1].content for prompt in ask.prompts]
        self.asked.append(texts)
        self.seeds += ask.seeds or []
        if self.error is not None:
            raise self.error
        if self.refused & set(texts):
            raise PromptTooLongError(5000, ask.sampling.max_tokens, 2048)
        return [self._reply(self.replies.get(text, "Answer: yes")) for text in texts]

    def _reply(self, text: str) -> Reply:
        return Reply(text=text, tokens_in=9, tokens_out=3, finish_reason="stop", seconds=0.1)


@dataclass
class ScriptedSandbox:
    """Scores by a table, 0 for what is not in it, and counts."""

    scores: dict[str, Score | Exception] = field(default_factory=dict)
    requests: list[list[Submission]] = field(default_factory=list)
    isolated: bool = True
    drawn: list[tuple[str, tuple[int, ...], int]] = field(default_factory=list)
    variety: int = 2**40
    faulty: set[str] = field(default_factory=set)

    async def inspect(self, code: str) -> Inspection:
        raise NotImplementedError

    async def draw(self, code: str, seeds: Sequence[int], level: int) -> Description:
        """Two instances of each seed, which ask for it; `variety` different ones at most."""
        if code in self.faulty:
            raise FamilyFault("crash", "it cannot draw")
        self.drawn.append((code, tuple(seeds), level))
        asked = {
            named(
                number, level, seed
            ): f"What is {number} of {seed % self.variety} at level {level}?"
            for seed in seeds
            for number in ("1", "2")
        }
        return Description(
            levels=5,
            tasks=dict(asked),
            instructions=asked,
            references=dict.fromkeys(asked, "right"),
            wrong=dict.fromkeys(asked, ("wrong",)),
        )

    async def score_together(
        self, code: str, submissions: Sequence[Submission]
    ) -> list[float] | None:
        found = [self.scores.get(item.text, Score(0.0)) for item in submissions]
        values = [score.value for score in found if isinstance(score, Score)]
        if len(values) < len(found) or None in values:
            return None
        self.requests.append(list(submissions))
        return [value for value in values if value is not None]

    async def score(self, code: str, submissions: Sequence[Submission]) -> list[Score]:
        self.requests.append(list(submissions))
        found = [self.scores.get(item.text, Score(0.0)) for item in submissions]
        for score in found:
            if isinstance(score, Exception):
                raise score
        return [score for score in found if isinstance(score, Score)]

    async def close(self) -> None:
        pass
