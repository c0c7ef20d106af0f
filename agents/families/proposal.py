"""What agents return: the JSON schemas of structured output, as pydantic models."""

from __future__ import annotations

import re
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from memory.hashing import text_hash
from memory.records import Draft, Family, GateReport, Json


class PairOfAnswers(BaseModel):
    """One reference answer for each of the two instances."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    first: str = Field(alias="1")
    second: str = Field(alias="2")


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
MOST_CHARACTERS = 80
"""Of a name."""
MOST_WRONG_ANSWERS = 20
"""Per instance. Each is scored several times."""


class PairOfWrongAnswers(BaseModel):
    """At least one wrong answer for each of the two instances."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    first: list[str] = Field(alias="1", min_length=1)
    second: list[str] = Field(alias="2", min_length=1)

    # Not as `max_length`, which would go into the schema, and not all servers know `maxItems`.
    @field_validator("first", "second")
    @classmethod
    def _few(cls, answers: list[str]) -> list[str]:
        if len(answers) > MOST_WRONG_ANSWERS:
            raise ValueError(f"at most {MOST_WRONG_ANSWERS} wrong answers are scored")
        return answers


class Proposal(BaseModel):
    """A task family as a scientist writes it.

    Attributes:
        reference_answers: of a closed family; a generative one computes them (`reference`).
        wrong_answers: likewise (`wrong`).
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=3, max_length=MOST_CHARACTERS)
    description: str = Field(min_length=10)
    capability: str = Field(min_length=3)
    difficulty: int = Field(ge=1, le=5)
    code: str = Field(min_length=20)
    reference_answers: PairOfAnswers | None = None
    wrong_answers: PairOfWrongAnswers | None = None
    rated: bool = False
    rubric: str | None = None

    @classmethod
    def of(cls, source: Family | Draft) -> Self:
        """The proposal of an accepted family, or of a round in which one was parsed.

        Raises:
            ValidationError: no scientist may propose such a family.
        """
        if isinstance(source, Draft):
            return cls.model_validate(source.proposal)
        stated = source.model_dump(include=set(cls.model_fields))
        if source.generative:
            stated |= {"reference_answers": None, "wrong_answers": None}
        return cls.model_validate(stated)

    def to_json(self) -> dict[str, Json]:
        """As a draft stores it, and as scientists are asked to write it."""
        return self.model_dump(mode="json", by_alias=True)

    def to_family(self, gates: GateReport, **facts: Any) -> Family:
        """The record of this family.

        Args:
            gates: the report that it passed: instances, levels and answers as read in the sandbox.
            facts: the fields that a proposal does not have; without them, those of a draft that is
                not in the pool.
        """
        drafted = {"id": "draft", "generation": 0, "kind": "novel", "scientist": "unknown"}
        own = {
            "code_hash": text_hash(self.code),
            "levels": gates.levels,
            "level": gates.level,
            "seed": gates.seed,
            "instructions": dict(gates.instructions),
            "reference_answers": dict(gates.references),
            "wrong_answers": dict(gates.wrong),
        }
        return Family.model_validate(self.to_json() | own | drafted | facts)

    @property
    def references(self) -> dict[str, str]:
        """Instance -> the answer that is right; empty for a generative family."""
        stated = self.reference_answers
        return {"1": stated.first, "2": stated.second} if stated is not None else {}

    @property
    def wrong(self) -> dict[str, list[str]]:
        """Instance -> answers that are wrong; empty for a generative family."""
        stated = self.wrong_answers
        return {"1": stated.first, "2": stated.second} if stated is not None else {}

    @field_validator("name", "capability")
    @classmethod
    def _one_line(cls, text: str) -> str:
        """They are printed among other lines, which control characters could overwrite."""
        if _CONTROL.search(text):
            raise ValueError("must be one line without control characters")
        return text
