"""Grafts: experts, merged, widen the bank while the run goes on.

Crossovers stay in the span of the anchors; merges by RegMean, TIES, DARE and the like do not. What
they make becomes anchors, kept in the run folder as differences from the base, and an expert that
is their sum. RegMean merges the seeds at the founding, and members of the archive that complement
each other whenever the pool has adapted; two parents are grafted as often as is configured. The
events that record a graft are written in the same transaction as its expert, so that a run that was
killed comes back with the same anchors in the same order.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from agents.archive.calibration import examine_own, has_texts, passed_texts
from agents.config import RunConfig
from agents.context import RunContext
from agents.progress import ProgressEvent, steps_shown
from evolution.bank.anchors import Anchor, save_anchor
from evolution.bank.bank import Bank
from evolution.errors import BankError, MergeError
from evolution.genome.genome import Genome
from evolution.merging.merges import merge_experts
from evolution.merging.regmean import Member, merge_by_regmean, unit
from evolution.merging.settings import REGMEAN, RegMeanSettings
from evolution.planning.merging import Occasions
from evolution.planning.placement import merging_device, reading_format
from evolution.selection.coverage import task_force
from evolution.selection.parents import choose_parents
from memory.messages import first_problem
from memory.randomness import derive_seed, stream
from memory.records import Expert, Graft, GraftRefused, Json
from memory.spans import span
from memory.store import RunStore
from memory.threads import done_in_own_thread

FOLDER = "anchors"
"""Folder of a run in which the differences of grafted anchors are kept."""

PAIR: Final = "graft"
COMPLEMENT: Final = "complement"
"""The two occasions of a generation, each a step: two parents, and members that complement."""


_QUESTION_TOKENS = 100
"""Of a question with its opening, about."""


@dataclass(frozen=True)
class GraftPlan:
    """What is to be grafted.

    Attributes:
        step: the occasion.
        name: of the anchors.
        expert: id of the expert that is their sum.
        birth: its number in the generation.
        parents: who is merged.
        method: `regmean`, or one of mergekit.
        parameters: of the method.
    """

    step: str
    name: str
    expert: str
    birth: int
    parents: tuple[Expert, ...]
    method: str
    parameters: dict[str, Json]

    @property
    def operator(self) -> str:
        """What the expert is called as a descendant."""
        return REGMEAN if self.method == REGMEAN else PAIR


def occasions(config: RunConfig) -> Occasions:
    """How often a run merges experts, to plan what that takes."""
    return Occasions(
        breeding=config.breeding,
        generations=config.generations,
        adapt_every=config.pool.adapt_every,
        tokens=_QUESTION_TOKENS + config.judge.max_tokens,
    )


async def graft(context: RunContext, generation: int) -> None:
    """Graft what is due in a generation; a merge that fails is reported and left out."""
    if context.config.breeding.regmean.adapting and _has_adapted(context, generation):
        # The base adds nothing to a merge.
        archive = [each for each in _archive(context, generation) if each.operator != "base"]
        # After the children and the graft, whose numbers stay what they are without it.
        birth = context.config.population.children + 1
        await _complement(context, generation, archive, f"g{generation}-{birth}", birth)
    if not context.store.step_done(PAIR, generation):
        plan = _pair(context, generation)
        if plan is not None:
            await _carry_out(context, generation, plan)


async def graft_founder(context: RunContext, seeds: Sequence[Expert]) -> None:
    """Merge the seeds by what each is right on, once."""
    if context.config.breeding.regmean.founding:
        await examine_own(context, seeds)
        there = [expert.id for expert in context.store.experts(0)]
        # A seed may be called so.
        name = REGMEAN if REGMEAN not in there else f"g0-{len(there)}"
        await _complement(context, 0, seeds, name, len(there))


def restore(store: RunStore, folder: Path, most: int, bank: Bank) -> None:
    """Append to a freshly loaded bank what the run has grafted, in the order of the grafts.

    Args:
        store: of the run.
        folder: of the run.
        most: anchors of merges that are kept in memory.
        bank: of its base and seeds.

    Raises:
        BankError: a difference is missing from the run folder, or damaged.
    """
    found: list[Anchor] = []
    for kept in _grafts(store, folder):
        anchor = bank.stored_anchor(kept.anchor, folder / kept.path, found)
        if anchor is None or anchor.content_hash != kept.content_hash:
            raise BankError(
                f"{folder / kept.path} is missing or damaged, and experts of this run are made of "
                "it: restore the run folder from a copy"
            )
        found.append(anchor)
    # All at once: the geometry of these is known since the last graft, that of fewer may not be.
    bank.append(*found)
    keep_most_used(store, folder, most, bank)


def _grafts(store: RunStore, folder: Path) -> list[Graft]:
    try:
        return [Graft.model_validate(event.payload) for event in store.events(PAIR)]
    except ValidationError as error:
        raise BankError(
            f"{folder} records a graft that cannot be read: {first_problem(error)}"
        ) from error


def keep_most_used(store: RunStore, folder: Path, most: int, bank: Bank) -> None:
    """Keep in memory the grafts that the archive uses most, of equals the newest, up to so many."""
    grafts = _grafts(store, folder)
    names = [anchor.name for anchor in bank.anchors]
    uses: Counter[str] = Counter()
    for expert in store.archive_experts():
        genome = Genome.stored(expert.genome_id, store.genome(expert.genome_id))
        columns = zip(names, genome.coefficients.T, strict=False)
        uses.update(name for name, column in columns if column.any())
    newest = list(reversed(grafts))
    for place, graft in enumerate(sorted(newest, key=lambda graft: -uses[graft.anchor])):
        if place < most:
            bank.bring_back(graft.anchor)
        else:
            bank.set_aside(graft.anchor, folder / graft.path)


async def _complement(
    context: RunContext, generation: int, experts: Sequence[Expert], expert: str, birth: int
) -> None:
    """Merge those of some experts that complement each other, by RegMean, once in a generation."""
    if context.store.step_done(COMPLEMENT, generation):
        return
    chosen = _complementary(context, experts, context.config.breeding.regmean.members)
    if len(chosen) < 2:
        reason = "no expert passes a family" + (" that the best one fails" if chosen else "")
        refuse(context, COMPLEMENT, generation, f"{REGMEAN}: {reason}")
        return
    name = f"{REGMEAN}-g{generation}"
    plan = GraftPlan(COMPLEMENT, name, expert, birth, tuple(chosen), REGMEAN, {})
    await _carry_out(context, generation, plan)


def _complementary(context: RunContext, experts: Sequence[Expert], most: int) -> list[Expert]:
    """The experts that together pass most, as long as each adds what makes a family."""
    active = [family.id for family in context.store.families("active")]
    skills = {each.id: context.store.skill_counts(each.id) for each in experts}
    force = task_force(skills, active, most)
    by_id, covered, chosen = {each.id: each for each in experts}, 0.0, list[Expert]()
    for name, share in zip(force.experts, force.coverage, strict=True):
        # A rate that is a little higher is no complement.
        if round((share - covered) * len(active), 6) < 1:
            break
        covered = share
        chosen.append(by_id[name])
    return chosen


def _has_adapted(context: RunContext, generation: int) -> bool:
    return generation % context.config.pool.adapt_every == 0


def _archive(context: RunContext, generation: int) -> list[Expert]:
    return [context.store.expert(each.expert) for each in context.store.archive(generation - 1)]


def _pair(context: RunContext, generation: int) -> GraftPlan | None:
    """Whether two parents are due, who, and by which method; drawn from streams of its own."""
    settings = context.config.breeding.graft
    if not settings.every or generation % settings.every:
        return None
    rng = stream(context.config.seed, generation, PAIR)
    if rng.random() >= settings.probability:
        return None
    archive = _archive(context, generation)
    active = [family.id for family in context.store.families("active")]
    candidates = context.candidates(archive, context.period_of(generation - 1))
    parents = choose_parents(
        candidates, active, rng, context.config.selection, 2, context.chances()
    )
    if len(set(parents)) < len(parents):
        return None
    methods = sorted(settings.methods)
    method = methods[int(rng.integers(len(methods)))]
    # After the children, whose numbers stay what they are without a graft.
    birth = context.config.population.children
    return GraftPlan(
        step=PAIR,
        name=f"{PAIR}-g{generation}",
        expert=f"g{generation}-{birth}",
        birth=birth,
        parents=tuple(context.store.expert(each) for each in parents),
        method=method,
        parameters=settings.methods[method],
    )


async def _carry_out(context: RunContext, generation: int, plan: GraftPlan) -> None:
    parents = [parent.id for parent in plan.parents]
    told = {"expert": plan.expert, "method": plan.method, "parents": parents}
    with span("merge", plan.name, generation=generation, **told) as work:
        work.set(output=await _attempt(context, generation, plan))


async def _attempt(context: RunContext, generation: int, plan: GraftPlan) -> str:
    """Merge, and record what came of it.

    Returns:
        The same in words.
    """
    bank = await context.population.bank()
    if plan.method == REGMEAN:
        # An expert that was born in this period has only answered what it is ranked on.
        young = [each for each in plan.parents if not has_texts(context, each, generation)]
        await examine_own(context, young)
    try:
        anchors = await done_in_own_thread(lambda: _merge(context, bank, plan, generation))
    except (MergeError, BankError) as error:
        refuse(context, plan.step, generation, str(error))
        return f"refused: {error}"
    with context.store.once(plan.step, generation) as due:
        if due:
            bank.append(*anchors)
            _record(context, bank, anchors, plan, generation)
    most = context.config.breeding.regmean.anchors
    keep_most_used(context.store, context.folder, most, bank)
    parents = ", ".join(parent.id for parent in plan.parents)
    made = f"{plan.expert}: {plan.method} of {parents}, {len(anchors)} new anchors"
    context.progress(ProgressEvent("line", made))
    return made


def _merge(context: RunContext, bank: Bank, plan: GraftPlan, generation: int) -> tuple[Anchor, ...]:
    """The merge, kept in the run folder under its content hash before anything refers to it."""
    folder = context.folder / FOLDER
    sweep(folder)
    if plan.method == REGMEAN:
        anchors = _by_regmean(context, bank, plan, generation)
    else:
        parents = {each.id: context.genome(each) for each in plan.parents}
        seed = derive_seed(context.config.seed, generation, "graft-noise")
        merged = plan.name, bank, parents, plan.method, plan.parameters, seed, folder
        anchors = (merge_experts(*merged),)
    if {each.content_hash for each in anchors} <= {each.content_hash for each in bank.anchors}:
        raise MergeError(f"graft {plan.name!r} is the same as an anchor that is there already")
    for anchor in anchors:
        save_anchor(anchor, folder / file_of(anchor))
    return anchors


def _by_regmean(
    context: RunContext, bank: Bank, plan: GraftPlan, generation: int
) -> tuple[Anchor, ...]:
    """The columns of a merge by RegMean.

    Raises:
        MergeError: a parent passes nothing.
    """
    settings = _settings(context, plan)
    members = []
    for parent in plan.parents:
        rng = stream(context.config.seed, generation, f"{plan.step}-texts", parent.birth)
        texts = passed_texts(context, bank, parent, settings.texts, generation, rng)
        if not texts:
            raise MergeError(f"{plan.name}: {parent.id} passes no family that is active")
        members.append(Member(context.genome(parent), texts))

    engine = context.config.engine
    device = merging_device(bank, engine, members)
    compute = reading_format(bank, engine, device)
    shown = steps_shown(context.progress)
    return merge_by_regmean(plan.name, bank, members, settings, device, compute, shown)


def _settings(context: RunContext, plan: GraftPlan) -> RegMeanSettings:
    settings = context.config.breeding.regmean.model_dump()
    return RegMeanSettings.model_validate({**settings, **plan.parameters})


def sweep(folder: Path) -> None:
    """Remove what a graft that was killed left half-written; nobody else writes to this run."""
    for left in folder.glob(".part-*"):
        shutil.rmtree(left)
    for left in folder.glob("*.part"):
        left.unlink()


def file_of(anchor: Anchor) -> str:
    """Name of the file in which an anchor is kept."""
    return f"{anchor.content_hash}.safetensors"


def _record(
    context: RunContext,
    bank: Bank,
    anchors: Sequence[Anchor],
    plan: GraftPlan,
    generation: int,
) -> None:
    """Write the graft and its expert; to be called within the step."""
    genome = unit(bank, anchors, _settings(context, plan).scale if plan.method == REGMEAN else 1.0)
    names: list[Json] = [anchor.name for anchor in anchors]
    parents = tuple(parent.id for parent in plan.parents)
    expert = Expert(
        id=plan.expert,
        genome_id=bank.genome_id(genome),
        generation=generation,
        birth=plan.birth,
        operator=plan.operator,
        parents=parents,
        parameters={plan.operator: {"anchors": names, "method": plan.method, **plan.parameters}},
    )
    for anchor in anchors:
        kept = Graft(
            anchor=anchor.name,
            content_hash=anchor.content_hash,
            path=f"{FOLDER}/{file_of(anchor)}",
            parents=parents,
            method=plan.method,
            parameters=plan.parameters,
        )
        context.store.add_event(kept)
    context.store.put_genome(expert.genome_id, genome.to_bytes())
    context.store.put_expert(expert)


def refuse(
    context: RunContext, step: str, generation: int, reason: str, lesson: bool = False
) -> None:
    """Record that what was due came to nothing, and why."""
    with context.store.once(step, generation) as due:
        if due:
            context.store.add_event(GraftRefused(reason=reason, lesson=lesson))
    what = "lesson" if lesson else "merge"
    context.progress(ProgressEvent("line", f"no {what} in generation {generation}: {reason}"))
