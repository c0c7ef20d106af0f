"""What a scientist was asked for, its rounds, and what came of them: in short, or in full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.rule import Rule
from rich.syntax import Syntax
from rich.text import Text

from agents.chat.endpoints import OFFLINE
from agents.rejections import explained
from console.stories.family import read_family, tell_family
from console.stories.telling import mark, one_line, say
from memory.messages import count_of
from memory.records import Assignment, Call, Draft, Role, TrialAnswer
from memory.store import RunStore

QUESTIONS = 2
"""Questions of the trial that a digest shows for each round, with all that was answered to them."""


def read_assignment(store: RunStore, assignment: Assignment, role: Role | None) -> dict[str, Any]:
    """An assignment with its rounds, its calls, and the family that came of it."""
    outcome = store.assignment_status(assignment.id)
    calls = store.calls(role=role, assignment=assignment.id)
    drafts = store.drafts(assignment.id)
    return {
        "assignment": assignment.model_dump(mode="json"),
        "own_program": _is_parents_own(store, assignment, drafts),
        "status": outcome.status,
        "family": outcome.family,
        "accepted": None if outcome.family is None else read_family(store, outcome.family),
        "rejection": outcome.rejection.model_dump() if outcome.rejection else None,
        "rounds": [draft.model_dump(mode="json") for draft in drafts],
        "calls": [call.model_dump(mode="json") for call in calls],
    }


def _is_parents_own(store: RunStore, assignment: Assignment, drafts: list[Draft]) -> bool:
    """Whether the first draft is the parent's program as it is, for which no model was asked."""
    first = drafts[0].proposal if drafts else None
    if assignment.parent is None or first is None:
        return False
    return first.get("code") == store.family(assignment.parent).code


def _verdict(trace: dict[str, Any]) -> bool | None:
    return {"accepted": True, "rejected": False}.get(trace["status"])


def _name(trace: dict[str, Any]) -> str:
    """What was proposed last."""
    proposals = [draft["proposal"] for draft in trace["rounds"] if draft["proposal"]]
    return str(proposals[-1].get("name", "")) if proposals else ""


def tell_line(trace: dict[str, Any], console: Console) -> None:
    """What was proposed last, what came of it, and why."""
    rejection = trace["rejection"]
    if rejection is None:
        outcome = trace["family"] or trace["status"]
    else:
        critiques = [draft["critique"] for draft in trace["rounds"] if draft["critique"]]
        problems = critiques[-1]["problems"] if critiques else []
        why = rejection["detail"] or "; ".join(problems)
        outcome = ": ".join(filter(None, [explained(rejection["reason"]), why]))
    said = (
        one_line(outcome, 2 * console.width) if console.is_terminal else " ".join(outcome.split())
    )
    line = f" {trace['assignment']['id']}  {_name(trace)}  {said}"
    say(console, mark(_verdict(trace)), line)


def tell_assignment(
    trace: dict[str, Any], names: dict[str, str], console: Console, *, full: bool = False
) -> None:
    """The story of an assignment.

    Args:
        trace: as read.
        names: family id -> what it is called.
        console: where to.
        full: with prompts, replies and code; else a digest of each round.
    """
    assignment = Assignment.model_validate(trace["assignment"])
    title = f"{assignment.id} · {assignment.kind} · {trace['status']}"
    console.print(Rule(Text.assemble(mark(_verdict(trace)), " ", title)))
    if trace["accepted"]:
        tell_family(trace["accepted"], names, console)
    for line in _asked_for(assignment, names) + _given(assignment, trace["accepted"]):
        say(console, line, style="dim")
    if trace["own_program"]:
        own = "the parent's own program at another level: no model was asked to write it"
        say(console, f"first draft: {own}", style="dim")
    calls = [Call.model_validate(call) for call in trace["calls"]]
    drafts = {draft["round"]: Draft.model_validate(draft) for draft in trace["rounds"]}
    if full:
        _tell_rounds_in_full(drafts, calls, console)
    else:
        for draft in drafts.values():
            _tell_round(draft, console)
        if calls:
            say(console, "\nprompts, replies and code: --full", style="dim")
    if trace["rejection"]:
        rejection = trace["rejection"]
        why = ": ".join(filter(None, [explained(rejection["reason"]), rejection["detail"]]))
        say(console, f"rejected: {why}", style="red")


def _asked_for(assignment: Assignment, names: dict[str, str]) -> list[str]:
    """What the scientist was given."""
    field = f" of the field {assignment.field!r}" if assignment.field else ""
    parent = (
        f", from {names.get(assignment.parent, assignment.parent)}" if assignment.parent else ""
    )
    lines = [f"asked for: a {assignment.kind} family{field}{parent}"]
    if assignment.inspirations:
        shown = "; ".join(names.get(each, each) for each in assignment.inspirations)
        lines.append(f"shown beside: {shown}")
    return lines


def _given(assignment: Assignment, accepted: dict[str, Any] | None) -> list[str]:
    """That a family is of another field than was asked for."""
    if accepted is None or not assignment.field or accepted["field"] == assignment.field:
        return []
    why = ""
    if accepted["scientist"] == OFFLINE:
        why = (
            ": the offline scientist follows a field only where its catalogue has something in it "
            "that small models can do"
        )
    return [f"came of it: a family of the field {accepted['field']!r}{why}"]


def _tell_round(draft: Draft, console: Console) -> None:
    """A round in short: the proposal, the first gate that failed, the panel, the critic."""
    name = draft.proposal.get("name", "") if draft.proposal else f"unreadable: {draft.problem}"
    say(console, Text(f"\nround {draft.round}", "bold"), f"  {name}")
    gates = draft.gates
    if gates is not None:
        said = "gates passed" if gates.code is None else f"{explained(gates.code)}: {gates.detail}"
        say(console, mark(gates.passed), f" {one_line(said)}", indent=2)
    for rate in draft.curve:
        guessed = f", a constant answer {rate.chance:.0%}" if rate.chance else ""
        say(
            console,
            f"· level {rate.level}: {rate.passed} of {rate.asked} answers right{guessed}",
            indent=2,
        )
    _tell_answers(draft.answers, console, QUESTIONS)
    if draft.critique is not None:
        verdict = draft.critique.verdict
        accepted = {"accept": True, "reject": False}.get(verdict)
        problems = one_line(" ".join(draft.critique.problems), 400)
        say(console, mark(accepted), f" critic: {verdict}. {problems}".rstrip(), indent=2)


def _tell_rounds_in_full(drafts: dict[int, Draft], calls: list[Call], console: Console) -> None:
    for number in sorted({*drafts, *(call.round for call in calls)}):
        of_round = [call for call in calls if call.round == number]
        for call in of_round:
            if call.role == "scientist":
                tell_call(call, console)
        if number in drafts:
            _tell_trial(drafts[number], console)
        for call in of_round:
            if call.role != "scientist":
                tell_call(call, console)


def tell_call(call: Call, console: Console) -> None:
    """A call with what was newly said to the model, and its reply."""
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
        say(console, message.content)
    if call.reasoning:
        console.print("thought:", style="dim")
        say(console, call.reasoning)
    if call.error:
        say(console, f"failed: {call.error}", style="red")
    elif call.response is not None:
        console.print("replied:", style="dim")
        say(console, call.response)


def _tell_trial(draft: Draft, console: Console) -> None:
    console.print(Text.assemble("\n", ("trial", "bold"), f" · round {draft.round}"))
    if draft.proposal and isinstance(draft.proposal.get("code"), str):
        console.print(Syntax(str(draft.proposal["code"]), "python", word_wrap=True))
    if draft.gates is not None:
        code = draft.gates.code
        verdict = "all gates passed" if code is None else f"failed: {explained(code)}"
        why = f": {draft.gates.detail}" if draft.gates.detail else ""
        say(console, mark(draft.gates.passed), f" {verdict}{why}")
    for rate in draft.curve:
        guessed = f", a constant answer {rate.chance:.0%}" if rate.chance else ""
        say(console, f"level {rate.level}: {rate.passed} of {rate.asked} answers right{guessed}")
    _tell_answers(draft.answers, console, None)


def _tell_answers(answers: Sequence[TrialAnswer], console: Console, most: int | None) -> None:
    """Questions of a trial, a right answer to each, and what the panel said.

    Args:
        answers: of the panel.
        console: where to.
        most: so many questions, in short; None for all, whole.
    """
    asked: dict[tuple[int, str], list[TrialAnswer]] = {}
    for answer in answers:
        asked.setdefault((answer.level, answer.instance), []).append(answer)
    for (level, instance), said in list(asked.items())[:most]:
        question = said[0].question or f"instance {instance}"
        shown = question if most is None else one_line(question, 300)
        say(console, Text(f"· level {level}: ", "dim"), shown, indent=2)
        if reference := next((each.reference for each in said if each.reference), ""):
            say(console, Text("a right answer: ", "dim"), one_line(reference, 80), indent=4)
        for each in said:
            words = one_line(each.extracted, 80) or "(nothing)"
            say(console, mark(each.passed), f" {each.expert}: {words}", indent=4)
    if most is not None and len(asked) > most:
        left = sum(len(said) for said in list(asked.values())[most:])
        more = count_of(len(asked) - most, "more question")
        line = f"and {more} with {count_of(left, 'answer')}: --full"
        say(console, line, indent=2, style="dim")
