"""The trial of a drafted family: gates first, then answers of current experts for the critic.

    gates   run_gates: which gates run, in which order
    claims  gates on what the family says of itself
    scores  gates on how it scores
    rated   gates of rated families, which need a rater
    clock   a program whose clock is years ahead
    panel   answer_trial: current experts answer the draft

Most gates are small functions that give one line for the scientist, or "" where they find nothing.
The cheap ones run first, and the first finding is the outcome; a code of a gate is listed in
`memory.records.GateCode`, too:

- on the text of a rated proposal: `rubric_missing`, `no_rater`, `length_tells`, and in the end, by
  the rater: `rater_undecided`, `wrong_passes`, `echo_passes`, `constant_answer`;
- on what the family says of itself: `instance_count`, `instruction_empty`,
  `instruction_malformed`, `instruction_unstable`, `leaked`;
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
