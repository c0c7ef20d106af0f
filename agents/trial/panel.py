"""The trial panel: current experts answer a draft, so that the critic sees real answers."""

from __future__ import annotations

from collections.abc import Sequence

from agents.concurrency import all_of
from agents.context import RunContext
from agents.errors import FamilyFault
from agents.families.items import Item, items_of
from agents.families.proposal import Proposal
from agents.judge.examiner import Examiner, examiner_of
from evolution.genome.genome import Genome
from evolution.selection.coverage import task_force
from memory.records import GateReport, TrialAnswer


async def answer_trial(
    run: RunContext, proposal: Proposal, gates: GateReport
) -> tuple[TrialAnswer, ...]:
    """Let up to `trial_panel` experts answer both instances.

    The panel is the archive's task force; before there is an archive, the seeds answer.

    Raises:
        FamilyFault: the family could not grade such an answer, twice, or its question is too long
            for the experts: the judge would condemn it.
    """
    items = items_of(proposal.to_family(gates))
    examiner = await examiner_of(run)
    panel = await _panel(run)
    answered = await all_of(
        _answers(examiner, name, genome_id, genome, items) for name, genome_id, genome in panel
    )
    return tuple(answer for answers in answered for answer in answers)


async def _answers(
    examiner: Examiner, name: str, genome_id: str, genome: Genome, items: Sequence[Item]
) -> list[TrialAnswer]:
    """One expert's answers, without those that the engine failed to give."""
    results = await examiner.examine(genome_id, genome, items)
    condemned = next((result.condemned for result in results if result.condemned), None)
    if condemned is not None:
        raise FamilyFault(condemned.code, f"an answer of {name}: {condemned.detail}")
    return [
        TrialAnswer(
            expert=name,
            instance=result.item.instance,
            text=result.answer.reply.text,
            extracted=result.answer.extracted,
            passed=result.passed,
        )
        for result in results
        if result.answer is not None
    ]


async def _panel(run: RunContext) -> list[tuple[str, str, Genome]]:
    """Name, genome id and genome of the experts that answer trials now.

    Complementary experts rather than the fittest: a task is too hard only if all kinds of experts
    fail it.
    """
    size = run.config.population.trial_panel
    if run.store.latest_archive() is not None:
        archive = {expert.id: expert for expert in run.store.archive_experts()}
        pool = [family.id for family in run.store.families("active")]
        chosen = [archive[name] for name in task_force(run.archive_skills(), pool, size).experts]
        return [(expert.id, expert.genome_id, run.genome(expert)) for expert in chosen]
    bank = await run.population.bank()
    trained = [name for name in bank.seed_names if name != bank.base_name] or bank.seed_names
    genomes = [(name, bank.seed_genome(name)) for name in trained[:size]]
    return [(name, bank.genome_id(genome), genome) for name, genome in genomes]
