"""`acdc trace`: the story of a family, an expert or an answer, and the agents' conversations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias, cast, get_args

import typer
from rich.console import Console

from console.commands.frame import AsJson, Debug, RunDir, app, finish, out, print_json
from console.errors import UsageError
from console.run.folder import RunFolder
from console.stories.answers import read_answer, tell_answer
from console.stories.assignment import read_assignment, tell_assignment, tell_call, tell_line
from console.stories.calls import read_uncalled, tell_calls
from console.stories.expert import read_expert, tell_expert
from console.stories.families import read_families, tell_families
from console.stories.family import all_labels, read_family, tell_family
from console.stories.names import family_meant
from console.stories.telling import numbered, paged, say
from memory.records import Assignment, Call, Role
from memory.store import RunStore

Trace: TypeAlias = dict[str, list[dict[str, Any]]]
"""Under `families`, `assignments`, `experts`, `answers` and `calls`: what matched, as JSON.

Under `families` are those that nobody was assigned, since they were given to the run; under `names`
what each family of the run is called. Of a role `assignments` are those in which it was called, and
`uncalled` the others.
"""
_SHOWN = ("families", "assignments", "experts", "answers", "calls")
LIMIT = 40
"""Rows that are shown unless somebody asks for more."""

EXAMPLES = """Examples:

acdc trace DIR --families    who solves what, the hardest first

acdc trace DIR --family "The missing total"    a family by name

acdc trace DIR --expert g1-0    parents, recipe, gains and losses, answers

acdc trace DIR --rejected --limit 10    why tasks were rejected
"""


@app.command(epilog=EXAMPLES)
def trace(
    folder: RunDir,
    family: Annotated[
        str | None, typer.Option(help="A family by name or id, or an assignment by id.")
    ] = None,
    families: Annotated[
        bool, typer.Option("--families", help="Who solves what: a row for each family.")
    ] = False,
    expert: Annotated[
        str | None, typer.Option(help="An expert by id; with --family only its answers to that.")
    ] = None,
    answer: Annotated[
        str | None, typer.Option(help="One answer, by its key or the beginning of it.")
    ] = None,
    role: Annotated[
        str | None,
        typer.Option(
            help="A line for each call of scientist, critic, rater (grades by a rubric) or "
            "chooser (chooses among answers)."
        ),
    ] = None,
    rejected: Annotated[bool, typer.Option("--rejected", help="Only what was rejected.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="With prompts, replies and code, not in short.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help=f"Rows of a list (default: {LIMIT}; JSON: all).")
    ] = None,
    offset: Annotated[int, typer.Option(min=0, help="Rows that are left out before them.")] = 0,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Read the story of a run: families, experts, answers, and what the agents said.

    Without options: one line for each assignment, and what came of it.
    """

    def action() -> None:
        place, most = RunFolder(folder), limit or (None if as_json else LIMIT)
        if families:
            others = {"family": family, "expert": expert, "answer": answer, "role": role}
            _refuse_beside("families", {**others, "rejected": rejected})
            _say_families(place, most, offset, as_json)
            return
        found = collect(place, family, expert, role_named(role), rejected, answer)
        brief = not (full or family or expert or answer)
        if as_json:
            found["assignments"] = found["assignments"][offset:][:most]
            print_json(found)
        else:
            with paged(out):
                if role and not full and any(found[name] for name in _SHOWN):
                    tell_calls(found, out, most, offset)
                else:
                    show(found, out, brief, full=full, limit=most, offset=offset)

    finish(action, debug)


def _refuse_beside(option: str, others: Mapping[str, str | bool | None]) -> None:
    """Refuse options that would have no effect beside one that shows something else."""
    given = [f"--{name}" for name, value in others.items() if value not in (None, False)]
    if given:
        raise UsageError(f"--{option} cannot be combined with {', '.join(given)}")


def _say_families(place: RunFolder, limit: int | None, offset: int, as_json: bool) -> None:
    place.manifest()
    with RunStore.open(place.path, read_only=True) as store:
        found = read_families(store)
        rows = _trace(store, families=found["rows"][offset:][:limit])
    if as_json:
        print_json(rows)
    else:
        with paged(out):
            tell_families(found, out, limit, offset)


def collect(
    folder: RunFolder,
    family: str | None = None,
    expert: str | None = None,
    role: Role | None = None,
    rejected: bool = False,
    answer: str | None = None,
) -> Trace:
    """What matches: assignments with their conversations, an expert, an answer, or calls of a role.

    Raises:
        UsageError: there is no run here, or no such family, expert or answer, or what is asked for
            cannot be combined: an answer stands alone, an expert with at most a family.
    """
    narrowing: dict[str, str | bool | None] = {"role": role, "rejected": rejected}
    if answer is not None:
        _refuse_beside("answer", {"family": family, "expert": expert, **narrowing})
    if expert is not None:
        _refuse_beside("expert", narrowing)
    folder.manifest()
    with RunStore.open(folder.path, read_only=True) as store:
        if answer is not None:
            return _trace(store, answers=[read_answer(store, answer)])
        meant = None if family is None else family_meant(store, family)
        if expert is not None:
            of = None if meant is None else _family_of(store, meant)
            return _trace(store, experts=[read_expert(store, expert, of)])
        chosen = _chosen(store, meant)
        if meant is not None and not chosen:
            # A family that was given to the run was never assigned.
            return _trace(store, families=[read_family(store, meant)])
        if rejected:
            if meant is not None and not any(_is_rejected(store, a) for a in chosen):
                raise UsageError(f"{family} was not rejected; run it without --rejected")
            chosen = [a for a in chosen if _is_rejected(store, a)]
        traces = [read_assignment(store, assignment, role) for assignment in chosen]
        if role is None:
            return _trace(store, assignments=traces)
        # A rater reads for the judge, and a call of that kind belongs to no assignment.
        alone = [] if family or rejected else store.calls(role=role)
        return _trace(
            store,
            assignments=[trace for trace in traces if trace["calls"]],
            uncalled=read_uncalled(store, role, traces),
            calls=[call.model_dump(mode="json") for call in alone if call.assignment is None],
        )


def _trace(store: RunStore, **found: list[dict[str, Any]]) -> Trace:
    names = [{"family": key, "name": name} for key, name in all_labels(store).items()]
    empty: Trace = {name: [] for name in (*_SHOWN, "uncalled")}
    return {**empty, **found, "names": names}


def _family_of(store: RunStore, meant: str) -> str:
    """The family that is meant, or came of the assignment that is meant.

    Raises:
        UsageError: none came of it, so that nobody answered.
    """
    if meant in (family.id for family in store.families()):
        return meant
    family = store.assignment_status(meant).family
    if family is None:
        raise UsageError(f"no family came of {meant}: no expert answered it")
    return family


def _chosen(store: RunStore, family: str | None) -> list[Assignment]:
    assignments = store.assignments()
    if family is None:
        return assignments
    return [a for a in assignments if family in (a.id, store.assignment_status(a.id).family)]


def _is_rejected(store: RunStore, assignment: Assignment) -> bool:
    return store.assignment_status(assignment.id).status == "rejected"


def role_named(name: str | None) -> Role | None:
    """The role of that name, None for None.

    Raises:
        UsageError: there is no such role.
    """
    if name is not None and name not in get_args(Role):
        raise UsageError(f"unknown role {name!r}; there are {', '.join(get_args(Role))}")
    return cast("Role | None", name)


def show(
    trace: Trace,
    console: Console,
    brief: bool = False,
    *,
    full: bool = False,
    limit: int | None = None,
    offset: int = 0,
) -> None:
    """Print a trace for a person.

    Args:
        trace: as collected.
        console: where to.
        brief: one line for each assignment, and how to read one of them.
        full: with prompts, replies and code.
        limit: so many rows of a list; None for all.
        offset: rows that are left out before them.
    """
    names = {each["family"]: each["name"] for each in trace["names"]}
    for family in trace["families"]:
        tell_family(family, names, console)
    chosen = trace["assignments"][offset:][:limit]
    for assignment in chosen:
        if brief:
            tell_line(assignment, console)
        else:
            tell_assignment(assignment, names, console, full=full)
    if note := numbered(chosen, len(trace["assignments"]), offset, "assignments"):
        say(console, note, style="dim")
    if brief and chosen:
        say(
            console,
            "\nthe story of one: --family NAME; of an expert: --expert NAME; who solves what: "
            "--families; all conversations: --full",
            style="dim",
        )
    for expert in trace["experts"]:
        tell_expert(expert, names, console, limit, offset, full=full)
    for answer in trace["answers"]:
        tell_answer(answer, console)
    for call in trace["calls"][offset:][:limit]:
        tell_call(Call.model_validate(call), console)
    if not any(trace[name] for name in _SHOWN):
        console.print("nothing matches")
