"""Generative families with one flaw each and the reason code of it, and sound ones that pass."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from agents.families.proposal import Proposal
from agents.sandbox import Sandbox, open_sandbox
from agents.settings import GateSettings, SandboxSettings
from agents.trial import run_gates
from memory.records import GateReport
from tests.conftest import anything

CODE = """
class TaskFamily:
    levels = 3

    @staticmethod
    def get_tasks(seed=0, level=1):
        rng = random.Random(10 * seed + level)
        size = 10 ** (level + 1)
        pairs = [[rng.randrange(2, size), rng.randrange(2, size)] for _ in range(2)]
        return {str(n): {"a": a, "b": b, "level": level} for n, (a, b) in enumerate(pairs, 1)}

    @staticmethod
    def get_instructions(t):
        return f"What is {t['a']} plus {t['b']}? Give one whole number."

    @staticmethod
    def reference(t):
        return str(t["a"] + t["b"])

    @staticmethod
    def wrong(t):
        return [str(t["a"] + t["b"] + 1), "many"]

    @staticmethod
    def score(t, submission):
        return float(submission.strip() == str(t["a"] + t["b"]))
"""
LEVELS = "levels = 3"
DRAW = "rng = random.Random(10 * seed + level)"
SIZE = "size = 10 ** (level + 1)"
TASKS = 'return {str(n): {"a": a, "b": b, "level": level} for n, (a, b) in enumerate(pairs, 1)}'
QUESTION = "return f\"What is {t['a']} plus {t['b']}? Give one whole number.\""
REFERENCE = 'return str(t["a"] + t["b"])'
WRONG = 'return [str(t["a"] + t["b"] + 1), "many"]'
SCORE = 'return float(submission.strip() == str(t["a"] + t["b"]))'


def changed(*pairs: tuple[str, str], setup: str = "") -> str:
    """The sound program with pieces replaced, after some lines."""
    text = CODE
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new.replace("\n", "\n        "))
    return f"import random\n{setup}\n{text}"


def with_choices(places: str) -> str:
    """Multiple choice; `places` orders `right` and `others`."""
    body = (
        "right, others = str(t['a'] + t['b']), [str(t['a'] + t['b'] + n) for n in (3, 7, 10)]\n"
        f"listed = {places}\n"
        'options = " ".join(f"{letter}) {text}" for letter, text in zip("ABCD", listed))\n'
        "return f\"What is {t['a']} plus {t['b']}? {options} Give the number.\""
    )
    return changed((QUESTION, body))


FLAWED: dict[str, dict[str, str]] = {
    "reference_fails": {
        "a reference that is wrong for some seeds": changed(
            (REFERENCE, 'return str(t["a"] + t["b"] + (t["a"] % 5 == 0))')
        ),
        "a reference that is wrong at the highest level": changed(
            (REFERENCE, 'return str(t["a"] + t["b"] + (t["level"] == 3))')
        ),
    },
    "answers_missing": {
        "no wrong answers": changed((WRONG, "return []")),
        "no wrong answers at the highest level": changed(
            (WRONG, 'return [] if t["level"] == 3 else ["many"]')
        ),
        "too many wrong answers": changed((WRONG, "return [f'w{n}' for n in range(21)]")),
    },
    "wrong_passes": {
        "a wrong answer that is right for some seeds": changed(
            (WRONG, 'return ["many", str(t["a"] + t["b"] + t["a"] % 3)]')
        ),
        "a scorer that looks for the answer somewhere": changed(
            (SCORE, 'return float(str(t["a"] + t["b"]) in submission)'),
            (WRONG, 'return ["1" + str(t["a"] + t["b"])]'),
        ),
    },
    "instances_repeat": {
        "seeds are ignored": changed((DRAW, "rng = random.Random(level)")),
        "levels are ignored": changed(
            (DRAW, "rng = random.Random(seed)"), (SIZE, "size = 10")
        ),
        "two levels are the same": changed(
            (DRAW, "rng = random.Random(10 * seed + min(level, 2))"),
            (SIZE, "size = 10 ** min(level, 2)"),
        ),
        "seeds collide": changed((DRAW, "rng = random.Random(10 * (seed // 3) + level)")),
        "seeds collide at the highest level": changed(
            (DRAW, "rng = random.Random(10 * (seed if level < 3 else seed // 3) + level)")
        ),
        "both instances of a seed are the same": changed(
            (TASKS, 'a, b = pairs[0]\nreturn {n: {"a": a, "b": b, "level": level} for n in "12"}')
        ),
    },
    "constant_answer": {
        "a reference that is constant": changed(
            (REFERENCE, "return '7'"), (SCORE, "return float(submission.strip() == '7')")
        ),
        "a reference that is nearly constant": changed(
            (REFERENCE, 'return "no" if t["a"] % 12 else "yes"'),
            (WRONG, 'return ["yes" if t["a"] % 12 else "no"]'),
            (SCORE, 'return float(submission.strip() == ("no" if t["a"] % 12 else "yes"))'),
        ),
        "a reference that is constant at the lowest level": changed(
            (REFERENCE, 'return "7" if t["level"] == 1 else str(t["a"] + t["b"])'),
            (
                SCORE,
                'return float(submission == ("7" if t["level"] == 1 else str(t["a"] + t["b"])))',
            ),
        ),
        "a scorer that any list of numbers passes": changed(
            (SCORE, 'return float(str(t["a"] + t["b"]) in submission.replace(",", " ").split())')
        ),
    },
    "levels_malformed": {
        "too many levels": changed((LEVELS, "levels = 1000")),
        "no levels": changed((LEVELS, "levels = 0")),
        "levels as a text": changed((LEVELS, 'levels = "3"')),
        "levels as a list": changed((LEVELS, "levels = [1, 2, 3]")),
        "a reference that is no text": changed((REFERENCE, 'return t["a"] + t["b"]')),
        "no reference": changed((REFERENCE, "return None")),
        "wrong answers that are no texts": changed((WRONG, "return [1, 2]")),
        "one text of wrong answers": changed((WRONG, 'return "many"')),
    },
    "instance_count": {
        "a third instance at the highest level": changed(
            (
                TASKS,
                'tasks = {str(n): {"a": a, "b": b, "level": level} for n, (a, b) in '
                'enumerate(pairs, 1)}\nreturn tasks | {"3": tasks["1"]} if level == 3 else tasks',
            )
        ),
        "a list of tasks": changed((TASKS, "return [dict(a=a, b=b) for a, b in pairs]")),
    },
    "instruction_unstable": {
        "a count of the calls": changed(
            (DRAW, "CALLS.append(level)\nrng = random.Random(len(CALLS) * 99 + 10 * seed + level)"),
            setup="CALLS = []",
        ),
        "one stream for all draws": changed(
            (DRAW, "rng = STREAM"), setup="STREAM = random.Random(7)"
        ),
        "no seed": changed((DRAW, "rng = random")),
        "data that only the instruction leaves out": changed(
            (TASKS, "return {n: {'a': a, 'b': b, 'level': random.random()} "
             "for n, (a, b) in zip('12', pairs)}")
        ),
        "a reference that depends on what was asked before": changed(
            (REFERENCE, 'ASKED.append(t["a"])\nreturn str(t["a"] + t["b"] + (ASKED[0] < t["a"]))'),
            setup="ASKED = []",
        ),
    },
    "score_unstable": {
        "a scorer that passes nothing after some submissions": changed(
            (SCORE, "SEEN.append(submission)\n" + SCORE + " * (len(SEEN) < 5)"),
            setup="SEEN = []",
        ),
        "a scorer that passes every instance once": changed(
            (
                SCORE,
                "new = SEEN.setdefault(str(t), submission) == submission\n"
                'return float(new and submission.strip() == str(t["a"] + t["b"]))',
            ),
            setup="SEEN = {}",
        ),
    },
    "time_bomb": {
        "tasks of the day": changed(
            (DRAW, "rng = random.Random(10 * seed + level + 1000 * int(time.time() / 1e8))"),
            setup="import time",
        ),
    },
    "leaked": {
        "the answer is said": changed(
            (QUESTION, QUESTION[:-1] + " The answer is {t['a'] + t['b']}.\"")
        ),
        "the answer is said at the highest level": changed(
            (
                QUESTION,
                "said = f\" Answer: {t['a'] + t['b']}\" if t['level'] == 3 else ''\n"
                + QUESTION
                + " + said",
            )
        ),
        "the task is printed": changed(
            (TASKS, "return {n: {'a': a, 'b': b, 'level': level, 'answer': a + b} "
             "for n, (a, b) in zip('12', pairs)}"),
            (QUESTION, 'return f"Add the numbers: {t}"'),
        ),
    },
    "choice_place": {
        "the right choice is always the last": with_choices("[*others, right]"),
        "the right choice is always the first": with_choices("[right, *others]"),
        "the right choice is always the third": with_choices("[*others[:2], right, others[2]]"),
    },
    "crash": {
        "the highest level fails": changed(
            (DRAW, "rng = [random.Random(10 * seed + level)][level // 3]")
        ),
        "the scorer fails at the highest level": changed(
            (SCORE, 'if t["level"] == 3:\n    int(submission)\n' + SCORE)
        ),
    },
    "timeout": {
        "drawing takes longer with each level": changed(
            (DRAW, DRAW + "\nfor _ in range(2000 ** level): pass")
        ),
        "scoring takes longer with each level": changed(
            (SCORE, "for _ in range(2000 ** t['level']): pass\n" + SCORE)
        ),
    },
}  # fmt: skip


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    settings = SandboxSettings(seconds=3, memory_mb=512, guests=1, preimport=())
    opened = open_sandbox(settings, ours=anything)
    yield opened
    await opened.close()


async def report_of(sandbox: Sandbox, code: str, seed: int = 0) -> GateReport:
    proposal = Proposal(
        name="addition",
        description="Add two whole numbers.",
        capability="arithmetic",
        difficulty=1,
        code=code,
    )
    return await run_gates(sandbox, proposal, GateSettings(), seed=seed)


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
async def test_a_sound_family_passes_with_its_levels_and_chances(
    sandbox: Sandbox, seed: int
) -> None:
    report = await report_of(sandbox, changed(), seed)
    assert report.passed, report
    assert (report.levels, report.level, report.seed) == (3, 1, seed)
    assert len(report.chances) == 3
    assert max(report.chances) < 0.2


@pytest.mark.parametrize(
    ("reason", "flaw"), [(reason, flaw) for reason, flaws in FLAWED.items() for flaw in flaws]
)
async def test_a_flaw_is_named(sandbox: Sandbox, reason: str, flaw: str) -> None:
    report = await report_of(sandbox, FLAWED[reason][flaw])
    assert report.code == reason, report
    assert report.detail


async def test_shuffled_choices_pass(sandbox: Sandbox) -> None:
    code = with_choices("random.Random(t['a']).sample([right, *others], 4)")
    report = await report_of(sandbox, code)
    assert report.passed, report


async def test_an_even_choice_of_two_answers_passes(sandbox: Sandbox) -> None:
    code = changed(
        (TASKS, 'return {n: {"a": a * 2 + int(n), "b": b, "level": level} '
         'for n, (a, b) in zip("12", pairs)}'),
        (QUESTION, "return f\"Is {t['a']} an even number (level {t['level']})? Say even or odd.\""),
        (REFERENCE, 'return "odd" if t["a"] % 2 else "even"'),
        (WRONG, 'return ["even" if t["a"] % 2 else "odd"]'),
        (SCORE, 'return float(submission.strip() == ("odd" if t["a"] % 2 else "even"))'),
    )  # fmt: skip
    report = await report_of(sandbox, code)
    assert report.passed, report
    assert max(report.chances) <= 0.5


async def test_all_flaws_are_told_at_once(sandbox: Sandbox) -> None:
    code = changed(
        (REFERENCE, 'return str(t["a"] + t["b"] + (t["level"] == 3))'),
        (WRONG, 'return [str(t["a"] + t["b"])]'),
    )
    report = await report_of(sandbox, code)
    assert report.code == "reference_fails"
    assert "wrong_passes: the wrong answer" in report.detail
