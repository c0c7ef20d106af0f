"""The bench: contenders answer held-out tasks, and every answer is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.context import ReadContext
from agents.evaluation.contenders import Contender, Line, Seat
from agents.evaluation.scoring import TaskScorer
from agents.evaluation.tasks import Task
from agents.families.items import Item, items_of
from agents.judge.examiner import Examiner, GradeBook, Together, rater_of
from agents.judge.instances import fresh_items
from agents.judge.node import skill_of
from agents.progress import ProgressEvent
from agents.settings import JudgeSettings
from agents.task_force.field import finals_of, history_of
from agents.task_force.finals import FIRST_SAMPLE, SEED, as_voice, by_family, outcomes
from evolution.genome.genome import Genome
from evolution.selection import Standing
from memory.randomness import derive_seed
from memory.records import FINALS, Answer, Family, Skill, Voice

CHUNK = 64
"""Tasks that are answered and kept together: what an interruption can cost."""


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """One answer to one task.

    Attributes:
        answer: None if the engine could not answer.
        passed: None if it could not be graded, which counts as not solved and is reported.
    """

    answer: Answer | None
    passed: bool | None


Sheet = Mapping[str, TaskOutcome]
"""Task id -> what one seat made of it."""


class Bench:
    """Answers and grades of an evaluation, kept apart from the run's own.

    Found again by their keys, so a second evaluation is quick, and more tasks or answers only add.

    Args:
        context: the run.
        book: where answers and grades are kept.
        sandbox: where scorers and families run.
        tasks: held-out tasks.
        max_tokens: of one answer, the same for everybody.
    """

    def __init__(
        self,
        context: ReadContext,
        book: GradeBook,
        sandbox: Together,
        tasks: Sequence[Task],
        max_tokens: int,
    ) -> None:
        self.context = context
        self.tasks = tasks
        self._book = book
        self._max_tokens = max_tokens
        chat = context.chat if context.has_rater else None
        self._sandbox = sandbox
        self._scorer = TaskScorer(sandbox, chat)
        self._sheets: dict[tuple[str, float, int], Sheet] = {}
        self._finals = finals_of(context.store)

    async def answer_all(self, lines: Sequence[Line]) -> None:
        """Let every seat of some lines answer; those that several lines share answer once."""
        samples: dict[tuple[str, float], tuple[Contender, int]] = {}
        for seat in (seat for line in lines for seat in line.seats):
            key = (seat.contender.genome_id, seat.temperature)
            known = samples[key][1] if key in samples else 0
            samples[key] = (seat.contender, max(known, seat.sample + 1))
        total = sum(count for _, count in samples.values()) * len(self.tasks)
        done = 0
        for (_, temperature), (contender, count) in samples.items():
            for sample in range(count):
                await self._sit(Seat(contender, temperature, sample))
                done += len(self.tasks)
                label = f"evaluate: {contender.name}"
                self.context.progress(ProgressEvent("step", label, done, total))

    def sheet(self, seat: Seat) -> Sheet:
        """What was answered at a seat; `answer_all` comes first."""
        return self._sheets[_place(seat)]

    async def standing(self, contender: Contender, temperature: float = 0.0) -> Standing:
        """What somebody whom the run does not know passes of what its forces are chosen on.

        Args:
            contender: who.
            temperature: at which it answers; without finals there are only greedy voices.
        """
        if not self._finals:
            history = history_of(self.context.store)
            skills = await self.history(contender.genome_id, contender.genome, history)
            return Standing.graded({contender.name: skills})
        judge, finals = self.context.config.judge, self.context.config.finals
        voice = Voice(contender.name, temperature)
        if voice.greedy:
            examiner = await self._run_examiner(as_voice(judge, 0.0, 1))
        else:
            settings = as_voice(judge, temperature, finals.samples)
            examiner = await self._run_examiner(settings, SEED, FIRST_SAMPLE)
        asked = {f.id: fresh_items(self.context, f, FINALS) for f in self._finals}
        items = [item for family in self._finals for item in asked[family.id]]
        results = await examiner.examine(contender.genome_id, contender.genome, items)
        found = by_family(self._finals, asked, results)
        return Standing.heard(
            each for name, graded in found.items() for each in outcomes(voice, name, graded)
        )

    async def history(
        self, genome_id: str, genome: Genome, families: Sequence[Family]
    ) -> dict[str, Skill | bool]:
        """Grade a genome that the run does not know on families, as the run grades.

        Generative ones ask what they asked last before the finals.
        """
        asked = {family.id: self._last_asked(family) for family in families}
        items = [item for family in families for item in asked[family.id]]
        examiner = await self._run_examiner(self.context.config.judge)
        results = await examiner.examine(genome_id, genome, items)
        skills: dict[str, Skill | bool] = {}
        by_name = by_family(families, asked, results)
        for family in families:
            skill = skill_of(family, by_name[family.id])
            if skill is not None:
                skills[family.id] = skill
        return skills

    def _last_asked(self, family: Family) -> list[Item]:
        fresh = self.context.store.instances(family.id)
        last = max((each.period for each in fresh if 0 <= each.period != FINALS), default=None)
        return items_of(family) if last is None else fresh_items(self.context, family, last)

    async def _sit(self, seat: Seat) -> None:
        if _place(seat) in self._sheets:
            return
        contender = seat.contender
        examiner = await self._task_examiner(seat)
        sheet: dict[str, TaskOutcome] = {}
        for start in range(0, len(self.tasks), CHUNK):
            chunk = self.tasks[start : start + CHUNK]
            items = [task.item() for task in chunk]
            results = await examiner.examine(contender.genome_id, contender.genome, items)
            for task, result in zip(chunk, results, strict=True):
                sheet[task.id] = TaskOutcome(result.answer, result.passed)
        self._sheets[_place(seat)] = sheet

    async def _run_examiner(
        self, settings: JudgeSettings, seed: int | None = None, first: int = 0
    ) -> Examiner:
        """Asks and grades what the run has asked."""
        context = self.context
        return Examiner(
            self._book,
            await context.population.broker(),
            self._sandbox,
            context.render_question,
            settings,
            seed=_seed(0) if seed is None else seed,
            rater=rater_of(context),
            first=first,
        )

    async def _task_examiner(self, seat: Seat) -> Examiner:
        """Asks and grades held-out tasks."""
        context = self.context
        update = {
            "temperature": seat.temperature,
            "samples": 1,
            "max_tokens": self._max_tokens,
        }
        return Examiner(
            self._book,
            seat.contender.answerer or await context.population.broker(),
            self._scorer,
            context.render_question,
            context.config.judge.model_copy(update=update),
            seed=_seed(seat.sample),
            logprobs=True,
        )


def _seed(sample: int) -> int:
    return derive_seed(0, 0, "evaluate", sample)


def _place(seat: Seat) -> tuple[str, float, int]:
    return (seat.contender.genome_id, seat.temperature, seat.sample)
