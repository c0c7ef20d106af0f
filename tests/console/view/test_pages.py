"""What the pages of the viewer say, on a real run: the same as its store, and nothing else."""

from __future__ import annotations

import csv
import hashlib
import html
import io
import json
import os
import re
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agents.archive.success import successes
from agents.families.items import all_asked, asked_by_hash
from agents.rejections import IN_WORDS
from console.commands.compare import Side, on_history
from console.commands.status import collect
from console.run.folder import RunFolder
from console.stories.expert import against_parents
from console.view.page import Facts
from console.view.pages.answers import fits
from console.view.render import LONGEST_FACT
from console.view.report import DAMAGED, as_html, parts_of
from console.view.site import PAGES, page_of
from console.view.source import find_runs
from evolution.selection import coverage
from memory.records import FINALS, ArchiveEntry, Rejection
from memory.store import RunStore
from tests.console.conftest import with_prices
from tests.console.view.conftest import Viewed


@pytest.fixture(scope="module")
def store(finished_run: Path) -> RunStore:
    return RunStore.open(finished_run, read_only=True)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_there_and_its_tables_can_be_taken_away(viewed: Viewed, page: str) -> None:
    assert "<h1" in viewed.html(page)
    for name, rows in viewed.json(page)["tables"].items():
        reply = viewed.client.get(f"{viewed.base}{page}?format=csv&table={name}")
        assert reply.headers["content-type"] == "text/csv; charset=utf-8"
        assert len([*csv.DictReader(io.StringIO(reply.text))]) == len(rows)


def test_facts_of_a_page_have_names_of_their_own(finished_run: Path, store: RunStore) -> None:
    [source] = find_runs([finished_run])
    inner = [("tasks", family.id) for family in store.families()]
    inner += [("experts", expert.id) for expert in store.experts()]
    with source.open() as run:
        for name, rest in [*((page, "") for page in PAGES), *inner]:
            parts = page_of(run, name, rest).sections
            labels = [
                fact.label for part in parts if isinstance(part, Facts) for fact in part.items
            ]
            assert sorted(set(labels)) == sorted(labels), (name, rest)


def test_a_page_is_small(viewed: Viewed) -> None:
    assert all(len(viewed.html(page)) < 1_000_000 for page in PAGES)


def test_every_link_leads_somewhere(viewed: Viewed) -> None:
    waiting, seen = [viewed.base], set[str]()
    while waiting:
        address = waiting.pop()
        reply = viewed.client.get(address)
        assert reply.status_code == 200, address
        if "?" in address.removeprefix(viewed.base) or "html" not in reply.headers["content-type"]:
            # Other orders and formats of a page lead where it leads itself.
            continue
        for link in re.findall(r'href="(/[^"#]*)', reply.text):
            target = html.unescape(link)
            if target not in seen and not target.startswith("/static/") and target != "/":
                seen.add(target)
                waiting.append(target)
    assert len(seen) > 100


def test_founders_and_seeds_have_pages_as_all_experts_have(viewed: Viewed, store: RunStore) -> None:
    for expert in store.experts():
        facts = viewed.json(f"experts/{expert.id}")["facts"]
        assert facts["operator"] == expert.operator
        assert facts["genome"] == expert.genome_id
        assert facts["graded on"] == len(store.skill_counts(expert.id))


def test_a_family_has_a_page_with_its_conversation(viewed: Viewed, store: RunStore) -> None:
    for family in store.families():
        page = viewed.json(f"tasks/{family.id}")
        assert page["facts"]["status"] == store.family_status(family.id)
        said = [text["text"] for text in page["texts"]]
        assert family.code in said
        calls = store.calls(assignment=family.id[:6])
        assert calls
        assert all(call.response in said for call in calls if call.response)
        passes = {row["expert"]: (row["passes"], row["asked"]) for row in page["tables"]["experts"]}
        for expert in store.experts():
            skill = store.skill_counts(expert.id).get(family.id)
            assert passes.get(expert.id) == (skill and (skill.passes, skill.asked))


def test_a_family_says_how_it_was_written_where_that_is_not_what_one_expects(copied: Path) -> None:
    with RunStore.open(copied, read_only=True) as store:
        made = {each.id[:6]: each for each in store.families()}
        asked = next(each for each in store.assignments() if each.parent and each.id in made)
        family, parent = made[asked.id], store.family(asked.parent or "")
    page = f"tasks/{family.id}"
    before = Viewed(copied).html(page)
    assert "no model was asked" not in before
    assert "the offline scientist follows" not in before
    connection = sqlite3.connect(copied / "run.db")
    with connection:
        connection.execute(
            "UPDATE families SET record = json_set(record, '$.scientist', 'offline', '$.field', "
            "'chess') WHERE id = ?",
            (family.id,),
        )
        connection.execute(
            "UPDATE assignments SET record = json_set(record, '$.field', 'grammar') WHERE id = ?",
            (asked.id,),
        )
        connection.execute(
            "UPDATE drafts SET record = json_set(record, '$.proposal.code', ?) "
            "WHERE assignment = ? AND round = 0",
            (parent.code, asked.id),
        )
    connection.close()
    said = Viewed(copied).html(page)
    assert "It is of the field chess: the offline scientist follows" in said
    assert f"at another level, level {family.level} of {family.levels}: no model was asked" in said


def test_a_name_of_a_million_letters_is_cut_wherever_it_stands(copied: Path) -> None:
    with sqlite3.connect(copied / "run.db") as connection:
        [[family]] = connection.execute("SELECT id FROM families ORDER BY seq LIMIT 1").fetchall()
        sql = "UPDATE families SET record = json_set(record, '$.name', ?) WHERE id = ?"
        connection.execute(sql, ("long " * 200_000, family))
    assert len(Viewed(copied).html(f"tasks/{family}")) < 500_000


def test_a_rejected_proposal_has_a_page_with_its_reason(viewed: Viewed, store: RunStore) -> None:
    rejected = store.assignments(status="rejected")
    rows = {row["id"]: row for row in viewed.rows("tasks", "rejected")}
    assert {each.id for each in rejected} == set(rows)
    for assignment in rejected:
        rejection = store.assignment_status(assignment.id).rejection
        assert isinstance(rejection, Rejection)
        assert rows[assignment.id]["reason"] == rejection.reason
        assert viewed.json(f"tasks/{assignment.id}")["facts"]["rejected for"] == rejection.reason


def test_every_parent_of_the_lineage_is_in_its_table(viewed: Viewed, store: RunStore) -> None:
    rows = viewed.rows("lineage?show=all", "edges")
    expected = {
        (each.id, parent, each.operator, each.generation)
        for each in store.experts()
        for parent in each.parents or [None]
    }
    keys = ("expert", "parent", "operator", "generation")
    assert sorted(map(str, expected)) == sorted(
        str(tuple(row[key] for key in keys)) for row in rows
    )
    assert {row["expert"] for row in rows if row["archive"]} == {
        row["id"] for row in viewed.rows("experts", "experts") if row["rank"] is not None
    }
    page = viewed.html("lineage?show=all")
    for expert in store.experts():
        assert f'<a href="{viewed.base}experts/{expert.id}"><title>{expert.id}: ' in page


def test_the_overview_names_the_fittest_expert(viewed: Viewed, store: RunStore) -> None:
    latest = store.latest_archive()
    assert latest
    best = store.expert(max(latest[1], key=lambda entry: entry.fitness).expert)
    said = f"{best.id} ({best.operator}, generation {best.generation})"
    assert viewed.json()["facts"]["fittest expert"] == said


def test_the_archive_is_that_of_the_store(viewed: Viewed, store: RunStore) -> None:
    latest = store.latest_archive()
    assert latest is not None
    entries: list[ArchiveEntry] = latest[1]
    rows = viewed.rows("experts?among=archive", "experts")
    assert [(row["id"], row["fitness"]) for row in rows] == [
        (entry.expert, entry.fitness) for entry in entries
    ]


def test_tasks_are_found_by_words_and_filters(viewed: Viewed, store: RunStore) -> None:
    families = store.families()
    word = families[0].name.split()[0]
    found = viewed.rows(f"tasks?q={word}", "families")
    assert families[0].id in {row["id"] for row in found}
    assert len(found) == sum(
        word.casefold() in f"{f.id} {f.name} {f.capability} {f.generator} {f.field}".casefold()
        for f in families
    )
    active = viewed.rows("tasks?status=active", "families")
    assert [row["id"] for row in active] == [f.id for f in store.families("active")]
    assert viewed.rows("tasks?rate=zero&status=active", "families") == [
        row for row in active if row["rate"] == 0
    ]
    assert viewed.rows("tasks?q=no-family-has-this", "families") == []


def test_the_funnel_ends_with_the_families_that_are_active(viewed: Viewed, store: RunStore) -> None:
    families = {family.id: store.family_status(family.id) for family in store.families()}
    assert set(families.values()) != {"active"}
    for page in ("tasks", "agents"):
        *_, accepted, active = viewed.rows(page, "funnel")
        assert accepted["left"] == len(families)
        assert active["left"] == list(families.values()).count("active")
        assert active["lost"] == len(families) - active["left"]
    reasons = {row["id"]: row["why"] for row in viewed.rows("tasks", "families")}
    assert {id for id, why in reasons.items() if why} == {
        id for id, status in families.items() if status != "active"
    }


def test_a_table_is_sorted_as_its_url_says_and_what_is_absent_stands_last(viewed: Viewed) -> None:
    rates = [row["rate"] for row in viewed.rows("tasks?sort.families=-rate", "families")]
    known = [rate for rate in rates if rate is not None]
    assert known == sorted(known, reverse=True)
    assert rates[: len(known)] == known
    ids = [row["id"] for row in viewed.rows("experts?sort.experts=id", "experts")]
    assert ids == sorted(ids, key=str.casefold)
    assert 'aria-sort="descending"' in viewed.html("tasks?sort.families=-rate")


def test_answers_stand_beside_reference_and_verdict(viewed: Viewed, store: RunStore) -> None:
    family = store.families()[0]
    rows = viewed.rows(f"answers?family={family.id}&instance=1", "answers")
    genomes = {expert.id: expert.genome_id for expert in store.experts()}
    assert rows
    for row in rows:
        found = [a for a in store.answers_of(genomes[row["expert"]]) if a.key == row["key"]]
        assert [answer.extracted for answer in found] == [row["extracted"]]
        assert row["passed"] == store.verdict(row["key"])
        assert row["reference"] == family.reference_answers["1"]
    failed = viewed.rows(f"answers?family={family.id}&instance=1&show=unmarked", "answers")
    assert failed == [row for row in rows if row["unmarked"]]
    wrong = viewed.rows(f"answers?family={family.id}&instance=1&show=wrong", "answers")
    assert wrong == [row for row in rows if row["passed"] is False]


def test_all_answers_of_an_expert(viewed: Viewed, store: RunStore) -> None:
    expert = store.experts()[-1]
    for name in ("base", expert.id):
        rows = viewed.rows(f"answers?expert={name}", "answers")
        asked = asked_by_hash(store, store.families())
        answered = store.answers_of(store.expert(name).genome_id)
        assert {row["key"] for row in rows} == {
            answer.key for answer in answered if answer.instance_hash in asked
        }
        assert all(row["question"] for row in rows)
    bred = [row["key"] for row in rows if row["passed"]]
    right = viewed.rows(f"answers?expert={expert.id}&show=right", "answers")
    assert [row["key"] for row in right] == bred
    best = viewed.rows("experts", "experts")[0]["id"]
    assert viewed.rows(f"answers?expert={best}&among=archive", "answers")
    out = next(row["id"] for row in viewed.rows("experts", "experts") if row["rank"] is None)
    assert viewed.rows(f"answers?expert={out}&among=archive", "answers") == []
    assert "name it too" in viewed.html(f"answers?expert={best}&instance=1", 400)


def test_answers_to_all_families_are_searched(
    viewed: Viewed, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.view.pages.answers.SEARCHED", 7)
    families = [family.id for family in store.families()]
    for show in ("right", "wrong", "unmarked"):
        among = f"show={show}&among=archive"
        found = viewed.rows(f"answers?{among}", "answers")
        each = [viewed.rows(f"answers?family={id}&{among}", "answers") for id in families]
        assert keys_of(found) == keys_of(row for rows in each for row in rows)
        assert all(row["question"] for row in found)
        # A page searches so many; links lead through all of them.
        page, linked = f"answers?{among}", 0
        while older := re.search(r'href="([^"]*)">Search older', viewed.html(page)):
            page, linked = html.unescape(older[1]).removeprefix(viewed.base), linked + 1
        assert linked == (len(store.answers_of()) - 1) // 7


def keys_of(rows: Iterable[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(row["expert"], row["key"]) for row in rows}


@pytest.mark.parametrize(
    ("text", "reference", "named"),
    [
        ("Rees enjoys chopping.", "Rees", True),
        ("It was rees", "Rees", True),
        ("Reesor enjoys chopping.", "Rees", False),
        ("Between 12.5 and 13", "2.5", False),
        ("Between 12.5 and 13", "5", False),
        ("Between 12.5 and 13", "12", False),
        ("It is 12.", "12", True),
        ("Rees", " ", False),
    ],
)
def test_a_wrong_reply_that_has_a_right_answer_in_it_is_found(
    text: str, reference: str, named: bool
) -> None:
    row = {"text": text, "reference": reference}
    assert fits(row | {"passed": False}, "named") == named
    assert not fits(row | {"passed": True}, "named")


def test_two_experts_are_compared_on_what_both_were_asked(viewed: Viewed, store: RunStore) -> None:
    first, second = store.experts()[1], store.experts()[-1]
    page = viewed.json(f"compare?a={first.id}&b={second.id}")
    pairs = page["tables"]["pairs"]
    verdicts: list[dict[str, list[bool | None]]] = [{}, {}]
    for found, expert in zip(verdicts, (first, second), strict=True):
        sheet: dict[str, bool | None] = {}
        # Further samples of an instance are those of the finals.
        for answer in store.answers_of(expert.genome_id):
            sheet.setdefault(answer.instance_hash, store.verdict(answer.key))
        for family in store.families():
            asked = [
                sheet[i.instance_hash] for i in all_asked(store, family) if i.instance_hash in sheet
            ]
            if asked:
                found[family.id] = asked
    assert pairs
    for pair in pairs:
        # All of this run are closed: one question with two instances, and one fail is enough.
        assert pair["instance"] == ""
        assert pair["first"] == all(verdicts[0][pair["family"]])
        assert pair["second"] == all(verdicts[1][pair["family"]])
        assert (pair["first_by"], pair["second_by"]) == (first.id, second.id)
    assert {pair["family"] for pair in pairs} == verdicts[0].keys() & verdicts[1].keys()
    differs = [pair["first"] != pair["second"] for pair in pairs]
    assert differs == sorted(differs, reverse=True)


def test_task_forces_are_compared_as_by_the_command(
    viewed: Viewed, finished_run: Path, copied: Path
) -> None:
    two = Viewed(finished_run, copied)
    page = two.json("compare?a=task force of 3&with=copied&b=task force of 1")
    found = [
        on_history((Side("", RunFolder(finished_run), None),) * 2, size)["sides"][0]
        for size in (3, 1)
    ]
    facts, pairs = page["facts"], page["tables"]["pairs"]
    members = [side["experts"] for side in found]
    assert [len(each) for each in members] == [3, 1]
    by_command = on_history(
        (Side("", RunFolder(finished_run), None), Side("", RunFolder(copied), members[1][0])), 3
    )
    assert facts["questions that both were graded on"] == by_command["items"] == len(pairs)
    assert facts[f"A passes ({', '.join(members[0])})"] == pytest.approx(
        by_command["sides"][0]["coverage"], abs=1e-4
    )
    assert facts["only A passes"] == by_command["only_first"]
    assert facts["only B passes"] == by_command["only_second"]
    assert facts["left out: a grade is missing"] == by_command["ungraded"]
    assert f"{by_command['difference']:+.3f}" == facts["A - B"][:6]
    for pair, theirs in zip(pairs, by_command["pairs"], strict=True):
        [speaks] = [
            said for said in theirs["answers"][0]["said"] if said["expert"] == pair["first_by"]
        ]
        assert pair["first"] == theirs["answers"][0]["solved"] == bool(speaks["passed"])
        assert pair["first_said"] == speaks["answer"]
        assert pair["second_by"] == members[1][0]


def test_a_force_that_a_run_is_too_small_for_is_said(copied: Path) -> None:
    with closing(sqlite3.connect(copied / "run.db")) as database:
        for table in ("skills", "finals"):
            database.execute(f"DELETE FROM {table} WHERE expert <> 'base'")
        database.commit()
    viewed = Viewed(copied)
    [text] = viewed.json("compare?a=base&b=task force of 3")["texts"]
    assert text["text"].startswith(
        "too few graded experts for a task force of 3 (-n 3): the run has 1"
    )
    assert "no expert" in viewed.html("compare?a=nobody", code=404)


def test_experts_of_two_runs_are_compared(finished_run: Path, copied: Path) -> None:
    viewed = Viewed(finished_run, copied)
    expert = RunStore.open(finished_run, read_only=True).experts()[1].id
    facts = viewed.json(f"compare?a={expert}&with=copied&b={expert}")["facts"]
    assert facts["questions that both were graded on"] > 0
    assert facts["only A passes"] == facts["only B passes"] == 0
    links = re.findall(
        r'<span class="verdict [^"]*"><a href="([^"]+)"',
        viewed.html(f"compare?a={expert}&with=copied&b={expert}"),
    )
    first, second = (html.unescape(link) for link in links[:2])
    assert first.startswith("/runs/tiny/answers?")
    assert second.startswith("/runs/copied/answers?")
    assert viewed.client.get(first).status_code == viewed.client.get(second).status_code == 200


def test_coverage_in_the_overview_is_that_of_the_summary(viewed: Viewed, store: RunStore) -> None:
    summary = store.meta("summary")
    assert isinstance(summary, dict)
    coverage = summary["coverage"]
    assert isinstance(coverage, dict)
    page = viewed.json()
    assert page["facts"]["state"] == "finished"
    assert [row["coverage"] for row in page["tables"]["forces"]] == [
        row["coverage"]  # type: ignore[call-overload, index]
        for row in coverage["task_force"]  # type: ignore[union-attr]
    ]
    rows = page["tables"]["generations"]
    assert [row["generation"] for row in rows] == list(range(len(rows)))
    assert [row["tokens"] for row in rows] == sorted(row["tokens"] for row in rows)


def test_seeds_are_compared_on_what_all_of_them_were_asked(copied: Path) -> None:
    with RunStore.open(copied, read_only=True) as store:
        latest = store.latest_archive()
        assert latest is not None
        archive = [entry.expert for entry in latest[1]]
        seeds = [expert.id for expert in store.experts() if expert.is_seed]
        pool = [family.id for family in store.families("active")]
        left = next(seed for seed in seeds if seed not in archive)
    # It left the archive, and was not asked about the newest families.
    forget_skills(copied, left, pool[-3:])
    with RunStore.open(copied, read_only=True) as store:
        skills = {expert.id: store.skill_counts(expert.id) for expert in store.experts()}
    asked = [family for family in pool if all(family in skills[seed] for seed in seeds)]
    assert asked == pool[:-3]
    viewed = Viewed(copied)
    newest = viewed.rows("", "generations")[-1]
    assert newest["shared"] == len(asked)
    assert newest["coverage"] == pytest.approx(coverage(skills, archive, pool))
    assert newest["archive_there"] == pytest.approx(coverage(skills, archive, asked))
    assert newest["seeds"] == pytest.approx(coverage(skills, seeds, asked))
    said = viewed.html()
    assert f"on the {len(asked)} families that all seeds were asked: archive" in said
    assert "in the finals: task force of" in said
    forget_skills(copied, left, pool[:-3])
    viewed = Viewed(copied)
    assert viewed.rows("", "generations")[-1]["seeds"] is None
    assert viewed.json()["facts"]["on the pool: seeds"] == "not asked"


def forget_skills(folder: Path, expert: str, families: list[str]) -> None:
    connection = sqlite3.connect(folder / "run.db")
    with connection:
        connection.executemany(
            "DELETE FROM skills WHERE expert = ? AND family = ?",
            [(expert, family) for family in families],
        )
    connection.close()


def test_gains_are_those_of_the_command(viewed: Viewed, store: RunStore) -> None:
    compared = 0
    for expert in store.experts():
        theirs = {parent: store.skill_counts(parent) for parent in expert.parents}
        changes = against_parents(store.skill_counts(expert.id), theirs)
        for step in viewed.json(f"experts/{expert.id}")["tables"].get("path", []):
            if step["expert"] == expert.id:
                for what in ("gained", "lost"):
                    assert step[what] == [row["family"] for row in changes[what]]
                    compared += len(step[what])
    assert compared > 0


def test_families_are_called_by_their_names(viewed: Viewed, store: RunStore) -> None:
    for family in store.families():
        link = f'<a href="{viewed.base}tasks/{family.id}">'
        for page in ("skills", "tasks", f"experts/{store.experts()[-1].id}", "compare"):
            assert f"{link}{family.id}" not in viewed.html(page)


def test_a_reply_is_shown_field_by_field_and_its_program_as_code(
    viewed: Viewed, store: RunStore
) -> None:
    call = store.calls(role="scientist")[0]
    proposal = json.loads(call.response or "")
    texts = {text["title"]: text["text"] for text in viewed.json(f"agents/{call.key}")["texts"]}
    shown = {title.partition(" (")[0]: text for title, text in texts.items()}
    assert shown["scientist wrote this program"] == proposal["code"]
    assert f"name: {proposal['name']}" in shown["scientist replied"].splitlines()
    assert shown["The same as it was sent"] == call.response


def test_answers_of_the_archive_stand_first(viewed: Viewed, store: RunStore) -> None:
    latest = store.latest_archive()
    assert latest is not None
    archive = [entry.expert for entry in latest[1]]
    family = store.families("active")[-1].id
    order = list(
        dict.fromkeys(row["expert"] for row in viewed.rows(f"answers?family={family}", "answers"))
    )
    there = [name for name in archive if name in order]
    assert there
    assert order[: len(there)] == there


def test_calls_are_counted_by_role(viewed: Viewed, store: RunStore) -> None:
    rows = viewed.rows("agents", "roles")
    for role, totals in store.call_totals().items():
        of_role = [row for row in rows if row["role"] == role]
        for key in ("calls", "tokens_in", "tokens_out", "cached", "failed"):
            assert sum(row[key] for row in of_role) == totals[key]
    call = store.calls(role="scientist")[0]
    texts = [text["text"] for text in viewed.json(f"agents/{call.key}")["texts"]]
    assert [message.content for message in call.messages] == texts[: len(call.messages)]
    assert call.response in texts


def test_reasons_are_said_in_words(copied: Path) -> None:
    with sqlite3.connect(copied / "run.db") as connection:
        connection.execute("UPDATE assignments SET status = 'rejected', reason = 'duplicate'")
    page = Viewed(copied).json("agents")["tables"]
    assert [row["meaning"] for row in page["reasons"]] == [IN_WORDS["duplicate"]]
    for row in page["gates"]:
        assert row["meaning"] == IN_WORDS[row["code"]]


def test_the_agents_page_has_the_cost_of_each_role(copied: Path) -> None:
    assert "USD" not in Viewed(copied).html("agents")
    seen = Viewed(with_prices(copied))
    costs = collect(RunFolder(copied))["cost"]
    page = seen.json("agents")
    facts = page["facts"]
    assert facts["cost, USD"] == pytest.approx(sum(costs.values()), abs=1e-5)
    for role, cost in costs.items():
        assert facts[f"cost of the {role}, USD"] == pytest.approx(cost, abs=1e-5)
        for table in ("roles", "calls"):
            of_role = [row["cost"] for row in page["tables"][table] if row["role"] == role]
            assert sum(of_role) == pytest.approx(cost, abs=1e-5)
    for text in (seen.html("agents"), as_html("copied", parts_of(copied))):
        assert "cost of the scientist, USD" in text


def test_children_of_operators_add_up(viewed: Viewed, store: RunStore) -> None:
    bred = [expert for expert in store.experts() if expert.parents]
    rows = viewed.rows("operators", "operators")
    assert sum(row["children"] for row in rows) == len(bred)
    for row in rows:
        assert row["survival_low"] <= row["survival"] <= row["survival_high"]
        if row["gain"] is not None:
            assert row["gain_low"] <= row["gain"] <= row["gain_high"]


def test_operators_have_the_cost_of_their_children(viewed: Viewed, store: RunStore) -> None:
    spent: Counter[str] = Counter()
    for expert in store.experts():
        for answer in store.answers_of(expert.genome_id):
            spent[expert.id] += answer.reply.tokens_in + answer.reply.tokens_out
    page = viewed.json("operators")["tables"]
    assert {row["expert"]: row["tokens"] for row in page["children"]} == {
        expert.id: spent[expert.id] for expert in store.experts() if expert.parents
    }
    for row in page["operators"]:
        members = [child for child in page["children"] if child["operator"] == row["operator"]]
        assert row["tokens"] == sum(child["tokens"] for child in members)
        if row["survivors"]:
            assert row["per_survivor"] == round(row["tokens"] / row["survivors"])
    merged = [child for child in page["children"] if child["operator"] == "regmean"]
    assert merged
    assert all(child["making"] > 0 for child in merged)


def test_who_survived_is_as_in_status(copied: Path) -> None:
    # One that comes back later did not survive the selection of its own generation.
    with closing(sqlite3.connect(copied / "run.db")) as database:
        [newest] = database.execute("SELECT MAX(generation) FROM archives").fetchone()
        database.execute(
            "INSERT INTO archive_entries SELECT ?1, id, 99, 0.0, 0.0 FROM experts WHERE "
            "json_extract(record, '$.parents[0]') IS NOT NULL AND generation < ?1 AND id NOT IN "
            "(SELECT expert FROM archive_entries) LIMIT 1",
            (newest,),
        )
        assert database.execute("SELECT changes()").fetchone() == (1,)
        database.commit()
    with RunStore.open(copied, read_only=True) as store:
        expected = successes(store)
        parents = {expert.id: expert.parents for expert in store.experts()}
    found: dict[str, list[int]] = {}
    children = Viewed(copied).rows("operators", "children")
    for row in children:
        for operator in row["operator"].split("+"):
            bred, survived = found.setdefault(operator, [0, 0])
            found[operator] = [bred + 1, survived + row["survived"]]
    assert {row["expert"] for row in children} == {one for one in parents if parents[one]}
    assert {name: (bred, survived) for name, (bred, survived) in found.items()} == expected


def test_children_whose_selection_is_to_come_are_not_counted_as_lost(copied: Path) -> None:
    with closing(sqlite3.connect(copied / "run.db")) as database:
        [newest] = database.execute("SELECT MAX(generation) FROM archives").fetchone()
        for table in ("archive_entries", "archives"):
            database.execute(f"DELETE FROM {table} WHERE generation = ?", (newest,))
        database.commit()
    viewed = Viewed(copied)
    waiting = {
        row["survived"]
        for row in viewed.rows("operators", "children")
        if row["generation"] == newest
    }
    assert waiting == {None}
    rows = viewed.rows("operators", "operators")
    assert sum(row["selected"] for row in rows) < sum(row["children"] for row in rows)
    for row in rows:
        assert row["survival"] == (row["survivors"] / row["selected"] if row["selected"] else None)


def test_a_run_that_stopped_before_the_finals_has_only_these_left(copied: Path) -> None:
    with closing(sqlite3.connect(copied / "run.db")) as database:
        database.execute("DELETE FROM meta WHERE key IN ('finished', 'summary')")
        database.commit()
    assert Viewed(copied).json()["facts"]["time left"] == "only the finals"


def test_settings_are_those_of_the_run_beside_their_defaults(viewed: Viewed) -> None:
    rows = {row["setting"]: row for row in viewed.rows("settings", "settings")}
    assert rows["population.founders"] == {
        "setting": "population.founders",
        "value": 6,
        "default": rows["population.founders"]["default"],
        "changed": True,
    }
    changed = viewed.rows("settings?show=changed", "settings")
    assert changed
    assert all(row["value"] != row["default"] for row in changed)


def test_a_run_that_is_not_finished_says_whether_a_process_is_at_work(copied: Path) -> None:
    with sqlite3.connect(copied / "run.db") as connection:
        connection.execute("DELETE FROM meta WHERE key = 'finished'")
    viewed = Viewed(copied)
    assert viewed.json()["facts"]["state"].startswith("unfinished, no process is at work on it; ")
    with RunStore.open(copied):
        assert viewed.json()["facts"]["state"].startswith(f"under way (process {os.getpid()}); ")


def test_several_runs_are_listed_with_their_states(finished_run: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(finished_run, damaged)
    for file in damaged.glob("run.db*"):
        file.write_bytes(b"no database")
    said = Viewed(finished_run, damaged).client.get("/").text
    assert "finished; generation 4 of 4" in said
    assert "cannot be read: " in said
    rows = Viewed(finished_run, damaged).client.get("/?format=json").json()["runs"]
    assert rows[0]["state"] == "finished; generation 4 of 4"


def test_the_map_has_a_point_for_each_family(viewed: Viewed, store: RunStore) -> None:
    for by in ("capability", "generation", "solver"):
        points = viewed.rows(f"map?by={by}", "points")
        assert {point["id"] for point in points} == {family.id for family in store.families()}


def test_what_is_not_there_is_said(viewed: Viewed) -> None:
    assert "there is no page nowhere" in viewed.html("nowhere", 404)
    assert "no expert &#39;nobody&#39;" in viewed.html("experts/nobody", 404)
    assert "no family or proposal" in viewed.html("tasks/nothing", 404)
    assert "it has forces, generations" in viewed.html("?format=csv&table=wrong", 404)
    assert viewed.client.get("/runs/other/").status_code == 404
    family = viewed.rows("tasks", "families")[0]["id"]
    for page in ("answers?expert=nobody", f"answers?family={family}&expert=nobody"):
        assert "no expert &#39;nobody&#39;" in viewed.html(page, 404)
    assert "no instance &#39;x&#39;" in viewed.html(f"answers?family={family}&instance=x", 404)
    assert "no expert &#39;nobody&#39;" in viewed.html("lineage?of=nobody", 404)
    assert "no run nowhere" in viewed.html("compare?with=nowhere", 404)


def test_a_value_that_a_parameter_cannot_have_is_a_bad_request(viewed: Viewed) -> None:
    said = viewed.html("tasks?format=xml", 400)
    assert "Bad request" in said
    assert "unknown format &#39;xml&#39;; there are json and csv" in said
    reply = viewed.client.get(viewed.base + "tasks?rate=x&format=json")
    assert (reply.status_code, list(reply.json())) == (400, ["error"])
    for page, parameter in CLOSED.items():
        assert f"{parameter}=&#39;x&#39; is unknown" in viewed.html(f"{page}?{parameter}=x", 400)
    for numbered in ("tasks?page.families=x", "skills?row=-1"):
        assert "is not a number" in viewed.html(numbered, 400)
    assert "sort.experts=&#39;x&#39; is unknown" in viewed.html("experts?sort.experts=-x", 400)
    assert "no answer is graded of family &#39;x&#39;" in viewed.html("skills?by_family=x", 404)


CLOSED = {
    "agents": "failed",
    "answers": "show",
    "experts": "among",
    "lineage": "show",
    "map": "by",
    "settings": "show",
    "skills": "order",
    "tasks": "rate",
}
"""A filter of each page whose values do not depend on the run."""


def test_a_form_says_what_is_shown_even_where_the_run_has_none_of_it(viewed: Viewed) -> None:
    assert viewed.rows("tasks?capability=baking", "families") == []
    assert '<option value="baking" selected>baking</option>' in viewed.html(
        "tasks?capability=baking"
    )


def test_nothing_of_the_run_is_changed_by_looking(copied: Path) -> None:
    def content() -> dict[str, str]:
        return {
            str(path.relative_to(copied)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in copied.rglob("*")
            # What SQLite's readers share with a writer does not count.
            if path.is_file() and not path.name.endswith(("-shm", "-wal"))
        }

    before = content()
    viewed = Viewed(copied)
    for page in PAGES:
        viewed.html(page)
    assert content() == before
    # A writer is not kept out.
    with RunStore.open(copied):
        assert viewed.html()


def test_a_run_that_goes_on_is_seen_as_it_is(copied: Path) -> None:
    viewed = Viewed(copied)
    version = viewed.html("version")
    assert viewed.html("version") == version
    with RunStore.open(copied) as store:
        family = store.families("active")[0]
        store.put_meta("finished", False)
        store.set_family_status(family.id, "retired", "least discrimination")
        time.sleep(0.01)
        assert viewed.html("version") != version
        row = next(r for r in viewed.rows("tasks", "families") if r["id"] == family.id)
        assert row["status"] == "retired"
        assert not viewed.json()["facts"]["state"].startswith("finished")
        assert "What happens now" in viewed.html()


def test_a_run_before_its_first_selection_has_all_pages(tmp_path: Path, finished_run: Path) -> None:
    folder = tmp_path / "young"
    folder.mkdir()
    (folder / "config.json").write_bytes((finished_run / "config.json").read_bytes())
    with RunStore.open(folder):
        pass
    viewed = Viewed(folder)
    for page in PAGES:
        assert "<h1" in viewed.html(page)


def test_a_run_of_an_earlier_schema_can_be_looked_at(copied: Path) -> None:
    """Skills as verdicts, no instances, no finals, no embeddings."""
    connection = sqlite3.connect(copied / "run.db")
    with connection:
        for statement in (
            "CREATE TABLE old AS SELECT expert, family, passes AS passed FROM skills GROUP BY 1, 2",
            "DROP TABLE skills",
            "ALTER TABLE old RENAME TO skills",
            "DROP TABLE instances",
            "DROP TABLE finals",
            "DROP TABLE embeddings",
            "PRAGMA user_version = 1",
        ):
            connection.execute(statement)
    connection.close()
    viewed = Viewed(copied)
    for page in PAGES:
        assert "<h1" in viewed.html(page)
    assert viewed.rows("skills", "rates")
    assert DAMAGED not in parts_of(copied)


def test_instances_of_the_finals_are_marked(copied: Path) -> None:
    from memory.records import Instance

    with RunStore.open(copied) as store:
        family = store.families()[0].id
        drawn = {"name": "1@1.5", "instructions": "How many?", "reference": "5"}
        store.put_instances([Instance(family=family, period=FINALS, **drawn)])  # type: ignore[arg-type]
    rows = Viewed(copied).rows(f"tasks/{family}", "instances")
    assert rows[-1]["period"] == "finals"
    assert rows[-1]["question"] == "How many?"


def test_a_number_of_thousands_of_digits_is_the_last_page(viewed: Viewed) -> None:
    nines = "9" * 5000
    for page in (f"tasks?page.families={nines}", f"skills?row={nines}"):
        assert "<h1" in viewed.html(page)
    last = viewed.html(f"agents?page.calls={nines}")
    assert 'rel="next"' not in last


def test_the_example_of_a_rejection_is_of_one_proposal(copied: Path) -> None:
    with sqlite3.connect(copied / "run.db") as connection:
        connection.execute("UPDATE assignments SET status = 'accepted'")
        chosen = connection.execute("SELECT id FROM assignments ORDER BY id LIMIT 2").fetchall()
        for (proposal,), detail in zip(chosen, ("z of the first", "a of the second"), strict=True):
            connection.execute(
                "UPDATE assignments SET status = 'rejected', reason = 'duplicate', detail = ? "
                "WHERE id = ?",
                (detail, proposal),
            )
    (row,) = Viewed(copied).rows("agents", "reasons")
    assert (row["n"], row["example"], row["detail"]) == (2, chosen[0][0], "z of the first")


def test_a_long_description_is_cut(copied: Path) -> None:
    with sqlite3.connect(copied / "run.db") as connection:
        (family,) = connection.execute("SELECT id FROM families LIMIT 1").fetchone()
        connection.execute(
            "UPDATE families SET record = json_set(record, '$.description', ?) WHERE id = ?",
            ("A" * 60_000, family),
        )
    viewed = Viewed(copied)
    assert len(max(re.findall("A+", viewed.html(f"tasks/{family}")), key=len)) == LONGEST_FACT


def test_a_filter_keeps_the_order_of_a_table(viewed: Viewed) -> None:
    kept = '<input type="hidden" name="sort.families" value="-rate">'
    assert kept in viewed.html("tasks?sort.families=-rate")
    assert 'type="hidden"' not in viewed.html("tasks")
