"""The offline model as a server: it reads prompts, and equal requests get equal replies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from agents.critic.critique import CritiqueReply
from agents.critic.novelty import NoveltyReply
from agents.families.proposal import Proposal
from agents.offline import MODEL, OfflineTransport
from agents.offline.author import write
from agents.offline.catalogue import STRETCH
from agents.offline.sketches import Sketch, read_sketch
from agents.offline.transport import answer
from memory.records import Json
from prompts import PromptLibrary, worked_example

PROMPTS = PromptLibrary()
RULE = {"low": 15, "high": 85, "instances": 4}
PASSED = {"experts_graded": 8, "experts_that_pass": 4}
CHAIN = Sketch(("chain_sum",), 2, "plain", 5, own_scorer=True)


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
) -> list[dict[str, str]]:
    rendered = PROMPTS.render(
        "propose",
        assignment={
            "id": "g0-a00",
            "kind": kind,
            "generation": 0,
            "index": index,
            "field": "",
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


def criticised(
    draft: Sketch,
    passes: Mapping[str, tuple[bool | None, bool | None]],
    kind: str = "novel",
    parent: Sketch | None = None,
    said: str | None = None,
) -> CritiqueReply:
    proposal = write(draft)
    references: Any = proposal["reference_answers"]
    wrong: Any = proposal["wrong_answers"]
    answers = [
        {
            "expert": expert,
            "instance": instance,
            "extracted": references[instance] if passed else said or wrong[instance][0],
            "passed": passed,
            "text": "",
        }
        for expert, outcome in passes.items()
        for instance, passed in zip("12", outcome, strict=True)
    ]
    instructions = {"1": "Short question?", "2": "Another short question?"}
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
        gates={"passed": True, "code": None, "detail": "", "instructions": instructions},
        answers=answers,
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


def test_the_seed_decides_about_the_instances() -> None:
    assert answer(proposing(), 1) == answer(proposing(), 1)
    assert answer(proposing(), 1) != answer(proposing(), 2)


def test_scientists_beside_each_other_take_different_generators() -> None:
    sketches = [proposed(proposing(index=index), seed=index) for index in range(20)]
    generators = [sketch.generators[0] for sketch in sketches]
    assert len(set(generators)) == len(generators)
    stretch = {entry.generator for entry in STRETCH}
    assert sum(generator in stretch for generator in generators) == 3


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
    sketch = Sketch(("chain_sum",), 2, "plain", 5, own_scorer=True)
    below = Sketch(("chain_sum",), 1, "plain", 5, own_scorer=True)
    changed = refined(
        sketch, problems=["Too hard: none."], asked=proposing(taken=[str(write(below)["name"])])
    )
    assert changed.form != "plain"
    assert changed.level == 1


def test_novel_turns_to_weak_spots() -> None:
    weak = proposing(weak_spots=["shifting letters along the alphabet"])
    chosen = [proposed(weak, seed).generators[0] for seed in range(30)]
    assert 5 <= chosen.count("caesar_cipher") <= 25


def test_harder_and_easier_follow_the_ladder() -> None:
    harder = proposed(proposing("harder", CHAIN))
    assert (harder.generators, harder.level) == (CHAIN.generators, 3)
    easier = proposed(proposing("easier", CHAIN))
    assert (easier.generators, easier.level) == (CHAIN.generators, 1)
    assert write(harder)["name"] != write(CHAIN)["name"] != write(easier)["name"]


def test_easier_than_the_first_rung_is_a_solved_example() -> None:
    easiest = Sketch(("chain_sum",), 1, "plain", 5, own_scorer=True)
    easier = proposed(proposing("easier", easiest))
    assert (easier.form, easier.level) == ("shown", 1)
    assert "The right reply to it is" in str(write(easier)["code"])


def test_related_puts_the_parent_into_another_form() -> None:
    sketches = [proposed(proposing("related", CHAIN), seed) for seed in range(20)]
    assert {sketch.form for sketch in sketches} == {"reworded", "extended", "composed", "shown"}
    assert all(sketch.generators[0] == "chain_sum" for sketch in sketches)


def test_related_to_a_family_that_others_wrote_is_a_novel_one() -> None:
    messages = proposing("related", CHAIN)
    messages[1]["content"] = messages[1]["content"].replace("# sketch:", "# notes:")
    assert proposed(messages).form in ("plain", "composed")


def test_a_gate_makes_it_write_a_scorer_of_its_own_and_keep_the_questions() -> None:
    borrowed = Sketch(("spell_backward",), 2, "plain", 5, own_scorer=False)
    mended = refined(borrowed, gate="score_range")
    assert mended.own_scorer
    assert mended.seed == borrowed.seed


def test_a_constant_answer_makes_it_draw_again() -> None:
    drawn = refined(CHAIN, gate="constant_answer")
    assert drawn.distinct
    assert drawn.seed != CHAIN.seed


@pytest.mark.parametrize(
    ("problem", "level", "explicit"),
    [
        ("Too easy: all pass.", 3, False),
        ("Too hard: nobody passes.", 1, False),
        ("Ambiguous form: '12 legs' is right in substance.", 2, True),
    ],
)
def test_it_changes_what_the_critic_names(problem: str, level: int, explicit: bool) -> None:
    changed = refined(CHAIN, problems=[problem])
    assert (changed.level, changed.explicit) == (level, explicit)
    assert (changed.seed == CHAIN.seed) is explicit


def test_a_family_that_tells_experts_apart_is_accepted() -> None:
    verdict = criticised(CHAIN, {"numbers": (True, True), "words": (False, False)})
    assert verdict == CritiqueReply(verdict="accept", problems=[])


def test_all_pass_is_too_easy_and_at_the_top_beyond_mending() -> None:
    passes = {"numbers": (True, True), "words": (True, True)}
    verdict = criticised(CHAIN, passes)
    assert verdict.verdict == "refine"
    assert verdict.problems[0].startswith("Too easy:")
    top = Sketch(("chain_sum",), 5, "plain", 5, own_scorer=True)
    assert criticised(top, passes).verdict == "reject"


def test_what_nobody_passes_in_its_easiest_form_is_turned_down() -> None:
    passes = {"numbers": (False, False), "words": (False, False)}
    verdict = criticised(CHAIN, passes)
    assert verdict.verdict == "refine"
    assert verdict.problems[0].startswith("Too hard:")
    easiest = Sketch(("chain_sum",), 1, "plain", 5, own_scorer=True)
    assert criticised(easiest, passes).verdict == "reject"
    parent = Sketch(("chain_sum",), 2, "plain", 5, own_scorer=True)
    assert criticised(easiest, passes, "easier", parent).verdict == "reject"


def test_two_skills_of_which_nobody_has_both_are_taken_apart() -> None:
    pair = Sketch(("chain_sum", "spell_backward"), 1, "composed", 5, own_scorer=True)
    verdict = criticised(pair, {"a": (False, False), "b": (False, False)})
    assert verdict.verdict == "refine"
    simpler = refined(pair, problems=verdict.problems)
    assert (simpler.generators, simpler.form) == (("chain_sum",), "plain")


def test_a_related_family_is_not_simplified_back_into_its_parent() -> None:
    parent = Sketch(("chain_sum",), 1, "plain", 5, own_scorer=True)
    pair = Sketch(("chain_sum", "spell_backward"), 1, "composed", 5, own_scorer=True)
    changed = refined(pair, problems=["Too hard: none."], asked=proposing("related", parent))
    assert changed.form in ("reworded", "extended", "shown")


def test_one_instance_within_reach_is_enough_on_the_first_rung_only() -> None:
    passes = {"a": (True, False), "b": (False, False)}
    assert criticised(CHAIN, passes).verdict == "refine"
    easiest = Sketch(("chain_sum",), 1, "plain", 5, own_scorer=True)
    assert criticised(easiest, passes).verdict == "accept"


@pytest.mark.parametrize("kind", ["harder", "related", "easier"])
def test_a_child_that_is_its_parent_again_misses_the_assignment(kind: str) -> None:
    verdict = criticised(CHAIN, {"a": (True, True), "b": (False, False)}, kind, CHAIN)
    assert verdict.verdict == "reject"
    assert verdict.problems[0].startswith("Off assignment:")


def test_an_answer_that_is_right_in_substance_shows_an_ambiguous_form() -> None:
    reference: Any = write(CHAIN)["reference_answers"]
    passes: dict[str, tuple[bool | None, bool | None]] = {"a": (False, True), "b": (True, True)}
    verdict = criticised(CHAIN, passes, said=f"it is {reference['1']} in all")
    assert verdict.verdict == "refine"
    assert verdict.problems[0].startswith("Ambiguous form:")
    assert criticised(CHAIN, passes, said=f"{reference['1']} + 1").verdict == "accept"


def test_an_answer_without_a_verdict_is_the_scorers_fault() -> None:
    verdict = criticised(CHAIN, {"a": (None, True), "b": (True, True)})
    assert verdict.verdict == "refine"
    assert verdict.problems[0].startswith("Scorer:")


@pytest.mark.parametrize(
    ("neighbour", "decision"),
    [
        (Sketch(("chain_sum",), 2, "plain", 99, own_scorer=True), "known"),
        (Sketch(("chain_sum",), 3, "plain", 5, own_scorer=True), "new"),
        (Sketch(("chain_sum",), 2, "reworded", 5, own_scorer=True), "new"),
    ],
)
def test_other_numbers_are_no_novelty_but_another_level_is(
    neighbour: Sketch, decision: Json
) -> None:
    rendered = PROMPTS.render("novelty", family=view(CHAIN), neighbours=[view(neighbour)])
    messages = [{"role": role, "content": content} for role, content in rendered.messages]
    assert NoveltyReply.model_validate(answer(messages, 0)).decision == decision
