"""Runs the gates on a proposal: on its text, on what its program states, and on how it scores."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from agents.errors import FamilyFault
from agents.families.proposal import Proposal
from agents.judge.rater import Rater
from agents.sandbox import HELPERS, Sandbox, Submission
from agents.settings import GateSettings
from agents.trial.claims import CLAIM_GATES, UNREADABLE, Claims, quoted
from agents.trial.clock import YEARS, years_later
from agents.trial.rated import rated_gates, text_complaint
from agents.trial.scores import GATES_OF_RATED_CODE, SCORE_GATES, Chance, Scored, chance_of
from memory.records import GateCode, GateReport
from memory.spans import span

T = TypeVar("T")

REPEATS = 20
"""How often a submission is scored again where randomness is suspected."""
_CALLS = re.compile(rf"^\s*(?:from|import)\s+{HELPERS}\b", re.MULTILINE)
_CHANCE = re.compile(
    r"\b(?:u?random|getrandom|secrets|uuid\w*|getpid|threading|_thread"
    r"|(?:monotonic|perf_counter|process_time|thread_time)\w*)\b"
)
"""Names in a program that indicate randomness."""


async def run_gates(
    sandbox: Sandbox,
    proposal: Proposal,
    settings: GateSettings,
    rater: Rater | None = None,
    *,
    level: int = 1,
    seed: int = 0,
) -> GateReport:
    """Run the gates on a proposal, in the sandbox.

    Args:
        sandbox: where its code runs.
        proposal: the draft.
        settings: limits of the gates.
        rater: grades the answers of a rated family; without one such a family is rejected.
        level: at which a generative family asks, as far as it has so many levels.
        seed: of its own two instances; the gates try `settings.seeds` seeds from this one on.

    Raises:
        SandboxError: the sandbox itself failed; nothing is known about the proposal.
        EndpointError, ContextLengthError, BudgetExhausted: the rater's endpoint did, likewise.
    """
    with span("gate", "gates", family_name=proposal.name) as work:
        report = text_complaint(proposal, can_rate=rater is not None)
        if report is None:
            report = await _run_gates(sandbox, proposal, settings, level, seed)
        if report.passed and proposal.rated and rater is not None:
            report = await rated_gates(rater, proposal, report)
        work.set(output=report.code or "passed")
        return report


async def _run_gates(
    sandbox: Sandbox, proposal: Proposal, settings: GateSettings, level: int, seed: int
) -> GateReport:
    # A scorer that runs programs or asks models takes its time.
    seeds = 2 if _CALLS.search(proposal.code) else settings.seeds
    claims = None
    try:
        inspection = await sandbox.inspect(proposal.code, range(seed, seed + seeds))
        claims = Claims(proposal, inspection, settings, level, seed)
        found: list[tuple[GateCode, str]] = []
        for code, claim_gate in CLAIM_GATES:
            found.append((code, _gate(code, claim_gate, claims)))
            if code in UNREADABLE and found[-1][1]:
                break
        if any(detail for _, detail in found):
            return _failures(claims, found)
        scored = await _scored(sandbox, claims)
        later = await _only_later(sandbox, scored)
        found = [("time_bomb", later)] if later else []
        for code, score_gate in SCORE_GATES:
            by_rater = proposal.rated and code not in GATES_OF_RATED_CODE
            if not by_rater and not (later and code == "score_unstable"):
                found.append((code, _gate(code, score_gate, scored)))
        if not any(detail for _, detail in found):
            found.append(("score_unstable", await _random_score(sandbox, scored)))
        if any(detail for _, detail in found):
            return _failures(claims, found)
    except FamilyFault as fault:
        if claims is not None:
            return claims.report(fault.code, fault.detail)
        return GateReport(code=fault.code, detail=fault.detail)
    chances = tuple(scored.chances[level].share for level in sorted(scored.chances))
    return claims.report(None).model_copy(update={"chances": chances})


def _gate(code: GateCode, gate: Callable[[T], str], of: T) -> str:
    """What one gate says, "" if it lets pass."""
    with span("gate", code) as work:
        said = gate(of)
        work.set(output=said or "passed")
        return said


def _failures(claims: Claims, found: Sequence[tuple[GateCode, str]]) -> GateReport:
    """The report of all gates that failed; the first one's code counts."""
    (code, detail), *others = [(code, detail) for code, detail in found if detail]
    return claims.report(code, "; ".join([detail, *(f"{more}: {text}" for more, text in others)]))


async def _scored(sandbox: Sandbox, claims: Claims) -> Scored:
    """Score all that the gates need twice: each in its own process, then together, years later.

    The changed clock exposes a scorer that waits for a date, the shared process one that remembers
    what it has scored. Constant answers that fail the first instance are scored for the second
    only together with the others, once. Known answers are also scored separately years later: a
    scorer might read the clock only at its first call. Of a generative family only its own pair
    is scored separately; its other instances are scored together, now and years later.

    Raises:
        FamilyFault: a submission cannot be scored.
    """
    code = claims.proposal.code
    first, second = claims.own
    pairs = [pair for pair in _pairs(claims) if pair[0] in claims.own]
    pairs = list(dict.fromkeys([*pairs, *((first, text) for text in claims.constants)]))
    forth = dict(zip(pairs, await _values(sandbox, code, pairs), strict=True))
    known = [pair for pair in claims.references.items() if pair[0] in claims.own]
    known += [next(pair for pair in claims.wrong if pair[0] == name) for name in claims.own]
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
    drawn = [pair for pair in _pairs(claims) if pair[0] not in claims.own]
    if drawn:
        forth |= await _together(sandbox, code, drawn)
        back |= await _together(sandbox, later, drawn[::-1])
    values = {pair: (forth.get(pair, value), value) for pair, value in back.items()}
    return Scored(claims, values, await _chances(sandbox, claims, values))


def _pairs(claims: Claims) -> list[tuple[str, str]]:
    """(instance, text) of everything whose score is known beforehand."""
    empty = [(instance, "") for instance in claims.instructions]
    return list(dict.fromkeys([*claims.references.items(), *claims.wrong, *empty, *claims.echoes]))


async def _chances(
    sandbox: Sandbox, claims: Claims, values: Mapping[tuple[str, str], tuple[float, float]]
) -> dict[int, Chance]:
    """Level -> how far a constant answer gets: every reference of a level, and the trivial ones.

    Raises:
        FamilyFault: a submission cannot be scored.
    """
    if claims.levels is None or claims.proposal.rated:
        return {}
    chances = {}
    for level in range(1, claims.levels + 1):
        names = [name for name in claims.instructions if f"@{level}." in name]
        references = [claims.references[name] for name in names]
        texts = list(dict.fromkeys([*references, *claims.settings.trivial_answers]))
        open_ones = [(n, text) for text in texts for n in names if (n, text) not in values]
        found = {pair: pass_[0] for pair, pass_ in values.items()}
        found |= await _together(sandbox, claims.proposal.code, open_ones)
        chances[level] = chance_of({t: [found[name, t] == 1 for name in names] for t in texts})
    return chances


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
    randomness is run more often; a seeded one such as `random.Random(7)` passes. Every generative
    family names one, so only its own pair is run.

    Raises:
        FamilyFault: a submission cannot be scored.
    """
    claims = scored.claims
    if not _CHANCE.search(claims.proposal.code):
        return ""
    known = [pair for pair in claims.references.items() if pair[0] in claims.own]
    wrong = [pair for pair in claims.wrong if pair[0] in claims.own]
    known += [*wrong[:1], *wrong[-1:]]
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
