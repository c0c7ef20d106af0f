"""What every best-of-N method keeps to, and what each of them does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agents.errors import AnsweringError
from agents.task_force.ballot import Ballot, CandidateAnswer, Choice, normalise
from agents.task_force.methods import Aids, method_named, methods, select
from memory.records import Voice

words = st.sampled_from(["7", "8", " 7 ", "Seven", "seven.", "", "**8**", "1,000", "1000.0"])


@dataclass
class OpinionatedJudge:
    """Takes a fixed answer for right where it sees it; otherwise whatever stands first.

    Attributes:
        silent: comes to no verdict at all.
        shown: what it saw, in order.
    """

    right: str = ""
    silent: bool = False
    shown: list[list[str]] = field(default_factory=list)

    async def choose(self, question: str, answers: list[str], turn: int) -> int | None:
        self.shown.append(list(answers))
        if self.silent:
            return None
        return answers.index(self.right) if self.right in answers else 0

    async def compare(self, question: str, first: str, second: str) -> int | None:
        self.shown.append([first, second])
        if self.silent:
            return None
        return int(second == self.right)

    async def appraise(self, question: str, answer: str, turn: int) -> float | None:
        self.shown.append([answer])
        if self.silent:
            return None
        return 9.0 if answer == self.right else 3.0


class ByLength:
    """A reward for the longest."""

    async def score(self, question: str, answers: list[str]) -> list[float]:
        return [float(len(answer)) for answer in answers]


class Known:
    """Weights by expert, 0.5 where nothing is known."""

    def __init__(self, **weights: float) -> None:
        self._weights = weights

    def weights(self, question: str, voices: Sequence[Voice]) -> dict[Voice, float]:
        return {voice: self._weights.get(voice.expert, 0.5) for voice in voices}


def said(*extracted: str, **more: list[float]) -> Ballot:
    candidates = []
    for place, text in enumerate(extracted):
        own = {name: values[place] for name, values in more.items()}
        measured: dict[str, Any] = {"logprob": -1.0, "certainty": 1.0, "fitness": 0.5, **own}
        candidates.append(CandidateAnswer(f"e{place}", text, text, 1, **measured))
    return Ballot("How many?", tuple(candidates), seed=3)


def aids(judge: OpinionatedJudge | None = None, **weights: float) -> Aids:
    judge = judge or OpinionatedJudge()
    return Aids(judge, judge, Known(**weights), ByLength(), passes=3)


def choose(name: str, ballot: Ballot, given: Aids | None = None) -> Choice:
    return asyncio.run(select(method_named(name), ballot, given or aids()))


@pytest.mark.parametrize("name", sorted(methods()))
@hypothesis_settings(deadline=None, max_examples=30)
@given(answers=st.lists(words, min_size=1, max_size=6), silent=st.booleans())
def test_every_method(name: str, answers: list[str], silent: bool) -> None:
    ballot = said(*answers)
    judge = OpinionatedJudge(silent=silent)
    choice = choose(name, ballot, aids(judge))
    assert choice == choose(name, ballot, aids(judge)), "equal ballots, equal choices"
    assert len(choice.scores) == len(answers)
    assert choice.scores[choice.winner] == max(choice.scores)
    assert choice.votes or len(ballot.distinct) == 1
    assert all(vote.candidate is None or vote.candidate in ballot.spoken for vote in choice.votes)
    assert choice.winner in ballot.spoken, "silence cannot win while somebody speaks"
    if len({normalise(a) for a in answers if normalise(a)}) <= 1:
        assert choice.winner == ballot.spoken[0]


@pytest.mark.parametrize("name", sorted(methods()))
def test_a_tie_goes_to_the_fitter_who_stands_first(name: str) -> None:
    judge = OpinionatedJudge(silent=True)
    assert choose(name, said("ab", "cd", "ef"), aids(judge)).winner == 0


@pytest.mark.parametrize("name", sorted(methods()))
def test_every_method_names_its_source_and_says_what_it_does(name: str) -> None:
    assert method_named(name).source
    assert method_named(name).summary.endswith(".")


@pytest.mark.parametrize("name", [n for n, m in methods().items() if m.needs])
def test_what_is_missing_is_told(name: str) -> None:
    bare = [CandidateAnswer(f"e{n}", str(n), str(n), 1) for n in range(2)]
    with pytest.raises(AnsweringError, match=f"{name} needs"):
        choose(name, Ballot("?", tuple(bare)), Aids())


def test_an_unknown_method_is_answered_with_the_nearest() -> None:
    with pytest.raises(AnsweringError, match="did you mean majority"):
        method_named("majorty")
    with pytest.raises(AnsweringError, match="knockout"):
        method_named("xyzzy")


def test_nobody_to_choose_from() -> None:
    with pytest.raises(AnsweringError, match="no expert answered"):
        choose("majority", said())


def test_the_most_frequent_answer_wins_over_the_fittest_expert() -> None:
    assert choose("majority", said("9", "12", "12.0")).winner == 1
    assert choose("majority", said("", "", "4")).winner == 2


def test_fitness_weighs() -> None:
    ballot = said("9", "12", "12", fitness=[0.9, 0.3, 0.3])
    assert choose("weighted_majority", ballot).winner == 0
    assert choose("weighted_majority", said("9", "12", "12", fitness=[0.5, 0.3, 0.3])).winner == 1
    assert choose("weighted_majority", said("9", "12", "12", fitness=[0.0, 0.0, 0.0])).winner == 1


def test_who_is_good_at_such_questions_weighs() -> None:
    ballot = said("9", "12", "12")
    assert choose("skill_routing", ballot, aids(e0=0.8, e1=0.1, e2=0.1)).winner == 0
    assert choose("skill_routing", ballot, aids(e0=0.3, e1=0.2, e2=0.2)).winner == 1


def test_the_surest_wins() -> None:
    assert choose("logprob", said("a", "b", logprob=[-0.9, -0.1])).winner == 1
    assert choose("self_certainty", said("a", "b", certainty=[2.0, 3.0])).winner == 1
    assert choose("borda", said("b", "b", "a", certainty=[9.0, 1.0, 5.0])).winner == 0
    # 3 votes against 1 + 2: the answer that more of them gave.
    assert choose("borda", said("a", "b", "b", certainty=[9.0, 1.0, 1.5])).winner == 1
    assert choose("borda", said("a", "b", "c", certainty=[9.0, 1.0, 1.5])).winner == 0


def test_the_reward_model_decides() -> None:
    assert choose("reward", said("a", "abc", "ab")).winner == 1


def test_the_chooser_sees_each_answer_once_in_several_orders() -> None:
    judge = OpinionatedJudge("12")
    ballot = said("9", "12", "9", "13", "14", "15")
    choice = choose("chooser", ballot, aids(judge))
    assert choice.winner == 1
    assert len(judge.shown) == 3
    assert all(sorted(shown) == ["12", "13", "14", "15", "9"] for shown in judge.shown)
    assert len({tuple(shown) for shown in judge.shown}) > 1


def test_a_duel_is_fought_in_both_orders_and_a_wavering_judge_changes_nothing() -> None:
    judge = OpinionatedJudge()
    assert choose("knockout", said("1", "2"), aids(judge)).winner == 0
    assert sorted(judge.shown) == [["1", "2"], ["2", "1"]]


@pytest.mark.parametrize("size", range(2, 8))
@pytest.mark.parametrize("right", [0, 1])
def test_the_right_answer_survives_every_knockout(size: int, right: int) -> None:
    answers = [f"answer {n}" for n in range(size)]
    judge = OpinionatedJudge(answers[-1 - right])
    choice = choose("knockout", said(*answers), aids(judge))
    assert choice.winner == size - 1 - right
    assert len(choice.votes) == 2 * (size - 1), "each duel is on record, twice"


def test_ratings_are_means_and_no_verdict_is_no_score() -> None:
    judge = OpinionatedJudge("12")
    choice = choose("rating", said("9", "12", "12"), aids(judge))
    assert choice.scores == (3.0, 9.0, 9.0)
    assert len(choice.votes) == 6


def test_equal_answers_cost_no_judge() -> None:
    judge = OpinionatedJudge()
    judged: list[str] = [name for name, found in methods().items() if found.judged]
    for name in judged:
        assert choose(name, said("7", "7.", ""), aids(judge)).winner == 0
    assert judge.shown == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Red  green.", "red green", True),
        ("1,234.50", "1234.5", True),
        ("-7.0", "-7", True),
        ("0110", "110", False),
        ("1,23", "123", False),
        ("7", "seven", False),
    ],
)
def test_which_answers_are_equal(one: str, other: str, same: bool) -> None:
    assert (normalise(one) == normalise(other)) is same


@given(st.one_of(st.text(), st.floats().map(str), st.integers().map(lambda n: f"{n:,}.00")))
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.lists(words, min_size=1, max_size=9))
def test_the_winner_has_at_least_as_many_votes_as_any_other_spoken_answer(
    answers: list[str],
) -> None:
    votes = [normalise(answer) for answer in answers]
    spoken = [vote for vote in votes if vote] or votes
    winner = votes[choose("majority", said(*answers)).winner]
    assert all(votes.count(winner) >= votes.count(other) for other in spoken)
