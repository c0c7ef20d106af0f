"""What `acdc ask` shows of an answer."""

from __future__ import annotations

import io

from agents.task_force.asked import AskedBefore
from agents.task_force.ballot import CandidateAnswer
from agents.task_force.collective import CollectiveAnswer
from agents.task_force.routing import NearFamily
from console.commands.ask import show
from console.display import Terminal

SAID = (
    CandidateAnswer("a", "Answer: 56", "56", 4),
    CandidateAnswer("b", "Answer: 56.", "56.", 4),
    CandidateAnswer("c", "Answer: 15", "15", 4),
)
SUMS = NearFamily("f0", "Sums", 0.814, {"a": 1.0, "b": 0.5})


def _shown(known: bool | None, method: str = "skill_routing") -> str:
    out = io.StringIO()
    near = () if known is None else (SUMS,)
    scores = (1.5, 1.5, 0.1)
    unit = "pass rates"
    told = CollectiveAnswer("56", "a", 0, method, 2 / 3, SAID, scores, (), 1.0, unit, near, known)
    show(told, Terminal(file=out, width=120))
    return out.getvalue()


def test_it_says_why_and_each_vote_once() -> None:
    said = _shown(known=True)
    assert said.startswith("56\n")
    assert "why: nearest families Sums (similarity 0.81), passed by a 100%, b 50%" in said
    assert [line.split()[:3] for line in said.splitlines() if line[:2] in ("→ ", "  ")] == [
        ["→", "a", "1.5"],
        ["b", "same", "56."],
        ["c", "0.1", "15"],
    ]
    assert "score: pass rates" in said


def test_what_it_cannot_know_looks_different() -> None:
    said = _shown(known=False, method="logprob")
    assert said.startswith("uncertain: 56\n")
    said = " ".join(said.split())
    near = "nothing like this was asked (the nearest is Sums (similarity 0.81))"
    assert f"{near}: do not trust the answer" in said
    assert "chosen by how sure the voices are" in said


def test_without_a_history_nothing_is_claimed() -> None:
    assert "nothing like this" not in (said := _shown(known=None))
    assert "why:" not in said


def test_it_says_how_many_were_not_asked_any_more() -> None:
    out = io.StringIO()
    told = CollectiveAnswer(
        "56", "a", 0, "agreement", 2 / 3, SAID, (2.0, 2.0, 1.0), (), 1.0, "votes", unasked=5
    )
    show(told, Terminal(file=out, width=120))
    line = "chosen by agreement from 3 answers; agreement 67%; 5 of 8 voices not asked"
    assert line in out.getvalue()
    assert "not asked" not in _shown(known=True)


def _checked(asked: AskedBefore) -> str:
    out = io.StringIO()
    told = CollectiveAnswer(
        "56", "a", 0, "skill_routing", 2 / 3, SAID, (1.5, 1.5, 0.1), (), 1.0, "pass rates",
        (SUMS,), known=True, asked=asked,
    )  # fmt: skip
    show(told, Terminal(file=out, width=120))
    return out.getvalue()


def test_an_answer_to_a_question_of_the_run_is_compared_with_what_is_right() -> None:
    said = _checked(AskedBefore("f0", "Sums", "56", right=True))
    assert said.startswith("56\n✓ right: the reference is '56'\n")
    assert "why: a question of this run, of the family Sums, passed by a 100%, b 50%" in said
    said = _checked(AskedBefore("f0", "Sums", "57", right=False))
    assert "✗ wrong: the reference is '57'" in said
    said = _checked(AskedBefore("f0", "Sums", "57", right=None))
    assert "· not graded: nobody gave this answer before; a right one is '57'" in said
