"""The offline model as a server: it reads prompts, and equal requests get equal replies."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from agents.critic.critique import CritiqueReply
from agents.critic.novelty import NoveltyReply
from agents.families.proposal import Proposal
from agents.offline import MODEL, OfflineTransport
from agents.offline.author import name_of, write
from agents.offline.catalogue import CATALOGUE, STRETCH
from agents.offline.sketches import Sketch, read_sketch
from agents.offline.transport import answer
from memory.records import Json
from prompts import PromptLibrary, worked_example

PROMPTS = PromptLibrary()
RULE = {"low": 15, "high": 85, "instances": 4}
PASSED = {"experts_graded": 8, "experts_that_pass": 4}
CHAIN = Sketch(("chain_sum",))
PAIR = Sketch(("chain_sum", "letter_jumble"), "composed")
OLD = """\
# generators: chain_sum
# sketch: {"generators": ["chain_sum"], "level": 2, "form": "plain", "seed": 5, \
"own_scorer": true, "distinct": false, "explicit": false, "wording": 0}
class TaskFamily: ...
"""


def view(sketch: Sketch) -> dict[str, Any]:
    fields = ("name", "description", "capability", "difficulty")
    return {key: value for key, value in write(sketch).items() if key in fields}


def proposing(
    kind: str = "novel",
    parent: Sketch | None = None,
    inspirations: list[Any] | None = None,
    weak_spots: list[str] | None = None,
    rejected: list[str] | None = None,
    index: int = 0,
    taken: list[str] | None = None,
    field: str = "",
) -> list[dict[str, str]]:
    rendered = PROMPTS.render(
        "propose",
        assignment={
            "id": "g0-a00",
            "kind": kind,
            "generation": 0,
            "index": index,
            "field": field,
        },
        audience=None,
        rule=RULE,
        rounds_left=3,
        parent=view(parent) | PASSED if parent else None,
        parent_answers=[],
        parent_code=write(parent)["code"] if parent else None,
        inspirations=inspirations or [],
        weak_spots=weak_spots or [],
        lately_rejected=rejected or [],
        taken_names=taken or [],
        example=worked_example(),
        can_rate=False,
    )
    return [{"role": role, "content": content} for role, content in rendered.messages]


def proposed(messages: list[dict[str, str]], seed: int = 1) -> Sketch:
    reply = answer(messages, seed)
    sketch = read_sketch(Proposal.model_validate(reply).code)
    assert sketch is not None
    return sketch


def refined(
    last: Sketch,
    gate: str | None = None,
    problems: list[str] | None = None,
    seed: int = 2,
    asked: list[dict[str, str]] | None = None,
) -> Sketch:
    rendered = PROMPTS.render(
        "refine",
        problem=None,
        gates={"code": gate},
        critique={"verdict": "refine", "problems": problems} if problems else None,
        curve=[],
        answers=[],
        earlier=[],
        rounds_left=2,
    )
    said = {"role": "assistant", "content": json.dumps(write(last))}
    feedback = {"role": "user", "content": rendered.messages[0][1]}
    return proposed([*(asked or proposing()), said, feedback], seed)


QUESTIONS = {"1": "How many legs?", "2": "How many wings?"}
REFERENCES = {"1": "12", "2": "14"}


def criticised(
    draft: Sketch = CHAIN,
    kind: str = "novel",
    parent: Sketch | None = None,
    said: str = "3",
    passed: bool | None = False,
    question: str = QUESTIONS["1"],
) -> CritiqueReply:
    proposal = write(draft)
    answer_view = {
        "expert": "words",
        "level": 1,
        "instance": "1@1.7",
        "question": question,
        "reference": REFERENCES["1"],
        "extracted": said,
        "passed": passed,
        "text": "",
    }
    gates = {"passed": True, "code": None, "detail": ""}
    instructions = QUESTIONS | {"1": question}
    rendered = PROMPTS.render(
        "critique",
        assignment={"id": "g0-a00", "kind": kind, "generation": 0, "index": 0},
        audience=None,
        rule=RULE,
        rounds_left=3,
        parent=view(parent) if parent else None,
        parent_answers=[],
        curve=[],
        earlier=[],
        family={key: value for key, value in proposal.items() if key != "code"},
        code=proposal["code"],
        gates=gates | {"instructions": instructions},
        answers=[answer_view],
    )
    messages = [{"role": role, "content": content} for role, content in rendered.messages]
    return CritiqueReply.model_validate(answer(messages, 0))


async def post(body: dict[str, Any], path: str = "/v1/chat/completions") -> httpx.Response:
    async with httpx.AsyncClient(transport=OfflineTransport(), base_url="http://x") as client:
        return await client.post(path, json=body)


async def test_it_speaks_the_chat_completions_api() -> None:
    body = {"model": MODEL, "messages": proposing(), "seed": 3}
    first, again = await post(body), await post(body)
    assert first.status_code == 200
    assert first.content == again.content
    reply = first.json()
    assert reply["choices"][0]["finish_reason"] == "stop"
    Proposal.model_validate_json(reply["choices"][0]["message"]["content"])
    usage = reply["usage"]
    assert usage["prompt_tokens"] > usage["completion_tokens"] > 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    async with httpx.AsyncClient(transport=OfflineTransport(), base_url="http://x") as client:
        models = (await client.get("/v1/models")).json()
    assert [model["id"] for model in models["data"]] == [MODEL]


async def test_what_it_has_no_part_in_is_refused() -> None:
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "How are you?"}]}
    assert (await post(asked)).status_code == 400
    assert (await post(asked, "/v1/embeddings")).status_code == 404


def test_equal_requests_get_equal_families() -> None:
    assert answer(proposing(), 1) == answer(proposing(), 1)


def test_scientists_beside_each_other_take_different_generators() -> None:
    sketches = [proposed(proposing(index=index), seed=index) for index in range(19)]
    generators = [sketch.generators[0] for sketch in sketches]
    assert len(set(generators)) == len(generators)
    stretch = {entry.generator for entry in STRETCH}
    assert sum(generator in stretch for generator in generators) == 3


def test_founding_scientists_write_families_with_names_of_their_own() -> None:
    sketches = [proposed(proposing(index=index), seed=index) for index in range(56)]
    assert len(set(map(name_of, sketches))) >= 50


WITHIN_REACH = {entry.field for entry in CATALOGUE if entry.within_reach}
BEYOND = {entry.field for entry in CATALOGUE} - WITHIN_REACH


@pytest.mark.parametrize("field", sorted(BEYOND))
def test_a_field_beyond_small_models_is_written_in_now_and_then(field: str) -> None:
    sketches = [proposed(proposing(field=field, index=place)) for place in range(12)]
    within = [place for place, s in enumerate(sketches) if s.entries[0].field == field]
    assert within == [5, 11]


@pytest.mark.parametrize("field", sorted(WITHIN_REACH))
def test_a_field_that_is_named_is_written_in(field: str) -> None:
    places = [0, 23, 24, 50]
    sketches = [proposed(proposing(field=field, index=place)) for place in places]
    assert {sketch.entries[0].field for sketch in sketches} == {field}
    assert len(set(map(name_of, sketches))) >= 2
    first = name_of(sketches[0])
    again = proposed(proposing(field=field, taken=[first]))
    assert name_of(again) != first
    assert again.entries[0].field == field


def test_a_field_that_the_catalogue_lacks_is_written_by_its_place_in_another_form() -> None:
    sketch = proposed(proposing(field="mind reading"))
    plain = proposed(proposing())
    assert sketch.generators == plain.generators
    assert sketch.form != plain.form


def test_novel_keeps_away_from_what_is_shown_and_what_was_rejected() -> None:
    first = proposed(proposing())
    shown = proposed(proposing(inspirations=[view(first)]))
    assert first.generators[0] not in shown.generators[:1]
    rejected = f"{view(first)['name']}: duplicate (similarity 0.99)"
    assert first.generators[0] not in proposed(proposing(rejected=[rejected])).generators[:1]


def test_novel_does_not_take_a_name_that_is_taken() -> None:
    first = write(proposed(proposing(index=3)))["name"]
    second = write(proposed(proposing(index=3, taken=[str(first)])))["name"]
    assert second != first


def test_a_revision_does_not_end_at_a_name_that_is_taken() -> None:
    shown = name_of(Sketch(("chain_sum",), "shown"))
    changed = refined(CHAIN, gate="too_hard", asked=proposing(taken=[shown]))
    assert name_of(changed) not in (shown, name_of(CHAIN))


def test_novel_turns_to_weak_spots() -> None:
    weak = proposing(weak_spots=["shifting letters along the alphabet"])
    chosen = [proposed(weak, seed).generators[0] for seed in range(30)]
    assert 5 <= chosen.count("caesar_cipher") <= 25


def test_harder_than_the_last_level_is_to_go_on_or_to_answer_twice() -> None:
    sketches = [proposed(proposing("harder", CHAIN), seed) for seed in range(20)]
    assert {sketch.form for sketch in sketches} == {"extended", "composed"}
    assert all(sketch.generators[0] == "chain_sum" for sketch in sketches)


@pytest.mark.parametrize(
    ("parent", "form"), [(CHAIN, "shown"), (PAIR, "plain"), (Sketch(("gcd",), "extended"), "plain")]
)
def test_easier_than_the_first_level_is_one_part_or_a_solved_example(
    parent: Sketch, form: str
) -> None:
    easier = proposed(proposing("easier", parent))
    assert (easier.form, easier.generators) == (form, parent.generators[:1])
    assert name_of(easier) != name_of(parent)


def test_children_of_a_closed_family_are_novel_in_its_field() -> None:
    messages = proposing("harder", CHAIN)
    messages[1]["content"] = messages[1]["content"].replace(str(write(CHAIN)["code"]), OLD)
    child = proposed(messages)
    assert child.entries[0].field == "whole-number arithmetic"
    assert child.generators[0] != "chain_sum"


def test_related_puts_the_parent_into_another_form() -> None:
    sketches = [proposed(proposing("related", CHAIN), seed) for seed in range(20)]
    assert {sketch.form for sketch in sketches} == {"reworded", "shown"}
    assert all(sketch.generators[0] == "chain_sum" for sketch in sketches)


def test_related_to_a_family_that_others_wrote_is_a_novel_one() -> None:
    messages = proposing("related", CHAIN)
    messages[1]["content"] = messages[1]["content"].replace("# sketch:", "# notes:")
    assert proposed(messages).generators != CHAIN.generators


def test_a_gate_makes_it_write_a_scorer_of_its_own_and_keep_the_questions() -> None:
    borrowed = Sketch(("spell_backward",), own_scorer=False)
    assert refined(borrowed, gate="score_range") == replace(borrowed, own_scorer=True)


@pytest.mark.parametrize("gate", ["constant_answer", "instances_repeat"])
def test_answers_that_repeat_make_it_draw_different_ones_and_then_leave(gate: str) -> None:
    changed = refined(CHAIN, gate=gate)
    assert changed == replace(CHAIN, distinct=True)
    assert name_of(refined(changed, gate=gate)) != name_of(CHAIN)


def test_what_is_too_hard_gets_an_example_and_then_makes_room() -> None:
    shown = refined(CHAIN, gate="too_hard")
    assert (shown.form, shown.generators) == ("shown", ("chain_sum",))
    other = refined(shown, gate="too_hard")
    assert other.generators != ("chain_sum",)
    assert other.entries[0].field == "whole-number arithmetic"
    assert refined(PAIR, gate="too_hard") == CHAIN


def test_where_a_field_has_nothing_within_reach_another_one_is_taken() -> None:
    other = refined(Sketch(("dice",)), gate="too_hard")
    assert other.entries[0].within_reach


def test_what_is_too_easy_goes_on_or_gets_a_second_part() -> None:
    forms = {refined(CHAIN, gate="too_easy", seed=seed).form for seed in range(20)}
    assert forms == {"extended", "composed"}


@pytest.mark.parametrize(
    "gate", ["duplicate", "not_novel", "constant_passes", "equal_scores", "levels_disordered"]
)
def test_what_is_known_or_tells_nothing_takes_another_form(gate: str) -> None:
    changed = [refined(CHAIN, gate=gate, seed=seed) for seed in range(10)]
    assert all(name_of(sketch) != name_of(CHAIN) for sketch in changed)
    assert len(set(map(name_of, changed))) >= 2


def test_a_related_family_is_not_simplified_back_into_its_parent() -> None:
    changed = refined(PAIR, gate="too_hard", asked=proposing("related", CHAIN))
    assert name_of(changed) != name_of(CHAIN)


def test_it_spells_out_the_form_where_the_critic_finds_it_ambiguous() -> None:
    problem = "Ambiguous form: '12 legs' is right in substance."
    assert refined(CHAIN, problems=[problem]) == replace(CHAIN, explicit=True)


def test_what_gates_and_trial_let_through_is_accepted() -> None:
    assert criticised() == CritiqueReply(verdict="accept", problems=[])


@pytest.mark.parametrize("kind", ["harder", "related", "easier"])
def test_a_child_that_is_its_parent_again_misses_the_assignment(kind: str) -> None:
    verdict = criticised(kind=kind, parent=CHAIN)
    assert verdict.verdict == "reject"
    assert verdict.problems[0].startswith("Off assignment:")


def test_a_harder_child_that_is_easier_misses_the_assignment() -> None:
    shown = Sketch(("chain_sum",), "shown")
    assert criticised(shown, "harder", CHAIN).verdict == "reject"
    assert criticised(CHAIN, "easier", shown).verdict == "reject"
    assert criticised(shown, "easier", CHAIN).verdict == "accept"
    assert criticised(PAIR, "harder", CHAIN).verdict == "accept"


def test_an_answer_that_is_right_in_substance_shows_an_ambiguous_form() -> None:
    verdict = criticised(said="it is 12 in all")
    assert verdict.verdict == "refine"
    assert verdict.problems[0].startswith("Ambiguous form:")
    assert criticised(said="12 + 1").verdict == "accept"
    assert criticised(said="it is 14 in all").verdict == "accept"


def test_an_instruction_that_goes_on_and_on_is_too_long() -> None:
    verdict = criticised(question="How many? " * 80)
    assert verdict.verdict == "refine"
    assert verdict.problems[0].startswith("Too long:")


def test_an_answer_without_a_verdict_is_the_scorers_fault() -> None:
    verdict = criticised(passed=None)
    assert verdict.verdict == "refine"
    assert verdict.problems[0].startswith("Scorer:")


@pytest.mark.parametrize(
    ("neighbour", "decision"),
    [
        (Sketch(("chain_sum",), distinct=True), "known"),
        (Sketch(("chain_sum",), "reworded"), "new"),
        (Sketch(("products",)), "new"),
    ],
)
def test_other_numbers_are_no_novelty_but_another_form_is(
    neighbour: Sketch, decision: Json
) -> None:
    rendered = PROMPTS.render("novelty", family=view(CHAIN), neighbours=[view(neighbour)])
    messages = [{"role": role, "content": content} for role, content in rendered.messages]
    assert NoveltyReply.model_validate(answer(messages, 0)).decision == decision
