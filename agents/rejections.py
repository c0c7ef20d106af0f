"""Why an assignment came to nothing, in words: what stands beside the codes that are counted."""

from __future__ import annotations

from collections.abc import Mapping

IN_WORDS: Mapping[str, str] = {
    "rubric_missing": "a rated family without a rubric",
    "no_rater": "it needs a model that grades, and none is there",
    "length_tells": "every wrong answer is shorter than the right one",
    "rater_undecided": "the rater does not tell a right answer from a wrong one",
    "instance_count": "not two instances in every draw",
    "instruction_empty": "an instruction asks nothing",
    "instruction_malformed": "an instruction is too long, or holds control characters",
    "instruction_unstable": "an instruction is not the same the next time",
    "leaked": "an instruction holds the answer",
    "executes_submission": "the scorer would run what an expert answers as code",
    "import_error": "the program cannot be loaded",
    "timeout": "the program takes too long",
    "memory": "the program needs too much memory",
    "crash": "the program breaks while it runs",
    "judge_limit": "the scorer asks a model too often, or with too long a text",
    "prompt_too_long": "an instruction does not fit the experts' context",
    "skipped": "not run, since an answer before it broke the scorer twice",
    "score_range": "a score is not 0 or 1",
    "score_unstable": "the same answer is scored differently the next time",
    "time_bomb": "it is not the same years later",
    "reference_fails": "the reference answer is scored as wrong",
    "wrong_passes": "a wrong answer is scored as right",
    "empty_passes": "no answer is scored as right",
    "echo_passes": "the question itself is scored as right",
    "constant_answer": "one answer passes, whatever is asked",
    "answers_missing": "a reference or wrong answers are missing",
    "levels_malformed": "its levels, references or wrong answers have not the form that they need",
    "instances_repeat": "fresh instances repeat the same questions",
    "choice_place": "the right choice always stands at the same place",
    "levels_disordered": "a higher level is easier than a lower one",
    "levels_gap": "one level is too easy, the next too hard",
    "too_hard": "the experts cannot do it",
    "too_easy": "nearly every expert can do it",
    "equal_scores": "it does not tell the experts apart",
    "constant_passes": "what passes is what an expert answers to everything",
    "duplicate": "the same as another family",
    "not_novel": "too like another family",
    "malformed": "no reply has the form that was asked for",
    "rounds_exhausted": "the critic still wanted changes after the last round",
    "critic_reject": "the critic rejected it",
    "context_length": "the conversation became too long for the model",
    "endpoint": "the model's server failed",
}
"""By each `RejectionReason`."""


def explained(reason: str) -> str:
    """A code with its meaning behind it: `leaked (an instruction holds the answer)`.

    Codes that another version recorded stay as they are.
    """
    return f"{reason} ({IN_WORDS[reason]})" if reason in IN_WORDS else reason
