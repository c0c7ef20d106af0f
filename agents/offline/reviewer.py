"""How the offline critic judges: what neither gates nor the trial can see.

Whether a family is too hard, too easy or known is decided before a critic is asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from agents.offline import prompt_blocks
from memory.records import Json, Verdict

MOST_WORDS = 130
"""An instruction with more words than this is too long."""
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
    return _reply("refine" if problems else "accept", problems)


def novelty(request: str) -> dict[str, Json]:
    """Whether a candidate differs from its neighbours by more than names and numbers."""
    shown = prompt_blocks.blocks(request)
    candidate = shown[prompt_blocks.CANDIDATE]
    for neighbour in shown[prompt_blocks.NEIGHBOURS]:
        if neighbour["name"] == candidate["name"]:
            reason = f"{neighbour['name']} asks the same in the same form, with other data."
            return {"decision": "known", "reason": reason}
    reason = "Its skill or its form differs from that of every neighbour."
    return {"decision": "new", "reason": reason}


def _reply(verdict: Verdict, problems: Sequence[str]) -> dict[str, Json]:
    return {"verdict": verdict, "problems": list(problems)}


def _misses_assignment(shown: Mapping[str, Any]) -> str:
    """Why a draft is not what was asked for, "" if it is."""
    kind, draft = shown[prompt_blocks.ASSIGNMENT]["kind"], shown[prompt_blocks.DRAFT]
    parent = shown.get(prompt_blocks.PARENT)
    if parent is None:
        return ""
    if draft["name"] == parent["name"]:
        return (
            f"Off assignment: a {kind} family is asked for, and it is its parent with other data."
        )
    if draft["capability"] != parent["capability"]:
        return ""
    rise = draft["difficulty"] - parent["difficulty"]
    if kind == "harder" and rise < 0:
        return "Off assignment: it is not harder than its parent."
    if kind == "easier" and rise > 0:
        return "Off assignment: it is not easier than its parent."
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
    for answer in shown[prompt_blocks.ANSWERS]:
        said, reference = answer["extracted"], answer["reference"]
        unsaid = _FORM_IS_SAID.search(answer["question"]) is None
        if answer["passed"] is False and unsaid and _same_substance(said, reference):
            return [
                f"Ambiguous form: {said!r} is {reference!r} in substance but fails; "
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
