"""Coverage of models that answered elsewhere, from their sample logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agents.errors import TaskFileError
from agents.evaluation.rows import Row, RowKey, RunRows
from agents.evaluation.sample_logs import Log, Sample
from agents.task_force.ballot import Ballot
from agents.task_force.methods import Aids, method_named, select
from memory.hashing import text_hash

VOTES = "majority"
"""The one method that needs nothing but the answers; logs hold no more."""


async def measure_logs(
    logs: Mapping[str, Log], order: Sequence[str], sizes: Sequence[int], name: str
) -> RunRows:
    """Coverage of the first 1, 2, .. N models, and their majority vote.

    Items are the union over all logs. No model is chosen by how it did on them: that would be
    choosing on the test.

    Args:
        logs: model -> its samples.
        order: models, in the order in which they are taken (a force, or as they were given).
        sizes: values of N; those beyond the number of models are left out.
        name: of the rows.

    Raises:
        TaskFileError: no N is small enough.
    """
    items = {item: sample for log in logs.values() for item, sample in log.items()}
    clusters = {item: sample.task for item, sample in items.items()}
    if len(set(clusters.values())) == 1:
        # One benchmark alone: its documents are all the units there are.
        clusters = {item: item for item in items}
    rows: dict[RowKey, Row] = {}
    for n in sorted({size for size in sizes if size <= len(order)}):
        members = tuple(order[:n])
        rows[name, n] = await _row(name, members, {m: logs[m] for m in members}, items)
    if not rows:
        raise TaskFileError(f"there are logs of {len(order)} models, fewer than every -n")
    return RunRows(name, 0, clusters, rows)


async def _row(
    name: str, members: tuple[str, ...], logs: Mapping[str, Log], items: Mapping[str, Sample]
) -> Row:
    solved, chosen = {}, {}
    for item in items:
        said = [(member, logs[member][item]) for member in members if item in logs[member]]
        solved[item] = any(sample.passed for _, sample in said)
        chosen[item] = bool(said) and await _majority(item, said)
    return Row(
        name=name,
        n=len(members),
        solved=solved,
        chosen={VOTES: chosen} if len(members) > 1 else {},
        experts=members,
        sampling="as in the logs",
        tokens=0,
        tokens_in=0,
        seconds=0.0,
        ungraded=sum(item not in log for log in logs.values() for item in items),
    )


async def _majority(item: str, said: Sequence[tuple[str, Sample]]) -> bool:
    ballot = Ballot(
        said[0][1].question,
        tuple(sample.candidate(member) for member, sample in said),
        seed=int(text_hash(item), 16),
    )
    choice = await select(method_named(VOTES), ballot, Aids())
    return said[choice.winner][1].passed
