"""The module `sandbox_helpers`, which task code may import.

Both functions ask the host and wait; the child itself has no way to do what they do.
"""

from __future__ import annotations

import _thread
import json
import os
import types
from collections.abc import Sequence
from typing import Any, NamedTuple

from .frames import read_frame, write_frame

NAME = "sandbox_helpers"
QUESTION = 1 << 20
"""Bytes of a question to the host, in JSON."""
LONGEST = QUESTION // 16
"""Characters of a text in a question: JSON writes some of them as six bytes, or as twelve."""


class Run(NamedTuple):
    """What came of a submission's own code.

    Attributes:
        stdout: what it printed, cut at the sandbox's limit.
        stderr: what it said on standard error, a traceback included.
        exit_code: 0 if it ended well; None if it was killed.
        timed_out: whether it ran too long, or the time for all runs of this scoring is used up.
    """

    stdout: str
    stderr: str
    exit_code: int | None
    timed_out: bool


class Host:
    """The child's end of the two pipes over which the parent passes questions to the host."""

    def __init__(self, questions: int, answers: int) -> None:
        self._questions = questions
        self._answers = answers
        # Not of `threading`: once that is imported, it takes a quarter of a short scorer's time to
        # look after itself in every child.
        self._turn = _thread.allocate_lock()

    def ask(self, question: dict[str, Any]) -> Any:
        """The host's answer."""
        with self._turn:
            write_frame(self._questions, b"q" + json.dumps(question).encode())
            answer = read_frame(self._answers)
        if answer is None:
            os._exit(1)
        return json.loads(answer)

    def run_submission(
        self, code: str, stdin: str = "", args: Sequence[str] = (), timeout: float = 5.0
    ) -> Run:
        """Run a program that a submission contains, where it can reach nothing of its scorer.

        It runs in another sandbox: with its own processes and files, no network, the same limits,
        and no helpers. It sees its standard input and arguments, and nothing of the task.

        Args:
            code: a Python program, run as `__main__`.
            stdin: its standard input.
            args: its arguments, `sys.argv[1:]`. With code and input they may have `LONGEST`
                characters; what is longer, or cannot be written in UTF-8, is not run: exit code 1.
            timeout: seconds after which it is killed. All runs of one scoring together may take
                as long as the sandbox lets one step take; after that, runs time out at once.
        """
        texts = [str(code), str(stdin), *map(str, args)]
        if problem := unfit(texts):
            return Run("", f"{problem}\n", 1, False)
        program, read, *arguments = texts
        question = {
            "ask": "run",
            "code": program,
            "stdin": read,
            "arguments": arguments,
            "timeout": float(timeout),
        }
        return Run(**self.ask(question))

    def eval_with_llm_judge(
        self, instructions: str, submission: str, criteria: Sequence[str] | str | None = None
    ) -> bool:
        """Whether a rater, an LLM, finds that a submission does what the instructions ask.

        Args:
            instructions: what was asked.
            submission: what was answered.
            criteria: what the rater is to look at.
        """
        listed = [criteria] if isinstance(criteria, str) else list(criteria or ())
        question = {
            "ask": "judge",
            "instructions": str(instructions),
            "submission": str(submission)[:LONGEST],
            "criteria": [str(criterion) for criterion in listed],
        }
        return self.ask(question) is True


def unfit(texts: Sequence[str]) -> str:
    """Why a program with its input and arguments cannot be run, or "".

    That is said of the submission, as its standard error: its scorer is not to blame.
    """
    if sum(map(len, texts)) > LONGEST:
        return f"the program with its input is longer than {LONGEST:,} characters"
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        return f"UnicodeEncodeError: {error.reason}"
    return ""


def module_over(host: Host) -> types.ModuleType:
    """The module that task code may import."""
    module = types.ModuleType(NAME, "What the sandbox offers to task code.")
    module.__dict__.update(
        Run=Run,
        run_submission=host.run_submission,
        eval_with_llm_judge=host.eval_with_llm_judge,
    )
    return module
