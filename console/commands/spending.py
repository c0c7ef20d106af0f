"""What calls have cost, where prices are configured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from agents.chat.endpoints import EndpointsSettings
from memory.records import Role
from memory.store.calls import RoleTotals


def costs(endpoints: Mapping[str, Any], totals: Mapping[str, RoleTotals]) -> dict[str, float]:
    """USD by role; roles without prices are left out, as are all where settings cannot be read.

    Args:
        endpoints: the settings of a run, as its config.json has them.
        totals: what each role has used.
    """
    try:
        settings = EndpointsSettings.model_validate(endpoints)
    except ValidationError:
        return {}
    found: dict[str, float] = {}
    for role, used in totals.items():
        known: Role = role  # type: ignore[assignment]
        cost = settings.of(known).cost(used["tokens_in"], used["tokens_out"])
        if cost is not None:
            found[role] = round(cost, 6)
    return found
