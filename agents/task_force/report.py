"""The end of a run: task forces, Coverage beside the seeds, and an example worth showing."""

from __future__ import annotations

from agents.context import RunContext
from agents.families.items import items_of
from agents.judge.instances import draw_instances
from agents.judge.node import examine_experts
from agents.task_force.field import field_of, history_of
from evolution.selection.coverage import Passes, TaskForce, task_force
from memory.records import FINALS, Expert, Family, Json, Skills


async def summarise_run(context: RunContext) -> None:
    """Grade everybody whom the run judged on the whole history and store the summary.

    The force is chosen among all of them, so an expert that survival put out early must have its
    chance at what was asked after it.
    """
    experts = field_of(context.store)
    count = context.config.judge.instances
    asked = await draw_instances(context, history_of(context.store), FINALS, count)
    await examine_experts(context, experts, asked, FINALS, count, "report")
    # Again: a scorer may have broken only now.
    history = history_of(context.store)
    # Not a step that is taken once: a run may end a second time, with more in its history.
    with context.store.transaction():
        context.store.put_meta("summary", summarise(context, experts, history))
        context.store.put_meta("finished", True)


def summarise(context: RunContext, experts: list[Expert], history: list[Family]) -> dict[str, Json]:
    """Coverage of archive, seeds and task forces of 1..N on the history, and an example."""
    families = [family.id for family in history]
    skills = {expert.id: context.store.skills(expert.id) for expert in experts}
    seeds = [expert.id for expert in experts if expert.is_seed]
    archive = [expert.id for expert in context.store.archive_experts()]
    force = task_force(skills, families, len(archive))
    seed_force = task_force({e: skills[e] for e in seeds}, families, len(seeds))
    passes = Passes.of(skills, families)
    return {
        "families": len(families),
        "coverage": {
            "archive": passes.share(archive),
            "seeds": passes.share(seeds),
            "task_force": _prefixes(force),
            "seed_force": _prefixes(seed_force),
        },
        "example": _example(context, list(force.experts), seeds, history, skills),
    }


def _prefixes(force: TaskForce) -> list[Json]:
    """Coverage of the first 1, 2, .. N experts of a force."""
    return [
        {"n": n, "coverage": covered, "experts": list(force.experts[:n])}
        for n, covered in enumerate(force.coverage, start=1)
    ]


def _example(
    context: RunContext,
    force: list[str],
    seeds: list[str],
    history: list[Family],
    skills: dict[str, dict[str, bool]],
) -> Json:
    """A family that the force solves, best one that no seed solves, with who said what."""
    solved = [f for f in history if any(skills[e].get(f.id, False) for e in force)]
    if not solved:
        return None
    family = min(solved, key=lambda f: (_solvers(skills, seeds, f), _solvers(skills, force, f)))
    answers: list[Json] = []
    for expert in force:
        genome_id = context.store.expert(expert).genome_id
        stored = context.store.answer_to(genome_id, items_of(family)[0].instance_hash)
        if stored is not None:
            answers.append({"expert": expert, "extracted": stored.extracted})
    return {
        "family": family.id,
        "question": family.example_instruction,
        "reference": family.reference_answers["1"],
        "solved_by": [e for e in force if skills[e].get(family.id, False)],
        "solved_by_seeds": [e for e in seeds if skills[e].get(family.id, False)],
        "answers": answers,
    }


def _solvers(skills: dict[str, dict[str, bool]], experts: list[str], family: Family) -> int:
    return sum(_passes(skills[expert], family) for expert in experts)


def _passes(vector: Skills, family: Family) -> bool:
    return vector.get(family.id, False)
