"""At which level of a drafted family some experts pass and some fail: a search over few answers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from agents.families.items import Item, Rubric, items_of
from agents.families.proposal import Proposal
from agents.sandbox import Description
from agents.settings import CalibrationSettings
from agents.trial.claims import INSTANCES, choices, place_of
from memory.hashing import text_hash
from memory.records import GateCode, GateReport, LevelRate, TrialAnswer, drawn

Panel = Callable[[int, Sequence[Item]], Awaitable[Sequence[TrialAnswer]]]
"""Lets the trial panel answer items of a level."""


@dataclass(frozen=True, slots=True)
class Program:
    """A draft that passed the gates, with the instances that its program draws.

    Attributes:
        proposal: the draft.
        gates: the report that it passed.
        drawn: what the program says of itself, for the family's own seed and those after it;
            None for a closed family.
    """

    proposal: Proposal
    gates: GateReport
    drawn: Description | None

    @property
    def references(self) -> Mapping[str, str]:
        """Instance -> the right answer, as stated or computed."""
        return self.gates.references if self.drawn is None else self.drawn.references

    def items(self, level: int, count: int) -> list[Item]:
        """Instances of a level for the panel: not those of the family's own seed.

        A closed family has no others: the panel is asked its own two.
        """
        if self.drawn is None or self.gates.seed is None:
            return items_of(self.proposal.to_family(self.gates))
        seeds = range(self.gates.seed + 1, self.gates.seed + 1 + seeds_for(count))
        names = [drawn(number, level, seed) for seed in seeds for number in INSTANCES]
        return [self._item(name, self.drawn) for name in names[:count]]

    def _item(self, name: str, said: Description) -> Item:
        rubric = None
        if self.proposal.rated:
            rubric = Rubric.of(self.proposal.rubric or "", said.references[name], said.wrong[name])
        code = self.proposal.code
        return Item(code, text_hash(code), name, said.instructions[name], rubric)

    def at(self, level: int) -> GateReport:
        """The gates' report, with the family's own pair of instances at a level."""
        if self.drawn is None or self.gates.seed is None:
            return self.gates
        names = {number: drawn(number, level, self.gates.seed) for number in INSTANCES}
        said = self.drawn
        pair = {
            "instructions": {number: said.instructions[name] for number, name in names.items()},
            "references": {number: said.references[name] for number, name in names.items()},
            "wrong": {number: list(said.wrong[name]) for number, name in names.items()},
        }
        return self.gates.model_copy(update={"level": level, **pair})

    def rate(self, level: int, answers: Sequence[TrialAnswer]) -> LevelRate:
        """What the panel passed at a level."""
        verdicts = [answer.passed for answer in answers if answer.passed is not None]
        chances = self.gates.chances
        return LevelRate(
            level=level,
            asked=len(verdicts),
            passed=sum(verdicts),
            chance=chances[level - 1] if chances else 0.0,
        )


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Where a draft stands among the current experts.

    Attributes:
        report: the gates' report at the level that was found, or with the code of what is wrong.
        curve: what the panel passed at the levels that it was asked, the easiest first.
        answers: of the panel, at these levels.
    """

    report: GateReport
    curve: tuple[LevelRate, ...]
    answers: tuple[TrialAnswer, ...]


def seeds_for(instances: int) -> int:
    """How many seeds give so many instances."""
    return math.ceil(instances / len(INSTANCES))


async def find_level(
    program: Program, levels: range, settings: CalibrationSettings, panel: Panel
) -> Calibrated:
    """Search for a level at which the panel's share of right answers lies in the band.

    The search takes it that a higher level is harder. It begins in the lower third: from a low
    level a family can be raised later. The instances of the first seed come first: where all
    answers to them are right, or all wrong, no others are asked at that level. Where all
    levels that were asked are too hard, or all too easy, the other end is asked as well: it may
    lie in the band by little, and levels in the wrong order show there.

    Args:
        program: the draft.
        levels: to search, the easiest first; not empty.
        settings: the band, and how many instances the panel is asked at each level.
        panel: answers.

    Raises:
        FamilyFault: the family could not grade such an answer, twice.
    """
    answers: dict[int, Sequence[TrialAnswer]] = {}
    rates: dict[int, LevelRate] = {}

    async def ask(level: int) -> LevelRate:
        items, given = program.items(level, settings.instances), list[TrialAnswer]()
        for part in (items[: len(INSTANCES)], items[len(INSTANCES) :]):
            given += await panel(level, part) if part else ()
            rates[level] = program.rate(level, given)
            if rates[level].passed in (0, rates[level].asked):
                break  # far outside the band
        answers[level] = [
            answer.model_copy(update={"reference": program.references[answer.instance]})
            for answer in given
        ]
        return rates[level]

    def outcome(level: int, code: GateCode | None, detail: str) -> Calibrated:
        report = program.at(level).model_copy(update={"code": code, "detail": detail})
        asked = [at for at in sorted(rates) if rates[at].asked]
        given = tuple(answer for at in asked for answer in answers[at])
        return Calibrated(report, tuple(rates[at] for at in asked), given)

    low, high = levels[0], levels[-1]
    while low <= high:
        level = low + (high - low) // 3
        now = await ask(level)
        if not now.asked:  # the engine answered nothing: nothing is known
            return outcome(level, None, "")
        if settings.low <= now.rate <= settings.high:
            return outcome(level, *_untelling(answers[level]))
        low, high = (low, level - 1) if now.rate < settings.low else (level + 1, high)
    hard = [rate.rate < settings.low for rate in rates.values()]
    end = levels[-1] if all(hard) else levels[0]
    if len(set(hard)) == 1 and end not in rates:
        now = await ask(end)
    code, detail = _outside([rates[at] for at in sorted(rates)], settings)
    if code != "levels_disordered" and settings.low <= now.rate <= settings.high:
        return outcome(end, *_untelling(answers[end]))
    return outcome(level, code, detail)


def _outside(rates: Sequence[LevelRate], settings: CalibrationSettings) -> tuple[GateCode, str]:
    """What is wrong with a family that no level of which lies in the band."""
    seen = ", ".join(f"{rate.passed} of {rate.asked} at level {rate.level}" for rate in rates)
    for easier, harder in itertools.pairwise(rates):
        if max(0.0, harder.rate) - max(0.0, easier.rate) > _noise(easier, harder):
            return (
                "levels_disordered",
                f"level {harder.level} is easier than level {easier.level}: right are {seen}",
            )
    hard = [rate for rate in rates if rate.rate < settings.low]
    if not hard:
        return "too_easy", f"nearly all answers are right, even at the highest level: {seen}"
    if len(hard) == len(rates):
        chance = rates[0].chance
        guessed = f" (the best constant answer: {chance:.0%})" if chance else ""
        return "too_hard", f"hardly any is right, even at the lowest level: {seen}{guessed}"
    return "levels_gap", f"no level lies between too easy and too hard: right are {seen}"


def _noise(one: LevelRate, other: LevelRate) -> float:
    """By how much two rates differ by sampling alone: two standard errors."""
    if not (one.asked and other.asked):
        return math.inf
    share = (one.passed + other.passed + 1) / (one.asked + other.asked + 2)
    chance = max(one.chance, other.chance)
    error = math.sqrt(share * (1 - share) * (1 / one.asked + 1 / other.asked))
    return 2 * error / (1 - chance)


def _untelling(answers: Sequence[TrialAnswer]) -> tuple[GateCode | None, str]:
    """Why answers in the band tell nothing about the experts that gave them."""
    by_expert: dict[str, list[TrialAnswer]] = {}
    for answer in answers:
        by_expert.setdefault(answer.expert, []).append(answer)
    passing = {name: given for name, given in by_expert.items() if any(a.passed for a in given)}
    if all(is_habit(given) for given in passing.values()):
        habits = "; ".join(
            f"{name} answers {given[0].extracted!r}" for name, given in passing.items()
        )
        return (
            "constant_passes",
            f"what passed is what the same expert gives every time ({habits}, or that place "
            "in the list): ask so that no habit is right",
        )
    patterns = {
        tuple((answer.instance, answer.passed) for answer in given) for given in by_expert.values()
    }
    if len(by_expert) > 1 and len(patterns) == 1:
        (pattern,) = patterns
        passed = sum(bool(verdict) for _, verdict in pattern)
        return (
            "equal_scores",
            f"all {len(by_expert)} experts pass the same {passed} of {len(pattern)} instances: the "
            "instance decides, not the expert",
        )
    return None, ""


def is_habit(answers: Sequence[TrialAnswer]) -> bool:
    """Whether an expert gave one answer, or one place of the listed choices, to all questions.

    Args:
        answers: of one expert to different questions.
    """
    if len(answers) < 2:
        return False
    if len({answer.extracted.casefold().strip(" .") for answer in answers}) == 1:
        return True
    places = [_place(answer) for answer in answers]
    return None not in places and len(set(places)) == 1


def _place(answer: TrialAnswer) -> int | None:
    """Which of the question's choices an answer takes; None if it takes none, or several."""
    return place_of(choices(answer.question), answer.extracted)
