"""The evaluation of one run: who is compared, what they answer, and how they did."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from agents.chat.endpoints import EndpointSettings
from agents.context import ReadContext
from agents.errors import AnsweringError
from agents.evaluation.bench import Bench
from agents.evaluation.chance import guesses
from agents.evaluation.contenders import (
    Company,
    Contender,
    Line,
    big_model_line,
    contenders,
    once_lines,
    own_lines,
    random_contenders,
    seed_lines,
)
from agents.evaluation.endpoint import EndpointAnswerer
from agents.evaluation.rows import Row, RowKey, RunRows, measure
from agents.evaluation.tasks import Task
from agents.evaluation.transfer import Known
from agents.judge.grader import Together
from agents.lessons.once import taught_once
from agents.lessons.record import plain, questions_learnt
from agents.progress import ProgressEvent
from agents.task_force.agreement import check_until_agree
from agents.task_force.collective import aids_of
from agents.task_force.field import (
    finals_of,
    founding_merge,
    history_of,
    require_field,
    resampled_seeds,
    standing_of,
)
from agents.task_force.methods import Aids, Method, lacking, method_named, methods
from agents.task_force.routing import open_router
from evolution.selection import Standing
from memory.messages import did_you_mean
from memory.records import Expert, Voice
from memory.store import RunStore

MERGED, TAUGHT = "merge_once", "tutor_once"
MERGED_TAUGHT, DRAWN = "merge_tutor_once", "random_genomes"
COSTLY = (MERGED, TAUGHT, MERGED_TAUGHT, DRAWN)
"""Baselines that have to be made: by a merge, by learning, by answering the finals."""


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Attributes:
        tasks: held-out tasks.
        sizes: the values of N.
        baselines: whether the baselines are measured beside the force.
        select: methods of best-of-N beside those that need no judge.
        max_tokens: of one answer; None takes the run's own.
        big_model: an endpoint to compare with, None for none.
        alone: whether forces of different experts, each greedily, are measured as well.
        until_agree: as many voices have to agree, and best-of-N hears no more; None hears all.
        without: which of the costly baselines are not measured.

    Raises:
        AnsweringError: one of those is no costly baseline.
    """

    tasks: Sequence[Task]
    sizes: Sequence[int] = (1, 3, 8)
    baselines: bool = False
    select: Sequence[str] = ()
    max_tokens: int | None = None
    big_model: EndpointSettings | None = None
    alone: bool = False
    until_agree: int | None = None
    without: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in self.without:
            if name not in COSTLY:
                raise AnsweringError(
                    f"no baseline to leave out: {name!r}{did_you_mean(name, COSTLY)}; "
                    f"there are: {', '.join(COSTLY)}"
                )


async def evaluate_run(
    context: ReadContext, book: RunStore, sandbox: Together, plan: Plan
) -> RunRows:
    """Measure one run; what is in the book already is not made again.

    Raises:
        AnsweringError: the run has no graded experts, a method lacks something, or no N is as large
            as the number of voices that have to agree.
    """
    check_until_agree(plan.until_agree, max(plan.sizes))
    aids = aids_of(context)
    # Wanted methods are checked before any work is done.
    chosen = _methods(plan.select, aids)
    longest = plan.max_tokens or context.config.judge.max_tokens
    bench = Bench(context, book, sandbox, plan.tasks, longest)
    trivial = context.config.gates.trivial_answers
    guessed = await guesses(sandbox, book, plan.tasks, trivial)
    lines, company, left_out = await _lines(bench, plan)
    async with AsyncExitStack() as stack:
        if plan.big_model is not None:
            answerer = EndpointAnswerer(book, plan.big_model)
            stack.push_async_callback(answerer.close)
            lines.append(await big_model_line(context, answerer))
        await bench.answer_all(lines)
    aids = dataclasses.replace(aids, router=open_router(context, company.standing))
    rows: dict[RowKey, Row] = {}
    for line in lines:
        context.progress(
            ProgressEvent("step", f"choose: {line.name} {line.n}", len(rows), len(lines))
        )
        by = chosen if line.n > 1 else []
        row = await measure(bench, line, by, aids, company.standing, plan.until_agree)
        rows[row.place] = row
    distances = Known.of(history_of(context.store)).distances(plan.tasks)
    clusters = {task.id: task.cluster for task in plan.tasks}
    learnt = questions_learnt(context.store)
    return RunRows(
        str(context.folder),
        context.config.seed,
        clusters,
        rows,
        left_out,
        guessed,
        distances,
        frozenset(task.id for task in plan.tasks if plain(task.instructions) in learnt),
    )


def _methods(wanted: Sequence[str], aids: Aids) -> list[Method]:
    """Those that need no judge, and the wanted ones."""
    free = [method for method in methods().values() if not method.judged]
    extra = [method_named(name) for name in wanted]
    for method in extra:
        problem = lacking(method, aids)
        if problem is not None:
            raise AnsweringError(problem)
    return list({method.name: method for method in [*free, *extra]}.values())


async def _lines(bench: Bench, plan: Plan) -> tuple[list[Line], Company, dict[str, str]]:
    """All rows, chosen on what the run has asked; and which there cannot be, and why.

    Raises:
        AnsweringError: nobody was graded.
    """
    context = bench.context
    company = _own(context)
    own = list(company.by_name)
    sizes = sorted(set(plan.sizes))
    lines = own_lines(context, company, sizes, alone=plan.alone)
    if not plan.baselines:
        return lines, company, {}
    seeds = [name for name in own if context.store.expert(name).is_seed]
    experts = [name for name in resampled_seeds(context.store) if name in seeds]
    lines += seed_lines(company, seeds, experts, sizes)
    left_out = dict.fromkeys(plan.without, "it was not asked for")
    merge = founding_merge(context.store)
    if isinstance(merge, str):
        left_out = dict.fromkeys((MERGED, MERGED_TAUGHT), merge) | left_out
    elif MERGED not in left_out:
        company = await _with_merge(bench, company, merge)
        lines += once_lines(MERGED, company, merge.id, experts, sizes)
    best = context.store.expert(company.standing.order(seeds)[0])
    for row, pupil in ((TAUGHT, best), (MERGED_TAUGHT, merge)):
        if row in left_out or isinstance(pupil, str):
            continue
        taught = await _taught(bench, pupil, row)
        if isinstance(taught, str):
            left_out[row] = taught
        else:
            contender, standing = taught
            company = company.joined([contender], standing)
            lines += once_lines(row, company, row, experts, sizes)
    if DRAWN not in left_out:
        unbred = {expert.id for expert in context.store.experts(0) if _needs_no_evolution(expert)}
        bred = [expert.id for expert in context.store.experts() if expert.id not in unbred]
        finalists = sum(name in own for name in bred)
        drawn, standing = await _randoms(bench, len(bred), finalists)
        among = [name for name in own if name in unbred] + [contender.name for contender in drawn]
        company = company.joined(drawn, standing)
        lines += company.forces(DRAWN, among, sizes, experts)
    return lines, company, left_out


def _own(context: ReadContext) -> Company:
    """Everybody of a run who may be in its force."""
    standing = standing_of(context.store)
    require_field(standing, context.folder)
    names = dict.fromkeys(voice.expert for voice in standing.marks)
    own = {each.name: each for each in contenders(context, names)}
    return Company(own, standing, context.config.finals.temperature)


def _needs_no_evolution(founder: Expert) -> bool:
    return founder.is_seed or founder.is_merge


async def _with_merge(bench: Bench, company: Company, merge: Expert) -> Company:
    """The merge with which the run began is compared even if its answers were gibberish."""
    if merge.id in company.by_name:
        return company
    [contender] = contenders(bench.context, [merge.id])
    return company.joined([contender], await bench.standing(contender))


async def _taught(bench: Bench, pupil: Expert, row: str) -> tuple[Contender, Standing] | str:
    """An expert after all that the run has taught, and what it passes; or why there is none."""
    found = await taught_once(bench.context, pupil, row.replace("_", "-"))
    if isinstance(found, str):
        return found
    contender = Contender(row, *found)
    return contender, await bench.standing(contender)


async def _randoms(bench: Bench, count: int, finalists: int) -> tuple[list[Contender], Standing]:
    """As many random genomes as were bred, examined as those are.

    All answer greedily. In the finals the best of them, as many as bred experts were there, are
    sampled as well, and the others are out.

    Args:
        bench: where they answer.
        count: how many.
        finalists: how many bred experts the run's finals have examined, earlier ones included.
    """
    context = bench.context
    drawn = await random_contenders(context, count)
    standing = Standing()
    for done, contender in enumerate(drawn):
        context.progress(ProgressEvent("step", f"drawn: {contender.name}", done, len(drawn)))
        standing = standing.joined(await bench.standing(contender))
    if not finals_of(context.store):
        return drawn, standing
    finals = context.config.finals
    best = sorted(drawn, key=lambda each: -standing.fitness(Voice(each.name)))[:finalists]
    for contender in best if finals.samples else []:
        context.progress(ProgressEvent("step", f"sampled: {contender.name}", 0, len(best)))
        standing = standing.joined(await bench.standing(contender, finals.temperature))
    return best, standing.among(each.name for each in best)
