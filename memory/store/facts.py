"""What the facts about a run have to look like for those who read them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, TypeAdapter


class _Force(BaseModel):
    n: int
    coverage: float
    experts: list[str]
    temperatures: list[float] = []


class _Coverage(BaseModel):
    archive: float
    seeds: float
    task_force: list[_Force]
    seed_force: list[_Force] = []
    experts: list[_Force] = []


class _Reply(BaseModel):
    expert: str
    extracted: str
    temperature: float = 0.0
    passed: bool | None = None


class _Example(BaseModel):
    question: str
    solved_by: list[str] = []
    solved_by_seeds: list[str]
    answers: list[_Reply]


class _Finals(BaseModel):
    families: list[str]


class _Bank(BaseModel):
    content_hash: str


class _Summary(BaseModel):
    coverage: _Coverage
    families: int = 0
    instances: int = 0
    fresh: int = 0
    example: _Example | None = None


_FACTS: dict[str, TypeAdapter[Any]] = {
    "finished": TypeAdapter(bool),
    "run_id": TypeAdapter(str),
    "prompts": TypeAdapter(dict[str, str]),
    "bank": TypeAdapter(_Bank),
    "finals": TypeAdapter(_Finals),
    "summary": TypeAdapter(_Summary),
}


def check_fact(key: str, value: object) -> None:
    """Refuse a fact that its readers could not use; one that is not known here is anything.

    Raises:
        ValueError: says what is wrong.
    """
    if key in _FACTS:
        _FACTS[key].validate_python(value, strict=True)
