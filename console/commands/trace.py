"""`acdc trace`: the agents' whole conversations in the terminal."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias, cast, get_args

import typer
from rich.console import Console
from rich.rule import Rule
from rich.syntax import Syntax
from rich.text import Text

from console.commands.frame import AsJson, Debug, RunDir, app, finish, out, print_json
from console.errors import UsageError
from console.run.folder import RunFolder
from memory.records import Assignment, Call, Draft, Role
from memory.store import RunStore
from memory.store.journal import Event

Trace: TypeAlias = dict[str, list[dict[str, Any]]]
"""Under `families`, `assignments`, `experts` and `calls`: what matched, as JSON.

Under `families` are those that nobody was assigned, since they were given to the run.
"""


@app.command()
def trace(
    folder: RunDir,
    family: Annotated[
        str | None, typer.Option(help="Id of a family or assignment to show.")
    ] = None,
    expert: Annotated[str | None, typer.Option(help="Id of an expert to show.")] = None,
    role: Annotated[
        str | None, typer.Option(help="Only calls of scientist, critic, rater or chooser.")
    ] = None,
    rejected: Annotated[bool, typer.Option("--rejected", help="Only what was rejected.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Whole conversations, not a line for each assignment.")
    ] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Read what the agents said: propose, trial, critique, refine.

    Without --family, --expert, --role or --full: one line for each assignment, and what came of it.
    """

    def action() -> None:
        found = collect(RunFolder(folder), family, expert, role_named(role), rejected)
        if as_json:
            print_json(found)
        else:
            brief = not (full or family or expert or role)
            show(found, out, brief)

    finish(action, debug)


def collect(
    folder: RunFolder,
    family: str | None = None,
    expert: str | None = None,
    role: Role | None = None,
    rejected: bool = False,
) -> Trace:
    """What matches: assignments with their conversations, an expert, or the calls of one role.

    Raises:
        UsageError: there is no run here, or no such family or expert.
    """
    folder.manifest()
    with RunStore.open(folder.path, read_only=True) as store:
        if expert is not None:
            return _trace(experts=[_expert_trace(store, expert)])
        chosen = _chosen(store, family)
        if family is not None and not chosen:
            # A family that was given to the run was never assigned.
            return _trace(families=[_family_trace(store, family)])
        if rejected:
            if family is not None and not any(_is_rejected(store, a) for a in chosen):
                raise UsageError(f"{family} was not rejected; run it without --rejected")
            chosen = [a for a in chosen if _is_rejected(store, a)]
        traces = [_assignment_trace(store, assignment, role) for assignment in chosen]
        if role is None:
            return _trace(assignments=traces)
        # A rater reads for the judge, and a call of that kind belongs to no assignment.
        alone = [] if family or rejected else store.calls(role=role)
        return _trace(
            assignments=[trace for trace in traces if trace["calls"]],
            calls=[call.model_dump(mode="json") for call in alone if call.assignment is None],
        )


def _trace(**found: list[dict[str, Any]]) -> Trace:
    return {"families": [], "assignments": [], "experts": [], "calls": [], **found}


def _chosen(store: RunStore, family: str | None) -> list[Assignment]:
    assignments = store.assignments()
    if family is None:
        return assignments
    chosen = [a for a in assignments if family in (a.id, store.assignment_status(a.id).family)]
    if not chosen and family not in {each.id for each in store.families()}:
        raise UsageError(f"the run has no family or assignment {family!r}")
    return chosen


def _is_rejected(store: RunStore, assignment: Assignment) -> bool:
    return store.assignment_status(assignment.id).status == "rejected"


def _assignment_trace(store: RunStore, assignment: Assignment, role: Role | None) -> dict[str, Any]:
    outcome = store.assignment_status(assignment.id)
    calls = store.calls(role=role, assignment=assignment.id)
    return {
        "assignment": assignment.model_dump(mode="json"),
        "status": outcome.status,
        "family": outcome.family,
        "accepted": None if outcome.family is None else _family_trace(store, outcome.family),
        "rejection": outcome.rejection.model_dump() if outcome.rejection else None,
        "rounds": [draft.model_dump(mode="json") for draft in store.drafts(assignment.id)],
        "calls": [call.model_dump(mode="json") for call in calls],
    }


def _family_trace(store: RunStore, family_id: str) -> dict[str, Any]:
    """A family in short: its state, its levels, and the pass rates of the archive and the seeds."""
    family = store.family(family_id)
    experts = [*store.archive_experts(), *(e for e in store.experts(0) if e.is_seed)]
    skills = {expert.id: store.skill_counts(expert.id).get(family_id) for expert in experts}
    return {
        "family": family.id,
        "name": family.name,
        "state": store.family_status(family_id),
        "events": [event.reason for event in store.family_events(family_id)],
        "levels": family.levels,
        "level": family.level,
        "curve": [rate.model_dump() for rate in family.curve],
        "revisions": family.revisions,
        "question": family.example_instruction,
        "passes": {name: [s.passes, s.asked] for name, s in skills.items() if s is not None},
    }


def _expert_trace(store: RunStore, expert_id: str) -> dict[str, Any]:
    expert = store.expert(expert_id)
    skills = store.skill_counts(expert_id)
    return {
        "expert": expert.model_dump(mode="json"),
        "skills": {family: [skill.passes, skill.asked] for family, skill in skills.items()},
        "missing": [
            event.payload for event in store.events("missing") if _is_about(event, expert_id)
        ],
        "answers": [
            answer.model_dump(mode="json") for answer in store.answers_of(expert.genome_id)
        ],
    }


def _is_about(event: Event, expert_id: str) -> bool:
    return isinstance(event.payload, dict) and event.payload.get("expert") == expert_id


def role_named(name: str | None) -> Role | None:
    """The role of that name, None for None.

    Raises:
        UsageError: there is no such role.
    """
    if name is not None and name not in get_args(Role):
        raise UsageError(f"unknown role {name!r}; there are {', '.join(get_args(Role))}")
    return cast("Role | None", name)


def show(trace: Trace, console: Console, brief: bool = False) -> None:
    """Print a trace for a person, as the conversations went.

    Args:
        trace: as collected.
        console: where to.
        brief: one line for each assignment, and how to read one of them.
    """
    for family in trace["families"]:
        _show_family(family, console)
    for assignment in trace["assignments"]:
        (_list_assignment if brief else _show_assignment)(assignment, console)
    if brief and trace["assignments"]:
        console.print("\na whole conversation: --family ID; all of them: --full", style="dim")
    for expert in trace["experts"]:
        _show_expert(expert, console)
    for call in trace["calls"]:
        _show_call(Call.model_validate(call), console)
    if not any(trace.values()):
        console.print("nothing matches")


def _list_assignment(trace: dict[str, Any], console: Console) -> None:
    """What was proposed last, what came of it, and why."""
    proposals = [draft["proposal"] for draft in trace["rounds"] if draft["proposal"]]
    name = proposals[-1].get("name", "") if proposals else ""
    rejection = trace["rejection"]
    if rejection is None:
        outcome = trace["family"] or trace["status"]
    else:
        critiques = [draft["critique"] for draft in trace["rounds"] if draft["critique"]]
        problems = critiques[-1]["problems"] if critiques else []
        outcome = f"{rejection['reason']}: {rejection['detail'] or '; '.join(problems)}"
    line = f"{trace['assignment']['id']}  {name}  {' '.join(outcome.split())}"
    _say(console, line)


def _show_assignment(trace: dict[str, Any], console: Console) -> None:
    assignment = Assignment.model_validate(trace["assignment"])
    outcome = trace["family"] or (trace["rejection"] or {}).get("reason", "")
    console.print(Rule(f"{assignment.id} · {assignment.kind} · {trace['status']} {outcome}"))
    if trace["accepted"]:
        _show_family(trace["accepted"], console)
    if assignment.parent:
        console.print(f"parent {assignment.parent}", style="dim", markup=False)
    calls = [Call.model_validate(call) for call in trace["calls"]]
    drafts = {draft["round"]: Draft.model_validate(draft) for draft in trace["rounds"]}
    rounds = sorted({*drafts, *(call.round for call in calls)})
    for number in rounds:
        of_round = [call for call in calls if call.round == number]
        for call in of_round:
            if call.role == "scientist":
                _show_call(call, console)
        if number in drafts:
            _show_trial(drafts[number], console)
        for call in of_round:
            if call.role != "scientist":
                _show_call(call, console)
    if trace["rejection"]:
        rejection = trace["rejection"]
        _say(console, f"rejected: {rejection['reason']}: {rejection['detail']}", "red")


def _show_family(family: dict[str, Any], console: Console) -> None:
    """A family in short, before its conversation."""
    _say(console, f"{family['family']}: {family['name']}", "bold")
    _say(console, f"question: {family['question']}")
    _say(console, f"now {family['state']} ({', then '.join(family['events'])})")
    curve = ", ".join(
        f"{r['passed']} of {r['asked']} at level {r['level']}" for r in family["curve"]
    )
    trial = f"; right in the trial: {curve}" if curve else ""
    _say(
        console,
        f"asks at level {family['level']} of {family['levels']}, after {family['revisions']} "
        f"revisions{trial}",
    )
    passes = ", ".join(f"{name} {p} of {n}" for name, (p, n) in family["passes"].items())
    _say(console, f"passes lately: {passes or 'nobody was asked'}")


def _show_call(call: Call, console: Console) -> None:
    console.print(
        Text.assemble(
            "\n",
            (call.role, "bold"),
            f" · {call.purpose} · round {call.round} · {call.model} · "
            f"{call.tokens_in} in, {call.tokens_out} out, {call.seconds:.2f} s",
            f" · refused: {', '.join(call.refused)}" if call.refused else "",
        )
    )
    # The last message is what was newly said to the agent; the turns before it were shown before.
    for message in call.messages if call.round == 0 else call.messages[-1:]:
        console.print(f"{message.role}:", style="dim")
        _say(console, message.content)
    if call.reasoning:
        console.print("thought:", style="dim")
        _say(console, call.reasoning)
    if call.error:
        _say(console, f"failed: {call.error}", "red")
    elif call.response is not None:
        console.print("replied:", style="dim")
        _say(console, call.response)


def _show_trial(draft: Draft, console: Console) -> None:
    console.print(Text.assemble("\n", ("trial", "bold"), f" · round {draft.round}"))
    if draft.proposal and isinstance(draft.proposal.get("code"), str):
        console.print(Syntax(str(draft.proposal["code"]), "python", word_wrap=True))
    if draft.gates is not None:
        verdict = "all gates passed" if draft.gates.passed else f"gate {draft.gates.code} failed"
        _say(console, f"{verdict}: {draft.gates.detail}")
    for rate in draft.curve:
        guessed = f", a constant answer {rate.chance:.0%}" if rate.chance else ""
        _say(console, f"level {rate.level}: {rate.passed} of {rate.asked} answers right{guessed}")
    for answer in draft.answers:
        mark = {True: "right", False: "wrong", None: "not graded"}[answer.passed]
        console.print(
            f"  {answer.expert} on {answer.instance}: {answer.extracted!r} ({mark})",
            markup=False,
            highlight=False,
        )


def _show_expert(trace: dict[str, Any], console: Console) -> None:
    expert = trace["expert"]
    console.print(Rule(f"{expert['id']} · {expert['operator']}"))
    console.print(f"parents: {', '.join(expert['parents']) or 'none'}", markup=False)
    console.print(f"genome: {expert['genome_id']}", markup=False)
    for operator, given in expert["parameters"].items():
        _say(console, f"{operator}: {_listed(given)}")
    skills = sorted(trace["skills"].items(), key=lambda item: (-item[1][0] / item[1][1], item[0]))
    mean = sum(passes / asked for _, (passes, asked) in skills) / max(len(skills), 1)
    rates = ", ".join(f"{family} {passes} of {asked}" for family, (passes, asked) in skills)
    _say(console, f"passes {mean:.0%} (mean over {len(skills)} families): {rates}")
    for gap in trace["missing"]:
        _say(console, f"not graded on {gap['family']}: {gap['reason']}", "red")
    for answer in trace["answers"]:
        console.print(f"  {answer['reply']['text']!r}", markup=False, highlight=False)


def _listed(given: Any) -> str:
    """The parameters of an operator: a line of names with what they are."""
    if not isinstance(given, dict):
        return str(given)
    return "; ".join(
        f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in given.items()
    )


def _say(console: Console, text: str, style: str = "none") -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
