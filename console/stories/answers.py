"""Answers as a person asks for them: by whom, to what question, right or wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.families.items import Item, asked_by_hash, asked_in_periods
from console.errors import UsageError
from console.stories.names import labels
from console.stories.telling import mark, one_line, say
from memory.records import FINALS, FIXED, OWN, Answer, Expert, is_learning
from memory.store import RunStore

SHORT_KEY = 8
"""Characters of a key that are shown; more are asked for where these mean several answers."""
QUESTION, SAID = 160, 60
"""Characters of a question and of what was said in a table."""


def read_answers(
    store: RunStore, expert: Expert, family: str | None = None
) -> list[dict[str, Any]]:
    """What an expert answered to the families of a run, by family.

    First stand those that its present pass rate counts (`counts`), then the others by when they
    were asked (`asked_in`); of each the wrong ones first.
    """
    families, found = store.families(), []
    names, graded_in = labels(families), store.skill_periods(expert.id)
    questions = {
        item.instance_hash: (each.id, period, item)
        for each in families
        if family in (None, each.id)
        for period, item in asked_in_periods(store, each)
    }
    for answer in store.answers_of(expert.genome_id):
        # What is not among them is a draft's question in the trial.
        if (asked := questions.get(answer.instance_hash)) is None:
            continue
        name, period, item = asked
        row = _row(store, answer, item, name, names)
        counts = not answer.sample and graded_in.get(name) == period
        found.append({**row, "counts": counts, "asked_in": _asked_in(period)})
    found.sort(
        key=lambda row: (
            row["name"],
            not row["counts"],
            row["asked_in"],
            row["passed"] is not False,
            row["question"],
        )
    )
    return found


def _asked_in(period: int) -> str:
    """When an instance was asked, in words."""
    if period == FINALS:
        return "the finals"
    if is_learning(period):
        return "a lesson"
    if period in (OWN, FIXED):
        return "the family as it was written"
    return f"adaptation period {period}"


def _row(
    store: RunStore, answer: Answer, item: Item, family: str, names: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "key": answer.key,
        "family": family,
        "name": names[family],
        "instance": item.instance,
        "question": item.instructions,
        "said": answer.extracted,
        "reference": item.reference,
        "passed": store.verdict(answer.key),
        "sample": answer.sample,
    }


def tell_answers(rows: Sequence[dict[str, Any]], console: Console) -> None:
    """A table: question, said, a right answer, verdict.

    Above the rows of each family stands its name, and above those that its present pass rate does
    not count when they were asked.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("", width=1)
    table.add_column("question", ratio=5)
    table.add_column("said", ratio=2, max_width=32)
    table.add_column("a right answer", ratio=2, min_width=14, max_width=32)
    table.add_column("key", width=SHORT_KEY, style="dim")
    table.expand = True
    family = group = None
    for row in rows:
        if row["family"] != family:
            family, group = row["family"], "counts"
            table.add_row("", Text(row["name"], "bold"))
        now = "counts" if row["counts"] else row["asked_in"]
        if now != group:
            group = now
            table.add_row("", Text(f"not counted now, asked in {now}:", "dim"))
        sampled = f" (sample {row['sample']})" if row["sample"] else ""
        table.add_row(
            mark(row["passed"]),
            Text(one_line(row["question"], QUESTION)),
            Text(one_line(row["said"], SAID) + sampled),
            Text(one_line(row["reference"], SAID)),
            row["key"][:SHORT_KEY],
        )
    console.print(table)


def read_answer(store: RunStore, said: str) -> dict[str, Any]:
    """One answer: who gave it, to what, how it was graded, and what others answered.

    Args:
        store: of the run.
        said: the key of the answer, or its beginning.

    Raises:
        UsageError: no answer is called so, or several are.
    """
    keys = store.answer_keys(said)
    if len(keys) != 1:
        problem = f"{len(keys)} answers begin" if keys else "no answer begins"
        raise UsageError(f"{problem} with {said!r}: `trace DIR --expert NAME` lists keys")
    answer = store.answers(keys)[keys[0]]
    families = store.families()
    asked = asked_by_hash(store, families).get(answer.instance_hash)
    if asked is None:
        raise UsageError(f"{said!r} answers a draft's question: see `trace DIR --family`")
    experts: dict[str, list[str]] = {}
    for expert in store.experts():
        experts.setdefault(expert.genome_id, []).append(expert.id)
    others = store.answers_to(answer.instance_hash)
    return {
        **_row(store, answer, asked[1], asked[0], labels(families)),
        "experts": experts.get(answer.genome_id, []),
        "reply": answer.reply.model_dump(mode="json"),
        "unmarked": answer.unmarked,
        "grades": [grade.model_dump(mode="json") for grade in store.grades_of(answer.key)],
        "others": [
            {
                "expert": ", ".join(experts.get(each.genome_id, ["?"])),
                "said": each.extracted,
                "passed": store.verdict(each.key),
                "sample": each.sample,
            }
            for each in others
            if each.key != answer.key
        ],
    }


def tell_answer(found: dict[str, Any], console: Console) -> None:
    """The story of one answer."""
    reply = found["reply"]
    who = " = ".join(found["experts"]) or "nobody in this run"
    say(console, mark(found["passed"]), " ", Text(who, "bold"), f" on {found['name']}")
    say(console, f"instance {found['instance']}; answer {found['key']}", style="dim")
    say(console, Text("\nquestion", "bold"))
    say(console, found["question"], indent=2)
    say(console, Text("\nsaid", "bold"), f"  {reply['tokens_out']} tokens, ended by ", _end(reply))
    say(console, reply["text"].strip() or "(nothing)", indent=2)
    marked = "no `Answer:` line, so all of it is graded" if found["unmarked"] else "graded as"
    say(console, f"\n{marked}: {found['said']!r}")
    say(console, f"a right answer: {found['reference']!r}")
    for grade in found["grades"]:
        by = grade["rater"] or "the family's own code"
        why = f": {grade['detail']}" if grade["detail"] else ""
        say(console, "  ", mark(grade["passed"]), f" by {by}{why}")
    if not found["grades"]:
        say(console, "it is not graded", style="yellow")
    if found["others"]:
        say(console, Text("\nothers on the same question", "bold"))
    for other in found["others"]:
        sampled = f" (sample {other['sample']})" if other["sample"] else ""
        said = one_line(other["said"], SAID)
        say(console, mark(other["passed"]), f" {other['expert']}{sampled}: {said}", indent=2)


def _end(reply: dict[str, Any]) -> str:
    return "itself" if reply["finish_reason"] == "stop" else f"{reply['finish_reason']}, cut off"
