"""Who answers: real questions with replies, and habits that are computed from answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents.config import RunConfig
from agents.context import RunContext
from agents.families.exchanges import cut_middle, telling
from agents.families.items import items_of
from agents.families.proposal import Proposal
from agents.families.views import in_words
from agents.pool.audience import audience_of
from agents.pool.habits import habits_of
from agents.sandbox import Sandbox, open_sandbox
from agents.settings import GateSettings, PopulationSettings, SandboxSettings
from agents.trial import run_gates
from memory.records import Answer, ArchiveEntry, Exchange, Expert, Grade, Reply, Said
from memory.store import RunStore
from prompts import example_programs, worked_example
from tests.agents.cases import ScriptedBroker, family, run_context
from tests.conftest import anything


class Bank:
    base_name = "base"
    seed_names = ("base", "numbers", "words", "logic")
    layout = SimpleNamespace(shapes={"a": (1000, 100), "b": (500,)})

    def seed_genome(self, name: str) -> str:
        return f"genome of {name}"

    def genome_id(self, genome: str) -> str:
        return genome.removeprefix("genome of ")


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    opened = open_sandbox(SandboxSettings(seconds=5, guests=1, preimport=()), ours=anything)
    yield opened
    await opened.close()


def run_with(store: RunStore, broker: Any, sandbox: Any, panel: int = 2) -> RunContext:
    async def bank() -> Bank:
        return Bank()

    async def given() -> Any:
        return broker

    config = RunConfig(population=PopulationSettings(trial_panel=panel, capacity=6))
    population = SimpleNamespace(bank=bank, broker=given)
    return run_context(store, config, population=population, sandbox=sandbox)


class Knowing(ScriptedBroker):
    """One expert knows the words, the other says the same to everything."""

    async def answer(self, genome_id: str, genome: Any, ask: Any) -> list[Reply]:
        texts = [prompt[-1].content for prompt in ask.prompts]
        listed = "Which of these words comes first in a dictionary: "
        for text in texts:
            if genome_id == "words" and text.startswith(listed):
                words = text.removeprefix(listed).partition("?")[0].split(", ")
                self.replies[text] = f"Answer: {min(words)}"
            else:
                self.replies[text] = "Answer: 7777"
        return await super().answer(genome_id, genome, ask)


@pytest.mark.parametrize("name", sorted(example_programs()))
async def test_every_example_program_passes_all_gates(sandbox: Sandbox, name: str) -> None:
    proposal = Proposal.model_validate(worked_example() | {"code": example_programs()[name]})
    report = await run_gates(sandbox, proposal, GateSettings())
    assert (report.code, report.levels) == (None, 4), report.detail


async def test_before_there_is_an_archive_seeds_answer_examples_once(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    with RunStore.open(tmp_path) as store:
        broker = Knowing()
        audience = await audience_of(run_with(store, broker, sandbox))
        assert (audience.parameters, audience.experts, audience.max_tokens) == (100_500, 6, 24)
        assert {said.expert for e in audience.exchanges for said in e.replies} == {
            "numbers",
            "words",
        }
        verdicts = [{said.passed for said in e.replies} for e in audience.exchanges]
        assert {True, False} in verdicts
        assert {False} in verdicts
        (habit,) = audience.habits
        assert habit.what == (
            "wrong answers are the one which that expert gives most often "
            "(numbers: '7777', words: '7777')"
        )
        asked = len(broker.asked)
        assert asked == 2
        assert await audience_of(run_with(store, broker, sandbox)) == audience
        assert len(broker.asked) == asked, "the answers are on record"


async def test_where_nobody_answers_trials_only_the_population_is_told(tmp_path: Path) -> None:
    with RunStore.open(tmp_path) as store:
        audience = await audience_of(run_with(store, ScriptedBroker(), None, panel=0))
    assert audience.parameters == 100_500
    assert (audience.exchanges, audience.habits) == ((), ())


def answered(store: RunStore, expert: str, number: int, verdict: bool | None) -> None:
    item = items_of(store.family(f"f{number}"))[0]
    key = f"{expert} on {number}"
    reply = Reply(text=key, tokens_in=1, tokens_out=1, finish_reason="stop", seconds=0.1)
    answer = Answer(
        key=key,
        genome_id=expert,
        instance_hash=item.instance_hash,
        sample=0,
        reply=reply,
        extracted=key,
        unmarked=True,
    )
    store.put_answers([answer])
    if verdict is not None:
        grade = Grade(key=key, answer_key=key, code_hash="", vote=0, passed=verdict)
        store.put_grades([grade])


async def test_later_the_stored_answers_of_the_archive_are_told(tmp_path: Path) -> None:
    with RunStore.open(tmp_path) as store:
        for number in range(6):
            store.put_family(family(number))
        store.set_family_status("f5", "retired", "impossible")
        for birth, name in enumerate(("one", "two", "gone")):
            store.put_genome(name, name.encode())
            store.put_expert(
                Expert(id=name, genome_id=name, generation=0, birth=birth, operator="seed")
            )
        for name, verdicts in {
            "one": (True, True, False, True, True, True),
            "two": (True, False, False, None, True, False),
            "gone": (False, False, False, False, False, False),
        }.items():
            for number, verdict in enumerate(verdicts):
                answered(store, name, number, verdict)
        entries = [
            ArchiveEntry(expert=name, rank=rank, fitness=0.5, novelty=1.0)
            for rank, name in enumerate(("one", "two"))
        ]
        store.put_archive(0, entries)
        audience = await audience_of(run_with(store, None, None))
    replies = [{said.answer: said.passed for said in e.replies} for e in audience.exchanges]
    assert replies[0] == {"one on 1": True, "two on 1": False}, "one that separates comes first"
    assert replies[1] == {"one on 2": False, "two on 2": False}
    assert {"one on 3": True} in replies, "what has no grade is left out"
    assert len(replies) == 4
    assert not any("gone" in answer or "5" in answer for reply in replies for answer in reply)


def exchange(question: str, reference: str, **said: str) -> Exchange:
    replies = [
        Said(expert=expert, answer=answer, passed=answer == reference)
        for expert, answer in said.items()
    ]
    return Exchange(question=question, reference=reference, replies=tuple(replies))


def habits(exchanges: Sequence[Exchange]) -> dict[str, tuple[float, int]]:
    """The first words of each habit -> its share and of how many answers."""
    return {h.what.partition(" (")[0]: (h.share, h.of) for h in habits_of(exchanges)}


def test_echoes_of_numbers_and_samples_are_counted_among_wrong_answers() -> None:
    sums = [exchange(f"What is {n} + 3?", str(n + 3), a="3.", b=str(n + 3)) for n in range(10, 20)]
    assert habits(sums)["wrong answers are the last number of the question"] == (1.0, 10)
    named = [
        exchange(f"Give the day after {n} May, as in 3 June.", f"{n} June", a="3") for n in range(8)
    ]
    sample = "wrong answers are the sample that the question gives for the form of answers"
    assert habits(named)[sample] == (1.0, 8)


def test_a_constant_is_one_experts_answer_to_several_questions() -> None:
    asked = [
        exchange(f"Question {'x' * n}?", "z", a="Yes", b=f"other {n}", c="z") for n in range(6)
    ]
    (habit,) = habits_of(asked)
    assert (habit.share, habit.of) == (0.5, 12)
    assert habit.what.endswith("(a: 'yes')")


def test_a_preferred_place_among_listed_choices_is_counted_right_or_wrong() -> None:
    asked = [
        exchange(f"Which is it? A) cat{n} B) dog{n} C) cow{n}", f"dog{n}", a=f"cow{n}", b="B")
        for n in range(4)
    ]
    found = {h.what: h.share for h in habits_of(asked) if "listed choices" in h.what}
    assert found == {
        "answers to listed choices take the place which that expert prefers "
        "(a: number 3, b: number 2)": 1.0
    }


def test_a_not_that_is_ignored_shows_beside_other_questions() -> None:
    plain = [exchange(f"Which of {n} is red?", "x", a="x") for n in range(6)]
    negated = [exchange(f"Which of {n} is not red?", "y", a="x") for n in range(6)]
    found = habits([*plain, *negated])
    assert found['answers to questions with a "not" are right, and of all others 100%'] == (0.0, 6)
    assert not any("not" in what for what in habits(plain)), "too few tell nothing"


def test_what_few_answers_show_is_no_habit() -> None:
    assert habits_of([exchange("What is 1 + 3?", "4", a="3", b="3")]) == ()


def test_long_questions_lose_their_middle() -> None:
    long = Exchange(question="a" * 500 + "b" * 500, reference="c", replies=())
    (shown,) = telling([[long]], 4)
    assert len(shown.question) == 600
    assert (shown.question[:9], shown.question[-9:]) == ("a" * 9, "b" * 9)
    assert cut_middle("short", 10) == "short"


@pytest.mark.parametrize(
    ("parameters", "words"),
    [(134_515_008, "135 million"), (7_240_000_000, "7.24 billion"), (5_120, "5.12 thousand")],
)
def test_sizes_are_told_in_words(parameters: int, words: str) -> None:
    assert in_words(parameters) == words
