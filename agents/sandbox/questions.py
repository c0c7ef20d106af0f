"""What a scorer may ask of the host: to run a submission's program, and to ask an LLM judge."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from agents.sandbox.base import Fault, Judge
from agents.sandbox.decoding import judge_question, parsed, program_step
from agents.sandbox.warm_guest import Refusal
from agents.settings import SandboxSettings

RunProgram = Callable[[dict[str, Any], float], Awaitable[bytes]]
"""Runs a program (work, seconds) in a guest of its own; gives the fields of a `Run`."""

OUT_OF_TIME = {"stdout": "", "stderr": "", "exit_code": None, "timed_out": True}


class Questions:
    """Answers the questions of one step, within what it may ask.

    Programs take no time from the scorer's own clock, or a slow submission would look like a slow
    scorer; together they may take as long as the step itself.

    Args:
        settings: how many questions a judge gets, and how long a step may take.
        judge: who answers for an LLM; None if nobody does.
        run_program: runs a submission's program.
    """

    def __init__(
        self, settings: SandboxSettings, judge: Judge | None, run_program: RunProgram
    ) -> None:
        self._settings = settings
        self._judge = judge
        self._run_program = run_program
        self._judgements_left = settings.judge_calls
        self._seconds_left = settings.seconds

    async def answer(self, question: bytes) -> bytes | Refusal:
        """The answer to one question, which foreign code asked.

        Raises:
            AgentError: the judge did.
        """
        found = parsed(question)
        if found.get("ask") == "run":
            return await self._run(found)
        if found.get("ask") == "judge":
            return await self._ask_judge(found)
        return Refusal(Fault("crash", "asked what the sandbox does not know"))

    async def _run(self, found: dict[str, Any]) -> bytes | Refusal:
        program = program_step(found)
        if program is None:
            return Refusal(Fault("crash", "run_submission was not given texts and seconds"))
        work, timeout = program
        seconds = min(timeout, self._settings.seconds, self._seconds_left)
        if seconds <= 0:
            return json.dumps(OUT_OF_TIME).encode()
        started = time.monotonic()
        try:
            return await self._run_program(work, seconds)
        finally:
            self._seconds_left -= time.monotonic() - started

    async def _ask_judge(self, found: dict[str, Any]) -> bytes | Refusal:
        if self._judge is None:
            return Refusal(Fault("no_rater", "no rater answers eval_with_llm_judge"))
        question = judge_question(found)
        if question is None:
            return Refusal(Fault("crash", "eval_with_llm_judge was not given texts"))
        left = self._settings.judge_characters - len(question.instructions)
        left -= sum(map(len, question.criteria))
        if self._judgements_left == 0 or left <= 0:
            return Refusal(
                Fault(
                    "judge_limit",
                    f"eval_with_llm_judge may be called {self._settings.judge_calls} times for a "
                    f"submission, with {self._settings.judge_characters:,} characters in all",
                )
            )
        self._judgements_left -= 1
        # A submission may be as long as its author likes, and its scorer is not to blame for that.
        question = replace(question, submission=question.submission[:left])
        return json.dumps(await self._judge(question) is True).encode()
