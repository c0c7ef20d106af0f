"""The methods that mergekit has registered: what they take, and the configuration of a merge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from evolution.errors import MergeError
from memory.messages import did_you_mean, first_problem
from memory.records import Json

BASE_NAME = "base"
"""What the base is called among the experts."""


def check_method(method: str, parameters: Mapping[str, Json], members: Sequence[str]) -> None:
    """Refuse an unknown method, parameters that it does not take, or a wrong number of members.

    Args:
        method: as mergekit calls it.
        parameters: name -> a value for all members, or a table of values by member.
        members: names of what is merged.

    Raises:
        MergeError: what is wrong, with the nearest known name.
    """
    known = _specifications()
    if method not in known:
        raise MergeError(
            f"mergekit has no method {method!r}{did_you_mean(method, known)}; "
            f"there are: {', '.join(sorted(known))}"
        )
    specification = known[method]
    expected = {parameter.name: parameter for parameter in specification.parameters}
    for name, value in parameters.items():
        if name not in expected:
            raise MergeError(
                f"mergekit's {method} has no parameter {name!r}{did_you_mean(name, expected)}"
            )
        _check_value(method, expected[name], value, members)
    missing = [p.name for p in expected.values() if p.required and p.name not in parameters]
    if missing:
        raise MergeError(f"mergekit's {method} needs the parameter {missing[0]!r}")
    base = _base(specification, members)
    try:
        specification.contract.validate_ids(_inputs(base, members), base)
    except ValueError as error:
        raise MergeError(
            f"mergekit's {method} cannot merge {', '.join(members)}: {error}"
        ) from None


def configuration(
    method: str, parameters: Mapping[str, Json], members: Sequence[str], dtype: str
) -> dict[str, Any]:
    """The mergekit configuration of a merge, in which models are referred to by name.

    Where a method works on task vectors, the run's base is the base; a method that takes exactly
    two models, one of which it calls the base (slerp), is given the first member as such.

    Args:
        method: checked before.
        parameters: as for `check_method`.
        members: names of what is merged.
        dtype: of the result; what lies between is float32.
    """
    base = _base(_specifications()[method], members)
    tables = {name: value for name, value in parameters.items() if isinstance(value, dict)}
    models = []
    for member in members:
        own = {name: table[member] for name, table in tables.items() if member in table}
        models.append({"model": member, **({"parameters": own} if own else {})})
    common = {name: value for name, value in parameters.items() if name not in tables}
    return {
        "merge_method": method,
        **({} if base is None else {"base_model": base}),
        "models": models,
        **({"parameters": common} if common else {}),
        "dtype": "float32",
        "out_dtype": dtype,
    }


def _specifications() -> dict[str, Any]:
    # Imported on use: mergekit takes a second, which only those pay who merge.
    from mergekit.merge_methods import registry

    return {method.spec.name: method.spec for method in registry.registered_methods()}


def _base(specification: Any, members: Sequence[str]) -> str | None:
    contract = specification.contract
    if contract.base.value in ("ignored", "forbidden"):
        return None
    return members[0] if contract.max_inputs == len(members) == 2 else BASE_NAME


def _inputs(base: str | None, members: Sequence[str]) -> list[str]:
    return list(members) if base is None or base in members else [base, *members]


def _check_value(method: str, parameter: Any, value: Json, members: Sequence[str]) -> None:
    """Single values are checked; lists are mergekit's gradients and filters, which it checks."""
    values = value.values() if isinstance(value, dict) else [value]
    unknown = [name for name in value if name not in members] if isinstance(value, dict) else []
    if unknown:
        raise MergeError(
            f"{parameter.name} of {method} is given for {unknown[0]!r}, which is not among "
            f"the merged models ({', '.join(members)})"
        )
    for single in values:
        if not isinstance(single, list | dict):
            try:
                parameter.validate(single)
            except ValidationError as error:
                said = first_problem(error)
                raise MergeError(
                    f"mergekit's {method}: {parameter.name} = {single!r}: {said}"
                ) from None
