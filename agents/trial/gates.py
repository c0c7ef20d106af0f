"""Runs the gates on a proposal: on its text, on what its program states, and on how it scores."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agents.errors import FamilyFault
from agents.families.proposal import Proposal
from agents.judge.rater import Rater
from agents.sandbox import HELPERS, Sandbox, Submission
from agents.settings import GateSettings
from agents.trial.claims import CLAIM_GATES, INSTANCES, Claims, quoted
from agents.trial.clock import YEARS, years_later
from agents.trial.rated import rated_gates, text_complaint
from agents.trial.scores import GATES_OF_RATED_CODE, SCORE_GATES, Scored
from memory.records import GateReport
from memory.spans import span

REPEATS = 20
"""How often a submission is scored again where randomness is suspected."""
_CHANCE = re.compile(
    r"\b(?:u?random|getrandom|secrets|uuid\w*|getpid|threading|_thread"
    r"|(?:monotonic|perf_counter|process_time|thread_time)\w*)\b"
)
"""Names in a program that indicate randomness."""


async def run_gates(
    sandbox: Sandbox, proposal: Proposal, settings: GateSettings, rater: Rater | None = None
) -> GateReport:
    """Run the gates on a proposal, in the sandbox.

    Args:
        sandbox: where its code runs.
        proposal: the draft.
        settings: limits of the gates.
        rater: grades the answers of a rated family; without one such a family is rejected.

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
        for code, score_gate in SCORE_GATES:
            if proposal.rated and code not in GATES_OF_RATED_CODE:
                continue
            if detail := score_gate(scored):
                return GateReport(code=code, detail=detail, instructions=instructions)
        if chance := await _random_score(sandbox, scored):
            return GateReport(code="score_unstable", detail=chance, instructions=instructions)
    except FamilyFault as fault:
        return GateReport(code=fault.code, detail=fault.detail, instructions=instructions)
    return GateReport(code=None, instructions=instructions)


async def _score(sandbox: Sandbox, claims: Claims) -> dict[tuple[str, str], tuple[float, float]]:
    """Score all that the gates need twice: each in its own process, then together, years later.

    The changed clock exposes a scorer that waits for a date, the shared process one that remembers
    what it has scored. Constant answers that fail the first instance are scored for the second
    only together with the others, once. Known answers are also scored separately years later: a
    scorer might read the clock only at its first call.

    Raises:
        FamilyFault: a submission cannot be scored.
    """
    code = claims.proposal.code
    first, second = INSTANCES
    pairs = list(
        dict.fromkeys(
            [
                *claims.references.items(),
                *claims.wrong,
                *((instance, "") for instance in INSTANCES),
                *claims.echoes,
                *((first, text) for text in claims.constants),
            ]
        )
    )
    forth = dict(zip(pairs, await _values(sandbox, code, pairs), strict=True))
    known = [*claims.references.items()]
    known += [next(pair for pair in claims.wrong if pair[0] == name) for name in INSTANCES]
    passing = [(second, text) for text in claims.constants if forth[first, text] == 1]
    more = [pair for pair in passing if pair not in forth]
    if more:
        forth |= zip(more, await _values(sandbox, code, more), strict=True)
    later, pairs = years_later(code), list(forth)[::-1]
    rest = [(second, text) for text in claims.constants if (second, text) not in forth]
    back = dict(zip(known, await _values(sandbox, later, known), strict=True))
    back = await _together(sandbox, later, [*pairs, *rest]) | {
        pair: value for pair, value in back.items() if value != forth[pair]
    }
    return {pair: (forth.get(pair, value), value) for pair, value in back.items()}


async def _together(
    sandbox: Sandbox, code: str, pairs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], float]:
    """Scores from one process, unless one fails or the scorer runs programs or asks models.

    Raises:
        FamilyFault: a submission cannot be scored.
    """
    values = None
    if HELPERS not in code:
        values = await sandbox.score_together(code, [Submission(*pair) for pair in pairs])
    if values is None:
        values = await _values(sandbox, code, pairs)
    return dict(zip(pairs, values, strict=True))


async def _only_later(sandbox: Sandbox, scored: Scored) -> str:
    """What changes with the clock alone, or "".

    One submission that changed is scored several times now and as often years later: scores that
    depend on randomness or on the process do not follow the clock.

    Raises:
        FamilyFault: a submission cannot be scored.
    """
    changed = next((pair for pair, (forth, back) in scored.values.items() if forth != back), None)
    if changed is None:
        return ""
    code, (forth, back) = scored.claims.proposal.code, scored.values[changed]
    now = await _values(sandbox, code, [changed] * REPEATS)
    later = await _values(sandbox, years_later(code), [changed] * REPEATS)
    if set(now) != {forth} or set(later) != {back}:
        return ""
    instance, text = changed
    return (
        f"{quoted(text)} (instance {instance}) scores {forth:g} today and {back:g} in {YEARS} "
        "years: score must not look at the clock"
    )


async def _random_score(sandbox: Sandbox, scored: Scored) -> str:
    """Which submission is not always scored the same, or "".

    Two values say little about a scorer that is nearly always stable. One that names a source of
    randomness is run more often; a seeded one such as `random.Random(7)` passes.

    Raises:
        FamilyFault: a submission cannot be scored.
    """
    claims = scored.claims
    if not _CHANCE.search(claims.proposal.code):
        return ""
    known = [*claims.references.items(), *claims.wrong[:1], *claims.wrong[-1:]]
    values = await _values(sandbox, claims.proposal.code, known * REPEATS)
    for pair, value in zip(known * REPEATS, values, strict=True):
        if value != (first := scored.values[pair][0]):
            return (
                f"{quoted(pair[1])} (instance {pair[0]}) scored {first:g} and then {value:g}: "
                "score must leave nothing to chance"
            )
    return ""


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
