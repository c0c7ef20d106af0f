"""The graph that `langgraph dev` loads: drawn as it is, and driven by the real dev server."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from agents.graph import build_graph
from console.run.config import resolve
from memory.store import RunStore
from tests.console.conftest import Acdc

ROOT = Path(__file__).resolve().parents[2]
SERVER = Path(sys.executable).with_name("langgraph")


def test_the_drawing_in_the_documentation_is_the_graph() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    [drawn] = re.findall(r"```mermaid\n(.*?)```", page, re.DOTALL)
    assert drawn.strip() == build_graph().get_graph(xray=True).draw_mermaid().strip()


def test_the_variable_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACDC_RUN", "somewhere")
    assert resolve(None, []).generations == 4


@pytest.fixture
def server(acdc: Acdc, finished_run: Path, tmp_path: Path) -> Iterator[tuple[httpx.Client, Path]]:
    """A dev server with the graph of langgraph.json, pointed at a copy of a finished run."""
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    given = json.loads((ROOT / "langgraph.json").read_text())
    given["graphs"] = {name: str(ROOT / place) for name, place in given["graphs"].items()}
    given["dependencies"] = [str(ROOT)]
    (tmp_path / "langgraph.json").write_text(json.dumps(given))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [SERVER, "dev", "--no-browser", "--no-reload", "--allow-blocking", "--port", str(port)],
            cwd=tmp_path,
            env={
                **os.environ,
                "ACDC_RUN": str(run),
                "ACDC_CACHE": acdc.environment["ACDC_CACHE"],
                "LANGSMITH_TRACING": "false",
            },
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            while not answers(client):
                assert process.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.2)
            yield client, run
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/ok").status_code == 200
    except httpx.TransportError:
        return False


def test_the_dev_server_shows_the_run_and_goes_on_with_it(
    server: tuple[httpx.Client, Path],
) -> None:
    client, run = server
    [assistant] = client.post("/assistants/search", json={"graph_id": "acdc"}).json()
    drawn = client.get(f"/assistants/{assistant['assistant_id']}/graph?xray=true").json()
    names = {str(node["id"]) for node in drawn["nodes"]}
    assert {"opening", "founding", "admission", "judge", "selection", "report"} <= names
    assert {"scientist:propose", "scientist:trial", "scientist:critique"} <= names

    with RunStore.open(run, read_only=True) as store:
        before = store.latest_archive()
    thread = client.post("/threads", json={}).json()["thread_id"]
    wanted: dict[str, Any] = {
        "assistant_id": "acdc",
        "input": {"generation": 0},
        "stream_mode": ["custom", "updates"],
    }
    with client.stream("POST", f"/threads/{thread}/runs/stream", json=wanted) as reply:
        text = "".join(reply.iter_text())
    assert "event: error" not in text, text[-2000:]
    assert '"opening"' in text
    assert '"report"' in text, "a finished run has nothing else left to do"
    assert "event: custom" in text, "events of the run are streamed"
    with RunStore.open(run, read_only=True) as store:
        assert store.latest_archive() == before
        assert store.meta("finished")
