"""What a family states about itself, and the gates on that."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agents.families.proposal import Proposal
from agents.judge.extraction import extract
from agents.sandbox import Inspection
from agents.settings import GateSettings
from memory.records import GateCode

INSTANCES = ("1", "2")
SHOWN = 80
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
RAMBLING = "I am not sure, but let me think about it once more. " * 10
"""A long answer without content: a scorer that rewards length would pass it."""


@dataclass(frozen=True, slots=True)
class Claims:
    """The proposal and what its program states about itself."""

    proposal: Proposal
    inspection: Inspection
    settings: GateSettings

    @property
    def instructions(self) -> Mapping[str, str]:
        """Instance -> instruction."""
        return self.inspection.instructions

    @property
    def references(self) -> dict[str, str]:
        """Instance -> the reference answer as it is extracted from an expert's reply."""
        return {name: as_read(text) for name, text in self.proposal.references.items()}

    @property
    def wrong(self) -> list[tuple[str, str]]:
        """Pairs of instance and wrong answer."""
        wrong = self.proposal.wrong.items()
        return [(instance, as_read(text)) for instance, texts in wrong for text in texts]

    @property
    def echoes(self) -> list[tuple[str, str]]:
        """Pairs of instance and the submission of an expert that repeats the instruction."""
        return [
            (instance, text)
            for instance, instruction in self.instructions.items()
            for text in dict.fromkeys([instruction, extract(instruction).answer])
        ]

    @property
    def constants(self) -> list[str]:
        """Answers of which none may pass both instances."""
        references = self.references.values()
        texts = [*references, *self.settings.trivial_answers, medley(*references), RAMBLING]
        return list(dict.fromkeys(texts))


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
    """Exactly the instances "1" and "2"."""
    found = sorted(claims.instructions)
    return "" if found == list(INSTANCES) else f'get_tasks must give "1" and "2", not {found}'


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


_GIVEAWAY = r"\b(?:answer|solution)[\s*_`\"']*(?::|=|\bis\b:?)"
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
    ("instruction_empty", instruction_empty),
    ("instruction_malformed", instruction_malformed),
    ("instruction_unstable", instruction_unstable),
    ("leaked", leaked),
)
