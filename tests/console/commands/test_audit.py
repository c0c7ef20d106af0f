"""`acdc audit` on a real run, against files of every kind that it reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from console.commands import audit
from console.commands.audit import AuditLimits
from console.commands.audit_questions import read_questions
from console.errors import UsageError
from console.run.folder import RunFolder
from memory.records import Family
from memory.store import RunStore
from tests.console.conftest import Acdc

FAR = "Which painter of the Dutch golden age made a portrait of a girl with an earring of pearl?"


def families_of(folder: Path) -> list[Family]:
    with RunStore.open(folder, read_only=True) as store:
        return store.families()


def test_a_dataset_stands_for_its_questions(tmp_path: Path) -> None:
    file = tmp_path / "gym.jsonl"
    file.write_text('{"reasoning_gym": "gcd", "size": 3, "seed": 5}\n')
    questions = read_questions([file])
    assert [question.id for question in questions] == ["gcd-5-0", "gcd-5-1", "gcd-5-2"]
    assert len({question.text for question in questions}) == 3
    file.write_text('{"reasoning_gym": "no such dataset"}')
    with pytest.raises(UsageError, match=r"gym\.jsonl:1"):
        read_questions([file])


def test_a_planted_question_is_found_and_named(
    acdc: Acdc, finished_run: Path, tmp_path: Path
) -> None:
    families = families_of(finished_run)
    planted = families[0]
    tasks, plain = tmp_path / "tasks.jsonl", tmp_path / "plain.txt"
    line = {"id": "planted", "instructions": planted.instructions["2"], "answer": "?"}
    tasks.write_text(json.dumps(line) + "\n")
    plain.write_text(f"{FAR}\n")
    found = acdc.json("audit", finished_run, "--against", tasks, plain, fresh=True)
    leakage = found["leakage"]
    assert leakage["questions"] == 2
    assert planted.id in leakage["repeating"]
    assert leakage["repeated_questions"] == 1
    worst = leakage["pairs"][0]
    assert worst["similarity"] == 1.0
    assert worst["question"] == "planted"
    assert worst["file"] == str(tasks)
    pair = next(pair for pair in leakage["pairs"] if pair["family"] == planted.id)
    assert (pair["similarity"], "embedding" in pair["by"]) == (1.0, True)
    assert set(leakage["nearest"]) == {family.id for family in families}
    for name in ("pool", "history"):
        part = found["diversity"][name]
        assert 1.0 <= part["vendi"] <= part["families"]
        assert sum(part["shares"].values()) == pytest.approx(1, abs=0.01)
    assert found["diversity"]["history"]["families"] == len(families)
    counted = found["annecs"]
    fates = ("solved", "too_easy", "unsolved", "unknown")
    assert sum(len(counted[name]) for name in fates) == len(families)
    assert counted["total"] == len(counted["solved"])


def test_it_reads_as_a_table(finished_run: Path, tmp_path: Path, at_home: None) -> None:
    file = tmp_path / "bench.jsonl"
    families = families_of(finished_run)
    records = [{"question": family.instructions["1"]} for family in families[:2]]
    file.write_text("\n".join(json.dumps(record) for record in [*records, {"question": "Why?"}]))
    found = audit.collect(RunFolder(finished_run), [file], AuditLimits())
    console = Console(record=True, width=150)
    audit.show(found, console)
    text = console.export_text()
    assert f"of {len(families)} families repeat" in text
    assert families[0].id in text
    assert "ANNECS" in text
    assert "bench.jsonl:1" in text
    assert audit.collect(RunFolder(finished_run), [], AuditLimits())["leakage"] is None


READABLE: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("task file", '{"id": "t1", "instructions": "Add.", "answer": "3"}\n', [("t1", "Add.")]),
    (
        "gsm8k",
        '{"question": "A?", "answer": "1"}\n\n{"question": "B?"}',
        [("1", "A?"), ("3", "B?")],
    ),
    ("samples", '{"doc_id": 4, "doc": {"problem": "C?"}, "resps": [["x"]]}', [("4", "C?")]),
    ("array", '[{"prompt": "D?"}, "E?"]', [("1", "D?"), ("2", "E?")]),
    ("lines", "F?\nG?\n", [("1", "F?"), ("2", "G?")]),
    ("blocks", "H\nI?\n\n\n  J?\n", [("1", "H\nI?"), ("2", "J?")]),
    ("separators", '{"text": "K\u2028L"}', [("1", "K\u2028L")]),
]


@pytest.mark.parametrize(
    ("content", "expected"), [r[1:] for r in READABLE], ids=[r[0] for r in READABLE]
)
def test_files_of_questions(tmp_path: Path, content: str, expected: list[tuple[str, str]]) -> None:
    file = tmp_path / "questions"
    file.write_text(content, encoding="utf-8")
    assert [(q.id, q.text) for q in read_questions([file])] == expected


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "no question in it"),
        ('{"answer": "3"}', ":1: no question in it; it must stand in one of instructions"),
        ('{"question": "A?"}\n{"question": ', ":2 is not JSON"),
        ('[{"question": ', "is not JSON"),
        ('{"question": 3}', "no question"),
        (b"\xff\xfe\xff", "cannot be read"),
    ],
)
def test_files_that_cannot_be_audited(tmp_path: Path, content: Any, says: str) -> None:
    file = tmp_path / "questions"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=says):
        read_questions([file])
    with pytest.raises(UsageError, match="cannot be read"):
        read_questions([tmp_path / "absent"])
    with pytest.raises(UsageError) as error:
        read_questions([tmp_path])
    assert "Errno" not in str(error.value)


def test_names_of_families_are_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    family = "g10-a05-sort-the-words-of-a-sentence-by-their"
    pair = {"family": family, "file": "/x/bench.jsonl", "question": "17", "text": "What is? " * 9}
    limits = {"similarity": 0.8, "overlap": 0.0, "ngram": 13, "shortest": 13}
    leakage = {
        "limits": limits,
        "repeating": [family],
        "families": 3,
        "repeated_questions": 1,
        "questions": 4,
        "too_short_for_ngrams": 0,
        "pairs": [{**pair, "similarity": 0.91, "overlap": 0.5}],
    }
    diversity: dict[str, Any] = {"families": 3, "vendi": 1.0, "shares": {}}
    nothing: list[str] = []
    annecs = {"total": 0, "by_generation": {}, "too_easy": nothing, "unsolved": nothing}
    found = {
        "leakage": leakage,
        "diversity": {"pool": diversity, "history": diversity},
        "annecs": {**annecs, "unknown": nothing},
    }
    audit.show(found, Console(width=80))
    lines = capsys.readouterr().out.splitlines()
    [row] = [line for line in lines if family in line]
    assert row.split() == [family, "0.91", "50%", "bench.jsonl:17"]
