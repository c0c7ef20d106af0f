"""Assignments for scientists: when they are written, what each contains, how many are done."""

from __future__ import annotations

from collections.abc import Sequence

from agents.context import RunContext
from agents.errors import JudgingError
from agents.families.exchanges import cut_middle
from agents.pool.fields import FIELDS, lacking_fields
from agents.pool.rates import pass_rates
from agents.pool.vain import explain
from agents.progress import ProgressEvent
from agents.trial.panel import choose_panel
from memory.randomness import derive_seed, stream
from memory.records import Assignment, AssignmentKind, Audience, FoundingInVain, FoundingWave

REJECTION_LENGTH = 300
"""Characters of a late rejection's detail that scientists are shown."""


def needs_another_wave(context: RunContext) -> bool:
    """Whether the founding pool has free places and waves of assignments left to fill them."""
    store, pool = context.store, context.config.pool
    if store.assignments(0, "open") or store.assignments(0, "candidate"):
        return False
    waves = len(store.events("founding_wave"))
    sessions = 1 + len(store.events("founding_in_vain"))
    return len(store.families("active")) < pool.capacity and waves < pool.founding_waves * sessions


def require_families(context: RunContext) -> None:
    """Refuse to start with an empty pool; running the same command again tries as many waves.

    Raises:
        JudgingError: all founding waves are over without an accepted family.
    """
    store = context.store
    if store.families("active") or needs_another_wave(context):
        return
    waves = [FoundingWave.model_validate(each.payload) for each in store.events("founding_wave")]
    before = [FoundingInVain.model_validate(e.payload) for e in store.events("founding_in_vain")]
    told = before[-1].waves if before else 0
    store.add_event(FoundingInVain(waves=len(waves)))
    lately = store.assignments(0)[sum(wave.assignments for wave in waves[:told]) :]
    reasons = ", ".join(f"{reason} {n}" for reason, n in store.rejection_counts().items())
    raise JudgingError(
        f"no family was accepted in {len(waves)} founding waves ({reasons}): "
        f"{explain(context, lately)}, then run the same command again; `acdc trace DIR --rejected` "
        "shows more"
    )


def open_founding_wave(context: RunContext, audience: Audience | None = None) -> None:
    """Write the next wave of founding assignments, where one is needed.

    Args:
        context: of the run.
        audience: who answers, as the scientists are told.
    """
    if not needs_another_wave(context):
        return
    store, pool = context.store, context.config.pool
    wave = len(store.events("founding_wave"))
    free = pool.capacity - len(store.families("active"))
    count = pool.wave(free)
    with store.once(f"founding-wave-{wave}", 0) as due:
        if due:
            _write_assignments(context, 0, [("novel", None)] * count, audience)
            store.add_event(FoundingWave(wave=wave, assignments=count))


def _write_assignments(
    context: RunContext,
    generation: int,
    requests: Sequence[tuple[AssignmentKind, str | None]],
    audience: Audience | None = None,
) -> None:
    store, pool = context.store, context.config.pool
    first = len(store.assignments(generation))
    active = [family.id for family in store.families("active")]
    weak_spots = _weak_spots(context)
    rejected = _lately_rejected(context)
    taken = tuple(store.newest_names(pool.taken_names))
    fields, panel = _fields(context, generation, requests), choose_panel(context)
    for index, (kind, parent) in enumerate(requests, start=first):
        rng = stream(context.config.seed, generation, "inspirations", index)
        others = [family for family in active if family != parent]
        count = min(pool.inspirations, len(others))
        chosen = rng.permutation(len(others))[:count]
        store.put_assignment(
            Assignment(
                id=f"g{generation}-a{index:02d}",
                generation=generation,
                index=index,
                kind=kind,
                parent=parent,
                inspirations=tuple(others[int(i)] for i in chosen),
                weak_spots=weak_spots,
                lately_rejected=rejected,
                taken_names=taken,
                field=fields[index - first],
                audience=audience,
                panel=panel,
                rng_seed=derive_seed(context.config.seed, generation, "assignment", index),
            )
        )


def _fields(
    context: RunContext, generation: int, requests: Sequence[tuple[AssignmentKind, str | None]]
) -> list[str]:
    """The field of each request: one that the pool lacks for a novel family, else its parent's."""
    store = context.store
    present = [family.field for family in store.families("active")]
    for status in ("open", "candidate"):
        present += [assignment.field for assignment in store.assignments(status=status)]
    order = stream(context.config.seed, generation, "fields").permutation(len(FIELDS))
    novel = sum(kind == "novel" for kind, _ in requests)
    lacking = iter(lacking_fields(present, novel, [int(place) for place in order]))
    return [
        next(lacking) if kind == "novel" or parent is None else store.family(parent).field
        for kind, parent in requests
    ]


def _weak_spots(context: RunContext) -> tuple[str, ...]:
    """Capabilities of the active families that about half of the archive passes."""
    active = context.store.families("active")
    rates = pass_rates([family.id for family in active], context.archive_skills())
    known = [family for family in active if 0 < rates.get(family.id, 0) < 1]
    known.sort(key=lambda family: (abs(rates[family.id] - 0.5), family.id))
    separating = dict.fromkeys(family.capability for family in known)
    return tuple(separating)[: context.config.pool.weak_spots]


def _lately_rejected(context: RunContext) -> tuple[str, ...]:
    """The newest rejections: name, field, reason, and of a long detail beginning and end."""
    lines = []
    for assignment in context.store.assignments(status="rejected")[::-1]:
        _, rejection, _ = context.store.assignment_status(assignment.id)
        drafts = context.store.drafts(assignment.id)
        proposal = drafts[-1].proposal if drafts else None
        name = proposal.get("name", "unnamed") if proposal else "unreadable proposal"
        if rejection is not None:
            field = f" [{assignment.field}]" if assignment.field else ""
            detail = cut_middle(rejection.detail, REJECTION_LENGTH)
            lines.append(f"{name}{field}: {rejection.reason} ({detail})")
        if len(lines) == context.config.pool.lately_rejected:
            break
    return tuple(lines)


def expect_drafts(context: RunContext, assignment_id: str) -> None:
    """Set the display to the progress of the assignment's generation."""
    context.drafts.expect(*_counts(context, assignment_id))


def _counts(context: RunContext, assignment_id: str) -> tuple[int, int]:
    """How many assignments of the same generation are done, and how many there are."""
    store = context.store
    generation = store.assignment(assignment_id).generation
    total = len(store.assignments(generation))
    return total - len(store.assignments(generation, "open")), total


def report_finished(context: RunContext, assignment_id: str) -> str:
    """Report a finished assignment: drafts take minutes where an endpoint is slow.

    Returns:
        What came of it.
    """
    outcome = context.store.assignment_status(assignment_id)
    why = f", {outcome.rejection.reason}" if outcome.rejection is not None else ""
    became = f"{outcome.status}{why}"
    context.drafts.finished(f"{assignment_id} {became}", *_counts(context, assignment_id))
    if outcome.rejection is not None:
        drafts = context.store.drafts(assignment_id)
        proposal = drafts[-1].proposal if drafts else None
        name = proposal.get("name", assignment_id) if proposal else assignment_id
        detail = cut_middle(outcome.rejection.detail, 120)
        said = f"{name}: {outcome.rejection.reason}" + (f": {detail}" if detail else "")
        context.progress(ProgressEvent("rejected", said))
    return became
