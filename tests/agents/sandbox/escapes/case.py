"""What a hostile case is."""

from __future__ import annotations

from dataclasses import dataclass

SCORED_ZERO = "0"
"""It ran to its end and had to admit that it got nowhere."""


@dataclass(frozen=True, slots=True)
class Escape:
    """One thing that hostile code tries.

    Attributes:
        name: tells it from the others.
        tries: what it is after.
        body: statements of `score(t, submission)`, or of `moment`. They return 1 for an escape.
        submission: the text that is scored.
        outcomes: what may come of it: "0", or reason codes of faults. An escape is anything else.
        moment: which method the statements are the body of: `score`, `get_tasks`, or `import` if
            they are run when the family is imported.
        after: statements of a later scorer in the same guest, which return 1 if they find a trace.
        brief: whether it is to be run under a short time limit, since it never ends by itself.
        shown_by: kinds of sandboxes that show this by design, since it holds nothing of the host.
    """

    name: str
    tries: str
    body: str
    submission: str = "x"
    outcomes: tuple[str, ...] = (SCORED_ZERO,)
    moment: str = "score"
    after: str = ""
    brief: bool = False
    shown_by: tuple[str, ...] = ()
