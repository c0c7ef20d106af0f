"""`acdc report`: one file, without network and script; JSON and CSV with all rows."""

from __future__ import annotations

import csv
import html
import json
import re
from pathlib import Path

import pytest

from console.view.report import DAMAGED, as_html, as_object, parts_of, write_csv
from memory.store import RunStore
from tests.console.conftest import Acdc, the_line
from tests.console.damage import flip_letter


@pytest.fixture(scope="module")
def page(finished_run: Path) -> str:
    return as_html(finished_run.name, parts_of(finished_run))


def test_it_needs_nothing_else(page: str) -> None:
    assert "<script" not in page
    assert [link for link in re.findall(r'(?:href|src)="([^"]*)"', page) if link[0] != "#"] == [
        "data:,"
    ]
    assert "default-src 'none'" in page
    assert len(page.encode()) < 5 * 2**20


def test_its_links_lead_to_places_within(page: str) -> None:
    places = re.findall(r' id="([^"]+)"', page)
    assert len(places) == len(set(places))
    assert {link[1:] for link in re.findall(r'href="(#[^"]+)"', page)} <= set(places)


def test_it_has_the_parts_of_the_viewer(page: str, finished_run: Path) -> None:
    for title in ("Overview", "Tasks", "Experts", "Lineage", "Skill matrix", "Operators", "Agents"):
        assert f">{title}</h1>" in page
    assert page.count("<svg") > 8


def test_it_says_who_the_best_expert_is_and_leaves_out_what_is_only_for_looking_up(
    page: str, finished_run: Path
) -> None:
    [link] = re.findall(r'<a href="#best">([^<]*)</a>', page)
    assert link.startswith("Best expert: ")
    parts = parts_of(finished_run)
    left_out = {
        (part, table.name) for part in parts for table in parts[part].tables() if table.lookup
    }
    looked_up = {"skills": "rates", "map": "points", "agents": "calls", "lineage": "edges"}
    funnels = {("tasks", "funnel"), ("agents", "funnel")}
    assert left_out == {*looked_up.items(), *funnels}
    for part, table in left_out:
        assert f'id="{part}-{table}"' not in page
    assert 'id="best-skills"' in page


def test_the_command_writes_a_file(acdc: Acdc, finished_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.html"
    done = acdc("report", finished_run, file, fresh=True)
    assert str(file) in done.stdout.replace("\n", "")
    assert file.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_json_and_csv_hold_the_same_rows(acdc: Acdc, finished_run: Path, tmp_path: Path) -> None:
    found = acdc.json("report", finished_run)
    acdc("report", finished_run, "--csv", tmp_path / "tables")
    files = {file.stem for file in (tmp_path / "tables").iterdir()}
    names = {f"{part}-{table}" for part, page in found["pages"].items() for table in page["tables"]}
    assert files == names
    for part, page in found["pages"].items():
        for table, rows in page["tables"].items():
            with (tmp_path / "tables" / f"{part}-{table}.csv").open(newline="") as file:
                assert len([*csv.DictReader(file)]) == len(rows)
    assert json.dumps(found)


def test_rates_and_points_in_csv_name_families_by_id(finished_run: Path, tmp_path: Path) -> None:
    with RunStore.open(finished_run, read_only=True) as store:
        families = {family.id for family in store.families()}
    tables = {file.stem: file for file in write_csv(parts_of(finished_run), tmp_path / "tables")}
    for table, column in (("skills-rates", "family"), ("map-points", "id")):
        with tables[table].open(newline="") as file:
            named = {row[column] for row in csv.DictReader(file)}
        assert named, table
        assert named <= families, table


@pytest.mark.parametrize(
    ("table", "before", "after"),
    [
        ("families", "class TaskFamily", "class TaskFamilz"),
        ("grades", '"passed":true', '"passed":false'),
        ("answers", '"genome_id":"', '"genome_id":"f'),
    ],
)
def test_records_that_were_edited_are_said(
    acdc: Acdc, copied: Path, tmp_path: Path, table: str, before: str, after: str
) -> None:
    assert DAMAGED not in parts_of(copied)
    flip_letter(copied, table, "record", before, after)
    place = f"run.db is damaged in table {table}, record "
    file = tmp_path / "mine.html"
    assert f"the run is damaged, as the report says: {place}" in acdc("report", copied, file).stderr
    page = file.read_text(encoding="utf-8")
    assert page.index("This run is damaged</h1>") < page.index("Overview</h1>")
    assert place in html.unescape(page)
    assert str(tmp_path) not in page
    [row] = as_object("copied", parts_of(copied))["pages"][DAMAGED]["tables"]["records"]
    assert place in row["problem"]


def test_what_is_no_run_or_cannot_be_written_is_said(
    acdc: Acdc, finished_run: Path, tmp_path: Path
) -> None:
    assert "is not a run folder" in the_line(acdc("report", tmp_path, code=2).stderr)
    nowhere = tmp_path / "absent" / "x.html"
    assert "cannot be written" in the_line(acdc("report", finished_run, nowhere, code=2).stderr)
