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
    Contender,
    Line,
    big_model_line,
    contenders,
    founding_merge,
    merge_lines,
    own_lines,
    random_contenders,
    random_lines,
    seed_lines,
)
from agents.evaluation.endpoint import EndpointAnswerer
from agents.evaluation.rows import Row, RowKey, RunRows, measure
from agents.evaluation.tasks import Task
from agents.evaluation.transfer import Known
from agents.judge.grader import Together
from agents.progress import ProgressEvent
from agents.task_force.collective import aids_of
from agents.task_force.field import eligible, history_of
from agents.task_force.methods import Aids, Method, lacking, method_named, methods
from agents.task_force.routing import open_router
from memory.records import Expert, Family
from memory.store import RunStore


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
    """

    tasks: Sequence[Task]
    sizes: Sequence[int] = (1, 3, 8)
    baselines: bool = False
    select: Sequence[str] = ()
    max_tokens: int | None = None
    big_model: EndpointSettings | None = None


async def evaluate_run(
    context: ReadContext, book: RunStore, sandbox: Together, plan: Plan
) -> RunRows:
    """Measure one run; what is in the book already is not made again.

    Raises:
        AnsweringError: the run has no graded experts, or a method lacks something.
    """
    aids = aids_of(context)
    # Wanted methods are checked before any work is done.
    chosen = _methods(plan.select, aids)
    longest = plan.max_tokens or context.config.judge.max_tokens
    bench = Bench(context, book, sandbox, plan.tasks, longest)
    trivial = context.config.gates.trivial_answers
    guessed = await guesses(sandbox, book, plan.tasks, trivial)
    lines, everybody, left_out = await _lines(bench, plan)
    async with AsyncExitStack() as stack:
        if plan.big_model is not None:
            answerer = EndpointAnswerer(book, plan.big_model)
            stack.push_async_callback(answerer.close)
            lines.append(await big_model_line(context, answerer))
        await bench.answer_all(lines)
    router = open_router(context, {c.name: c.skills for c in everybody})
    aids = dataclasses.replace(aids, router=router)
    rows: dict[RowKey, Row] = {}
    for line in lines:
        context.progress(
            ProgressEvent("step", f"choose: {line.name} {line.n}", len(rows), len(lines))
        )
        row = await measure(bench, line, chosen if line.n > 1 else [], aids)
        rows[row.place] = row
    distances = Known.of(history_of(context.store)).distances(plan.tasks)
    clusters = {task.id: task.cluster for task in plan.tasks}
    return RunRows(
        str(context.folder), context.config.seed, clusters, rows, left_out, guessed, distances
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


async def _lines(bench: Bench, plan: Plan) -> tuple[list[Line], list[Contender], dict[str, str]]:
    """Everybody who is compared, chosen on the history; and which rows there cannot be, and why."""
    context = bench.context
    history = history_of(context.store)
    field = contenders(context, eligible(context.store))
    sizes = sorted(set(plan.sizes))
    lines = own_lines(context, field, history, sizes)
    if not plan.baselines:
        return lines, field, {}
    seeds = [c for c in field if context.store.expert(c.name).is_seed]
    experts = [c for c in seeds if context.store.expert(c.name).operator != "base"]
    lines += seed_lines(seeds, experts or seeds, history, sizes)
    everybody, left_out = list(field), dict[str, str]()
    merge = await _merged_once(bench, field, history)
    if isinstance(merge, str):
        left_out["merge_once"] = merge
    else:
        lines += merge_lines(merge, experts or seeds, history, sizes)
        everybody += [] if merge in field else [merge]
    unbred = {expert.id for expert in context.store.experts(0) if _needs_no_evolution(expert)}
    randoms = await _randoms(bench, len(context.store.experts()) - len(unbred), history)
    drawn_from = [c for c in field if c.name in unbred] + randoms
    return lines + random_lines(drawn_from, history, sizes), [*everybody, *randoms], left_out


def _needs_no_evolution(founder: Expert) -> bool:
    return founder.is_seed or founder.is_merge


async def _merged_once(
    bench: Bench, field: Sequence[Contender], history: Sequence[Family]
) -> Contender | str:
    """The merge with which the run began, or why there is none."""
    context = bench.context
    found = founding_merge(context.store)
    if isinstance(found, str):
        return found
    known = [contender for contender in field if contender.name == found.id]
    if known:
        return known[0]
    # In no field, for its answers are gibberish: it is a baseline all the same.
    return await bench.history(found.id, found.genome_id, context.genome(found), history)


async def _randoms(bench: Bench, count: int, history: Sequence[Family]) -> list[Contender]:
    """Random genomes, graded on the history."""
    drawn = await random_contenders(bench.context, count)
    randoms = []
    for done, (name, genome_id, genome) in enumerate(drawn):
        bench.context.progress(ProgressEvent("step", f"history: {name}", done, len(drawn)))
        randoms.append(await bench.history(name, genome_id, genome, history))
    return randoms
