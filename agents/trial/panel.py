"""The trial panel: current experts answer a draft, so that the critic sees real answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agents.concurrency import all_of
from agents.context import RunContext
from agents.errors import FamilyFault
from agents.families.items import Item
from agents.families.proposal import Proposal
from agents.judge.examiner import Examiner, examiner_of
from agents.trial.levels import Calibrated, Program, find_level, seeds_for
from evolution.genome.genome import Genome
from evolution.selection.coverage import task_force
from memory.records import Assignment, Family, GateReport, TrialAnswer


async def answer_trial(
    run: RunContext,
    proposal: Proposal,
    gates: GateReport,
    parent: Family | None,
    assignment: Assignment,
) -> Calibrated:
    """Let the assignment's panel answer a draft, at the levels where it may enter.

    Args:
        run: the run.
        proposal: a draft that passed the gates.
        gates: the report that it passed.
        parent: the family that its assignment starts from.
        assignment: a harder form of the parent's own program enters above the parent's level, an
            easier one below.

    Raises:
        FamilyFault: the family could not grade such an answer, twice, or its question is too long
            for the experts: the judge would condemn it.
        SandboxError: the sandbox failed.
    """
    settings, drawn, kind = run.config.calibration, None, assignment.kind
    if gates.seed is not None:
        seeds = range(gates.seed, gates.seed + 1 + seeds_for(settings.instances))
        drawn = (await run.sandbox.inspect(proposal.code, seeds)).first
    # A scientist waits for it, where a judge beside has other answers to go on with.
    examiner = await examiner_of(run, urgent=True)
    panel = await _panel(run, assignment.panel)

    async def ask(level: int, items: Sequence[Item]) -> list[TrialAnswer]:
        answered = await all_of(
            _answers(examiner, name, genome_id, genome, items, level)
            for name, genome_id, genome in panel
        )
        return [answer for answers in answered for answer in answers]

    levels = levels_to_search(proposal, gates, parent, kind)
    found = await find_level(Program(proposal, gates, drawn), levels, settings, ask)
    if parent is None or len(levels) == gates.levels:
        return found
    return replace(found, report=beside(parent, kind, found.report))


def beside(parent: Family, kind: str, report: GateReport) -> GateReport:
    """What was found of a parent's other levels, as it looks from the parent's own."""
    if report.code is None:
        return report
    # Above the parent all are too hard, or below it all too easy: nothing lies between.
    gap = (kind, report.code) in (("harder", "too_hard"), ("easier", "too_easy"))
    side = "above" if kind == "harder" else "below"
    detail = f"the parent asks at level {parent.level}; of the levels {side} it: {report.detail}"
    return report.model_copy(
        update={"code": "levels_gap" if gap else report.code, "detail": detail}
    )


def levels_to_search(
    proposal: Proposal, gates: GateReport, parent: Family | None, kind: str
) -> range:
    """All levels of a program, or those above or below its parent's if it is the parent's own."""
    every, left = range(1, gates.levels + 1), range(0)
    if parent is not None and parent.code == proposal.code:
        left = every[parent.level :] if kind == "harder" else every[: parent.level - 1]
    return left or every


async def _answers(
    examiner: Examiner,
    name: str,
    genome_id: str,
    genome: Genome,
    items: Sequence[Item],
    level: int = 1,
) -> list[TrialAnswer]:
    """One expert's answers, without those that the engine failed to give."""
    results = await examiner.examine(genome_id, genome, items)
    condemned = next((result.condemned for result in results if result.condemned), None)
    if condemned is not None:
        raise FamilyFault(condemned.code, f"an answer of {name}: {condemned.detail}")
    return [
        TrialAnswer(
            expert=name,
            level=level,
            instance=result.item.instance,
            question=result.item.instructions,
            text=result.answer.reply.text,
            extracted=result.answer.extracted,
            passed=result.passed,
        )
        for result in results
        if result.answer is not None
    ]


def choose_panel(run: RunContext) -> tuple[str, ...] | None:
    """Up to `trial_panel` experts of the archive that are to answer trials; None without archive.

    Complementary experts rather than the fittest: a task is too hard only if all kinds of experts
    fail it.
    """
    if run.store.latest_archive() is None:
        return None
    pool = [family.id for family in run.store.families("active")]
    force = task_force(run.archive_skills(), pool, run.config.population.trial_panel)
    return tuple(force.experts)


async def _panel(
    run: RunContext, named: Sequence[str] | None = None
) -> list[tuple[str, str, Genome]]:
    """Name, genome id and genome of the experts that answer a trial.

    Args:
        run: the run.
        named: of the assignment; None in one that names nobody.
    """
    names = choose_panel(run) if named is None else named
    if names is not None:
        chosen = [run.store.expert(name) for name in names]
        return [(expert.id, expert.genome_id, run.genome(expert)) for expert in chosen]
    bank = await run.population.bank()
    trained = [name for name in bank.seed_names if name != bank.base_name] or bank.seed_names
    size = run.config.population.trial_panel
    genomes = [(name, bank.seed_genome(name)) for name in trained[:size]]
    return [(name, bank.genome_id(genome), genome) for name, genome in genomes]
