from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.errors import SandboxError
from agents.judge.examiner import Examiner, Item, Result, Together, family_outcome
from agents.sandbox import Fault, Sandbox, Score, Submission, open_sandbox
from agents.settings import JudgeSettings, SandboxSettings
from evolution.errors import EngineError
from evolution.genome.genome import Genome
from memory.hashing import text_hash
from memory.records import ChatMessage
from memory.store import RunStore
from tests.agents.cases import ScriptedBroker, ScriptedSandbox
from tests.conftest import anything

GENOME = Genome(coefficients=np.zeros((1, 1), dtype=np.float32), displacements={})
CODE = """
class TaskFamily:
    @staticmethod
    def get_tasks(): return {"1": "yes", "2": "no"}
    @staticmethod
    def get_instructions(t): return f"Say {t}."
    @staticmethod
    def score(t, submission): return float(submission == t)
"""


def render(instructions: str) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=instructions)]


def items_of(code: str = CODE) -> list[Item]:
    return [
        Item(code, text_hash(code), instance, f"Say {word}.")
        for instance, word in (("1", "yes"), ("2", "no"))
    ]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore.open(tmp_path) as opened:
        opened.put_genome("g", b"")
        yield opened


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    settings = SandboxSettings(memory_mb=512, guests=1, preimport=())
    opened = open_sandbox(settings, ours=anything)
    yield opened
    await opened.close()


def examiner(
    store: RunStore, broker: ScriptedBroker, sandbox: Together, **settings: Any
) -> Examiner:
    return Examiner(store, broker, sandbox, render, JudgeSettings(**settings))


async def test_answers_are_graded_in_a_real_sandbox(store: RunStore, sandbox: Sandbox) -> None:
    broker = ScriptedBroker({"Say no.": "Let me think.\n**Answer:** no"})
    results = await examiner(store, broker, sandbox).examine("g", GENOME, items_of())
    assert [result.passed for result in results] == [True, True]
    assert [result.item.instance for result in results] == ["1", "2"]
    answer = results[1].answer
    assert answer is not None
    assert (answer.extracted, answer.unmarked, answer.genome_id) == ("no", False, "g")
    assert family_outcome(results) is True
    assert len(store.answers_of("g")) == 2


async def test_a_wrong_answer_is_a_fail(store: RunStore, sandbox: Sandbox) -> None:
    results = await examiner(store, ScriptedBroker(), sandbox).examine("g", GENOME, items_of())
    assert [result.passed for result in results] == [True, False]
    assert family_outcome(results) is False


async def test_nothing_is_made_twice(store: RunStore) -> None:
    broker, sandbox = ScriptedBroker(), ScriptedSandbox({"yes": Score(1.0)})
    first = await examiner(store, broker, sandbox).examine("g", GENOME, items_of())
    again = await examiner(store, broker, sandbox).examine("g", GENOME, items_of())
    assert again == first
    assert len(broker.asked) == len(sandbox.requests) == 1


async def test_answers_survive_a_failure_of_grading(store: RunStore) -> None:
    broker = ScriptedBroker()
    broken = ScriptedSandbox({"yes": SandboxError("no guests")})
    results = await examiner(store, broker, broken).examine("g", GENOME, items_of())
    assert [result.passed for result in results] == [None, None]
    assert [result.error for result in results] == ["no guests"] * 2
    assert [result.condemned for result in results] == [None, None]
    assert family_outcome(results) is None
    working = ScriptedSandbox({"yes": Score(1.0)})
    results = await examiner(store, broker, working).examine("g", GENOME, items_of())
    assert family_outcome(results) is True
    assert len(broker.asked) == 1


async def test_an_engine_error_leaves_results_missing(store: RunStore) -> None:
    broker = ScriptedBroker(error=EngineError("out of memory"))
    results = await examiner(store, broker, ScriptedSandbox()).examine("g", GENOME, items_of())
    assert [(r.answer, r.passed, r.error) for r in results] == [(None, None, "out of memory")] * 2
    assert store.answers_of("g") == []


async def test_a_prompt_that_is_too_long_condemns_its_family_alone(store: RunStore) -> None:
    broker = ScriptedBroker(refused={"Say no."})
    sandbox = ScriptedSandbox({"yes": Score(1.0)})
    results = await examiner(store, broker, sandbox).examine("g", GENOME, items_of())
    assert [result.passed for result in results] == [True, None]
    assert results[1].condemned is not None
    assert results[1].condemned.code == "prompt_too_long"


@pytest.mark.parametrize(
    ("score", "reason"),
    [
        (Score(None, Fault("timeout", "ran longer than 5 s")), "timeout: ran longer than 5 s"),
        (Score(0.5), "score_range: score gave 0.5, not 0 or 1"),
    ],
)
async def test_a_scorer_at_fault_condemns_its_family(
    store: RunStore, score: Score, reason: str
) -> None:
    broker = ScriptedBroker({"Say no.": "Answer: bad"})
    sandbox = ScriptedSandbox({"yes": Score(1.0), "bad": score})
    results = await examiner(store, broker, sandbox).examine("g", GENOME, items_of())
    assert [result.passed for result in results] == [True, None]
    assert {str(result.condemned) for result in results} == {reason}
    assert family_outcome(results) is None


@pytest.mark.parametrize(
    ("crime", "reason"),
    [
        ("import os; os._exit(0)", "crash: ended the process itself"),
        ("import os; os.abort()", "crash: died of SIG"),
        ("x = [b'x' * 10**8 for _ in range(99)]", "memory: "),
        ("while True: pass", "timeout: ran longer than 1 s"),
    ],
)
async def test_a_scorer_that_crashes_twice_condemns_its_family_and_no_other(
    store: RunStore, crime: str, reason: str
) -> None:
    seconds = 1 if reason.startswith("timeout") else 20
    settings = SandboxSettings(memory_mb=512, guests=1, preimport=(), seconds=seconds)
    sandbox = open_sandbox(settings, ours=anything)
    hostile = CODE.replace(
        "return float(submission == t)", f"\n        {crime}\n        return 1.0"
    )
    broker = ScriptedBroker({"Say no.": "Answer: no"})
    results = await examiner(store, broker, sandbox).examine(
        "g", GENOME, items_of(hostile) + items_of()
    )
    await sandbox.close()
    assert [result.passed for result in results] == [None, None, True, True]
    assert family_outcome(results[:2]) is None
    for result in results[:2]:
        assert str(result.condemned).startswith(reason)
    assert [result.condemned for result in results[2:]] == [None, None]


async def test_a_family_is_one_request_and_equal_answers_are_scored_once(store: RunStore) -> None:
    sandbox = ScriptedSandbox()
    items = items_of() + items_of("other" + CODE)
    judge = examiner(store, ScriptedBroker(), sandbox, samples=3, temperature=1.0)
    results = await judge.examine("g", GENOME, items)
    assert len(results) == 12
    assert sandbox.requests == [[Submission("1", "yes"), Submission("2", "yes")]] * 2
    assert len(store.answers_of("g")) == 12


async def test_every_sample_has_its_own_seed_and_seeds_repeat(store: RunStore) -> None:
    first, second = ScriptedBroker(), ScriptedBroker(profile="another engine")
    for broker in (first, second):
        await examiner(store, broker, ScriptedSandbox(), samples=2, temperature=1.0).examine(
            "g", GENOME, items_of()
        )
    assert len(set(first.seeds)) == 4
    assert first.seeds == second.seeds


@pytest.mark.parametrize(
    "changes", [{"max_tokens": 7}, {"temperature": 0.5}, {"samples": 2}, {"profile": "other"}]
)
async def test_whatever_can_change_an_answer_asks_again(
    store: RunStore, changes: dict[str, Any]
) -> None:
    await examiner(store, ScriptedBroker(), ScriptedSandbox()).examine("g", GENOME, items_of())
    settings = {key: value for key, value in changes.items() if key != "profile"}
    broker = ScriptedBroker(profile=changes.get("profile", "{}"))
    await examiner(store, broker, ScriptedSandbox(), **settings).examine("g", GENOME, items_of())
    assert len(broker.asked) == 1


async def test_another_genome_and_another_instruction_are_asked_anew(store: RunStore) -> None:
    broker = ScriptedBroker()
    judge = examiner(store, broker, ScriptedSandbox())
    await judge.examine("g", GENOME, items_of())
    await judge.examine("h", GENOME, items_of())
    [item, _] = items_of()
    changed = Item(item.code, item.code_hash, "1", "Say something else.")
    await judge.examine("h", GENOME, [changed, item])
    assert broker.asked == [["Say yes.", "Say no."]] * 2 + [["Say something else."]]


async def test_an_item_that_comes_twice_is_answered_once(store: RunStore) -> None:
    broker = ScriptedBroker()
    items = [*items_of(), *items_of()]
    results = await examiner(store, broker, ScriptedSandbox()).examine("g", GENOME, items)
    assert len(results) == 4
    assert broker.asked == [["Say yes.", "Say no."]]


def outcome(*votes: tuple[str, bool | None]) -> bool | None:
    return family_outcome(
        [Result(Item("", "", instance, ""), None, passed) for instance, passed in votes]
    )


def test_a_family_is_passed_by_passing_every_instance() -> None:
    assert outcome(("1", True), ("2", True)) is True
    assert outcome(("1", True), ("2", False)) is False
    assert outcome(("1", True), ("2", None)) is None
    assert outcome(("1", False), ("2", None)) is None
    assert outcome() is None


def test_an_instance_is_passed_by_more_than_half_of_its_samples() -> None:
    assert outcome(("1", True), ("1", False), ("1", True), ("2", True)) is True
    assert outcome(("1", True), ("1", False)) is False
