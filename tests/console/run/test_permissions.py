"""A run folder from somebody else: what it asks for is not done until its user permits it."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import ormsgpack
import pytest

from agents.config import RunConfig
from console.run.checkpoints import SERIALIZER
from console.run.config import as_tree
from console.run.folder import RunFolder
from console.run.permissions import permit, requests_of, unpermitted
from memory.hashing import text_hash
from memory.store import RunStore
from tests.console.conftest import Acdc, the_line

READING = (
    ("ask", "What is 2 + 2?"),
    ("ask", "What is 2 + 2?", "--select", "chooser"),
    ("export", "alpha", "out"),
    ("audit",),
    ("evaluate", "TASKS"),
    ("run",),
)
SECRET = "sk-of-whoever-types-the-command"


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A run as it comes by mail."""
    return Path(shutil.copytree(finished_run, tmp_path / "mailed"))


@pytest.fixture
def here(acdc: Acdc, tmp_path: Path) -> Acdc:
    """The command on a machine where nothing was permitted yet."""
    stranger = Acdc(tmp_path / "home")
    stranger.environment["OTHER_SECRET"] = SECRET
    return stranger


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """A server, and what it was sent."""
    heard: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(f"{self.path} {self.headers.get('Authorization')}")
            self.send_error(500)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1", heard
    server.shutdown()
    server.server_close()


def edited(run: Path, section: str, **changes: Any) -> None:
    file = run / "config.json"
    manifest = json.loads(file.read_text())
    if section:
        target = manifest["config"]
        for name in section.split("."):
            target = target[name]
        target |= changes
    else:
        manifest["config"] |= changes
    file.write_text(json.dumps(manifest))


def the_rest(words: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    file = folder / "tasks.jsonl"
    file.write_text('{"id": "a", "instructions": "1 + 1?", "answer": "2", "score": "number"}\n')
    return tuple(str(file) if word == "TASKS" else word for word in words[1:])


def offline(run: Path) -> None:
    """As if the offline scientist had written it: nothing has to be permitted for that."""
    edited(run, "endpoints.scientist", base_url="offline", model="offline", api_key_env="")


@pytest.mark.parametrize("words", READING, ids=lambda words: " ".join(words[:1]))
def test_no_command_imports_the_modules_of_a_folder(
    here: Acdc, run: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    offline(run)
    mark, plugin = tmp_path / "executed", tmp_path / "plugin.py"
    plugin.write_text(f"open({str(mark)!r}, 'w').close()\n")
    edited(run, "", plugins=[str(plugin)])
    refused = the_line(here(words[0], run, *the_rest(words, tmp_path), code=2).stderr)
    assert str(plugin) in refused
    assert f"acdc trust {run}" in refused
    assert not mark.exists()
    assert str(plugin) in here("trust", run, "--yes").stdout
    here("ask", run, "What is 2 + 2?")
    assert mark.exists()


def test_a_module_is_permitted_by_its_content(here: Acdc, run: Path, tmp_path: Path) -> None:
    offline(run)
    plugin = tmp_path / "plugin.py"
    plugin.write_text("WHAT = 1\n")
    edited(run, "", plugins=[str(plugin)])
    here("trust", run, "--yes")
    here("ask", run, "What is 2 + 2?")
    plugin.write_text("raise SystemExit(7)\n")
    here("ask", run, "What is 2 + 2?", code=2)


@pytest.mark.parametrize("role", ["scientist", "critic", "rater", "chooser"])
def test_no_command_sends_a_key_on_the_word_of_a_folder(
    here: Acdc, run: Path, tmp_path: Path, listener: tuple[str, list[str]], role: str
) -> None:
    offline(run)
    url, heard = listener
    edited(run, f"endpoints.{role}", base_url=url, model="m", api_key_env="OTHER_SECRET")
    for words in READING:
        refused = the_line(here(words[0], run, *the_rest(words, tmp_path), code=2).stderr)
        assert url in refused
        assert "$OTHER_SECRET" in refused
    assert heard == []


def test_a_permitted_endpoint_is_called(
    here: Acdc, run: Path, listener: tuple[str, list[str]]
) -> None:
    offline(run)
    url, heard = listener
    more = {"attempts": 1, "api_key_env": "OTHER_SECRET"}
    edited(run, "endpoints.chooser", base_url=url, model="m", **more)
    assert "nothing was permitted" in here("trust", run, code=2).stderr
    assert heard == []
    shown = here.json("trust", run, "--yes")
    assert [row["permitted"] for row in shown["requests"]] == [True]
    here("ask", run, "What is 2 + 2?", "--select", "chooser", code=2)
    assert heard[0].endswith(f"Bearer {SECRET}")


def test_what_is_given_to_the_command_is_the_users_own(here: Acdc, run: Path) -> None:
    """The folder's endpoint is replaced by the user's; a key of the folder's is not sent to it."""
    offline(run)
    edited(run, "endpoints.scientist", base_url="http://127.0.0.1:9/v1", model="m")
    mine = ("--set", "endpoints.scientist.base_url=offline", "--set")
    here("run", run, *mine, "endpoints.scientist.model=offline")
    edited(run, "endpoints.scientist", api_key_env="OTHER_SECRET")
    words = (*mine[:1], "endpoints.scientist.base_url=http://127.0.0.1:9/v1", "--set")
    refused = here("run", run, *words, "endpoints.scientist.model=m", code=2)
    assert "$OTHER_SECRET" in the_line(refused.stderr)


def test_whoever_began_a_run_is_not_asked(acdc: Acdc, finished_run: Path) -> None:
    assert all(row["permitted"] for row in acdc.json("trust", finished_run)["requests"])
    assert acdc.json("ask", finished_run, "What is 2 + 2?")["answers"]


@pytest.mark.parametrize(
    ("tree", "asked"),
    [
        ({"novelty": {"chroma_url": "http://h:1"}}, "Chroma server http://h:1"),
        ({"cluster": {"address": "h:6379"}}, "Ray cluster at h:6379"),
        ({"novelty": {"embedder": "openai"}}, "api.openai.com with the key in $OPENAI_API_KEY"),
        (
            {
                "novelty": {
                    "embedder": "openai",
                    "embedder_url": "http://h",
                    "embedder_key_env": "K",
                }
            },
            "http://h with the key in $K",
        ),
        ({"sandbox": {"kind": "docker", "docker_image": "evil"}}, "Docker image evil"),
        ({"endpoints": {"rater": {"api_key_env": "K"}}}, "offline with the key in $K"),
        # What is not in use may come into use by one other setting.
        ({"novelty": {"embedder": "minilm", "embedder_url": "h"}}, "embedder at h without a key"),
        ({"novelty": {"embedder_key_env": "K"}}, "with the key in $K"),
        ({"sandbox": {"kind": "auto", "docker_image": "evil"}}, "Docker image evil"),
        ({"sandbox": {"preimport": ["reasoning_gym", "antigravity"]}}, "import antigravity in"),
        ({"models": {"base": "someone/model"}}, "download the model someone/model"),
        ({"models": {"seeds": [{"name": "s", "path": "a/b@c"}]}}, "download the model a/b@c"),
        ({"answering": {"reward_model": "a/b"}}, "download the model a/b"),
        ({"models": {"merges": [{"name": "m", "config": "m.yaml"}]}}, "the file m.yaml names"),
        ({"plugins": ["json"]}, "json/__init__.py, sha256"),
        ({"plugins": ["json.tool"]}, "json/tool.py, sha256"),
        ({"plugins": ["no.such"]}, "not here"),
        ({"plugins": ["a\nnew: nothing"]}, r"module a\nnew: nothing (which"),
        ({"endpoints": {"rater": {"base_url": "http://\x1b]0;x\x07"}}}, r"http://\x1b]0;x\x07"),
    ],
)
def test_everything_that_leaves_the_machine_or_enters_it_is_asked_for(
    tree: dict[str, Any], asked: str
) -> None:
    assert any(asked in line for line in requests_of(tree))


@pytest.mark.parametrize("tree", [{}, {"plugins": 3}, {"endpoints": []}, {"novelty": {"x": 1}}])
def test_a_tree_that_is_no_configuration_asks_for_nothing(tree: dict[str, Any]) -> None:
    assert requests_of(tree) == []


def test_a_module_within_a_package_is_permitted_with_what_is_imported_before_it() -> None:
    [line] = requests_of({"plugins": ["json.tool"]})
    assert line.count("sha256") == 2


def test_the_quickstart_asks_for_nothing() -> None:
    assert requests_of(as_tree(RunConfig())) == []


@pytest.mark.parametrize("content", ['{"config": {"engine": "x"}}', "[" * 200_000, '{"config": 3}'])
def test_a_configuration_that_is_none_is_one_line(here: Acdc, run: Path, content: str) -> None:
    (run / "config.json").write_text(content)
    for words in (("status",), ("trust",), ("ask", "What is 2 + 2?")):
        refused = the_line(here(words[0], run, *words[1:], code=2).stderr)
        assert "config.json is damaged" in refused


def test_a_setting_of_the_users_does_not_bring_an_address_of_the_folder_into_use(
    here: Acdc, run: Path, listener: tuple[str, list[str]]
) -> None:
    offline(run)
    url, heard = listener
    edited(run, "novelty", embedder="minilm", embedder_url=url, embedder_key_env="OTHER_SECRET")
    here.environment["ACDC_NOVELTY__EMBEDDER"] = "openai"
    here("audit", run, code=2)
    del here.environment["ACDC_NOVELTY__EMBEDDER"]
    edited(run, "novelty", embedder_url=None, embedder_key_env="")
    edited(run, "sandbox", docker_image="evil/image")
    refused = here("run", run, "--set", "sandbox.kind=docker", code=2)
    assert "Docker image evil/image" in the_line(refused.stderr)
    assert heard == []


def test_a_permission_holds_for_one_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACDC_CACHE", str(tmp_path))
    permit(["one"])
    permit(["one"])
    assert unpermitted(["one", "two"]) == ["two"]


# ------------------------------------------------------------------ code without isolation


@pytest.mark.parametrize("begins", ["", "# sketch"])
def test_a_folder_cannot_vouch_for_its_code(
    here: Acdc, run: Path, tmp_path: Path, begins: str
) -> None:
    """Records that say "offline scientist" over code that it did not write."""
    offline(run)
    edited(run, "sandbox", kind="process", allow_unsafe=True)
    edited(run, "", generations=9)
    mark = tmp_path / "executed"
    with RunStore.open(run) as store:
        family = store.families()[0]
        code = f"open({str(mark)!r}, 'w').close()\n{family.code}"
        if begins:
            from agents.offline.author import write
            from agents.offline.sketches import Sketch

            own = write(Sketch(("gcd",)))["code"]
            code = f"{own}\nopen({str(mark)!r}, 'w').close()\n"
        own = {"scientist": "offline", "code": code, "code_hash": text_hash(code)}
        record = family.model_copy(update=own).model_dump_json()
        store._write("UPDATE families SET record = ? WHERE id = ?", (record, family.id))
    refused = here("run", run, code=2)
    assert "must not run without isolation" in refused.stderr
    assert not mark.exists()


# ------------------------------------------------------------------ files of the reader


@pytest.mark.parametrize("entry", ["tasks", "memory", "run.db", "graph.db", "run.lock", "anchors"])
def test_a_run_never_writes_through_a_link_out_of_its_folder(
    here: Acdc, run: Path, tmp_path: Path, entry: str
) -> None:
    offline(run)
    mine = tmp_path / "mine"
    path = run / entry
    if path.is_dir() or path.exists():
        shutil.move(path, mine)
    else:
        mine.write_text("precious")
    path.symlink_to(mine)
    before = {p: p.read_bytes() for p in [mine, *mine.rglob("*")] if p.is_file()}
    edited(run, "", generations=9)
    refused = the_line(here("run", run, code=2).stderr)
    assert f"{path} is a link out of the run folder" in refused
    assert {p: p.read_bytes() for p in [mine, *mine.rglob("*")] if p.is_file()} == before


PWNED = ("touch pwned", ["touch pwned"], {"command": "touch pwned"})
RECORDS = [
    *(
        ("msgpack", ormsgpack.packb(ormsgpack.Ext(kind, ormsgpack.packb(("os", "system", given)))))
        for kind in range(8)
        for given in PWNED
    ),
    *(
        ("json", json.dumps({"lc": 2, "type": "constructor", "id": ["os", "system"], "args": [g]}))
        for g in PWNED
    ),
    ("pickle", b"cposix\nsystem\n(S'touch pwned'\ntR."),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: str(record[0]))
def test_records_of_the_graph_construct_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: tuple[str, str | bytes]
) -> None:
    monkeypatch.chdir(tmp_path)
    kind, content = record
    with suppress(Exception):
        SERIALIZER.loads_typed((kind, content.encode() if isinstance(content, str) else content))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("database", ["run.db", "graph.db", "memory/chroma.sqlite3"])
def test_a_journal_that_names_another_file_deletes_nothing(
    here: Acdc, run: Path, tmp_path: Path, database: str
) -> None:
    """SQLite deletes the super-journal that a journal left behind names, whatever file that is."""
    offline(run)
    edited(run, "", generations=9)
    mine = tmp_path / "mine"
    mine.write_text("precious")
    name = str(mine).encode()
    tail = struct.pack(">II", len(name), sum(name)) + bytes.fromhex("d9d505f920a163d7")
    head = tail[-8:] + struct.pack(">IIIII", 0, 0, 1, 512, 4096)
    journal = run / f"{database}-journal"
    journal.write_bytes(head.ljust(512, b"\0") + struct.pack(">I", 0x40000000) + name + tail)
    refused = the_line(here("run", run, code=2).stderr)
    assert f"{journal} names other files to delete" in refused
    assert mine.read_text() == "precious"


def test_a_pipe_in_a_run_folder_blocks_nobody(here: Acdc, run: Path) -> None:
    offline(run)
    (run / "graph.db").unlink(missing_ok=True)
    os.mkfifo(run / "graph.db")
    assert "neither a file nor a folder" in the_line(here("run", run, code=2).stderr)


def test_links_within_the_folder_are_the_users_own(run: Path) -> None:
    (run / "anchors").mkdir(exist_ok=True)
    (run / "anchors" / "also").symlink_to(run / "config.json")
    RunFolder(run).refuse_links()
