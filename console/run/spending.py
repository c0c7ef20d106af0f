"""What calls have cost, where prices are configured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

from pydantic import ValidationError

from agents.chat.endpoints import EndpointsSettings
from console.run.folder import RunFolder
from memory.errors import AcdcError
from memory.messages import count_of
from memory.records import Role
from memory.store import RunStore
from memory.store.calls import RoleTotals

Prices = Callable[[str, int, int], float | None]
"""Role, prompt tokens, completion tokens -> USD, None where the role has no prices."""


def prices(endpoints: Mapping[str, Any]) -> Prices:
    """What calls cost by the settings of a run, as its config.json has them.

    Where settings cannot be read nothing has a price.
    """
    try:
        settings = EndpointsSettings.model_validate(endpoints)
    except ValidationError:
        return lambda role, tokens_in, tokens_out: None
    of = {role: settings.of(role) for role in get_args(Role)}
    return lambda role, tokens_in, tokens_out: (
        of[role].cost(tokens_in, tokens_out) if role in of else None
    )


def costs(endpoints: Mapping[str, Any], totals: Mapping[str, RoleTotals]) -> dict[str, float]:
    """USD by role; roles without prices are left out, as are all where settings cannot be read.

    Args:
        endpoints: the settings of a run, as its config.json has them.
        totals: what each role has used.
    """
    price, found = prices(endpoints), dict[str, float]()
    for role, used in totals.items():
        cost = price(role, used["tokens_in"], used["tokens_out"])
        if cost is not None:
            found[role] = round(cost, 6)
    return found


def used(place: RunFolder) -> str:
    """What the calls of a live run have used, in one line: tokens, cost, share of the budgets.

    Nothing while the run has no database, or none of its roles has called.
    """
    if not (place.database.is_file() and place.config_file.is_file()):
        return ""
    try:
        endpoints = place.manifest()["config"]["endpoints"]
        with RunStore.open(place.path, read_only=True) as store:
            totals = store.call_totals()
    except AcdcError:  # it is just being made
        return ""
    cost = costs(endpoints, totals)
    told = []
    for role, numbers in sorted(totals.items()):
        tokens = numbers["tokens_in"] + numbers["tokens_out"]
        said = f"{role} {count_of(numbers['calls'], 'call')}, {_short(tokens)} tokens"
        if role in cost:
            said += f", {cost[role]:.2f} USD"
        if share := _share(endpoints, role, numbers):
            said += f", {share:.0%} of its budget"
        told.append(said)
    return "; ".join(told)


def _share(endpoints: Mapping[str, Any], role: str, used_up: RoleTotals) -> float:
    """The largest share of a limit of the role's budget that is used up; 0 without limits."""
    known: Role = role  # type: ignore[assignment]
    try:
        budget = EndpointsSettings.model_validate(endpoints).of(known).budget
    except ValidationError:
        return 0.0
    tokens = used_up["tokens_in"] + used_up["tokens_out"]
    shares = [used_up["attempts"] / budget.calls] if budget.calls else []
    shares += [tokens / budget.tokens] if budget.tokens else []
    return max(shares, default=0.0)


def _short(number: int) -> str:
    """A number that is read at a glance: 950, 46k, 1.2M."""
    if number < 10_000:
        return str(number)
    return f"{number / 1e6:.1f}M" if number >= 1_000_000 else f"{number // 1000}k"
