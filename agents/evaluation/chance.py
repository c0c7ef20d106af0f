"""Chance: how far one constant answer gets on the tasks of a generator, and Coverage without it.

As a family's gate measures it (`agents.trial.scores.chance_of`): every reference answer of the
tasks and the trivial answers are tried on all of them; the best constant is chosen on one half and
counted on the other, so that few tasks do not inflate it; of many halvings, the mean. What is
solved in excess of chance is

    corrected = (coverage - chance) / (1 - chance)

of each generator, averaged over tasks as Coverage is: 0 is guessing, 1 all, below 0 worse.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from agents.evaluation.scoring import gym_program, same_answer, same_number
from agents.evaluation.tasks import GymScore, Task
from agents.judge.grader import Together
from agents.sandbox import Submission
from agents.task_force.ballot import normalise
from agents.trial.scores import MOST_BY_CHANCE, Chance, chance_of
from memory.hashing import json_hash
from memory.store import RunStore

SPLITS = 32
"""Halvings of the tasks that chance is the mean of."""
NO_GENERATOR = "tasks without a generator"


@dataclass(frozen=True, slots=True)
class Guess:
    """The best constant answer to some tasks.

    Attributes:
        generator: what made them; all tasks that name no generator are taken together.
        answer: the constant answer that passes most of them.
        chance: share of them that a constant answer passes.
    """

    generator: str
    answer: str
    chance: float

    @property
    def passes_most(self) -> bool:
        """Whether Coverage of these tasks measures guessing."""
        return self.chance > MOST_BY_CHANCE

    def corrected(self, solved: float) -> float:
        """What is solved in excess of chance; NaN where the constant answer passes everything."""
        return (solved - self.chance) / (1 - self.chance) if self.chance < 1 else float("nan")


async def guesses(
    sandbox: Together, book: RunStore, tasks: Sequence[Task], trivial: Sequence[str]
) -> dict[str, Guess]:
    """Task -> the best constant answer to the tasks of its generator.

    Args:
        sandbox: where scorers of reasoning-gym run; other tasks are compared with their references.
        book: keeps what was found, for scoring all references on all tasks takes its time.
        tasks: held-out tasks.
        trivial: constant answers that are tried beside the references.

    Raises:
        SandboxError: a scorer has to run, and cannot.
    """
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        named = task.generator or isinstance(task.score, GymScore)
        groups.setdefault(task.cluster if named else NO_GENERATOR, []).append(task)
    found: dict[str, Guess] = {}
    for generator, group in groups.items():
        guess = await _guess(sandbox, book, generator, group, trivial)
        found |= {task.id: guess for task in group}
    return {task.id: found[task.id] for task in tasks}


async def _guess(
    sandbox: Together, book: RunStore, generator: str, tasks: Sequence[Task], trivial: Sequence[str]
) -> Guess:
    if len(tasks) == 1:
        # There is no other half on which a constant could be counted.
        return Guess(generator, tasks[0].answer, 0.0)
    key = json_hash(["chance", [task.item().instance_hash for task in tasks], list(trivial)])
    kept = book.meta(key)
    if not isinstance(kept, list):
        found = await _chance(sandbox, tasks, trivial)
        kept = [found.answer, found.share]
        book.put_meta(key, kept)
    return Guess(generator, str(kept[0]), float(str(kept[1])))


async def _chance(sandbox: Together, tasks: Sequence[Task], trivial: Sequence[str]) -> Chance:
    """The best of the trivial answers and the references, each tried on every task."""
    times = Counter(normalise(task.answer) for task in tasks)
    # A reference that no other task shares says nothing where references alone are compared.
    scored = any(isinstance(task.score, GymScore) for task in tasks)
    shared = [task.answer for task in tasks if scored or times[normalise(task.answer)] > 1]
    texts = list(dict.fromkeys([*trivial, *shared]))
    passes: dict[str, list[bool]] = {text: [False] * len(tasks) for text in texts}
    of_datasets: dict[str, dict[int, GymScore]] = {}
    for place, task in enumerate(tasks):
        if isinstance(task.score, GymScore):
            of_datasets.setdefault(task.score.reasoning_gym, {})[place] = task.score
            continue
        same = same_number if task.score == "number" else same_answer
        for text in texts:
            passes[text][place] = same(text, task.answer)
    for dataset, rules in of_datasets.items():
        program = gym_program(dataset, [rule.entry for rule in rules.values()])
        for text in texts:
            values = await _values(sandbox, program, len(rules), text)
            for place, value in zip(rules, values, strict=True):
                passes[text][place] = value == 1.0
    return _over_splits(passes)


def _over_splits(passes: Mapping[str, Sequence[bool]]) -> Chance:
    """The chance in the mean of many halvings; of a dozen tasks, a single one tells little."""
    best = chance_of(passes, together=1)
    places, shares = list(range(best.of)), []
    rng = Random(0)
    for _ in range(SPLITS):
        rng.shuffle(places)
        halved = {text: [row[place] for place in places] for text, row in passes.items()}
        shares.append(chance_of(halved, together=1).share)
    return replace(best, share=sum(shares) / SPLITS)


async def _values(sandbox: Together, program: str, count: int, text: str) -> Sequence[float | None]:
    """The scores of one text for all entries of a program."""
    asked = [Submission(str(place), text) for place in range(count)]
    values = await sandbox.score_together(program, asked)
    if values is not None:
        return values
    # It fails for some entry, or is slow: by itself, a text that ends its scorer passes nothing.
    singly = [(await sandbox.score(program, [each]))[0] for each in asked]
    return [score.value for score in singly]
