"""A run folder from somebody else, whose texts would like to write to the terminal themselves."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from memory.store.calls import _digest
from tests.console.conftest import Acdc, the_line

EVIL = "\x1b]0;pwned\x07\x1b[2J\x9b31m\u202etxt\u2066\x7f[blink]x[/red]:bomb:"
"""A title, a cleared screen, colours by C1, reversed lines, and what rich would read as its own."""
OBEYED = ["\x1b]", "\x1b[2J", "\x1b[5m", "\x07", "\x9b", "\u202e", "\u2066", "\x7f", "💣"]
WRITTEN = {"name", "operator", "generator", "detail", "problems", "response", "model"}
# Not code and purpose, which a hash and a column hold as well: they would be found damaged.
WRITTEN |= {"content", "extracted", "question", "text", "instructions"}
"""Fields of records that hold what models and users wrote."""


def tainted(value: Any, written: bool = False) -> Any:
    if isinstance(value, dict):
        return {key: tainted(item, written or key in WRITTEN) for key, item in value.items()}
    if isinstance(value, list):
        return [tainted(item, written) for item in value]
    return value + EVIL if isinstance(value, str) and written else value


@pytest.fixture(scope="module")
def hostile(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run whose records hold control characters, and so do the names of its experts."""
    folder = tmp_path_factory.mktemp("hostile") / "run"
    shutil.copytree(finished_run, folder)
    store = sqlite3.connect(folder / "run.db")
    store.create_function("tainted", 1, lambda record: json.dumps(tainted(json.loads(record))))
    store.create_function("digest", 1, _digest)
    store.create_function(
        "named", 2, lambda record, id: json.dumps({**json.loads(record), "id": id})
    )
    store.create_function(
        "answering", 2, lambda record, id: json.dumps({**json.loads(record), "expert": id})
    )
    with store:
        told = "SELECT digest(tainted(record)) FROM messages WHERE hash = message"
        store.execute(f"UPDATE call_messages SET message = ({told})")
        store.execute("UPDATE messages SET hash = digest(tainted(record))")
        for table in ("experts", "families", "drafts", "messages", "calls", "answers"):
            store.execute(f"UPDATE {table} SET record = tainted(record)")
        store.execute("UPDATE meta SET value = tainted(value) WHERE key = 'summary'")
        store.execute("UPDATE assignments SET detail = detail || ?", (EVIL,))
        store.execute("UPDATE families SET generator = generator || ?", (EVIL,))
        for table, name in (
            ("archive_entries", "expert"),
            ("skills", "expert"),
            ("finals", "expert"),
            ("experts", "id"),
        ):
            store.execute(f"UPDATE {table} SET {name} = {name} || ?", (EVIL,))
        store.execute("UPDATE experts SET record = named(record, id)")
        store.execute("UPDATE finals SET record = answering(record, expert)")
    store.close()
    return folder


def spelled_in(text: str) -> None:
    """The terminal obeys nothing of it, but a person sees that it is there."""
    for obeyed in OBEYED:
        assert obeyed not in text, ascii(text[max(text.index(obeyed) - 40, 0) :][:120])
    assert "\\x1b]0;pwned" in text


@pytest.mark.parametrize("color", ["", "1"], ids=["pipe", "terminal"])
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("status", []),
        ("trace", []),
        ("trace", ["--full"]),
        ("trace", ["--expert", f"g4-2{EVIL}"]),
        ("ask", ["What is 7 times 8?"]),
        ("audit", []),
        ("run", []),
    ],
    ids=["status", "trace", "full", "expert", "ask", "audit", "run"],
)
def test_what_a_run_holds_is_shown_and_not_obeyed(
    acdc: Acdc,
    hostile: Path,
    command: str,
    words: list[str],
    color: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(acdc.environment, "FORCE_COLOR", color)
    monkeypatch.setitem(acdc.environment, "COLUMNS", "200")
    done = acdc(command, hostile, *words, fresh=bool(color) and words == ["--full"])
    spelled_in(done.stdout + done.stderr)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("trace", ["--expert", f"g4-9{EVIL}"]),  # Did you mean one of theirs?
        ("trace", ["--family", EVIL]),
        ("export", [f"alpha{EVIL}{EVIL}", "out"]),
    ],
)
def test_an_error_says_what_is_there_and_no_terminal_obeys_it(
    acdc: Acdc, hostile: Path, command: str, words: list[str]
) -> None:
    done = acdc(command, hostile, *words, code=2)
    spelled_in(the_line(done.stderr))


@pytest.mark.parametrize("command", ["status", "ask", "run"])
def test_nor_does_it_obey_a_configuration(
    acdc: Acdc, finished_run: Path, tmp_path: Path, command: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    file = folder / "config.json"
    manifest = json.loads(file.read_text())
    manifest["config"]["engine"]["compute"] = EVIL
    manifest["config"][EVIL] = "\ud800"
    file.write_text(json.dumps(manifest))
    words = ["What is 7 times 8?"] if command == "ask" else []
    done = acdc(command, folder, *words, code=0 if command == "status" else 2)
    spelled_in(done.stdout + done.stderr)


@pytest.mark.parametrize("command", ["status", "trace"])
def test_json_escapes_it_and_means_the_same(acdc: Acdc, hostile: Path, command: str) -> None:
    text = acdc(command, hostile, "--json").stdout
    for obeyed in OBEYED:
        assert obeyed not in text
    assert ascii(EVIL)[1:-1] in ascii(json.loads(text))
