"""What current experts answer to a draft, as the critic gets to see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from agents.errors import FamilyFault
from agents.families.items import Item
from agents.judge.examiner import Examiner, Result
from agents.sandbox import Fault, FaultCode
from agents.trial.panel import _answers
from evolution.genome.genome import Genome

ITEM = Item(code="", code_hash="h", instance="1", instructions="What is 1 + 1?")


class Examining:
    """Gives results that were made before."""

    def __init__(self, *results: Result) -> None:
        self._results = list(results)

    async def examine(self, *_: Any) -> Sequence[Result]:
        return self._results


async def tried(*results: Result) -> list[Any]:
    examiner = cast(Examiner, Examining(*results))
    return list(await _answers(examiner, "words", "g", cast(Genome, None), [ITEM]))


async def test_what_an_engine_could_not_answer_is_left_out() -> None:
    assert await tried(Result(ITEM, None, None, error="the engine has gone")) == []


@pytest.mark.parametrize("code", ["crash", "timeout", "prompt_too_long"])
async def test_what_the_judge_would_condemn_is_a_fault_already(code: FaultCode) -> None:
    detail = "KeyError: 'x' (task.py line 3, in score)"
    with pytest.raises(FamilyFault) as caught:
        await tried(Result(ITEM, None, None, detail, condemned=Fault(code, detail)))
    assert (caught.value.code, caught.value.detail) == (code, f"an answer of words: {detail}")
