"""Fixtures of the memory room: a store, records, and processes that can be killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memory.hashing import text_hash
from memory.records import Answer, Assignment, Call, ChatMessage, Expert, Family, Grade, Reply
from memory.store import RunStore

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a run"


@pytest.fixture
def store(folder: Path) -> Iterator[RunStore]:
    with RunStore.open(folder) as opened:
        yield opened


def family_like(id_: str = "g0-a00-sum", **changes: Any) -> Family:
    fields: dict[str, Any] = {
        "id": id_,
        "generation": 0,
        "name": f"Task {id_}",
        "description": "Add two numbers.",
        "capability": "arithmetic",
        "difficulty": 1,
        "code": "class TaskFamily: ...",
        "code_hash": text_hash("class TaskFamily: ..."),
        "instructions": {"1": "What is 1 + 2?", "2": "What is 3 + 4?"},
        "reference_answers": {"1": "3", "2": "7"},
        "wrong_answers": {"1": ["4"], "2": ["8"]},
        "kind": "novel",
        "scientist": "offline",
    }
    return Family.model_validate({**fields, **changes})


@pytest.fixture
def make_family() -> Callable[..., Family]:
    return family_like


@pytest.fixture
def make_expert(store: RunStore) -> Callable[..., Expert]:
    def make(id_: str = "g1-0", **changes: Any) -> Expert:
        store.put_genome(f"genome-of-{id_}", id_.encode())
        fields: dict[str, Any] = {
            "id": id_,
            "genome_id": f"genome-of-{id_}",
            "generation": 1,
            "birth": 0,
            "operator": "linear+spectral",
            "parents": ("base", "words"),
            "parameters": {"weights": [0.5, 0.25]},
            "rng_seed": 7,
        }
        return Expert.model_validate({**fields, **changes})

    return make


@pytest.fixture
def make_assignment() -> Callable[..., Assignment]:
    def make(generation: int = 1, index: int = 0, **changes: Any) -> Assignment:
        fields: dict[str, Any] = {
            "id": f"g{generation}-a{index:02d}",
            "generation": generation,
            "index": index,
            "kind": "novel",
            "rng_seed": 3,
        }
        return Assignment.model_validate({**fields, **changes})

    return make


@pytest.fixture
def make_call() -> Callable[..., Call]:
    def make(key: str = "call", **changes: Any) -> Call:
        fields: dict[str, Any] = {
            "key": key,
            "role": "scientist",
            "purpose": "propose",
            "model": "offline",
            "endpoint": "offline",
            "assignment": "g1-a00",
            "round": 0,
            "messages": (
                ChatMessage(role="system", content="You are a scientist."),
                ChatMessage(role="user", content=f"Propose a task, {key}."),
            ),
            "response": "{}",
            "tokens_in": 10,
            "tokens_out": 2,
        }
        return Call.model_validate({**fields, **changes})

    return make


@pytest.fixture
def make_answer() -> Callable[..., Answer]:
    def make(key: str = "answer", **changes: Any) -> Answer:
        reply = Reply(
            text="3 it is.\nAnswer: 3",
            tokens_in=20,
            tokens_out=8,
            finish_reason="stop",
            seconds=0.25,
        )
        fields: dict[str, Any] = {
            "key": key,
            "genome_id": "genome",
            "instance_hash": "1n57",
            "sample": 0,
            "reply": reply,
            "extracted": "3",
            "unmarked": False,
        }
        return Answer.model_validate({**fields, **changes})

    return make


@pytest.fixture
def make_grade() -> Callable[..., Grade]:
    def make(key: str = "grade", answer_key: str = "answer", **changes: Any) -> Grade:
        return Grade(
            key=key,
            answer_key=answer_key,
            code_hash="c0de",
            vote=0,
            **{"passed": True, **changes},
        )

    return make


@pytest.fixture
def spawn(folder: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Run Python text in another process; `store` is open there, on the same folder."""
    children: list[subprocess.Popen[str]] = []
    opening = (
        "import sys, time\nfrom pathlib import Path\nfrom memory.store import RunStore\n"
        "store = RunStore.open(Path(sys.argv[1]))\n"
    )

    def start(text: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-u", "-c", opening + text, str(folder)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()
