"""One answer out of N by majority of extracted answers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.answering import CandidateAnswer, majority, normalise

words = st.sampled_from(["7", "8", " 7 ", "Seven", "seven.", "", "**8**"])


def said(*extracted: str) -> list[CandidateAnswer]:
    return [CandidateAnswer(f"e{n}", text, text, 1) for n, text in enumerate(extracted)]


def test_the_most_frequent_answer_wins_over_the_fittest_expert() -> None:
    assert majority(said("9", "12", "12")) == 1


def test_a_tie_goes_to_the_fitter_expert() -> None:
    assert majority(said("9", "12", "13")) == 0
    assert majority(said("1", "12", "12", "1")) == 0


def test_case_spaces_and_closing_marks_do_not_split_votes() -> None:
    assert majority(said("9", "Red  green.", "red green")) == 1


def test_silence_has_no_vote_while_somebody_speaks() -> None:
    assert majority(said("", "", "4")) == 2
    assert majority(said("", "")) == 0


@given(st.lists(words, min_size=1, max_size=9))
def test_the_winner_has_at_least_as_many_votes_as_any_other_spoken_answer(
    answers: list[str],
) -> None:
    candidates = said(*answers)
    votes = [normalise(answer) for answer in answers]
    spoken = [vote for vote in votes if vote] or votes
    winner = votes[majority(candidates)]
    assert all(votes.count(winner) >= votes.count(other) for other in spoken)


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)
