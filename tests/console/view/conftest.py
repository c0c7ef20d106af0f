"""The viewer over a real run: in this process, and as a process of its own for browsers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from console.view.guard import ViewGuard
from console.view.render import Renderer
from console.view.routes import build_app
from console.view.source import find_runs
from tests.console.conftest import Acdc


class Viewed:
    """The viewer of some runs, without a socket.

    Args:
        folders: of the runs; `html` and the like ask for the first.
        token: that it wants.
        quiet: whether a page that fails is a reply, as for a browser, and not a failing test.
    """

    def __init__(self, *folders: Path, token: str | None = None, quiet: bool = False) -> None:
        self.sources = find_runs(folders)
        app = ViewGuard(build_app(self.sources, Renderer(self.sources)), token)
        self.client = TestClient(
            app,
            base_url="http://127.0.0.1:8200",
            follow_redirects=False,
            raise_server_exceptions=not quiet,
        )
        self.base = self.sources[0].base

    def html(self, page: str = "", code: int = 200) -> str:
        reply = self.client.get(self.base + page)
        assert reply.status_code == code, reply.text[:2000]
        return reply.text

    def json(self, page: str = "") -> Any:
        return json.loads(self.html(page + ("&" if "?" in page else "?") + "format=json"))

    def rows(self, page: str, table: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.json(page)["tables"][table]
        return rows


@pytest.fixture(scope="session")
def viewed(finished_run: Path) -> Viewed:
    return Viewed(finished_run)


@pytest.fixture
def copied(finished_run: Path, tmp_path: Path) -> Path:
    """A run of one's own."""
    return shutil.copytree(finished_run, tmp_path / "copied")


Serving = Callable[..., Any]


@contextmanager
def served(acdc: Acdc, *words: str | Path) -> Iterator[str]:
    """`acdc view` as a process of its own until the end of the block; gives its URL."""
    process = acdc.start("view", *words, "--port", "0", "--json")
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield json.loads(line)["url"]
    finally:
        process.kill()
        process.communicate()
