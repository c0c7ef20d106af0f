"""Two experts or task forces, of one run or of two: what differs comes first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from agents.errors import AnsweringError
from agents.evaluation.comparison import Answered, Pair, Question, compared, members_of, stored
from console.errors import NotFoundError
from console.view.matrix import SkillMatrix, latest_archive
from console.view.page import (
    Choice,
    Column,
    Fact,
    Facts,
    Form,
    Page,
    Query,
    Row,
    Section,
    Table,
    Text,
)
from console.view.source import Run

FORCES = {f"task force of {size}": size for size in (1, 3, 5, 8)}
"""What may be chosen in the place of an expert -> how many different experts answer greedily."""
_ASKED = """
SELECT id FROM families WHERE id IN (
    SELECT family FROM skills WHERE expert IN (SELECT value FROM json_each(?1)) UNION
    SELECT family FROM finals WHERE expert IN (SELECT value FROM json_each(?1))
) ORDER BY seq
"""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that are compared.

    Attributes:
        run: whose.
        name: an expert, or one of `FORCES`.
    """

    run: Run
    name: str

    def members(self) -> list[str]:
        """The experts of the side.

        Raises:
            NotFoundError: there is no such expert.
            AnsweringError: too few experts were graded for the force.
        """
        size = FORCES.get(self.name)
        if size is None:
            if self.run.row("SELECT id FROM experts WHERE id = ?", self.name) is None:
                raise NotFoundError(f"the run {self.run.name} has no expert {self.name!r}")
            return [self.name]
        members: list[str] = self.run.kept(self.name, lambda run: members_of(run.store, None, size))
        return members

    def answers(self, members: Sequence[str]) -> dict[str, tuple[Question, Answered]]:
        """What its members were asked, and what came of it, as `acdc compare` has it."""
        asked = self.run.rows(_ASKED, json.dumps(members))
        return stored(self.run.store, members, [row["id"] for row in asked])


def comparison(run: Run, query: Query, rest: str) -> Page:
    """Side A of this run and side B of this one or another, paired by what both were asked."""
    with ExitStack() as stack:
        other = query.get("with") or run.name
        if other not in run.source.others:
            raise NotFoundError(f"there is no run {other}")
        second = run if other == run.name else stack.enter_context(run.source.others[other].open())
        first_name = query.get("a") or _best(run)
        second_name = query.get("b") or _counterpart(second, first_name, run is second)
        sections: list[Section] = [_form(run, second, first_name, second_name)]
        if first_name and second_name:
            sections += _compared(Side(run, first_name), Side(second, second_name))
    return Page(
        "Compare",
        sections,
        lead="Two experts, or two task forces, on all that both were asked and graded on. A task "
        "force here is of different experts, who answer greedily; in the finals a voice may be one "
        "expert again, at a temperature. Held-out tasks: acdc compare.",
        crumbs=[("experts", "Experts")],
    )


def _best(run: Run) -> str:
    return next(iter(latest_archive(run)), "")


def _counterpart(run: Run, other: str, same: bool) -> str:
    """The same force of another run, or its best; of the same one the best seed, or who is next."""
    if not same:
        return other if other in FORCES else _best(run)
    matrix = SkillMatrix.of(run)
    seeds = run.rows(
        "SELECT id FROM experts WHERE json_extract(record, '$.operator') = 'seed' AND id <> ?",
        other,
    )
    rates = {
        matrix.experts[row]: float((matrix.passes[row].sum()) / max(matrix.asked[row].sum(), 1))
        for row in matrix.rows(seed["id"] for seed in seeds)
    }
    rest = [name for name in matrix.experts if name != other]
    return max(rates, key=lambda name: rates[name]) if rates else next(iter(rest), "")


def _form(run: Run, second: Run, a: str, b: str) -> Form:
    def sides(of: Run) -> list[tuple[str, str]]:
        rows = of.rows("SELECT id FROM experts ORDER BY generation, birth, id")
        return [(name, name) for name in [*FORCES, *(row["id"] for row in rows)]]

    choices = [Choice("a", "A", a, sides(run))]
    if len(run.source.others) > 1:
        runs = [(name, name) for name in run.source.others]
        choices.append(Choice("with", "B of run", second.name, runs))
    return Form([*choices, Choice("b", "B", b, sides(second))])


def _compared(a: Side, b: Side) -> Iterator[Section]:
    try:
        members = a.members(), b.members()
        first, second = a.answers(members[0]), b.answers(members[1])
        found = compared(first, second)
    except AnsweringError as error:
        yield Text("Not compared", str(error))
        return
    # The same question may belong to families of other names in two runs.
    families = {first[key][0].id: second[key][0].generator for key in first.keys() & second.keys()}
    rows = [_row(pair, families[pair.question.id]) for pair in found.pairs]
    interval = found.interval
    said = f"{interval.mean:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
    facts = [
        Fact("questions that both were graded on", len(rows), "count"),
        Fact("families", len({pair.question.generator for pair in found.pairs}), "count"),
        Fact("left out: a grade is missing", found.ungraded, "count"),
        Fact(f"A passes ({', '.join(members[0])})", _share(rows, "first"), "share"),
        Fact(f"B passes ({', '.join(members[1])})", _share(rows, "second"), "share"),
        Fact("only A passes", sum(pair.gain > 0 for pair in found.pairs), "count"),
        Fact("only B passes", sum(pair.gain < 0 for pair in found.pairs), "count"),
        Fact("A - B", said + interval.doubt),
    ]
    yield Facts("In short", facts)
    yield _table(rows, a, b)


def _row(pair: Pair, other_family: str) -> Row:
    question = pair.question
    row: Row = {
        "question": question.text,
        "reference": question.reference,
        "family": question.generator,
        "b_family": other_family,
        "instance": question.instance,
    }
    for side, answered in (("first", pair.first), ("second", pair.second)):
        # One that is right speaks for a force; where nobody is, its first.
        right = [each for each in answered.answers if each[2]]
        expert, answer, _ = (right or answered.answers)[0]
        row |= {side: answered.solved, f"{side}_by": expert, f"{side}_said": answer}
    return row


def _share(rows: Sequence[Row], side: str) -> float:
    return sum(bool(row[side]) for row in rows) / len(rows)


def _table(rows: Sequence[Row], a: Side, b: Side) -> Table:
    """Pairs; who speaks for a side is said of forces."""
    elsewhere = "" if a.run is b.run else b.run.source.base
    here = "answers?family={family}&instance={instance}&expert={first_by}"
    there = f"{elsewhere}answers?family={{b_family}}&instance={{instance}}&expert={{second_by}}"
    return Table(
        "pairs",
        "Question by question",
        [
            Column("question", "question", to="answers?family={family}&instance={instance}"),
            Column("reference", "a right answer", "code"),
            Column("first", "A", "verdict", here),
            Column("first_said", "A's answer", "code"),
            Column("first_by", "by", to="experts/{first_by}", apart=a.name not in FORCES),
            Column("second", "B", "verdict", there),
            Column("second_said", "B's answer", "code"),
            Column(
                "second_by",
                "by",
                to=f"{elsewhere}experts/{{second_by}}",
                apart=b.name not in FORCES,
            ),
            Column("family", "family", to="tasks/{family}", called=a.run.family_names),
        ],
        rows,
        note="What differs stands first; a verdict leads to the whole reply. A task force passes "
        "where one of its experts does, whose answer is shown. Of a closed family both instances "
        "are one question. The interval draws whole families, since instances of one rise and "
        "fall together.",
    )
