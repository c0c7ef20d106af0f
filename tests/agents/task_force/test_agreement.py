"""Voices are asked until enough agree: who is asked, and what is chosen."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.config import RunConfig
from agents.errors import AnsweringError
from agents.task_force.agreement import agreed, asked_of, still_to_ask
from agents.task_force.ballot import Ballot, CandidateAnswer, normalise
from agents.task_force.collective import UNANIMOUS, Collective, CollectiveAnswer, Manner, Member
from agents.task_force.methods import Aids, method_named
from evolution.engines.base import Ask
from evolution.genome.genome import Genome
from memory.records import Expert, Reply

words = st.sampled_from(["7", " 7 ", "8", "9", ""])


def said(answer: str, expert: str = "e", temperature: float = 0.7) -> CandidateAnswer:
    return CandidateAnswer(expert, answer, answer, 1, temperature=temperature)


candidates = st.lists(
    st.builds(said, words, st.sampled_from(["a", "b", "c"]), st.sampled_from([0.0, 0.7])),
    min_size=1,
    max_size=9,
)


def counted(heard: Sequence[CandidateAnswer]) -> Counter[str]:
    """Votes, one by one: each greedy voice has one."""
    votes: Counter[str] = Counter()
    greedy = set()
    for each in heard:
        if each.voice not in greedy and normalise(each.extracted):
            votes[normalise(each.extracted)] += 1
        if each.temperature == 0:
            greedy.add(each.voice)
    return votes


@given(candidates, st.integers(2, 9))
def test_they_are_those_of_whom_one_is_asked_after_the_other(
    whole: list[CandidateAnswer], until: int
) -> None:
    one_by_one = next(
        (n for n in range(len(whole)) if max(counted(whole[:n]).values(), default=0) >= until),
        len(whole),
    )
    heard = asked_of(Ballot("?", tuple(whole)), until)
    assert list(heard.candidates) == whole[:one_by_one]
    choice = agreed(heard, until)
    votes = counted(heard.candidates)
    if max(votes.values(), default=0) < until:
        assert choice is None
        assert one_by_one == len(whole)
    else:
        assert choice is not None
        [answer] = [answer for answer, count in votes.items() if count >= until]
        assert heard.answers[choice.winner] == answer
        assert choice.winner == heard.answers.index(answer), "of equal answers the fittest's"
        assert choice.scores[choice.winner] == max(choice.scores) == votes[answer]


def test_as_many_are_asked_at_once_as_must_still_agree() -> None:
    assert still_to_ask([], 8, None) == 8
    assert still_to_ask([], 8, 3) == 3
    assert still_to_ask([said("7"), said("7"), said("8")], 8, 3) == 1
    assert still_to_ask([said("7"), said("8"), said("9")], 8, 3) == 2
    assert still_to_ask([said("7"), said("8"), said("7"), said("7")], 8, 3) == 0
    assert still_to_ask([said(""), said("")], 8, 2) == 2, "silence is no agreement"
    apart = [said(str(number)) for number in range(6)]
    assert still_to_ask(apart, 8, 4) == 2, "nobody can have four any more"


class Fixed:
    """Answers by seed."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.asked: list[tuple[str, int]] = []

    async def answer(self, genome_id: str, genome: Genome, ask: Ask) -> list[Reply]:
        [seed] = ask.seeds or ()
        self.asked.append((genome_id, seed))
        text = f"Answer: {self.texts[seed % 100]}"
        return [Reply(text=text, tokens_in=9, tokens_out=3, finish_reason="stop", seconds=0.1)]


def force(broker: Fixed, *voices: tuple[str, float], method: str = "majority") -> Collective:
    async def opened() -> Fixed:
        return broker

    genome = Genome(np.zeros((1, 1), np.float32))
    context: Any = SimpleNamespace(
        population=SimpleNamespace(broker=opened), genome=lambda _: genome, config=RunConfig()
    )
    members = [
        Member(Expert(id=name, genome_id=name, generation=0, birth=0, operator="seed"), 0.5, warm)
        for name, warm in voices
    ]
    return Collective(context, members, method_named(method), Aids())


def asked(collective: Collective, manner: Manner, seed: int = 0) -> CollectiveAnswer:
    return asyncio.run(collective.answer("How many?", [], manner, seed))


EIGHT = [("a", 0.0), *[("b", 0.8)] * 3, *[("c", 0.8)] * 4]


def test_no_voice_is_asked_once_enough_agree() -> None:
    broker = Fixed("7", "8", "8", "8", "7", "7", "7", "7")
    found = asked(force(broker, *EIGHT), Manner(8, until_agree=3), seed=100)
    assert broker.asked == [("a", 100), ("b", 101), ("b", 102), ("b", 103)], "each with its seed"
    assert (found.answer, found.chosen, found.method) == ("8", "b", "agreement")
    assert (found.voices, found.unasked, len(found.answers)) == (8, 4, 4)
    assert (found.winner, found.agreement, found.scores[1], found.unit) == (1, 0.75, 3.0, "votes")
    whole = asked(force(Fixed(*broker.texts), *EIGHT), Manner(8), seed=100)
    assert (whole.answer, whole.method, whole.unasked) == ("7", "majority", 0)
    assert whole.answers[:4] == found.answers


def test_where_nobody_agrees_the_method_chooses_among_all() -> None:
    broker = Fixed(*"12345678")
    found = asked(force(broker, *EIGHT), Manner(8, until_agree=2))
    assert (found.method, found.unasked, len(broker.asked)) == ("majority", 0, 8)
    assert found.answer == "1"


def test_copies_of_a_greedy_voice_do_not_agree_with_each_other() -> None:
    """At temperature 0 the three samples of b are one answer, and so are the four of c."""
    broker = Fixed("1", "2", "2", "2", "3", "3", "3", "3")
    found = asked(force(broker, *EIGHT), Manner(8, temperature=0.0, until_agree=2))
    assert (found.method, found.unasked) == ("majority", 0)
    both = Fixed("1", "2", "2", "2", "1", "1", "1", "1")
    found = asked(force(both, *EIGHT), Manner(8, temperature=0.0, until_agree=2))
    assert (found.method, found.answer, found.unasked) == ("agreement", "1", 3)
    assert found.scores == (2.0, 1.0, 1.0, 1.0, 2.0)


@pytest.mark.parametrize(("until", "voices"), [(4, 3), (2, 1), (1, 3), (0, 3)])
def test_a_number_that_cannot_agree_is_refused(until: int, voices: int) -> None:
    broker = Fixed("7", "7", "7")
    with pytest.raises(AnsweringError, match=f"has {voices} voice"):
        asked(force(broker, *EIGHT[:voices]), Manner(8, until_agree=until))
    assert broker.asked == []


def test_scores_say_where_nothing_had_to_be_chosen() -> None:
    found = asked(force(Fixed(*"77"), ("a", 0.0), ("b", 0.0)), Manner(2))
    assert (found.unit, found.scores) == (UNANIMOUS, (1.0, 1.0))
    split = asked(force(Fixed(*"78"), ("a", 0.0), ("b", 0.0)), Manner(2))
    assert split.unit == method_named("majority").unit
