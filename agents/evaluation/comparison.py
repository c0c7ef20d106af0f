"""Two sides on the same items: the paired difference in Coverage, and where they differ.

A side is one expert, or the task force of a run. Both are compared on held-out tasks that they
answer now, or on what two histories have in common: families of the same content that were graded
for both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from agents.errors import AnsweringError
from agents.evaluation.intervals import Interval, cluster_bootstrap
from agents.families.items import Item, all_asked
from agents.task_force.field import force_in, history_of
from memory.hashing import json_hash
from memory.records import Answer, Family
from memory.store import RunStore

if TYPE_CHECKING:
    from agents.context import ReadContext
    from agents.evaluation.tasks import Task
    from agents.judge.grader import Together


@dataclass(frozen=True, slots=True)
class Question:
    """What both sides were asked.

    Attributes:
        id: of the task, of an instance, or of a closed family, which asks with both its instances.
        generator: the unit of the interval: generator or family.
        instance: of a generative family; "" for a task, and for a closed family.
    """

    id: str
    generator: str
    text: str
    reference: str
    instance: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """What one side made of a question.

    Attributes:
        solved: whether one of its experts was right; None if that is not known.
        answers: (expert, what it answered, whether that is right), in the order of the side.
        asked: whether each of its experts was asked.
    """

    solved: bool | None
    answers: tuple[tuple[str, str, bool | None], ...]
    asked: bool = True

    @classmethod
    def of(cls, given: Sequence[tuple[str, str, bool | None]], asked: bool = True) -> Answered:
        """From (expert, answer, passed) of each member: one pass is enough, a gap leaves it open.

        Missing is never fail: nothing is known unless somebody passed or all were graded.
        """
        passes = [passed for _, _, passed in given]
        solved = True if any(passes) else (None if None in passes else False)
        return cls(solved, tuple(given), asked)


@dataclass(frozen=True, slots=True)
class Pair:
    """One question and both sides' answers to it, both graded."""

    question: Question
    first: Answered
    second: Answered

    @property
    def gain(self) -> int:
        """1 where only the first side solves it, -1 where only the second does, else 0."""
        return bool(self.first.solved) - bool(self.second.solved)


@dataclass(frozen=True)
class Comparison:
    """The comparison of two sides.

    Attributes:
        pairs: those that differ first, the first side's gains before its losses.
        interval: of the difference in Coverage, first minus second, over whole generators.
        ungraded: questions of both sides that were left out since a grade is missing.
        not_asked: questions that were left out since a side was not asked them.
    """

    pairs: tuple[Pair, ...]
    interval: Interval
    ungraded: int
    not_asked: int


def members_of(store: RunStore, expert: str | None, n: int) -> list[str]:
    """The expert that is named, or the force of n different experts, who answer greedily.

    Raises:
        StoreError: there is no such expert.
        AnsweringError: the run has fewer than n graded experts.
    """
    if expert is not None:
        return [store.expert(expert).id]
    force = [voice.expert for voice in force_in(store, n, alone=True).voices]
    if len(force) < n:
        raise AnsweringError(
            f"too few graded experts for a task force of {n} (-n {n}): the run has {len(force)}"
        )
    return force


def stored(
    store: RunStore, members: Sequence[str], families: Iterable[str] | None = None
) -> dict[str, tuple[Question, Answered]]:
    """Content of what the history asked -> the question, and how the members were graded on it.

    Of generative families by instances. Of closed ones by families: of one that is failed already,
    the judge does not ask the rest.

    Args:
        store: of the run.
        members: the experts of the side.
        families: ids of those that are looked at; None for the whole history.
    """
    genomes = {name: store.expert(name).genome_id for name in members}
    sheets = {name: _answers(store, genome) for name, genome in genomes.items()}
    verdicts = {name: store.verdicts(genome) for name, genome in genomes.items()}
    skills = {name: store.skills(name) for name in members}
    found = {}
    for family in history_of(store, families):
        items = all_asked(store, family)
        for asked in [[item] for item in items] if family.generative else [items]:
            given, everybody = [], True
            for name in members:
                answers = {i.instance: sheets[name].get(i.instance_hash) for i in asked}
                said = [(number, answer.extracted) for number, answer in answers.items() if answer]
                passed = _verdict(verdicts[name], answers.values())
                if not family.generative:
                    passed = skills[name].get(family.id, passed)
                given.append((name, _numbered(said, family), passed))
                everybody = everybody and bool(said or passed is not None)
            found[json_hash([item.instance_hash for item in asked])] = (
                _question(family, asked),
                Answered.of(given, everybody),
            )
    return found


def _question(family: Family, asked: Sequence[Item]) -> Question:
    return Question(
        id=f"{family.id} {asked[0].instance}" if family.generative else family.id,
        generator=family.id,
        text=_numbered([(item.instance, item.instructions) for item in asked], family),
        reference=_numbered([(item.instance, item.reference) for item in asked], family),
        instance=asked[0].instance if family.generative else "",
    )


def _verdict(verdicts: Mapping[str, bool], answers: Iterable[Answer | None]) -> bool | None:
    """Whether all answers are right; None where that is not known."""
    graded = [None if answer is None else verdicts.get(answer.key) for answer in answers]
    return False if False in graded else (None if None in graded else True)


def _numbered(texts: Sequence[tuple[str, str]], family: Family) -> str:
    """Texts of a closed family by the numbers of its instances; else there is a single one."""
    if family.generative:
        return "".join(text for _, text in texts)
    return "\n".join(f"({number}) {text}" for number, text in texts)


def _answers(store: RunStore, genome_id: str) -> dict[str, Answer]:
    """Instance -> the first sample of what a genome answered."""
    found: dict[str, Answer] = {}
    for answer in store.answers_of(genome_id):
        found.setdefault(answer.instance_hash, answer)
    return found


async def answered(
    context: ReadContext,
    book: RunStore,
    sandbox: Together,
    members: Sequence[str],
    tasks: Sequence[Task],
    max_tokens: int | None,
) -> dict[str, tuple[Question, Answered]]:
    """Task -> the task, and what the members answer to it, greedily; what is kept is not asked.

    Raises:
        EngineError: the experts cannot be loaded.
    """
    # They load torch, which nobody needs who compares what is graded already.
    from agents.evaluation.bench import Bench
    from agents.evaluation.contenders import Line, Seat, contenders

    line = Line("compare", tuple(Seat(each) for each in contenders(context, members)))
    bench = Bench(context, book, sandbox, tasks, max_tokens or context.config.judge.max_tokens)
    await bench.answer_all([line])
    sheets = [(seat.contender.name, bench.sheet(seat)) for seat in line.seats]
    found = {}
    for task in tasks:
        given = []
        for name, sheet in sheets:
            answer = sheet[task.id].answer
            given.append((name, "" if answer is None else answer.extracted, sheet[task.id].passed))
        question = Question(task.id, task.cluster, task.instructions, task.answer)
        found[task.id] = (question, Answered.of(given))
    return found


def compared(
    first: Mapping[str, tuple[Question, Answered]],
    second: Mapping[str, tuple[Question, Answered]],
) -> Comparison:
    """Compare two sides on the questions that both were asked.

    Raises:
        AnsweringError: there is none that was graded for both.
    """
    shared = [key for key in first if key in second]
    pairs = [Pair(first[key][0], first[key][1], second[key][1]) for key in shared]
    graded = [p for p in pairs if p.first.solved is not None and p.second.solved is not None]
    if not graded:
        raise AnsweringError(
            "no question was graded for both; acdc compare A B TASKS.jsonl asks both of them"
        )
    # In an order of their own, so that an interval does not depend on how questions were found.
    graded.sort(key=lambda pair: astuple(pair.question))
    gains: dict[str, list[float]] = {}
    for pair in graded:
        gains.setdefault(pair.question.generator, []).append(pair.gain)
    graded.sort(key=lambda pair: (not pair.gain, -pair.gain))
    left_out = [pair for pair in pairs if None in (pair.first.solved, pair.second.solved)]
    ungraded = sum(pair.first.asked and pair.second.asked for pair in left_out)
    not_asked = len(left_out) - ungraded
    return Comparison(tuple(graded), cluster_bootstrap(gains), ungraded, not_asked)
