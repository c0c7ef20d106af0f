"""What agents return: the JSON schemas of structured output, as pydantic models."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from memory.records import Verdict


class PairOfAnswers(BaseModel):
    """One reference answer for each of the two instances."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    first: str = Field(alias="1")
    second: str = Field(alias="2")


class PairOfWrongAnswers(BaseModel):
    """At least one wrong answer for each of the two instances."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    first: list[str] = Field(alias="1", min_length=1)
    second: list[str] = Field(alias="2", min_length=1)


class Proposal(BaseModel):
    """A task family as a scientist writes it."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=3, max_length=80)
    description: str = Field(min_length=10)
    capability: str = Field(min_length=3)
    difficulty: int = Field(ge=1, le=5)
    code: str = Field(min_length=20)
    reference_answers: PairOfAnswers
    wrong_answers: PairOfWrongAnswers
    rated: bool = False
    rubric: str | None = None


class CritiqueReply(BaseModel):
    """A critic's reply; mirrors `memory.records.Critique`."""

    model_config = ConfigDict(extra="forbid")

    verdict: Verdict
    problems: list[str]


class NoveltyReply(BaseModel):
    """Whether a family is interestingly new beside its nearest neighbours."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["new", "known"]
    reason: str


class ConsultingReply(BaseModel):
    """Whether a submission does what its task asks, for a scorer that wants to know."""

    model_config = ConfigDict(extra="forbid")

    reason: str
    verdict: Literal["pass", "fail"]


class RatingReply(BaseModel):
    """Whether each of three answers meets a rubric."""

    model_config = ConfigDict(extra="forbid")

    reason: str
    A: Literal["pass", "fail"]
    B: Literal["pass", "fail"]
    C: Literal["pass", "fail"]
