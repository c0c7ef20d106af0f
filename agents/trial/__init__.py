"""The gates: what a drafted family must show before any expert or critic sees it.

Each gate is a small function that gives one line for the scientist, or "" if there is nothing to
complain about. They run cheap ones first, and the first complaint is the outcome:

- on the text of the proposal: `rubric_missing`, `no_rater`, `length_tells`;
- on what the family says of itself: `instance_count`, `instruction_empty`,
  `instruction_unstable`, `leaked`;
- on how it scores: `score_range`, `score_unstable`, `time_bomb`, `reference_fails`, `wrong_passes`,
  `empty_passes`, `echo_passes`, `constant_answer`;
- while its code is read and runs: `executes_submission`, `import_error`, `timeout`, `memory`,
  `crash`, `no_rater`, `judge_limit`.

A rated family is graded by its code and by a rater: its code need only let the reference answers
through, and the gates on wrong answers, the bare instruction and constants are the rater's
(`agents.trial.rated`).
"""

from agents.trial.gates import run_gates

__all__ = ["run_gates"]
