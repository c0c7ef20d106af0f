"""A run as tables: every row is what the store holds, types are fixed, and tables join."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pyarrow
import pytest
from nbclient import NotebookClient

import acdc
from console.tables import TABLES
from console.view.pages.tasks import family_rows
from console.view.source import Source
from memory.store import RunStore
from tests.console.conftest import with_prices

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


@pytest.fixture(scope="module")
def run(finished_run: Path) -> acdc.Run:
    return acdc.Run(finished_run)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_its_columns_with_their_types(run: acdc.Run, name: str) -> None:
    table = run.table(name)
    assert table.column_names == ["run", *TABLES[name].columns]
    assert table.num_rows > 0
    assert set(table["run"].to_pylist()) == {run.path.name}
    assert not any(pyarrow.types.is_null(kind) for kind in table.schema.types)


def test_tables_hold_what_the_store_holds(run: acdc.Run) -> None:
    with run.store() as store:
        counts = {
            "experts": len(store.experts()),
            "families": len(store.families()),
            "answers": sum(len(store.answers_of(e.genome_id)) for e in store.experts()),
            "calls": len(store.calls()),
            "events": len(store.events()),
            "finals": len(store.outcomes()),
        }
        verdicts = {key: store.verdict(key) for key in acdc.frame("answers", run)["answer"]}
    assert {name: run.table(name).num_rows for name in counts} == counts
    [row] = run.table("runs").to_pylist()
    assert {name: row[name] for name in ("experts", "families", "answers", "calls")} == {
        name: counts[name] for name in ("experts", "families", "answers", "calls")
    }
    passed = run.table("answers")
    found = dict(zip(passed["answer"].to_pylist(), passed["passed"].to_pylist(), strict=True))
    assert found == verdicts


def test_tables_join(run: acdc.Run) -> None:
    """Each answer is to a task of its family; its grades and its expert's skills agree with it."""
    answers, tasks = acdc.frame("answers", run), acdc.frame("tasks", run)
    known = answers.dropna(subset=["family"])
    joined = known.merge(tasks[["task", "family", "use"]], on=["task", "family"])
    assert len(joined) == len(known) > 0
    grades = acdc.frame("grades", run)
    assert set(grades["answer"]) == set(answers.dropna(subset=["passed"])["answer"])
    experts = acdc.frame("experts", run).set_index("expert")
    means = acdc.frame("skills", run).groupby("expert")["rate"].mean()
    rates = experts["pass_rate"].dropna()
    assert rates.to_dict() == pytest.approx(means.to_dict())
    status = run.status()
    for row in status["archive"]:
        assert experts["fitness"][row["expert"]] == pytest.approx(row["fitness"], abs=1e-4)
        own = run.expert(row["expert"])
        assert own.fitness == experts["fitness"][row["expert"]]
        assert own.pass_rate == pytest.approx(rates[row["expert"]])
    ranked = experts.dropna(subset=["rank"]).sort_values("rank")
    assert list(ranked.index) == [row["expert"] for row in status["archive"]]


def test_to_solve_is_to_pass_more_than_half_as_in_the_viewer(run: acdc.Run) -> None:
    with Source(run.path.name, run.path).open() as viewed:
        shown = {row["id"]: row for row in family_rows(viewed)}
    table = {row["family"]: row for row in run.table("families").to_pylist()}
    assert {name: (row["solvers"], row["graded"]) for name, row in table.items()} == {
        name: (row["solvers"], row["graded"]) for name, row in shown.items()
    }
    for name, row in shown.items():
        assert table[name]["pass_rate"] == pytest.approx(row["rate"])
    with run.store() as store:
        for name, row in table.items():
            skills = [store.skill_counts(e.id).get(name) for e in store.archive_experts()]
            passed = [skill for skill in skills if skill and 2 * skill.passes > skill.asked]
            assert row["solvers"] == len(passed)


def test_ranks_count_from_one_and_survivors_are_those_of_status(run: acdc.Run) -> None:
    experts = acdc.frame("experts", run)
    ranks = sorted(experts["rank"].dropna())
    assert ranks == list(range(1, len(run.archive()) + 1))
    bred = experts[(experts["parents"].map(len) > 0) & experts["survived"].notna()]
    counted: dict[str, list[int]] = {}
    for operators, survived in zip(bred["operator"], bred["survived"], strict=True):
        for operator in operators.split("+"):
            counts = counted.setdefault(operator, [0, 0])
            counts[0], counts[1] = counts[0] + 1, counts[1] + bool(survived)
    said = run.status()["operators"]
    assert counted == {name: [each["bred"], each["survived"]] for name, each in said.items()}


def test_calls_cost_what_status_says_where_prices_are_configured(
    run: acdc.Run, tmp_path: Path
) -> None:
    assert acdc.frame("calls", run)["cost"].isna().all()
    priced = acdc.Run(with_prices(shutil.copytree(run.path, tmp_path / "priced")))
    costs = acdc.frame("calls", priced).groupby("role")["cost"].sum().to_dict()
    assert costs == pytest.approx(priced.status()["cost"], abs=1e-6)
    assert costs["scientist"] > 0


def test_several_runs_are_one_frame(run: acdc.Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "copy")
    both = acdc.frame("experts", run, tmp_path / "copy")
    assert set(both["run"]) == {run.path.name, "copy"}
    assert len(both) == 2 * run.table("experts").num_rows


def test_an_empty_table_keeps_its_types(run: acdc.Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "new")
    for file in (tmp_path / "new").glob("run.db*"):
        file.unlink()
    RunStore.open(tmp_path / "new").close()
    for name in set(TABLES) - {"runs"}:
        empty = acdc.Run(tmp_path / "new").table(name)
        assert empty.num_rows == 0
        assert empty.schema == run.table(name).schema
    assert acdc.frame("answers", run, tmp_path / "new").shape == acdc.frame("answers", run).shape


def test_an_unknown_table_is_named_with_the_nearest(run: acdc.Run) -> None:
    with pytest.raises(acdc.AcdcError, match=r"no table 'answer'.*answers"):
        run.table("answer")


def test_the_page_lists_every_table_and_column() -> None:
    page = PAGE.read_text()
    for name, table in TABLES.items():
        columns = ", ".join(f"`{column}`" for column in table.columns)
        assert f"| `{name}` | {table.about} | {columns} |" in page


def test_the_notebook_runs(run: acdc.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = nbformat.reads(PAGE.with_name("inspect.ipynb").read_text(), as_version=4)  # type: ignore[no-untyped-call]
    monkeypatch.setenv("ACDC_RUN", str(run.path))
    monkeypatch.setenv("PYTHONPATH", str(PAGE.parents[1]))
    done = NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    cells = [cell for cell in done.cells if cell.cell_type == "code"]
    assert all(cell.outputs for cell in cells)
    best = run.status()["archive"][0]["expert"]
    assert best in str(cells[1].outputs)
