"""The search for the level at which a drafted family tells experts apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agents.families.items import Item
from agents.families.proposal import Proposal
from agents.sandbox import Description
from agents.settings import CalibrationSettings
from agents.trial.claims import choices
from agents.trial.levels import Calibrated, Program, find_level, is_habit
from agents.trial.panel import beside, levels_to_search
from memory.records import GateReport, TrialAnswer, drawn
from prompts import worked_example
from tests.agents.cases import family, report_of

SETTINGS = CalibrationSettings()
EXPERTS = ("numbers", "words", "logic", "merged", "mutant")
Passes = Callable[[int, int, int], bool]
"""Level, number of the expert, number of the question -> whether it is answered rightly."""


def program(levels: int, chances: Sequence[float] = ()) -> Program:
    names = [
        drawn(number, level, seed)
        for level in range(1, levels + 1)
        for seed in range(7, 10)
        for number in "12"
    ]
    said = Description(
        levels=levels,
        tasks={name: {} for name in names},
        instructions={name: f"What is {name}?" for name in names},
        references={name: f"It is {name}" for name in names},
        wrong={name: [f"It is not {name}"] for name in names},
    )
    gates = GateReport(code=None, levels=levels, seed=7, chances=tuple(chances))
    return Program(Proposal.model_validate(worked_example()), gates, said)


def place_of_question(instance: str) -> int:
    """Its place among those of a level: two of seed 8, then two of seed 9."""
    number, _, draw = instance.partition("@")
    seed = int(draw.partition(".")[2]) if draw else 8
    return 2 * (seed - 8) + int(number) - 1


class Panel:
    """Experts that pass or fail as a play demands, and say something else each time."""

    def __init__(self, passes: Passes, experts: int = 3) -> None:
        self._passes = passes
        self._experts = EXPERTS[:experts]
        self.asked: list[int] = []

    async def __call__(self, level: int, items: Sequence[Item]) -> list[TrialAnswer]:
        self.asked.append(level)
        return [
            TrialAnswer(
                expert=expert,
                level=level,
                instance=item.instance,
                question=item.instructions,
                text="",
                extracted=f"{expert} on {item.instance}",
                passed=self._passes(level, place, place_of_question(item.instance)),
            )
            for place, expert in enumerate(self._experts)
            for item in items
        ]


async def search(
    passes: Passes, levels: int = 4, chances: Sequence[float] = (), bounds: range | None = None
) -> tuple[Calibrated, list[int]]:
    panel = Panel(passes)
    found = await find_level(
        program(levels, chances), bounds or range(1, levels + 1), SETTINGS, panel
    )
    return found, panel.asked


def up_to(*best: int) -> Passes:
    """Each expert passes everything up to a level of its own."""
    return lambda level, expert, question: level <= best[expert]


async def test_a_family_enters_where_some_pass_and_some_fail() -> None:
    found, asked = await search(up_to(4, 2, 2))
    assert found.report.code is None
    assert asked == [2, 3, 3]
    assert found.report.level == 3
    assert [(rate.level, rate.passed, rate.asked) for rate in found.curve] == [
        (2, 6, 6),
        (3, 4, 12),
    ]
    assert len(found.answers) == 18
    assert found.report.instructions == {"1": "What is 1@3.7?", "2": "What is 2@3.7?"}
    assert found.report.references["2"] == "It is 2@3.7"
    assert found.report.wrong["1"] == ["It is not 1@3.7"]


async def test_the_panel_is_not_asked_the_instances_that_the_family_will_ask() -> None:
    found, _ = await search(up_to(4, 2, 2))
    seeds = {answer.instance.partition(".")[2] for answer in found.answers}
    assert seeds == {"8", "9"}


@given(
    st.integers(min_value=1, max_value=10),
    st.lists(st.integers(min_value=0, max_value=12), min_size=10, max_size=10),
)
async def test_if_higher_is_harder_a_level_in_the_band_is_found_where_there_is_one(
    levels: int, drawn_counts: list[int]
) -> None:
    right = sorted(drawn_counts, reverse=True)

    def passes(level: int, expert: int, question: int) -> bool:
        # The answers to both seeds are alike.
        return 2 * (3 * (question % 2) + expert) + question // 2 < right[level - 1]

    found, asked = await search(passes, levels)
    within = [at for at in range(1, levels + 1) if 0.15 <= right[at - 1] / 12 <= 0.85]
    told = ("equal_scores", "constant_passes")
    if within:
        assert found.report.level in within
        assert found.report.code is None or found.report.code in told
        assert len(set(asked)) <= 5
    else:
        assert found.report.code in ("too_hard", "too_easy", "levels_gap")
    assert [rate.level for rate in found.curve] == sorted(set(asked))


@pytest.mark.parametrize(
    ("passes", "code", "told"),
    [
        (up_to(0, 0, 0), "too_hard", "0 of 6 at level 1"),
        (up_to(4, 4, 4), "too_easy", "6 of 6 at level 4"),
        (up_to(2, 2, 2), "levels_gap", "6 of 6 at level 2, 0 of 6 at level 3"),
        (lambda level, e, q: level >= 4, "levels_disordered", "level 4 is easier than level 2"),
        (lambda level, e, q: q == 0 and level == 2, "equal_scores", "the same 1 of 4"),
    ],
)
async def test_what_tells_nothing_goes_back_with_its_case(
    passes: Passes, code: str, told: str
) -> None:
    found, _ = await search(passes)
    assert found.report.code == code
    assert told in found.report.detail
    assert found.curve
    assert found.answers


async def test_chance_is_taken_off() -> None:
    def half(level: int, expert: int, question: int) -> bool:
        return question % 2 == expert % 2

    assert (await search(half, 1))[0].report.code is None
    guessed, _ = await search(half, 1, [0.5])
    assert guessed.report.code == "too_hard"
    assert "best constant answer: 50%" in guessed.report.detail


async def test_the_other_end_counts_where_chance_hides_the_rest() -> None:
    chances = [0.5, 0.5, 0.0]
    found, asked = await search(lambda level, e, q: q == e, 3, chances)
    assert (found.report.code, found.report.level) == (None, 3)
    assert list(dict.fromkeys(asked)) == [1, 3]


async def test_only_the_levels_that_are_left_are_searched() -> None:
    found, asked = await search(up_to(4, 2, 1), 5, bounds=range(3, 6))
    assert (found.report.level, found.report.code) == (3, None)
    assert asked == [3, 3]
    found, asked = await search(up_to(5, 5, 5), 5, bounds=range(4, 6))
    assert found.report.code == "too_easy"
    assert asked == [4, 5]


def test_a_parents_own_program_is_asked_above_or_below_its_level() -> None:
    proposal = Proposal.model_validate(worked_example())
    gates = report_of(proposal).model_copy(update={"levels": 5})
    parent = family(0).model_copy(update={"code": proposal.code, "levels": 5, "level": 2})
    assert levels_to_search(proposal, gates, parent, "harder") == range(3, 6)
    assert levels_to_search(proposal, gates, parent, "easier") == range(1, 2)
    assert levels_to_search(proposal, gates, None, "novel") == range(1, 6)
    lowest = parent.model_copy(update={"level": 1})
    assert levels_to_search(proposal, gates, lowest, "easier") == range(1, 6)
    assert levels_to_search(proposal, gates, family(1), "harder") == range(1, 6)


async def test_where_the_engine_answers_nothing_nothing_is_claimed() -> None:
    async def silent(level: int, items: Sequence[Item]) -> list[TrialAnswer]:
        return []

    found = await find_level(program(3), range(1, 4), SETTINGS, silent)
    assert (found.report.code, found.curve, found.answers) == (None, (), ())


async def test_a_closed_family_is_asked_what_it_asks() -> None:
    proposal = Proposal.model_validate(worked_example())
    closed = Program(proposal, report_of(proposal), None)
    panel = Panel(lambda level, expert, question: expert == 1)
    found = await find_level(closed, range(1, 2), SETTINGS, panel)
    assert found.report == report_of(proposal)
    assert {answer.instance for answer in found.answers} == {"1", "2"}


def said(question: str, *answers: str, right: str = "") -> list[TrialAnswer]:
    return [
        TrialAnswer(
            expert="words",
            instance=str(number),
            question=question.format(number),
            text="",
            extracted=text,
            passed=text == right,
        )
        for number, text in enumerate(answers)
    ]


CHOICES = "Question {0}: which? A) red{0} B) green{0} C) blue{0}"


@pytest.mark.parametrize(
    ("instruction", "wanted"),
    [
        ("Question 1: which? A) red B) green C) blue", ["red", "green", "blue"]),
        ("Pick one.\nA. a dog\nB. two cats\nC. Mr. X", ["a dog", "two cats", "mr. x"]),
        ("Which is largest: (a) 3, (b) 12, (c) 7?", ["3", "12", "7"]),
        ("Do this: 1) add 3 2) take 5 3) stop", ["add 3", "take 5", "stop"]),
        ("Which? [A] red [B] green [C] blue", ["red", "green", "blue"]),
        ("Which? **A)** red **B)** green **C)** blue", ["red", "green", "blue"]),
        ("Which?\nA - red\nB - green\nC - blue", ["red", "green", "blue"]),
        ("Which? A)red B)green C)blue", ["red", "green", "blue"]),
        ("Which?\n- red\n- green\n- blue", ["red", "green", "blue"]),
        ("How many people are on the bus?", []),
        ("Add 1.5, 2.5 and 3.5.", []),
    ],
)
def test_choices_are_read_in_the_usual_forms(instruction: str, wanted: list[str]) -> None:
    assert [text for _, text in choices(instruction)] == wanted


def test_a_habit_is_one_answer_or_one_place_for_all_questions() -> None:
    assert is_habit(said("Is {} even?", "Yes", "yes.", "YES"))
    assert not is_habit(said("Is {} even?", "Yes", "No", "Yes"))
    assert is_habit(said(CHOICES, "blue0", "blue1", "C"))
    assert not is_habit(said(CHOICES, "blue0", "red1", "blue2"))
    assert not is_habit(said("How many? {}", "3", "4"))
    assert not is_habit(said("How many? {}", "3"))


async def test_what_only_habits_pass_tells_nothing() -> None:
    async def yes(level: int, items: Sequence[Item]) -> list[TrialAnswer]:
        return [
            TrialAnswer(
                expert=expert,
                instance=item.instance,
                question=item.instructions,
                text="",
                extracted=text,
                passed=text == "Yes" and number < 2,
            )
            for expert, text in (("numbers", "Yes"), ("words", "No"), ("logic", "7"))
            for number, item in enumerate(items)
        ]

    found = await find_level(program(1), range(1, 2), SETTINGS, yes)
    assert found.report.code == "constant_passes"
    assert "numbers answers 'Yes'" in found.report.detail


def test_what_is_wrong_with_a_parents_other_levels_is_told_from_its_own() -> None:
    parent = family(0).model_copy(update={"levels": 5, "level": 2})
    hard = GateReport(code="too_hard", detail="0 of 6 at level 3")
    easy = GateReport(code="too_easy", detail="6 of 6 at level 1")
    assert beside(parent, "harder", hard).code == "levels_gap"
    assert beside(parent, "easier", easy).code == "levels_gap"
    assert beside(parent, "harder", easy).code == "too_easy"
    assert beside(parent, "easier", hard).code == "too_hard"
    assert beside(parent, "harder", hard).detail == (
        "the parent asks at level 2; of the levels above it: 0 of 6 at level 3"
    )


def test_a_band_without_room_is_refused() -> None:
    with pytest.raises(ValidationError, match="must be below high"):
        CalibrationSettings(low=0.9, high=0.1)
