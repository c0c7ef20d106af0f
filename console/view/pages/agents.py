"""What the agents did: calls by role, rejections by reason, and the transcript of each call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agents.rejections import IN_WORDS
from console.errors import NotFoundError
from console.run.spending import prices
from console.view.page import Choice, Column, Fact, Facts, Form, Page, Query, Row, Table, at
from console.view.pages.tasks import funnel
from console.view.pages.transcript import said
from console.view.source import Run

_CALLS = """
SELECT key, role, purpose, tokens_in, tokens_out, failed, cached,
    json_extract(record, '$.round') AS round,
    json_extract(record, '$.model') AS model,
    json_extract(record, '$.endpoint') AS endpoint,
    json_extract(record, '$.seconds') AS seconds,
    json_extract(record, '$.attempts') AS attempts,
    json_extract(record, '$.finish_reason') AS ended,
    json_extract(record, '$.error') AS error,
    (SELECT id FROM assignments WHERE id = calls.assignment) AS proposal,
    (SELECT id FROM experts WHERE id = calls.assignment) AS expert
FROM calls ORDER BY seq DESC
"""
_REASONS = """
SELECT reason, COUNT(*) AS n, MIN(id) AS example, detail -- SQLite: of the row of the MIN
FROM assignments WHERE status = 'rejected' GROUP BY reason ORDER BY n DESC, reason
"""
_SCIENTISTS = """
SELECT json_extract(families.record, '$.scientist') AS scientist,
    families.generator <> '' AS procedural, COUNT(*) AS accepted,
    AVG(json_extract(families.record, '$.revisions')) AS revisions
FROM families GROUP BY scientist, procedural ORDER BY accepted DESC
"""


def agents(run: Run, query: Query, rest: str) -> Page:
    """Calls by role, rejections by reason with an example of each, and the calls themselves."""
    calls = run.kept("calls", _read_calls)
    roles = by_role(calls)
    form = Form(
        [
            _choice("role", "Role", roles, query),
            _choice("purpose", "Purpose", roles, query),
            Choice(
                "failed",
                "Calls",
                query.get("failed", ""),
                [("", "all"), ("yes", "failed ones")],
                closed=True,
            ),
        ]
    )
    shown = [
        row
        for row in calls
        if all(query.get(key, "") in ("", row[key]) for key in ("role", "purpose"))
        and (row["failed"] or not query.get("failed"))
    ]
    return Page(
        "Agents",
        [
            Facts("All calls", _totals(roles)),
            _role_table(roles),
            *funnel(run),
            _reason_table(run.rows(_REASONS)),
            _gate_table(run),
            _scientist_table(run.rows(_SCIENTISTS)),
            form,
            _call_table(shown),
        ],
    )


def _read_calls(run: Run) -> list[Row]:
    """All calls, the newest first, with what each cost in USD where its role has prices."""
    price = prices(run.config.get("endpoints", {}))
    rows = run.rows(_CALLS)
    for row in rows:
        row["cost"] = price(row["role"], row["tokens_in"], row["tokens_out"])
    return rows


def by_role(calls: Iterable[Row]) -> list[Row]:
    """What the calls of each role, purpose and model come to."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in calls:
        key = tuple(str(row[name]) for name in ("role", "purpose", "model", "endpoint"))
        groups.setdefault(key, []).append(row)
    found = []
    for (role, purpose, model, endpoint), members in sorted(groups.items()):
        times = [row["seconds"] or 0.0 for row in members]
        counts = {
            key: sum(row[key] for row in members)
            for key in ("failed", "cached", "tokens_in", "tokens_out")
        }
        found.append(
            {
                "role": role,
                "purpose": purpose,
                "model": model,
                "endpoint": endpoint,
                "calls": len(members),
                **counts,
                "cost": _sum_known(row["cost"] for row in members),
                "mean_seconds": sum(times) / len(times),
                "longest": max(times),
                "seconds": sum(times),
                "retries": sum((row["attempts"] or 1) - 1 for row in members),
                "cut": sum(row["ended"] == "length" for row in members),
            }
        )
    return found


def _sum_known(values: Iterable[float | None]) -> float | None:
    """The sum of what is known, None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _choice(key: str, label: str, rows: Sequence[Row], query: Query) -> Choice:
    options = [("", "any"), *((name, name) for name in sorted({row[key] for row in rows}))]
    return Choice(key, label, query.get(key, ""), options)


def _totals(roles: Sequence[Row]) -> list[Fact]:
    def total(key: str) -> float:
        return sum(row[key] or 0 for row in roles)

    return [
        Fact("calls", total("calls"), "count"),
        Fact("failed", total("failed"), "count"),
        Fact("tokens in", total("tokens_in"), "count"),
        Fact("tokens out", total("tokens_out"), "count"),
        Fact("duration of all calls", total("seconds"), "seconds"),
        Fact("retries", total("retries"), "count"),
        *_cost_facts(roles),
    ]


def _cost_facts(roles: Sequence[Row]) -> list[Fact]:
    """What all calls cost, and those of each role; nothing without prices."""
    of_role: dict[str, list[float | None]] = {}
    for row in roles:
        of_role.setdefault(row["role"], []).append(row["cost"])
    costs = {role: _sum_known(values) for role, values in sorted(of_role.items())}
    whole = _sum_known(costs.values())
    if whole is None:
        return []
    return [
        Fact("cost, USD", whole, "usd"),
        *(Fact(f"cost of the {role}, USD", cost, "usd") for role, cost in costs.items()),
    ]


def _cost_column(rows: Sequence[Row]) -> list[Column]:
    """Nothing where no role has prices."""
    priced = any(row["cost"] is not None for row in rows)
    return [Column("cost", "cost, USD", "usd")] if priced else []


def _role_table(rows: Sequence[Row]) -> Table:
    return Table(
        "roles",
        "Calls by role",
        [
            Column("role", "role"),
            Column("purpose", "purpose"),
            Column("model", "model"),
            Column("calls", "calls", "count"),
            Column("failed", "failed", "count"),
            Column("cached", "used again", "count"),
            Column("tokens_in", "tokens in", "count"),
            Column("tokens_out", "tokens out", "count"),
            *_cost_column(rows),
            Column("mean_seconds", "mean time", "seconds"),
            Column("longest", "longest", "seconds"),
            Column("seconds", "all time", "seconds"),
            Column("retries", "retries", "count"),
            Column("cut", "cut off", "count"),
            Column("endpoint", "endpoint", "code"),
        ],
        rows,
        note="The model offline is a program: its tokens are counted as words.",
    )


def _reason_table(rows: Sequence[Row]) -> Table:
    return Table(
        "reasons",
        "Rejected proposals by reason",
        [
            Column("reason", "reason", to="tasks?reason={reason}"),
            Column("meaning", "in words"),
            Column("n", "proposals", "count"),
            Column("example", "an example", to="tasks/{example}"),
            Column("detail", "what was wrong with it"),
        ],
        [row | {"meaning": IN_WORDS.get(row["reason"])} for row in rows],
    )


def _gate_table(run: Run) -> Table:
    """Failures of all drafts, those fixed later among them."""
    rows = [row | {"meaning": IN_WORDS.get(row["code"])} for row in run.kept("gates", _read_gates)]
    return Table(
        "gates",
        "Why drafts were sent back",
        [
            Column("code", "reason"),
            Column("meaning", "in words"),
            Column("drafts", "drafts", "count"),
            Column("proposals", "proposals", "count"),
            Column("example", "an example", to="tasks/{example}"),
        ],
        rows,
        note="By a gate or after the trial. Drafts that were refined and accepted later are among "
        "them: where proposals end, the funnel says.",
    )


def _read_gates(run: Run) -> list[Row]:
    return run.rows(
        "SELECT json_extract(record, '$.gates.code') AS code, COUNT(*) AS drafts, "
        "COUNT(DISTINCT assignment) AS proposals, MIN(assignment) AS example "
        "FROM drafts WHERE json_extract(record, '$.gates.code') IS NOT NULL "
        "GROUP BY code ORDER BY drafts DESC, code"
    )


def _scientist_table(rows: Sequence[Row]) -> Table:
    return Table(
        "scientists",
        "Accepted families by scientist",
        [
            Column("scientist", "model"),
            Column("accepted", "families", "count"),
            Column("revisions", "mean revisions", "number"),
        ],
        rows,
    )


def _call_table(rows: Sequence[Row]) -> Table:
    return Table(
        "calls",
        "Calls",
        [
            Column("key", "call", "code", "agents/{key}"),
            Column("role", "role"),
            Column("purpose", "purpose"),
            Column("proposal", "proposal", to="tasks/{proposal}"),
            Column("expert", "expert", to="experts/{expert}"),
            Column("round", "round", "count"),
            Column("model", "model"),
            Column("tokens_in", "tokens in", "count"),
            Column("tokens_out", "out", "count"),
            *_cost_column(rows),
            Column("seconds", "time", "seconds"),
            Column("attempts", "attempts", "count"),
            Column("cached", "used again", "count"),
            Column("ended", "ended by"),
            Column("error", "error"),
        ],
        rows,
        note="The newest first.",
        lookup=True,
    )


def _about(run: Run, name: str | None) -> list[Fact]:
    """What a call was about: a proposal, or an expert whose replies a rater read."""
    if name is None:
        return []
    if run.row("SELECT id FROM experts WHERE id = ?", name):
        return [Fact("expert", name, to=at("experts", name))]
    return [Fact("proposal", name, to=at("tasks", name))]


def call(run: Run, query: Query, rest: str) -> Page:
    """One call with its whole transcript.

    Raises:
        NotFoundError: there is none.
    """
    found = run.store.call(rest)
    if found is None:
        raise NotFoundError(f"the run has no call {rest!r}")
    whole = found.model_copy(update={"round": 0})
    price = prices(run.config.get("endpoints", {}))
    cost = price(found.role, found.tokens_in, found.tokens_out)
    facts = [
        Fact("role", found.role),
        Fact("purpose", found.purpose),
        *_about(run, found.assignment),
        Fact("round", found.round, "count"),
        Fact("model", found.model),
        Fact("endpoint", found.endpoint, "code"),
        Fact("tokens in", found.tokens_in, "count"),
        Fact("tokens out", found.tokens_out, "count"),
        *([] if cost is None else [Fact("cost, USD", cost, "usd")]),
        Fact("time", found.seconds, "seconds"),
        Fact("attempts", found.attempts, "count"),
        Fact("ended by", found.finish_reason),
    ]
    return Page(
        f"{found.role}: {found.purpose}",
        [Facts("Call", facts), *said(whole)],
        crumbs=[("agents", "Agents")],
    )
