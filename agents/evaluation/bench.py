"""The bench: contenders answer held-out tasks, and every answer is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.context import ReadContext
from agents.evaluation.contenders import Contender, Line, Voice
from agents.evaluation.scoring import TaskScorer
from agents.evaluation.tasks import Task
from agents.families.items import items_of
from agents.judge.examiner import Answerer, Examiner, GradeBook, Result, Together, family_outcome
from agents.progress import ProgressEvent
from evolution.genome.genome import Genome
from memory.randomness import derive_seed
from memory.records import Answer, Family

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
"""Task id -> what one voice made of it."""


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

    async def answer_all(self, lines: Sequence[Line]) -> None:
        """Let every voice of some lines answer; voices that several lines share answer once."""
        samples: dict[tuple[str, float], tuple[Contender, int]] = {}
        for voice in (voice for line in lines for voice in line.voices):
            key = (voice.contender.genome_id, voice.temperature)
            known = samples[key][1] if key in samples else 0
            samples[key] = (voice.contender, max(known, voice.sample + 1))
        total = sum(count for _, count in samples.values()) * len(self.tasks)
        done = 0
        for (_, temperature), (contender, count) in samples.items():
            for sample in range(count):
                await self._sit(Voice(contender, temperature, sample))
                done += len(self.tasks)
                label = f"evaluate: {contender.name}"
                self.context.progress(ProgressEvent("step", label, done, total))

    def sheet(self, voice: Voice) -> Sheet:
        """What a voice answered; `answer_all` comes first."""
        return self._sheets[_place(voice)]

    async def history(
        self, name: str, genome_id: str, genome: Genome, families: Sequence[Family]
    ) -> Contender:
        """Grade a genome that the run does not know on its history, as the run grades."""
        examiner = await self._examiner(self._sandbox, self.context.config.judge.temperature, 0)
        items = [item for family in families for item in items_of(family)]
        results = await examiner.examine(genome_id, genome, items)
        by_code: dict[str, list[Result]] = {}
        for result in results:
            by_code.setdefault(result.item.code_hash, []).append(result)
        skills = {}
        for family in families:
            outcome = family_outcome(by_code[family.code_hash])
            if outcome is not None:
                skills[family.id] = outcome
        return Contender(name, genome_id, genome, skills)

    async def _sit(self, voice: Voice) -> None:
        if _place(voice) in self._sheets:
            return
        contender = voice.contender
        examiner = await self._examiner(
            self._scorer, voice.temperature, voice.sample, contender.answerer
        )
        sheet: dict[str, TaskOutcome] = {}
        for start in range(0, len(self.tasks), CHUNK):
            chunk = self.tasks[start : start + CHUNK]
            items = [task.item() for task in chunk]
            results = await examiner.examine(contender.genome_id, contender.genome, items)
            for task, result in zip(chunk, results, strict=True):
                sheet[task.id] = TaskOutcome(result.answer, result.passed)
        self._sheets[_place(voice)] = sheet

    async def _examiner(
        self,
        scorer: Together,
        temperature: float,
        sample: int,
        answerer: Answerer | None = None,
    ) -> Examiner:
        context = self.context
        update = {"temperature": temperature, "samples": 1}
        if scorer is self._scorer:
            update["max_tokens"] = self._max_tokens
        else:
            update["samples"] = context.config.judge.samples
        return Examiner(
            self._book,
            answerer or await context.population.broker(),
            scorer,
            context.render_question,
            context.config.judge.model_copy(update=update),
            seed=derive_seed(0, 0, "evaluate", sample),
            logprobs=scorer is self._scorer,
        )


def _place(voice: Voice) -> tuple[str, float, int]:
    return (voice.contender.genome_id, voice.temperature, voice.sample)
