"""Grafts: two archive members, merged by mergekit, widen the bank while the run goes on.

Crossovers stay in the span of the anchors; TIES, DARE, SCE and the like do not. What they make
becomes an anchor, kept in the run folder as a difference from the base, and an expert that is its
unit column. The event that records it is written in the same transaction as the expert, so that a
run that was killed comes back with the same anchors in the same order.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import ValidationError

from agents.context import RunContext
from agents.progress import ProgressEvent
from evolution.bank.anchors import Anchor, save_anchor
from evolution.bank.bank import Bank
from evolution.errors import BankError, MergeError
from evolution.merging.merges import merge_experts
from evolution.selection.parents import choose_parents
from memory.messages import first_problem
from memory.randomness import derive_seed, stream
from memory.records import Expert, Graft, GraftRefused, Json
from memory.store import RunStore
from memory.threads import done_in_own_thread

FOLDER = "anchors"
"""Folder of a run in which the differences of grafted anchors are kept."""

STEP: Final = "graft"
OPERATOR = STEP


class GraftPlan(NamedTuple):
    """What is to be grafted: the parents' ids, and how they are merged."""

    parents: tuple[str, ...]
    method: str
    parameters: dict[str, Json]


async def graft(context: RunContext, generation: int) -> None:
    """Graft once in a generation that is due; a merge that fails is reported and left out."""
    if context.store.step_done(STEP, generation):
        return
    plan = _plan(context, generation)
    if plan is None:
        return
    bank = await context.population.bank()
    name = f"{OPERATOR}-g{generation}"
    try:
        anchor = await done_in_own_thread(lambda: _merge(context, bank, name, plan, generation))
    except (MergeError, BankError) as error:
        _refuse(context, generation, str(error))
        return
    with context.store.once(STEP, generation) as due:
        if due:
            bank.append(anchor)
            _record(context, bank, anchor, plan, generation)
    context.progress(
        ProgressEvent("line", f"{name}: {plan.method} of {' and '.join(plan.parents)}")
    )


def restore(store: RunStore, folder: Path, bank: Bank) -> None:
    """Append to a freshly loaded bank what the run has grafted, in the order of the grafts.

    Raises:
        BankError: a difference is missing from the run folder, or damaged.
    """
    for event in store.events(STEP):
        try:
            kept = Graft.model_validate(event.payload)
        except ValidationError as error:
            raise BankError(
                f"{folder} records a graft that cannot be read: {first_problem(error)}"
            ) from error
        anchor = bank.stored_anchor(kept.anchor, folder / kept.path)
        if anchor is None or anchor.content_hash != kept.content_hash:
            raise BankError(
                f"{folder / kept.path} is missing or damaged, and experts of this run are made of "
                "it: restore the run folder from a copy"
            )
        bank.append(anchor)


def _plan(context: RunContext, generation: int) -> GraftPlan | None:
    """Whether a graft is due, of whom, and by which method; drawn from streams of its own."""
    settings = context.config.breeding.graft
    if not settings.every or generation % settings.every:
        return None
    rng = stream(context.config.seed, generation, STEP)
    if rng.random() >= settings.probability:
        return None
    archive = [context.store.expert(each.expert) for each in context.store.archive(generation - 1)]
    active = [family.id for family in context.store.families("active")]
    parents = choose_parents(
        context.candidates(archive), active, rng, context.config.selection, n=2
    )
    if len(set(parents)) < len(parents):
        return None
    methods = sorted(settings.methods)
    method = methods[int(rng.integers(len(methods)))]
    return GraftPlan(parents, method, settings.methods[method])


def _merge(context: RunContext, bank: Bank, name: str, plan: GraftPlan, generation: int) -> Anchor:
    """The merge, kept in the run folder under its content hash before anything refers to it."""
    parents = {each: context.genome(context.store.expert(each)) for each in plan.parents}
    folder = context.folder / FOLDER
    _sweep(folder)
    seed = derive_seed(context.config.seed, generation, "graft-noise")
    anchor = merge_experts(name, bank, parents, plan.method, plan.parameters, seed, folder)
    if anchor.content_hash in {each.content_hash for each in bank.anchors}:
        raise MergeError(f"graft {name!r} is the same as an anchor that is there already")
    save_anchor(anchor, folder / _file(anchor))
    return anchor


def _sweep(folder: Path) -> None:
    """Remove what a graft that was killed left half-written; nobody else writes to this run."""
    for left in folder.glob(".part-*"):
        shutil.rmtree(left)
    for left in folder.glob("*.part"):
        left.unlink()


def _file(anchor: Anchor) -> str:
    return f"{anchor.content_hash}.safetensors"


def _record(
    context: RunContext, bank: Bank, anchor: Anchor, plan: GraftPlan, generation: int
) -> None:
    """Write the graft and its expert; to be called within the step."""
    genome = bank.seed_genome(anchor.name)
    kept = Graft(
        anchor=anchor.name,
        content_hash=anchor.content_hash,
        path=f"{FOLDER}/{_file(anchor)}",
        parents=plan.parents,
        method=plan.method,
        parameters=plan.parameters,
    )
    expert = Expert(
        # After the children, whose numbers stay what they are without a graft.
        id=f"g{generation}-{context.config.population.children}",
        genome_id=bank.genome_id(genome),
        generation=generation,
        birth=context.config.population.children,
        operator=OPERATOR,
        parents=plan.parents,
        parameters={OPERATOR: {"anchor": anchor.name, "method": plan.method, **plan.parameters}},
    )
    context.store.add_event(kept)
    context.store.put_genome(expert.genome_id, genome.to_bytes())
    context.store.put_expert(expert)


def _refuse(context: RunContext, generation: int, reason: str) -> None:
    with context.store.once(STEP, generation) as due:
        if due:
            context.store.add_event(GraftRefused(reason=reason))
    context.progress(ProgressEvent("line", f"no graft in generation {generation}: {reason}"))
