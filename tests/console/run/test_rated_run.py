"""A whole run in which some families are rated by an LLM behind real HTTP."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from memory.store import RunStore
from tests.agents.chat.scripted_server import Act, Body, Fail, Say
from tests.console.conftest import Acdc
from tests.console.endpoint_cases import endpoint, finished, is_proposal, words
from tests.console.scientist_server import reply_to

LENIENT = "        return 1.0 if submission.strip() else 0.0\n"


def rated(proposal: dict[str, Any]) -> dict[str, Any]:
    """The family with its rule in the rubric: the program lets everything through."""
    code = re.sub(r"        return 1\.0 if sum\(.*\n", LENIENT, proposal["code"])
    remainders = re.findall(r'"remainder": (\d), "text": (.*)\}', proposal["code"])
    rules = {text.strip("'"): int(remainder) for remainder, text in remainders}
    return {**proposal, "code": code, "rated": True, "rubric": json.dumps(rules)}


def vote(body: Body) -> Act:
    """A rater that keeps to the rubric: character codes modulo 3, by the text of the task."""
    said = body["messages"][-1]["content"]
    task, rubric, answers = re.findall(r"^`{3,}(?:json)?\n(.*?)\n`{3,}$", said, re.M | re.S)
    rule = json.loads(rubric)[task.strip()]
    verdicts = {
        label: "pass" if sum(map(ord, text)) % 3 == rule else "fail"
        for label, text in json.loads(answers).items()
    }
    return Say(json.dumps({"reason": "by the sum", **verdicts}))


def is_vote(body: Body) -> bool:
    return "RatingReply" in json.dumps(body.get("response_format", {}))


def test_rated_families_are_gated_and_graded_by_votes(
    acdc: Acdc, tiny_config: Path, tmp_path: Path
) -> None:
    broken: list[int] = []

    def play(number: int, body: Body) -> Act | None:
        if is_vote(body):
            broken.append(number)
            return Fail(503, "one moment") if len(broken) % 7 == 0 else vote(body)
        return Say(json.dumps(rated(reply_to(body)))) if is_proposal(body) else None

    folder = tmp_path / "run"
    with endpoint(play) as server:
        acdc("run", folder, *words(tiny_config, server.url))
    status = finished(folder)
    assert status["pool"]["active"] >= 3
    ratings = status["ratings"]
    # Two failures in a row cost a vote, and the others decide.
    assert 3 * ratings["answers"] >= ratings["votes"] > 2 * ratings["answers"] > 0
    assert ratings["agreement"] == 1.0, "this rater is of one mind"
    with RunStore.open(folder, read_only=True) as store:
        families = store.families()
        assert all(family.rated and family.rubric for family in families)
        passed = [p for skills in store.all_skills().values() for p in skills.values()]
        assert True in passed
        assert False in passed, "the rater, not the program, decided"
