"""What a run holds as tables: plain rows for pyarrow, pandas, or whatever reads columns.

A table has a name, columns with types, and a function that yields its rows. Ids are those of the
run store, so tables join: `answers.task` is `tasks.task`, `grades.answer` is `answers.answer`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agents.families.items import Item, item_of, items_of
from console.errors import UsageError
from console.run.folder import RunFolder
from console.run.spending import prices
from memory.messages import did_you_mean
from memory.records import FINALS, FIXED, OWN, Family, is_learning
from memory.store import RunStore
from memory.store.codec import dump_json

if TYPE_CHECKING:
    import pyarrow

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Table:
    """One kind of thing in a run.

    Attributes:
        about: what a row is.
        columns: name -> type, as Arrow calls it; `list` is a list of strings.
        rows: yields them from an open store, values in the order of the columns.
    """

    about: str
    columns: dict[str, str]
    rows: Callable[[RunStore], Iterator[Row]]


def read_table(folder: RunFolder, name: str) -> pyarrow.Table:
    """One table of a run, the run's name in the first column.

    Raises:
        UsageError: there is no such table, or pyarrow is not installed.
    """
    if name not in TABLES:
        hint = did_you_mean(name, TABLES)
        raise UsageError(f"there is no table {name!r}{hint}; there are {', '.join(TABLES)}")
    try:
        import pyarrow as arrow
    except ModuleNotFoundError as error:
        raise UsageError("tables need pyarrow: pip install -e '.[tables]'") from error
    table = TABLES[name]
    folder.manifest()
    with RunStore.open(folder.path, read_only=True) as store:
        rows = list(table.rows(store))
    columns = list(zip(*rows, strict=True)) or [()] * len(table.columns)
    types = {"list": arrow.list_(arrow.string())}
    kinds = [types.get(kind) or arrow.type_for_alias(kind) for kind in table.columns.values()]
    arrays = [arrow.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    where = arrow.array([folder.path.resolve().name] * len(rows), arrow.string())
    return arrow.table([where, *arrays], names=["run", *table.columns])


def _runs(store: RunStore) -> Iterator[Row]:
    latest, totals = store.latest_archive(), store.call_totals().values()
    yield (
        store.meta("run_id"),
        latest[0] if latest else None,
        bool(store.meta("finished")),
        len(store.experts()),
        len(store.families()),
        len(store.answers_of()),
        sum(role["calls"] for role in totals),
        sum(role["tokens_in"] for role in totals),
        sum(role["tokens_out"] for role in totals),
    )


def last_fitness(store: RunStore) -> dict[str, float]:
    """Expert -> fitness by which it was selected last, of all that were ever in an archive."""
    latest = store.latest_archive()
    return {
        entry.expert: entry.fitness
        for generation in range(latest[0] + 1 if latest else 0)
        for entry in store.archive(generation)
    }


def _experts(store: RunStore) -> Iterator[Row]:
    latest = store.latest_archive()
    ranks = {entry.expert: rank for rank, entry in enumerate(latest[1], 1)} if latest else {}
    selected = range(latest[0] + 1 if latest else 0)
    kept = {born: {entry.expert for entry in store.archive(born)} for born in selected}
    fitness = last_fitness(store)
    for expert in store.experts():
        skills = store.skill_counts(expert.id)
        rates = [skill.rate for skill in skills.values()]
        yield (
            expert.id,
            expert.genome_id,
            expert.generation,
            expert.birth,
            expert.operator,
            list(expert.parents),
            fitness.get(expert.id),
            sum(rates) / len(rates) if rates else None,
            len(rates),
            ranks.get(expert.id),
            expert.id in kept[expert.generation] if expert.generation in kept else None,
        )


def _families(store: RunStore) -> Iterator[Row]:
    skills = [store.skill_counts(expert.id) for expert in store.archive_experts()]
    for family in store.families():
        graded = [vector[family.id] for vector in skills if family.id in vector]
        rates = [skill.rate for skill in graded]
        yield (
            family.id,
            family.name,
            family.description,
            family.capability,
            family.field,
            family.kind,
            list(family.parents),
            family.generation,
            store.family_status(family.id),
            family.difficulty,
            family.level,
            family.levels,
            family.chance,
            family.generative,
            family.rated,
            family.scientist,
            family.revisions,
            sum(rates) / len(rates) if rates else None,
            sum(skill.passed for skill in graded),
            len(graded),
        )


def every_item(store: RunStore) -> Iterator[tuple[Family, int, Item]]:
    """Every task of a run with its family and period."""
    for family in store.families():
        for item in items_of(family):
            yield family, OWN if family.generative else FIXED, item
        for instance in store.instances(family.id):
            yield family, instance.period, item_of(family, instance)


_USES = {OWN: "draft", FIXED: "closed", FINALS: "finals"}


def use_of(period: int) -> str:
    """What the instances of a period are for: draft, closed, period, finals or lesson."""
    return "lesson" if is_learning(period) else _USES.get(period, "period")


def _tasks(store: RunStore) -> Iterator[Row]:
    for family, period, item in every_item(store):
        use = use_of(period)
        number = period if use == "period" else None
        text, reference = item.instructions, item.reference
        yield item.instance_hash, family.id, item.instance, use, number, text, reference


def _skills(store: RunStore) -> Iterator[Row]:
    for expert, vector in store.all_skill_counts().items():
        for family, skill in vector.items():
            yield expert, family, skill.passes, skill.asked, skill.rate


def _finals(store: RunStore) -> Iterator[Row]:
    tasks = {(f.id, item.instance): item.instance_hash for f, _, item in every_item(store)}
    for each in store.outcomes():
        task = tasks.get((each.family, each.instance))
        yield each.expert, each.temperature, each.family, task, each.passes, each.asked


def _answers(store: RunStore) -> Iterator[Row]:
    families = {item.instance_hash: family.id for family, _, item in every_item(store)}
    experts: dict[str, str] = {}
    for expert in store.experts():
        experts.setdefault(expert.genome_id, expert.id)
    verdicts = store.verdicts()
    for answer in store.answers_of():
        reply = answer.reply
        yield (
            answer.key,
            experts.get(answer.genome_id),
            answer.genome_id,
            families.get(answer.instance_hash),
            answer.instance_hash,
            answer.sample,
            reply.text,
            answer.extracted,
            answer.unmarked,
            verdicts.get(answer.key),
            reply.tokens_in,
            reply.tokens_out,
            reply.finish_reason,
            reply.seconds,
            reply.logprob,
        )


def _grades(store: RunStore) -> Iterator[Row]:
    for grade in store.all_grades():
        yield grade.answer_key, grade.vote, grade.passed, grade.rater or None, grade.detail or None


def _calls(store: RunStore) -> Iterator[Row]:
    config = RunFolder(store.path.parent).manifest()["config"]
    price = prices(config.get("endpoints", {}))
    for call in store.calls():
        yield (
            call.role,
            call.purpose,
            call.model,
            call.endpoint,
            call.assignment,
            call.round,
            call.tokens_in,
            call.tokens_out,
            price(call.role, call.tokens_in, call.tokens_out),
            call.seconds,
            call.attempts,
            call.cached,
            call.error,
            call.response,
        )


def _events(store: RunStore) -> Iterator[Row]:
    for event in store.events():
        yield event.at, event.generation, event.kind, dump_json(event.payload)


TABLES = {
    "runs": Table(
        "the run; calls and tokens are those of agents",
        {"run_id": "string", "generation": "int64", "finished": "bool"}
        | dict.fromkeys(("experts", "families", "answers", "calls"), "int64")
        | dict.fromkeys(("tokens_in", "tokens_out"), "int64"),
        _runs,
    ),
    "experts": Table(
        "an expert that was ever kept; `fitness` is that by which it was selected last, as `acdc "
        "status` has it, `pass_rate` the mean on the latest instances of `graded` families, which "
        "differ between experts, `rank` its place in the latest archive, from 1, `survived` "
        "whether it was in the archive after the selection of its own generation",
        dict.fromkeys(("expert", "genome"), "string")
        | dict.fromkeys(("generation", "birth"), "int64")
        | {"operator": "string", "parents": "list", "fitness": "double", "pass_rate": "double"}
        | dict.fromkeys(("graded", "rank"), "int64")
        | {"survived": "bool"},
        _experts,
    ),
    "families": Table(
        "a task family that was ever accepted; `pass_rate` is the mean of the `graded` experts of "
        "the archive, `solvers` those of them that pass more than half of its latest instances",
        dict.fromkeys(("family", "name", "description", "capability", "field", "kind"), "string")
        | {"parents": "list", "generation": "int64", "status": "string"}
        | dict.fromkeys(("difficulty", "level", "levels"), "int64")
        | {"chance": "double", "generative": "bool", "rated": "bool", "scientist": "string"}
        | {"revisions": "int64", "pass_rate": "double", "solvers": "int64", "graded": "int64"},
        _families,
    ),
    "tasks": Table(
        "an instance of a family; `use` is draft (it was written with it), closed (one of the two "
        "of a closed family), period (asked from one adaptation to the next), finals or lesson",
        dict.fromkeys(("task", "family", "instance", "use"), "string")
        | {"period": "int64", "instructions": "string", "reference": "string"},
        _tasks,
    ),
    "skills": Table(
        "an expert's counts on the latest instances of a family",
        {"expert": "string", "family": "string"}
        | {"passes": "int64", "asked": "int64", "rate": "double"},
        _skills,
    ),
    "finals": Table(
        "what an expert passes of a task of the finals, at one temperature",
        {"expert": "string", "temperature": "double", "family": "string", "task": "string"}
        | {"passes": "int64", "asked": "int64"},
        _finals,
    ),
    "answers": Table(
        "an answer; `passed` is empty where it is not graded, and `family` where it is to a "
        "draft's question in a trial, which is not among the `tasks`",
        dict.fromkeys(("answer", "expert", "genome", "family", "task"), "string")
        | {"sample": "int64", "text": "string", "extracted": "string"}
        | {"unmarked": "bool", "passed": "bool", "tokens_in": "int64", "tokens_out": "int64"}
        | {"finish_reason": "string", "seconds": "double", "logprob": "double"},
        _answers,
    ),
    "grades": Table(
        "a vote on an answer, by code or by a rater",
        {"answer": "string", "vote": "int64", "passed": "bool"}
        | {"rater": "string", "detail": "string"},
        _grades,
    ),
    "calls": Table(
        "a call of a scientist, critic or rater; `cost` in USD, empty where its role has no prices",
        dict.fromkeys(("role", "purpose", "model", "endpoint", "assignment"), "string")
        | dict.fromkeys(("round", "tokens_in", "tokens_out"), "int64")
        | {"cost": "double", "seconds": "double", "attempts": "int64", "cached": "int64"}
        | {"error": "string", "response": "string"},
        _calls,
    ),
    "events": Table(
        "what happened besides: waves, grafts, missing grades; `at` in seconds since the epoch",
        {"at": "double", "generation": "int64", "kind": "string", "payload": "string"},
        _events,
    ),
}
"""Every table of a run, by name."""
