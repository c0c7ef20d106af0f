"""The registry of operators: typed functions, their parameters validated from the signature.

A new operator is a function with a decorator, in a module that the configuration names under
`plugins` (or in `evolution/crossover.py`, `mutation.py`, `mating.py`, `selection/survival.py`):

    @crossover("mine", parents=2)
    def mine(parents, geometry, rng, *, pull: float = 0.5):
        '''What it does.'''
        return geometry.blend(parents, ...), {"pull": pull}

Its keyword-only arguments are its parameters in the configuration. It returns the child and what it
drew, which is recorded with the expert. All randomness comes from `rng`. How to write each kind is
told, with an example, in docs/operators.md.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from evolution.errors import OperatorError
from evolution.genome import Genome
from evolution.geometry import Geometry
from memory.hashing import text_hash
from memory.records import Json

if TYPE_CHECKING:
    from evolution.settings import BreedingSettings

Kind = Literal["crossover", "mutation", "mating", "survival"]
Outcome = tuple[Genome, dict[str, Json]]


class Crossover(Protocol):
    """Parents to child; keyword-only arguments of its own are its parameters."""

    def __call__(
        self,
        parents: Sequence[Genome],
        geometry: Geometry,
        rng: np.random.Generator,
        /,
        **parameters: Any,
    ) -> Outcome:
        """The child, and what was drawn."""


class Mutation(Protocol):
    """Genome to genome; keyword-only arguments of its own are its parameters."""

    def __call__(
        self, genome: Genome, geometry: Geometry, rng: np.random.Generator, /, **parameters: Any
    ) -> Outcome:
        """The mutant, and what was drawn."""


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

    def validated(self, given: Mapping[str, Json]) -> dict[str, Any]:
        """The parameters with defaults filled in.

        Raises:
            OperatorError: an unknown parameter (with the nearest known one), or a bad value.
        """
        known = list(self.parameters.model_fields)
        for key in given:
            if key not in known:
                raise OperatorError(
                    f"{self.kind} {self.name!r} has no parameter {key!r}{_hint(key, known)}"
                )
        try:
            return dict(self.parameters.model_validate(dict(given)))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise OperatorError(
                f"{self.kind} {self.name!r}: {where} = {first['input']!r}: {first['msg']}"
            ) from None


F = TypeVar("F", bound=Callable[..., Any])
_BROKEN = (
    ImportError,
    SyntaxError,
    NameError,
    AttributeError,
    TypeError,
    ValueError,
    LookupError,
    OSError,
)
"""What a module that is not ready to be imported usually raises."""
_BUILT_IN: dict[Kind, str] = {
    "crossover": "evolution.crossover",
    "mutation": "evolution.mutation",
    "mating": "evolution.mating",
    "survival": "evolution.selection.survival",
}
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
    importlib.import_module(_BUILT_IN[kind])
    return {name: operator for (of, name), operator in _OPERATORS.items() if of == kind}


def get_operator(kind: Kind, name: str) -> Operator:
    """The operator of that name.

    Raises:
        OperatorError: no such operator; names the nearest known one.
    """
    known = operators(kind)
    if name not in known:
        raise OperatorError(
            f"unknown {kind} {name!r}{_hint(name, known)} (known: {', '.join(sorted(known))})"
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


def load_plugin(name: str) -> None:
    """Import a module of the user's that registers operators, once.

    Args:
        name: dotted name of an installed module, or path of a .py file.

    Raises:
        OperatorError: there is none, or it fails; its own error is the cause.
    """
    if not name.endswith(".py"):
        module, spec = name, importlib.util.find_spec(name) if _importable(name) else None
    else:
        file = Path(name).resolve()
        module = f"acdc_plugin_{text_hash(str(file))}"
        spec = importlib.util.spec_from_file_location(module, file) if file.is_file() else None
    if spec is None or spec.loader is None:
        raise OperatorError(f"there is no module {name}")
    if module in sys.modules:
        return
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[module] = loaded
    try:
        spec.loader.exec_module(loaded)
    except _BROKEN as error:
        del sys.modules[module]
        raise OperatorError(f"{name} fails: {type(error).__name__}: {error}") from error


def _importable(name: str) -> bool:
    """Whether a dotted name can be looked up: its parents are packages that exist."""
    parent = name.rpartition(".")[0]
    return not parent or (_importable(parent) and importlib.util.find_spec(parent) is not None)


def parents_needed(settings: BreedingSettings) -> int:
    """How many parents the most demanding crossover that can be drawn takes."""
    return max(
        get_operator("crossover", name).parents
        for name, weight in settings.crossovers.items()
        if weight > 0.0
    )


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
        config = ConfigDict(extra="forbid")
        model = create_model(f"{name}_parameters", __config__=config, **fields)
        _OPERATORS[kind, name] = Operator(kind, name, function, parents, model)
        return function

    return decorate


def _hint(name: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    """The end of an error message: the nearest known name, if one is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
