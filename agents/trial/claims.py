"""What a family states about itself, and the gates on that."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agents.families.proposal import MOST_WRONG_ANSWERS, Proposal
from agents.judge.extraction import extract
from agents.sandbox import Inspection
from agents.settings import GateSettings
from memory.records import GateCode, GateReport, drawn

INSTANCES = ("1", "2")
SHOWN = 80
LEAST_DISTINCT = 0.5
"""More than this share of a level's instances, from different seeds, differ."""
FEWEST_CHOICES = 3
FEWEST_PLACES = 6
"""So many instances with choices say where the right one stands."""
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
RAMBLING = "I am not sure, but let me think about it once more. " * 10
"""A long answer without content: a scorer that rewards length would pass it."""


@dataclass(frozen=True)
class Claims:
    """The proposal and what its program states about itself.

    Keys of mappings are names of instances: "1" and "2" of a closed family, and those of
    `memory.records.drawn` of a generative one, of which `own` names the family's own pair.
    """

    proposal: Proposal
    inspection: Inspection
    settings: GateSettings
    level: int
    seed: int

    @property
    def levels(self) -> int | None:
        """How many levels a generative family has; None for a closed one."""
        return self.inspection.first.levels

    @property
    def own(self) -> tuple[str, str]:
        """The names of the family's own two instances."""
        first, second = INSTANCES
        if self.levels is None:
            return first, second
        level = min(self.level, self.levels)
        return drawn(first, level, self.seed), drawn(second, level, self.seed)

    @property
    def instructions(self) -> Mapping[str, str]:
        """Instance -> instruction."""
        return self.inspection.first.instructions

    @property
    def stated(self) -> Mapping[str, str]:
        """Instance -> the reference answer as the scientist or the program states it."""
        return self.proposal.references if self.levels is None else self.inspection.first.references

    @cached_property
    def references(self) -> dict[str, str]:
        """Instance -> the reference answer as it is extracted from an expert's reply."""
        return {name: as_read(text) for name, text in self.stated.items()}

    @property
    def stated_wrong(self) -> Mapping[str, Sequence[str]]:
        """Instance -> wrong answers as the scientist or the program states them."""
        return self.proposal.wrong if self.levels is None else self.inspection.first.wrong

    @cached_property
    def wrong(self) -> list[tuple[str, str]]:
        """Pairs of instance and wrong answer."""
        wrong = self.stated_wrong.items()
        return [(instance, as_read(text)) for instance, texts in wrong for text in texts]

    @cached_property
    def echoes(self) -> list[tuple[str, str]]:
        """Pairs of instance and the submission of an expert that repeats the instruction."""
        return [
            (instance, text)
            for instance, instruction in self.instructions.items()
            for text in dict.fromkeys([instruction, extract(instruction).answer])
        ]

    @property
    def constants(self) -> list[str]:
        """Answers of which none may pass both of the family's own instances."""
        references = [self.references[instance] for instance in self.own]
        texts = [*references, *self.settings.trivial_answers, medley(*references), RAMBLING]
        return list(dict.fromkeys(texts))

    def report(self, code: GateCode | None, detail: str = "") -> GateReport:
        """The outcome, with the family's own pair of instances as far as it has them."""
        numbers = dict(zip(INSTANCES, self.own, strict=True))

        def pair(values: Mapping[str, Any]) -> dict[str, Any]:
            return {key: values[name] for key, name in numbers.items() if name in values}

        return GateReport(
            code=code,
            detail=detail,
            instructions=pair(self.instructions),
            references=pair(self.stated),
            wrong=pair(self.stated_wrong),
            levels=self.levels or 1,
            level=min(self.level, self.levels or 1),
            seed=None if self.levels is None else self.seed,
        )


def medley(first: str, second: str) -> str:
    """Both references in one text: as lines, behind commas and among words.

    A scorer that searches a text for the right answer passes it for both instances.
    """
    return f"{first}\n{second}\n, {first}, {second}, \n{first} {second} ."


def as_read(answer: str) -> str:
    """An answer as it reaches the scorer when an expert writes it after the marker.

    One that contains a marker itself is extracted from there, as in any reply.
    """
    marked = extract(answer)
    if not marked.unmarked:
        return marked.answer
    gap = "\n" if "\n" in answer.strip() else " "
    return extract(f"Answer:{gap}{answer}").answer


def quoted(text: str) -> str:
    """A text in one short line."""
    return repr(text if len(text) <= SHOWN else text[: SHOWN - 1] + "…")


def instance_count(claims: Claims) -> str:
    """Exactly the instances "1" and "2", in every draw."""
    draws: dict[str, list[str]] = {}
    for name in claims.instructions:
        number, _, draw = name.partition("@")
        draws.setdefault(draw, []).append(number)
    for draw, found in draws.items():
        if sorted(found) != list(INSTANCES):
            return f'get_tasks must give "1" and "2", not {sorted(found)}{_where(draw)}'
    return "" if draws else 'get_tasks must give "1" and "2", not []'


def _where(draw: str) -> str:
    level, _, seed = draw.partition(".")
    return f" (level {level}, seed {seed})" if draw else ""


def answers_missing(claims: Claims) -> str:
    """Every instance has a reference answer and one to twenty wrong answers."""
    if claims.levels is None and not (claims.proposal.references and claims.proposal.wrong):
        return (
            "reference_answers and wrong_answers are missing, and TaskFamily has no reference(t) "
            "and wrong(t) that would compute them"
        )
    for instance, texts in claims.stated_wrong.items():
        if not 1 <= len(texts) <= MOST_WRONG_ANSWERS:
            return (
                f"wrong gives {len(texts)} answers for instance {instance}, not 1 to "
                f"{MOST_WRONG_ANSWERS}"
            )
    return ""


def instruction_empty(claims: Claims) -> str:
    """Every instance asks something."""
    empty = [instance for instance, text in claims.instructions.items() if not text.strip()]
    return f"the instruction of instance {empty[0]} is empty" if empty else ""


_CONTROL_TOKEN = re.compile(
    r"<\|[^<>|\s]{1,40}\|>|<\uff5c[^<>\uff5c]{1,40}\uff5c>|</?(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>"
)
"""What chat templates of widespread models mark turns with."""


def instruction_malformed(claims: Claims) -> str:
    """Every instruction is a text of bounded length that a person could have typed."""
    limit = claims.settings.instruction_length
    for instance, text in claims.instructions.items():
        place = f"the instruction of instance {instance}"
        if len(text) > limit:
            return f"{place} has {len(text):,} characters, at most {limit:,} are allowed"
        if shown := next((c for c in text if not (c.isprintable() or c in "\n\r\t\xa0\u3000")), ""):
            return f"{place} contains the control character {shown!a}"
        if found := _CONTROL_TOKEN.search(text):
            return f"{place} contains {quoted(found[0])}, which is a control token of models"
    return ""


def instruction_unstable(claims: Claims) -> str:
    """A second process gets the same instances."""
    first, again = claims.inspection.first, claims.inspection.again
    for instance, text in first.instructions.items():
        if (other := again.instructions.get(instance, "")) != text:
            return (
                f"instance {instance} was {quoted(text)} and then {quoted(other)}: "
                f"{_SAME_ALWAYS if claims.levels else 'use no randomness'}"
            )
    for instance, task in first.tasks.items():
        if _comparable(task) != _comparable(again.tasks.get(instance)):
            return f"get_tasks gave other data for instance {instance} the second time"
    for instance, reference in first.references.items():
        if (other := again.references.get(instance, "")) != reference:
            return (
                f"the reference of instance {instance} was {quoted(reference)} and then "
                f"{quoted(other)}: {_SAME_ALWAYS}"
            )
    return ""


_SAME_ALWAYS = (
    "the same seed and level must give the same tasks in every process, whatever was drawn before"
)


def instances_repeat(claims: Claims) -> str:
    """Seeds and levels of a generative family give different questions."""
    if claims.levels is None:
        return ""
    by_level: dict[int, list[str]] = {level: [] for level in range(1, claims.levels + 1)}
    for name, text in claims.instructions.items():
        by_level[int(name.partition("@")[2].partition(".")[0])].append(text)
    for level, texts in by_level.items():
        if len(set(texts)) <= LEAST_DISTINCT * len(texts):
            return (
                f"level {level} gives {len(set(texts))} different questions in {len(texts)} "
                "instances of different seeds: draw from random.Random(seed), from more data"
            )
    for level, texts in by_level.items():
        same = next((other for other in range(1, level) if by_level[other] == texts), None)
        if same is not None:
            return f"levels {same} and {level} ask the same: each level must be harder"
    first, second = claims.own
    if claims.instructions[first] == claims.instructions[second]:
        return f"both instances of level {claims.level}, seed {claims.seed} ask the same"
    return ""


_MARK = r"(?:^|[\s(\[*])[(\[*]*([A-Ha-h1-8])(?:[)\]]\**\s*|\**[.:]\**\s+|\s[-\u2013]\s+)"
_OPTION = re.compile(rf"{_MARK}(.+?)(?=\s*(?:{_MARK}|[;\n]|$))")
"""A lettered or numbered choice of an instruction, and its text."""
_BULLET = re.compile(r"^\s*[-*\u2022]\s+(.+?)\s*$", re.MULTILINE)


def choice_place(claims: Claims) -> str:
    """The right choice does not stand at the same place in all instances, of a level or at all."""
    if claims.levels is None:
        return ""
    found: dict[int, list[tuple[int, int]]] = {}
    for name, reference in claims.references.items():
        options = choices(claims.instructions[name])
        place = place_of(options, reference)
        if len(options) >= FEWEST_CHOICES and place is not None:
            level = int(name.partition("@")[2].partition(".")[0])
            found.setdefault(level, []).append((place, len(options) - 1 - place))
    for level, places in [(0, [each for of in found.values() for each in of]), *found.items()]:
        asked = len(claims.references) / (claims.levels if level else 1)
        if len(places) < max(FEWEST_PLACES, asked / 2):
            continue
        for end, distances in zip(
            ("the first", "the last"), zip(*places, strict=True), strict=True
        ):
            if len(set(distances)) == 1:
                where = f"{distances[0]} from {end}" if distances[0] else end
                at = f" at level {level}" if level else ""
                return (
                    f"the right choice is always {where} of the choices{at}: shuffle them by the "
                    "seed"
                )
    return ""


def choices(instruction: str) -> list[tuple[str, str]]:
    """The listed choices of an instruction: (letter, text), in lower case.

    They are the longest run of marks that follow one another, as A, B, C; without such a run the
    lines that begin with a dash or a star, which have no letters.
    """
    runs: list[list[tuple[str, str]]] = [[]]
    for match in _OPTION.finditer(instruction):
        letter, text = match[1].casefold(), match[2].strip(" .,?").casefold()
        if not runs[-1] or ord(letter) != ord(runs[-1][-1][0]) + 1:
            runs.append([])
        runs[-1].append((letter, text))
    longest = max(runs, key=len)
    bullets = [("", text.strip(" .,?").casefold()) for text in _BULLET.findall(instruction)]
    return longest if len(longest) >= len(bullets) else bullets


def place_of(options: Sequence[tuple[str, str]], answer: str) -> int | None:
    """Which of the choices an answer names, by letter or text; None if none, or several.

    The sentence after the last choice counts as its text where nothing separates the two, so the
    beginning of one is enough where no choice is named exactly.
    """
    said = answer.casefold().strip(" .()")
    if marked := _OPTION.fullmatch(said):  # "D) 17": mark and text
        said = marked[2]
    begins = re.compile(rf"{re.escape(said)}(?!\w)") if said else None
    exact = [place for place, option in enumerate(options) if said in option]
    begun = [place for place, (_, text) in enumerate(options) if begins and begins.match(text)]
    found = exact or begun
    return found[0] if len(found) == 1 else None


def _comparable(task: object) -> object:
    """Task data without addresses in memory, which differ from process to process."""
    return _ADDRESS.sub("", task) if isinstance(task, str) else task


_GIVEAWAY = r"\b(?:answer|solution|result)[\s*_`\"']*(?::|=|\bis\b:?)"
"""What precedes an answer that is leaked."""
_KEY = r"""["'](?:\w*answer|solution|expected\w*|target|result)["']\s*:"""
"""A key of the task's own data, as in an instruction that prints all of it."""


def leaked(claims: Claims) -> str:
    """No instruction contains its own answer."""
    for instance, reference in claims.references.items():
        instruction = claims.instructions[instance]
        if len(reference) >= claims.settings.leak_length and reference in instruction:
            return f"the instruction of instance {instance} contains its reference answer"
        ending = r"(?=[\s*_`\"')\]]*(?:$|[.;!](?:\s|$)))"
        stated = rf"{_GIVEAWAY}[\s*_`\"'(\[]*{re.escape(reference)}{ending}"
        dumped = rf"{_KEY}[\s\"']*{re.escape(reference)}(?!\w)"
        found = reference and (
            re.search(stated, instruction, re.IGNORECASE | re.MULTILINE)
            or re.search(dumped, instruction, re.IGNORECASE)
        )
        if found:
            return f"the instruction of instance {instance} says {quoted(found[0])}"
    return ""


CLAIM_GATES: tuple[tuple[GateCode, Callable[[Claims], str]], ...] = (
    ("instance_count", instance_count),
    ("answers_missing", answers_missing),
    ("instruction_empty", instruction_empty),
    ("instruction_malformed", instruction_malformed),
    ("instruction_unstable", instruction_unstable),
    ("leaked", leaked),
    ("instances_repeat", instances_repeat),
    ("choice_place", choice_place),
)
UNREADABLE: frozenset[GateCode] = frozenset({"instance_count", "answers_missing"})
"""Where one of these fails, instances or answers are missing that other gates compare."""
