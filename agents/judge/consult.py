"""The rater as the judge that scorers may consult: `eval_with_llm_judge` in task code.

Unlike a rated family, such a scorer gives no answers that are known to be right or wrong, so its
votes cannot be calibrated: they are only counted.
"""

from __future__ import annotations

from itertools import count
from typing import Literal

from pydantic import BaseModel, ConfigDict

from agents.chat.client import ChatClient, Place
from agents.concurrency import all_of
from agents.errors import SandboxError
from agents.judge.votes import majority
from agents.sandbox import Judge, JudgeQuestion
from memory.hashing import json_hash
from memory.randomness import derive_seed
from memory.spans import span


def consulted(chat: ChatClient, votes: int, seed: int = 0) -> Judge:
    """A judge for scorers: a question gets several votes of the rater, and more than half decide.

    A vote that could not be read in an earlier session is asked for again.

    Args:
        chat: whose `rater` is asked; the same question is asked once in a run.
        votes: how many there are.
        seed: root of the seeds of sampling.
    """

    async def judge(question: JudgeQuestion) -> bool:
        asked = json_hash([question.instructions, question.submission, list(question.criteria)])

        async def vote(number: int) -> bool | None:
            for sample in count(number, votes):
                drawn = derive_seed(seed, 0, f"consult/{asked}", sample)
                completion = await chat.ask(
                    "consult",
                    Place(asked, sample=sample, seed=drawn),
                    {
                        "instructions": question.instructions,
                        "criteria": list(question.criteria),
                        "submission": question.submission,
                    },
                    ConsultingReply,
                )
                reply = completion.parsed
                if reply is not None:
                    return reply.verdict == "pass"
                if not completion.replayed:
                    return None
            raise AssertionError("unreachable")

        with span("grade", "consult", votes=votes) as work:
            cast = await all_of(vote(number) for number in range(votes))
            decision = majority([each for each in cast if each is not None])
            work.set(output=str(decision))
        if decision is None:
            raise SandboxError("a scorer asked the rater, and no vote could be parsed")
        return decision

    return judge


class ConsultingReply(BaseModel):
    """Whether a submission does what its task asks, for a scorer that wants to know."""

    model_config = ConfigDict(extra="forbid")

    reason: str
    verdict: Literal["pass", "fail"]
