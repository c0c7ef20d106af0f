"""Reading what foreign code wrote: anything but the agreed form is its fault."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Self, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agents.sandbox.base import MOST_LEVELS, Description, Fault, FaultCode, JudgeQuestion
from memory.records import Json

DETAIL_LENGTH = 600
UNREADABLE = Fault("crash", "the result could not be read")


def parsed(frame: bytes) -> dict[str, Any]:
    """The JSON object of a frame; {} if it is none, or holds text that cannot be stored."""
    try:
        found = json.loads(frame)
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def one_line(text: str) -> str:
    """A text that can be printed and stored as one short line."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(printable.split())[:DETAIL_LENGTH]


def fault_told(found: Mapping[str, Any]) -> Fault | None:
    """The fault that a result reports, if it does."""
    code, detail = found.get("fault"), found.get("detail")
    if code in get_args(FaultCode) and isinstance(detail, str):
        return Fault(cast(FaultCode, code), one_line(detail))
    return None


def values_told(frame: bytes, count: int) -> list[float] | Fault:
    """So many scores of one result."""
    found = parsed(frame)
    values = found.get("values")
    whole = found.keys() == {"values"} and isinstance(values, list) and len(values) == count
    if whole and all(isinstance(value, float) and math.isfinite(value) for value in values or ()):
        return cast(list[float], values)
    return fault_told(found) or UNREADABLE


def description_told(frame: bytes) -> Description | Fault:
    """What a family said about itself, by instance."""
    try:
        said = _Told.model_validate(parsed(frame))
    except ValidationError:
        return fault_told(parsed(frame)) or UNREADABLE
    return Description(said.levels, said.tasks, said.instructions, said.references, said.wrong)


class _Told(BaseModel):
    """The agreed form of a description."""

    model_config = ConfigDict(extra="forbid", strict=True)

    levels: int | None = Field(ge=1, le=MOST_LEVELS)
    tasks: dict[str, Json]
    instructions: dict[str, str]
    references: dict[str, str]
    wrong: dict[str, list[str]]

    @model_validator(mode="after")
    def _same_instances(self) -> Self:
        known = [self.references.keys(), self.wrong.keys()]
        wanted = self.instructions.keys() if self.levels is not None else set()
        if self.tasks.keys() != self.instructions.keys() or any(k != wanted for k in known):
            raise ValueError("instances differ")
        return self


def judge_question(found: Mapping[str, Any]) -> JudgeQuestion | None:
    """The question to a judge that task code asked, if it is one."""
    texts = (found.get("instructions"), found.get("submission"))
    criteria = found.get("criteria")
    if not isinstance(criteria, list) or not all(isinstance(c, str) for c in [*texts, *criteria]):
        return None
    return JudgeQuestion(str(texts[0]), str(texts[1]), tuple(criteria))


def program_step(found: Mapping[str, Any]) -> tuple[dict[str, Any], float] | None:
    """Work and seconds of a program that task code wants to be run, if that is so."""
    code, stdin, arguments = found.get("code"), found.get("stdin"), found.get("arguments")
    timeout = found.get("timeout")
    if not (
        isinstance(code, str)
        and isinstance(stdin, str)
        and isinstance(arguments, list)
        and all(isinstance(argument, str) for argument in arguments)
        and isinstance(timeout, float)
        and math.isfinite(timeout)
    ):
        return None
    return {"code": code, "stdin": stdin, "arguments": arguments}, timeout
