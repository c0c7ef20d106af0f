"""The field of a run: who may be in its task force, and on what forces are chosen."""

from __future__ import annotations

from collections.abc import Iterable

from agents.errors import AnsweringError
from agents.families.lifecycle import condemned
from evolution.merging.settings import REGMEAN
from evolution.selection import Force, Standing
from memory.records import Expert, Family, GibberishFound, GraftRefused, Skill
from memory.store import RunStore


def field_of(store: RunStore) -> list[Expert]:
    """Everybody whom the run ever judged, but for those whose answers were gibberish.

    An expert that survival put out may still solve what nobody else does; one that left a race has
    answered too little. In the order in which ties are broken: the latest archive by rank, the
    seeds, then the others, the youngest first.
    """
    everybody = store.experts()
    lost = {
        GibberishFound.model_validate(event.payload).expert for event in store.events("gibberish")
    }
    lost |= store.eliminated().keys()
    order = {expert.id: expert for expert in store.archive_experts()}
    order |= {expert.id: expert for expert in everybody if expert.is_seed}
    for expert in reversed(everybody):
        order.setdefault(expert.id, expert)
    return [expert for name, expert in order.items() if name not in lost]


def founding_merge(store: RunStore) -> Expert | str:
    """The merge of the seeds with which the run began; why there is none, in words."""
    merges = [expert for expert in store.experts(0) if expert.operator == REGMEAN]
    if merges:
        return merges[0]
    refused = [event for event in store.events("graft refused") if event.generation == 0]
    if refused:
        reason = GraftRefused.model_validate(refused[0].payload).reason
        return f"its seeds could not be merged ({reason})"
    return "its seeds were not merged when it began, by its configuration or its version"


def resampled_seeds(store: RunStore) -> list[str]:
    """Who answers in the baseline `experts`: the seeds without the base, where there are others.

    As in the paper's Experts (table 12): a base that was not tuned would take its share of the
    answers, and give little for them.
    """
    seeds = [expert for expert in store.experts() if expert.is_seed]
    tuned = [expert for expert in seeds if expert.operator != "base"]
    return [expert.id for expert in tuned or seeds]


def history_of(store: RunStore, among: Iterable[str] | None = None) -> list[Family]:
    """Every family that ever graded, or those of some ids, but for those whose own scorer broke."""
    broken = condemned(store)
    families = store.families() if among is None else map(store.family, among)
    return [family for family in families if family.id not in broken]


def eligible(store: RunStore) -> dict[str, dict[str, Skill]]:
    """Who may be in the force, with its grades; missing grades cover nothing."""
    skills = {expert.id: store.skill_counts(expert.id) for expert in field_of(store)}
    return {expert: vector for expert, vector in skills.items() if vector}


def finals_of(store: RunStore) -> list[Family]:
    """The families that asked in the finals of a run; none while they are not over.

    Earlier ends of a run that goes on do not count: its force is the current one.
    """
    held = store.meta("finals")
    if not isinstance(held, dict) or not store.meta("finished"):
        return []
    asked = held["families"]
    assert isinstance(asked, list)
    return [family for family in history_of(store) if family.id in asked]


def standing_of(store: RunStore) -> Standing:
    """On what forces are chosen: the finals, or, before they were held, skills on the history."""
    asked = {family.id for family in finals_of(store)}
    if asked and (heard := heard_in(store, asked)).places:
        return heard
    families = {family.id for family in history_of(store)}
    skills = eligible(store).items()
    return Standing.graded(
        {e: {f: skill for f, skill in vector.items() if f in families} for e, vector in skills}
    )


def heard_in(store: RunStore, families: set[str]) -> Standing:
    """What came of some families in the finals, of all who may be in the force."""
    heard = Standing.heard(each for each in store.outcomes() if each.family in families)
    return heard.among(expert.id for expert in field_of(store)).common()


def force_in(store: RunStore, size: int, *, alone: bool = False) -> Force:
    """The task force that answers for a run, of the size or of all that there are.

    Args:
        store: of the run.
        size: N.
        alone: whether N different experts answer greedily, in place of N voices.
    """
    standing = standing_of(store)
    return standing.alone(size) if alone else standing.force(size, resampled_seeds(store))


def require_field(standing: Standing, place: object) -> None:
    """Refuse a run of which nobody could answer.

    Raises:
        AnsweringError: it has no graded experts yet.
    """
    if not standing.marks:
        raise AnsweringError(
            f"no expert of {place} is graded yet, so nobody can answer: the first will be at the "
            "end of generation 0 (`acdc status` says how far a run is)"
        )
