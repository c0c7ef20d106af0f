"""From answers to rows: Coverage, best-of-N, tokens and time, and intervals over all runs."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from agents.errors import AnsweringError
from agents.evaluation.bench import Bench, Sheet, TaskOutcome
from agents.evaluation.chance import Guess
from agents.evaluation.contenders import Line
from agents.evaluation.intervals import Interval, paired_intervals, ratio_interval
from agents.evaluation.tasks import Task
from agents.evaluation.transfer import DISTANCES, Distance
from agents.task_force.agreement import agreed, asked_of
from agents.task_force.ballot import Ballot, CandidateAnswer
from agents.task_force.methods import Aids, Method, lacking, select
from evolution.selection import Standing
from memory.hashing import text_hash
from memory.records import Voice

RowKey = tuple[str, int]
"""Name and N of a row."""


@dataclass(frozen=True)
class Row:
    """One way of answering, measured on every task.

    Attributes:
        solved: task id -> at least one of the N answers is right (Coverage).
        chosen: method -> task id -> the answer that it chose is right.
        experts: who answered.
        temperatures: at which each of them answered; empty where that is not known.
        sheets: what each of them answered to every task; empty where that is not known.
        sampling: how tokens were drawn, in words.
        tokens: generated; `tokens_in` read.
        seconds: of the engine, shares of batches added up.
        ungraded: answers that could not be graded; they solve nothing.
        asked: task id -> answers that best-of-N heard until enough agreed; None where it hears all.
        tokens_asked: generated in those.
    """

    name: str
    n: int
    solved: Mapping[str, bool]
    chosen: Mapping[str, Mapping[str, bool]]
    experts: tuple[str, ...]
    sampling: str
    tokens: int
    tokens_in: int
    seconds: float
    ungraded: int
    temperatures: tuple[float, ...] = ()
    sheets: tuple[Sheet, ...] = ()
    asked: Mapping[str, int] | None = None
    tokens_asked: int = 0

    @property
    def place(self) -> RowKey:
        """What it is compared by."""
        return (self.name, self.n)


@dataclass(frozen=True)
class RunRows:
    """All rows of one run.

    Attributes:
        run: the run folder.
        seed: the run seed.
        clusters: task id -> generator.
        left_out: name of a row that this run cannot have -> why.
        guesses: task id -> the best constant answer to the tasks of its generator; empty where
            that is not known.
        distances: task id -> how far it lies from what the run has asked, where that is known.
        learnt: tasks whose question, word for word, a lesson of the run was about.
    """

    run: str
    seed: int
    clusters: Mapping[str, str]
    rows: Mapping[RowKey, Row] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    guesses: Mapping[str, Guess] = field(default_factory=dict)
    distances: Mapping[str, Distance] = field(default_factory=dict)
    learnt: frozenset[str] = frozenset()

    @property
    def guessed(self) -> Mapping[str, Guess]:
        """Task id -> the constant answer, where that passes most tasks of its generator."""
        return {task: guess for task, guess in self.guesses.items() if guess.passes_most}

    def of_tasks(self, tasks: Container[str]) -> RunRows:
        """The same rows, measured on some of the tasks alone."""
        kept = {task: name for task, name in self.clusters.items() if task in tasks}
        return replace(self, clusters=kept)


async def measure(
    bench: Bench,
    line: Line,
    methods: Sequence[Method],
    aids: Aids,
    standing: Standing,
    until_agree: int | None = None,
) -> Row:
    """Read off a row, and choose one answer per task by each method.

    Args:
        bench: where everybody has answered.
        line: the row.
        methods: of best-of-N.
        aids: what they need.
        standing: what voices pass.
        until_agree: as many voices have to agree, and a method hears no more; a row of fewer voices
            hears all.
    """
    until = until_agree if until_agree is not None and line.n >= until_agree else None
    sheets = [bench.sheet(seat) for seat in line.seats]
    voices = [seat.voice for seat in line.seats]
    fitness = [standing.fitness(voice) for voice in voices]
    # The fittest first: that is the order in which ties fall.
    order = sorted(range(line.n), key=lambda place: -fitness[place])
    solved, votes = {}, []
    for task in bench.tasks:
        said = [(voices[p], fitness[p], sheets[p][task.id]) for p in order]
        solved[task.id] = any(outcome.passed for _, _, outcome in said)
        heard = [entry for entry in said if entry[2].answer is not None]
        if heard:
            passes = [bool(outcome.passed) for _, _, outcome in heard]
            ballot = _ballot(task, heard)
            votes.append((task.id, asked_of(ballot, until) if until else ballot, passes))
    chosen = {}
    for method in methods:
        # An engine that gives no log-probabilities leaves out the methods that need them.
        if any(lacking(method, aids, ballot) for _, ballot, _ in votes):
            continue
        right = dict.fromkeys(solved, False)
        for task_id, ballot, passes in votes:
            choice = agreed(ballot, until) if until else None
            right[task_id] = passes[(choice or await select(method, ballot, aids)).winner]
        chosen[method.name] = right
    outcomes = [outcome for sheet in sheets for outcome in sheet.values()]
    replies = [outcome.answer.reply for outcome in outcomes if outcome.answer is not None]
    return Row(
        name=line.name,
        n=line.n,
        solved=solved,
        chosen=chosen,
        experts=tuple(voice.expert for voice in voices),
        sampling=line.sampling,
        tokens=sum(reply.tokens_out for reply in replies),
        tokens_in=sum(reply.tokens_in for reply in replies),
        seconds=sum(reply.seconds for reply in replies),
        ungraded=sum(outcome.passed is None for outcome in outcomes),
        temperatures=tuple(voice.temperature for voice in voices),
        sheets=tuple(sheets),
        asked={task: len(ballot.candidates) for task, ballot, _ in votes} if until else None,
        tokens_asked=sum(each.tokens for _, ballot, _ in votes for each in ballot.candidates),
    )


def _ballot(task: Task, said: Sequence[tuple[Voice, float, TaskOutcome]]) -> Ballot:
    candidates = []
    for voice, fitness, outcome in said:
        assert outcome.answer is not None
        candidates.append(CandidateAnswer.of(voice, outcome.answer.reply, fitness))
    return Ballot(task.instructions, tuple(candidates), seed=int(text_hash(task.id), 16))


def unlearnt(runs: Sequence[RunRows]) -> list[RunRows]:
    """The runs without the tasks that a lesson of any of them was about: those test nothing.

    Raises:
        AnsweringError: nothing is left.
    """
    learnt = frozenset[str]().union(*(run.learnt for run in runs))
    kept = {task for task in runs[0].clusters if task not in learnt}
    if not kept:
        raise AnsweringError("every task is, word for word, one that a run was taught: take others")
    return [run.of_tasks(kept) for run in runs] if learnt else list(runs)


def headline(runs: Sequence[RunRows]) -> list[RunRows]:
    """The runs without the tasks of generators whose constant answer passes most of them.

    Coverage of those measures guessing. Where there are no others, nothing is left out.
    """
    guessed = {task for run in runs for task in run.guessed}
    kept = [task for task in runs[0].clusters if task not in guessed]
    return [run.of_tasks(set(kept)) for run in runs] if kept else list(runs)


def by_distance(runs: Sequence[RunRows]) -> dict[Distance, list[RunRows]]:
    """The runs apart by how far tasks lie from what the runs have asked, the nearest first.

    A generator that one of several runs has asked is near in all of them.
    """
    nearest: dict[str, Distance] = {}
    for distance in reversed(DISTANCES):
        nearest |= {
            task: distance
            for run in runs
            for task in run.clusters
            if run.distances.get(task) == distance
        }
    apart = {}
    for distance in DISTANCES:
        tasks = {task for task, of in nearest.items() if of == distance}
        if tasks:
            apart[distance] = [run.of_tasks(tasks) for run in runs]
    return apart


@dataclass(frozen=True)
class Difference:
    """A paired difference between two rows of equal N, over all runs.

    Attributes:
        measure: `coverage`, `corrected`, or the method of a best-of-N accuracy.
        by_run: the same difference in each run alone.
    """

    ours: RowKey
    theirs: RowKey
    measure: str
    interval: Interval
    by_run: tuple[float, ...]


Column = tuple[RowKey, str]
"""A row and what is measured of it: `coverage`, `corrected` for chance, or a method."""


def intervals(runs: Sequence[RunRows], columns: Sequence[Column]) -> dict[Column, Interval]:
    """Means over the tasks of all runs, with 95 % intervals over generators and runs."""
    table = _Table.of(runs, columns)
    return dict(zip(columns, table.intervals(), strict=True))


def differences(
    runs: Sequence[RunRows], pairs: Sequence[tuple[Column, Column]]
) -> list[Difference]:
    """Paired differences, ours minus theirs, on the same resampled generators and runs."""
    if not pairs:
        return []
    ours = _Table.of(runs, [pair[0] for pair in pairs])
    return ours.minus(_Table.of(runs, [pair[1] for pair in pairs]))


def between(
    ours: Sequence[RunRows], theirs: Sequence[RunRows], columns: Sequence[Column]
) -> list[Difference]:
    """The same columns of two groups of runs, paired by the order of runs and by task."""
    return _Table.of(ours, columns).minus(_Table.of(theirs, columns))


def times(runs: Sequence[RunRows], ours: Column, theirs: Column) -> Interval:
    """How many times as much as theirs ours is, with its 95 % interval.

    Both are of the same resampled generators and runs.
    """
    table = _Table.of(runs, [ours, theirs])
    return ratio_interval(table.values[:, 0], table.values[:, 1], table.clusters, runs=table.runs)


def recovered(runs: Sequence[RunRows], ours: Column, ceiling: Column, floor: Column) -> Interval:
    """Share of the gap between floor and ceiling that ours fills, with its 95 % interval.

    Gap and gain are of the same resampled generators and runs.
    """
    table = _Table.of(runs, [ours, ceiling, floor])
    gained, gap = (table.values[:, place] - table.values[:, 2] for place in (0, 1))
    return ratio_interval(gained, gap, table.clusters, runs=table.runs)


@dataclass(frozen=True)
class _Table:
    """What was measured of every task in every run.

    A generator is one cluster in all runs: what it favours, it favours in each of them.

    Attributes:
        columns: what is measured.
        values: (tasks of all runs, columns) of 0 and 1, corrected ones, or differences of them; NaN
            where nothing is left to be solved in excess of chance.
        clusters: the generator of each line.
        runs: the run of each line.
    """

    columns: Sequence[Column]
    values: NDArray[np.float64]
    clusters: list[str]
    runs: list[int]

    @classmethod
    def of(cls, runs: Sequence[RunRows], columns: Sequence[Column]) -> _Table:
        """Read some columns of all runs."""
        values, clusters, numbers = [], [], []
        for number, run in enumerate(runs):
            for task, cluster in run.clusters.items():
                clusters.append(cluster)
                numbers.append(number)
                guess = run.guesses.get(task)
                values.append([_value(run.rows[p], what, task, guess) for p, what in columns])
        table = np.array(values, dtype=np.float64).reshape(len(clusters), len(columns))
        return cls(columns, table, clusters, numbers)

    def intervals(self) -> list[Interval]:
        """One interval per column, all on the same draws."""
        return paired_intervals(self.values, self.clusters, runs=self.runs)

    def minus(self, other: _Table) -> list[Difference]:
        """Differences of columns to those of another table, line by line."""
        apart = replace(self, values=self.values - other.values)
        run = np.array(self.runs)
        by_run = [_means(apart.values[run == number]) for number in np.unique(run)]
        return [
            Difference(ours, theirs, what, interval, tuple(float(row[place]) for row in by_run))
            for place, ((ours, what), (theirs, _), interval) in enumerate(
                zip(self.columns, other.columns, apart.intervals(), strict=True)
            )
        ]


def _means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(columns,) means of what is known; NaN where nothing is."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        means: NDArray[np.float64] = np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0)
    return means


def _value(row: Row, what: str, task: str, guess: Guess | None) -> float:
    if what == "corrected":
        return float("nan") if guess is None else guess.corrected(float(row.solved[task]))
    return float(row.solved[task] if what == "coverage" else row.chosen[what][task])
