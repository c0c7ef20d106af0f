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
(`agents.rated_gates`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agents.clock import YEARS, years_later
from agents.errors import FamilyFault
from agents.extraction import extract
from agents.rated_gates import rated_gates, text_complaint
from agents.rating import Rater
from agents.sandbox import Inspection, Sandbox, Submission
from agents.schemas import Proposal
from agents.settings import GateSettings
from memory.records import GateReport
from memory.spans import span

INSTANCES = ("1", "2")
SHOWN = 80
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Claims:
    """The proposal and what its program says of itself."""

    proposal: Proposal
    inspection: Inspection
    settings: GateSettings

    @property
    def instructions(self) -> Mapping[str, str]:
        """Instance -> instruction."""
        return self.inspection.instructions

    @property
    def references(self) -> dict[str, str]:
        """Instance -> the reference answer as it is read out of an expert's reply."""
        answers = self.proposal.reference_answers
        return {"1": as_read(answers.first), "2": as_read(answers.second)}

    @property
    def wrong(self) -> list[tuple[str, str]]:
        """Pairs of instance and wrong answer."""
        wrong = self.proposal.wrong_answers
        pairs = [("1", text) for text in wrong.first] + [("2", text) for text in wrong.second]
        return [(instance, as_read(text)) for instance, text in pairs]

    @property
    def echoes(self) -> list[tuple[str, str]]:
        """Pairs of instance and what an expert that repeats the instruction would hand in."""
        return [
            (instance, text)
            for instance, instruction in self.instructions.items()
            for text in dict.fromkeys([instruction, extract(instruction).answer])
        ]

    @property
    def constants(self) -> list[str]:
        """Answers of which none may do for both instances."""
        return list(dict.fromkeys([*self.references.values(), *self.settings.trivial_answers]))


@dataclass(frozen=True, slots=True)
class Scored:
    """The claims, and how the family scores: (instance, text) -> the values of two processes."""

    claims: Claims
    values: Mapping[tuple[str, str], tuple[float, float]]

    def passes(self, instance: str, text: str) -> bool:
        """Whether a text scores 1."""
        return self.values[instance, text][0] == 1


async def run_gates(
    sandbox: Sandbox, proposal: Proposal, settings: GateSettings, rater: Rater | None = None
) -> GateReport:
    """Run the gates on a proposal, in the sandbox.

    Args:
        sandbox: where its code runs.
        proposal: the draft.
        settings: limits of the gates.
        rater: grades the answers of a rated family; without one such a family is refused.

    Raises:
        SandboxError: the sandbox itself failed; nothing is known about the proposal.
        EndpointError, ContextLengthError, BudgetExhausted: the rater's endpoint did, likewise.
    """
    with span("sandbox", "gates", family=proposal.name) as work:
        report = text_complaint(proposal, can_rate=rater is not None)
        if report is None:
            report = await _run_gates(sandbox, proposal, settings)
        if report.passed and proposal.rated and rater is not None:
            report = await rated_gates(rater, proposal, report)
        work.set(output=report.code or "passed")
        return report


async def _run_gates(sandbox: Sandbox, proposal: Proposal, settings: GateSettings) -> GateReport:
    instructions: dict[str, str] = {}
    try:
        inspection = await sandbox.inspect(proposal.code)
        instructions.update(inspection.instructions)
        claims = Claims(proposal, inspection, settings)
        for code, claim_gate in CLAIM_GATES:
            if detail := claim_gate(claims):
                return GateReport(code=code, detail=detail, instructions=instructions)
        scored = Scored(claims, await _score(sandbox, claims))
        if later := await _only_later(sandbox, scored):
            return GateReport(code="time_bomb", detail=later, instructions=instructions)
    except FamilyFault as fault:
        return GateReport(code=fault.code, detail=fault.detail, instructions=instructions)
    for code, score_gate in SCORE_GATES:
        if proposal.rated and code not in GATES_OF_RATED_CODE:
            continue
        if detail := score_gate(scored):
            return GateReport(code=code, detail=detail, instructions=instructions)
    return GateReport(code=None, instructions=instructions)


async def _score(sandbox: Sandbox, claims: Claims) -> dict[tuple[str, str], tuple[float, float]]:
    """Score all that the gates need twice, each in its own process; the second time years later.

    A scorer that waits for a date gives itself away by the clock.

    Raises:
        FamilyFault: a submission cannot be scored.
    """
    pairs = list(
        dict.fromkeys(
            [
                *claims.references.items(),
                *claims.wrong,
                *((instance, "") for instance in INSTANCES),
                *claims.echoes,
                *((instance, text) for text in claims.constants for instance in INSTANCES),
            ]
        )
    )
    forth = await _values(sandbox, claims.proposal.code, pairs)
    back = await _values(sandbox, years_later(claims.proposal.code), pairs[::-1])
    return dict(zip(pairs, zip(forth, back[::-1], strict=True), strict=True))


async def _only_later(sandbox: Sandbox, scored: Scored) -> str:
    """What changes with the clock alone, or "": scored once more in that order, but now.

    Raises:
        FamilyFault: a submission cannot be scored.
    """
    pairs = [pair for pair, (forth, back) in scored.values.items() if forth != back]
    if not pairs:
        return ""
    order = list(scored.values)[::-1]
    now = dict(zip(order, await _values(sandbox, scored.claims.proposal.code, order), strict=True))
    if any(now[pair] != scored.values[pair][0] for pair in pairs):
        return ""
    (instance, text), (forth, back) = pairs[0], scored.values[pairs[0]]
    return (
        f"{quoted(text)} (instance {instance}) scores {forth:g} today and {back:g} in {YEARS} "
        "years: score must not look at the clock"
    )


async def _values(sandbox: Sandbox, code: str, pairs: Sequence[tuple[str, str]]) -> list[float]:
    scores = await sandbox.score(code, [Submission(*pair) for pair in pairs])
    values = []
    for (instance, text), score in zip(pairs, scores, strict=True):
        if score.fault is not None:
            place = f"instance {instance}, submission {quoted(text)}"
            raise FamilyFault(score.fault.code, f"{place}: {score.fault.detail}")
        assert score.value is not None
        values.append(score.value)
    return values


def as_read(answer: str) -> str:
    """An answer as it arrives at the scorer after an expert wrote it behind the marker."""
    gap = "\n" if "\n" in answer.strip() else " "
    return extract(f"Answer:{gap}{answer}").answer


def quoted(text: str) -> str:
    """A text in one short line."""
    return repr(text if len(text) <= SHOWN else text[: SHOWN - 1] + "…")


# ------------------------------------------------- gates on what a family says of itself


def instance_count(claims: Claims) -> str:
    """Exactly the instances "1" and "2"."""
    found = sorted(claims.instructions)
    return "" if found == list(INSTANCES) else f'get_tasks must give "1" and "2", not {found}'


def instruction_empty(claims: Claims) -> str:
    """Every instance asks something."""
    empty = [instance for instance, text in claims.instructions.items() if not text.strip()]
    return f"the instruction of instance {empty[0]} is empty" if empty else ""


def instruction_unstable(claims: Claims) -> str:
    """A second process gets the same instances."""
    first, again = claims.inspection.instructions, claims.inspection.instructions_again
    for instance, text in first.items():
        if again.get(instance) != text:
            other = quoted(again.get(instance, ""))
            return f"instance {instance} was {quoted(text)} and then {other}: use no randomness"
    data, data_again = claims.inspection.tasks, claims.inspection.tasks_again
    for instance in first:
        if _comparable(data[instance]) != _comparable(data_again.get(instance)):
            return f"get_tasks gave other data for instance {instance} the second time"
    return ""


def _comparable(task: object) -> object:
    """Task data without addresses in memory, which differ from process to process."""
    return _ADDRESS.sub("", task) if isinstance(task, str) else task


def leaked(claims: Claims) -> str:
    """No instruction gives its own answer away."""
    for instance, reference in claims.references.items():
        instruction = claims.instructions[instance]
        if len(reference) >= claims.settings.leak_length and reference in instruction:
            return f"the instruction of instance {instance} contains its reference answer"
        ending = r"(?=[\s*_`\"')\]]*(?:$|[.;!](?:\s|$)))"
        told = rf"answer[\s*_]*:[\s*_`\"'(\[]*{re.escape(reference)}{ending}"
        if reference and re.search(told, instruction, re.IGNORECASE | re.MULTILINE):
            return f"the instruction of instance {instance} says `Answer: {reference}`"
    return ""


# ------------------------------------------------------------- gates on how it scores


def score_range(scored: Scored) -> str:
    """Every score is 0 or 1."""
    for (instance, text), values in scored.values.items():
        for value in values:
            if value not in (0, 1):
                return f"score gave {value:g} for {quoted(text)} (instance {instance}), not 0 or 1"
    return ""


def score_unstable(scored: Scored) -> str:
    """The same submission gets the same score in another process and order."""
    for (instance, text), (forth, back) in scored.values.items():
        if forth != back:
            return (
                f"{quoted(text)} (instance {instance}) scored {forth:g} and then {back:g}: "
                "score must depend on task and submission alone"
            )
    return ""


def reference_fails(scored: Scored) -> str:
    """Each reference answer scores 1."""
    written = scored.claims.proposal.reference_answers
    for instance, reference in scored.claims.references.items():
        if not scored.passes(instance, reference):
            original = written.first if instance == "1" else written.second
            read = "" if reference == original else f", which is read as {quoted(reference)},"
            return f"the reference {quoted(original)}{read} of instance {instance} scores 0"
    return ""


def wrong_passes(scored: Scored) -> str:
    """Each wrong answer scores 0."""
    for instance, text in scored.claims.wrong:
        if scored.passes(instance, text):
            return f"the wrong answer {quoted(text)} of instance {instance} scores 1"
    return ""


def empty_passes(scored: Scored) -> str:
    """No answer at all scores 0."""
    passing = [instance for instance in INSTANCES if scored.passes(instance, "")]
    return f"the empty answer scores 1 for instance {passing[0]}" if passing else ""


def echo_passes(scored: Scored) -> str:
    """Repeating the instruction scores 0."""
    for instance, text in scored.claims.echoes:
        if scored.passes(instance, text):
            return f"the bare instruction of instance {instance} scores 1 as an answer"
    return ""


def constant_answer(scored: Scored) -> str:
    """No single answer passes both instances."""
    for text in scored.claims.constants:
        if all(scored.passes(instance, text) for instance in INSTANCES):
            return f"the same answer {quoted(text)} passes both instances"
    return ""


CLAIM_GATES: tuple[tuple[str, Callable[[Claims], str]], ...] = (
    ("instance_count", instance_count),
    ("instruction_empty", instruction_empty),
    ("instruction_unstable", instruction_unstable),
    ("leaked", leaked),
)
SCORE_GATES: tuple[tuple[str, Callable[[Scored], str]], ...] = (
    ("score_range", score_range),
    ("score_unstable", score_unstable),
    ("reference_fails", reference_fails),
    ("wrong_passes", wrong_passes),
    ("empty_passes", empty_passes),
    ("echo_passes", echo_passes),
    ("constant_answer", constant_answer),
)
GATES_OF_RATED_CODE = frozenset({"score_range", "score_unstable", "reference_fails"})
"""What the code of a rated family must show; the rest is the rater's to show."""
