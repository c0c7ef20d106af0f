"""The trial of a drafted family: gates first, then the level at which it tells experts apart.

    gates   run_gates: which gates run, in which order
    claims  gates on what the family says of itself
    scores  gates on how it scores, and what a constant answer gets by chance
    rated   gates of rated families, which need a rater
    clock   a program whose clock is years ahead
    panel   answer_trial: current experts answer the draft
    levels  find_level: the search for a level at which some pass and some fail

Most gates are small functions that give one line for the scientist, or "" where they find nothing.
The cheap ones run first; a report names all that failed, and the first one's code counts. A code of
a gate is listed in `memory.records.GateCode`, too:

- on the text of a rated proposal: `rubric_missing`, `no_rater`, `length_tells`, and in the end, by
  the rater: `rater_undecided`, `wrong_passes`, `echo_passes`, `constant_answer`;
- on what the family says of itself: `instance_count`, `answers_missing`, `instruction_empty`,
  `instruction_malformed`, `instruction_unstable`, `leaked`, `instances_repeat`, `choice_place`;
- on how it scores: `score_range`, `score_unstable`, `time_bomb`, `reference_fails`, `wrong_passes`,
  `empty_passes`, `echo_passes`, `constant_answer`;
- while its code is read and runs: `executes_submission`, `import_error`, `levels_malformed`,
  `timeout`, `memory`, `crash`, `no_rater`, `judge_limit`;
- by what the panel answers: `too_hard`, `too_easy`, `levels_gap`, `levels_disordered`,
  `equal_scores`, `constant_passes`.

A rated family is graded by its code and by a rater: its code need only let the reference answers
through, and the gates on wrong answers, the bare instruction and constants are the rater's
(`agents.trial.rated`).
"""

from agents.trial.gates import run_gates

__all__ = ["run_gates"]
