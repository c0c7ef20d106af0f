"""How the offline critic judges: by what was asked for, and by what the experts answered."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from agents.offline import prompt_blocks
from agents.offline.entries import LEVELS
from memory.records import Json, Verdict

MOST_WORDS = 130
"""An instruction with more words than this is too long."""
INSTANCES = 2
"""So many instances has a family; an expert passes it with all of them."""
FEWEST_EXPERTS = 2
"""Fewer experts than this say nothing about difficulty."""
_FORM_IS_SAID = re.compile(r"\b(alone|just|nothing else|only|one word|as in)\b", re.IGNORECASE)
_TOKEN = re.compile(r"-?\d+(?:[./:]\d+)*|[^\W\d_]+|[-+*/=\u00d7]")
_FILLER = 4
"""So many words around an answer still leave it readable."""


def critique(request: str) -> dict[str, Json]:
    """A verdict and the problems behind it, as in `agents.families.proposal.CritiqueReply`."""
    shown = prompt_blocks.blocks(request)
    misses = _misses_assignment(shown)
    if misses:
        return _reply("reject", [misses])
    problems = [*_scorer(shown), *_form(shown), *_length(shown)]
    if problems:
        return _reply("refine", problems)
    return _difficulty(shown)


def novelty(request: str) -> dict[str, Json]:
    """Whether a candidate differs from its neighbours by more than names and numbers."""
    shown = prompt_blocks.blocks(request)
    candidate = shown[prompt_blocks.CANDIDATE]
    for neighbour in shown[prompt_blocks.NEIGHBOURS]:
        if neighbour["name"] == candidate["name"]:
            reason = f"{neighbour['name']} asks the same at the same difficulty, with other data."
            return {"decision": "known", "reason": reason}
    reason = "Its skill, its form or its difficulty differs from that of every neighbour."
    return {"decision": "new", "reason": reason}


def _reply(verdict: Verdict, problems: Sequence[str]) -> dict[str, Json]:
    return {"verdict": verdict, "problems": list(problems)}


def _misses_assignment(shown: Mapping[str, Any]) -> str:
    """Why a draft is not what was asked for, "" if it is."""
    kind, draft = shown[prompt_blocks.ASSIGNMENT]["kind"], shown[prompt_blocks.DRAFT]
    parent = shown.get(prompt_blocks.PARENT)
    if parent is None:
        return ""
    rise = draft["difficulty"] - parent["difficulty"]
    same = draft["name"] == parent["name"]
    if kind == "harder" and (rise < 0 or (rise == 0 and same)):
        return "Off assignment: it is not harder than its parent, and a harder one was too hard."
    if kind == "easier" and (rise > 0 or (rise == 0 and same)):
        return "Off assignment: it is not easier than its parent."
    if kind == "related" and same:
        return "Off assignment: it is its parent with other data."
    return ""


def _scorer(shown: Mapping[str, Any]) -> list[str]:
    ungraded = [answer for answer in shown[prompt_blocks.ANSWERS] if answer["passed"] is None]
    return [
        f"Scorer: it gives no verdict on {answer['extracted']!r} (instance {answer['instance']}); "
        "compare with the reference answer and return 1.0 or 0.0."
        for answer in ungraded[:1]
    ]


def _form(shown: Mapping[str, Any]) -> list[str]:
    """Answers that are right in substance but were graded wrong."""
    instructions = shown[prompt_blocks.GATES]["instructions"]
    references = shown[prompt_blocks.DRAFT]["reference_answers"]
    for answer in shown[prompt_blocks.ANSWERS]:
        instance, said = answer["instance"], answer["extracted"]
        unsaid = _FORM_IS_SAID.search(instructions[instance]) is None
        if answer["passed"] is False and unsaid and _same_substance(said, references[instance]):
            return [
                f"Ambiguous form: {said!r} is {references[instance]!r} in substance but fails; "
                "say in the instruction which form the answer takes."
            ]
    return []


def _same_substance(answer: str, reference: str) -> bool:
    """Whether an answer is the reference with a few words around it."""
    said, wanted = _TOKEN.findall(answer.casefold()), _TOKEN.findall(reference.casefold())
    if not wanted or len(said) > len(wanted) + _FILLER:
        return False
    for start in range(len(said) - len(wanted) + 1):
        end = start + len(wanted)
        around = [*said[:start], *said[end:]]
        if said[start:end] == wanted and all(token.isalpha() for token in around):
            return True
    return False


def _length(shown: Mapping[str, Any]) -> list[str]:
    longest = max(len(text.split()) for text in shown[prompt_blocks.GATES]["instructions"].values())
    return [f"Too long: {longest} words; ask for less."] if longest > MOST_WORDS else []


def _difficulty(shown: Mapping[str, Any]) -> dict[str, Json]:
    """All experts pass, none does, or the family separates them."""
    answers, level = shown[prompt_blocks.ANSWERS], shown[prompt_blocks.DRAFT]["difficulty"]
    by_expert: dict[str, list[bool]] = {}
    for answer in answers:
        by_expert.setdefault(answer["expert"], []).append(answer["passed"])
    count = len(by_expert)
    if count < FEWEST_EXPERTS:
        return _reply("accept", [])
    if all(all(passes) for passes in by_expert.values()):
        seen = f"Too easy: all {count} experts pass both instances"
        if level == LEVELS[-1]:
            return _reply("reject", [f"{seen}, and there is no harder level."])
        return _reply("refine", [f"{seen}; demand more of the same skill."])
    passed = max(sum(passes) for passes in by_expert.values())
    if passed == INSTANCES or (passed and level == LEVELS[0]):
        return _reply("accept", [])
    seen = f"Too hard: none of {count} experts passes {'both instances' if passed else 'any'}"
    if level > LEVELS[0]:
        return _reply("refine", [f"{seen}; ask for less of the same skill."])
    if ";" in shown[prompt_blocks.DRAFT]["capability"]:
        return _reply("refine", [f"{seen}; test one capability alone."])
    return _reply("reject", [f"{seen}, even in its easiest form."])
