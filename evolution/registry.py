"""The registry of operators: typed functions, their parameters validated from the signature.

A new operator is a function with a decorator, in a module that the configuration names under
`plugins` (or in one of those that `BUILT_IN` lists):

    @crossover("mine", parents=2)
    def mine(parents, geometry, rng, *, pull: float = 0.5):
        '''What it does.'''
        return geometry.blend(parents, ...), {"pull": pull}

Its keyword-only arguments are its parameters in the configuration. It returns the child and what it
drew, which is recorded with the expert. All randomness comes from `rng`. How to write each kind is
shown in docs/operators.md.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from evolution.errors import GenomeError, OperatorError
from evolution.genome.genome import Genome
from memory.messages import did_you_mean, first_problem
from memory.records import Json

Kind = Literal["crossover", "mutation", "mating", "survival"]
Child = tuple[Genome, dict[str, Json]]
"""The child of a crossover or mutation, and what was drawn for it."""


@dataclass(frozen=True)
class Operator:
    """A registered operator.

    Attributes:
        parents: how many parents it needs, a crossover's.
        parameters: pydantic model of its keyword-only arguments.
    """

    kind: Kind
    name: str
    function: Callable[..., Any]
    parents: int
    parameters: type[BaseModel]

    def outcome(self, *given: Any, **parameters: Any) -> Child:
        """What a crossover or mutation gives, checked: it may be the user's own.

        Raises:
            OperatorError: it is no genome, or not with what was drawn as plain JSON values.
        """
        what = f"{self.kind} {self.name!r}"
        try:
            found = self.function(*given, **parameters)
        except GenomeError as error:
            raise OperatorError(f"{what} returned an invalid genome: {error}") from error
        pair = isinstance(found, tuple) and len(found) == 2
        if not pair or not isinstance(found[0], Genome) or not isinstance(found[1], dict):
            raise OperatorError(
                f"{what} must return (Genome, what it drew as a dict), got {type(found).__name__}"
            )
        genome, drawn = found
        try:
            json.dumps(drawn, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise OperatorError(
                f"{what} must report what it drew in plain JSON values, as float(x): {error}"
            ) from None
        return genome, drawn

    def validated(self, given: Mapping[str, Json]) -> dict[str, Any]:
        """The parameters with defaults filled in.

        Raises:
            OperatorError: an unknown parameter (with the nearest known one), or a bad value.
        """
        known = list(self.parameters.model_fields)
        for key in given:
            if key not in known:
                raise OperatorError(
                    f"{self.kind} {self.name!r} has no parameter {key!r}{did_you_mean(key, known)}"
                )
        try:
            return dict(self.parameters.model_validate(dict(given)))
        except ValidationError as error:
            raise OperatorError(
                f"{self.kind} {self.name!r}: {first_problem(error, quote=True)}"
            ) from None


F = TypeVar("F", bound=Callable[..., Any])
BUILT_IN: dict[Kind, str] = {
    "crossover": "evolution.breeding.crossover",
    "mutation": "evolution.breeding.mutation",
    "mating": "evolution.selection.parents",
    "survival": "evolution.selection.survival",
}
"""Where the operators of each kind are that are always there."""

_OPERATORS: dict[tuple[Kind, str], Operator] = {}


def crossover(name: str, *, parents: int = 2) -> Callable[[F], F]:
    """Register a crossover of `parents` parents under a name."""
    return _register("crossover", name, parents)


def mutation(name: str) -> Callable[[F], F]:
    """Register a mutation under a name."""
    return _register("mutation", name, 1)


def mating(name: str) -> Callable[[F], F]:
    """Register a rule by which parents are drawn."""
    return _register("mating", name, 0)


def survival(name: str) -> Callable[[F], F]:
    """Register a rule by which the candidates for the archive are ranked."""
    return _register("survival", name, 0)


def operators(kind: Kind) -> dict[str, Operator]:
    """All operators of a kind, by name."""
    # Imported here, not above: the built-in operators import this module to register themselves.
    importlib.import_module(BUILT_IN[kind])
    return {name: operator for (of, name), operator in _OPERATORS.items() if of == kind}


def get_operator(kind: Kind, name: str) -> Operator:
    """The operator of that name.

    Raises:
        OperatorError: no such operator; names the nearest known one.
    """
    known = operators(kind)
    if name not in known:
        raise OperatorError(
            f"unknown {kind} {name!r}{did_you_mean(name, known)}; "
            f"there are: {', '.join(sorted(known))}"
        )
    return known[name]


def check_operator(kind: Kind, name: str, parameters: Mapping[str, Json]) -> None:
    """Refuse an unknown operator or parameters that it does not take.

    Raises:
        OperatorError: what is wrong, with the nearest known name.
    """
    get_operator(kind, name).validated(parameters)


def rule_parameters(
    kind: Kind, name: str, settings: BaseModel, given: Mapping[str, Json]
) -> dict[str, Any]:
    """The parameters of a rule: what is given, else the setting of the same name, else its default.

    Raises:
        OperatorError: no such rule, or parameters that it does not take.
    """
    rule = get_operator(kind, name)
    shared = rule.parameters.model_fields.keys() & type(settings).model_fields.keys()
    return rule.validated({**{key: getattr(settings, key) for key in shared}, **given})


def _register(kind: Kind, name: str, parents: int) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        fields: dict[str, Any] = {
            parameter.name: (
                parameter.annotation,
                ... if parameter.default is parameter.empty else parameter.default,
            )
            for parameter in inspect.signature(function, eval_str=True).parameters.values()
            if parameter.kind is parameter.KEYWORD_ONLY
        }
        taken = _OPERATORS.get((kind, name))
        if taken is not None and taken.function.__module__ in BUILT_IN.values():
            raise OperatorError(f"{name!r} is the name of a built-in {kind}: choose another")
        config = ConfigDict(extra="forbid")
        model = create_model(f"{name}_parameters", __config__=config, **fields)
        _OPERATORS[kind, name] = Operator(kind, name, function, parents, model)
        return function

    return decorate
