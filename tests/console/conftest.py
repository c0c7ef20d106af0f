"""Runs of the real command on tiny models, with a scripted scientist behind real HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TinyFamily
from tests.console.forked import Forked
from tests.console.scientist_server import scientist_server
from tests.console.tiny_run import tiny_run_config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def scientist_url() -> Iterator[str]:
    with scientist_server() as (url, _):
        yield url


@pytest.fixture(scope="session")
def tiny_config(
    tiny_family: TinyFamily, scientist_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The configuration of `tiny_run_config`, in a file."""
    file = tmp_path_factory.mktemp("config") / "tiny.toml"
    file.write_text(tiny_run_config(tiny_family, scientist_url))
    return file


class Acdc:
    """The command, in a process of its own.

    A fresh process loads all of the program, which takes seconds of CPU; a forked one is a copy of
    one that has it loaded. Each command has a test that starts it afresh.
    """

    def __init__(self, home: Path) -> None:
        self.environment = {
            **os.environ,
            "MAKELEVEL": "",  # the same messages whether or not make runs the tests
            "ACDC_CACHE": str(home / "cache"),
            "PYTHONPATH": str(ROOT),
            "HF_HUB_OFFLINE": "1",
        }

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """A fresh process."""
        return subprocess.Popen(
            [sys.executable, "-m", "console", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )

    def fork(self, *words: str | Path) -> Forked:
        """The same from a process that has loaded the program."""
        return Forked([*map(str, words)], self.environment)

    def die(self, program: str, *words: str | Path) -> None:
        """Run a program that calls the command and kills itself on the way."""
        process = Forked([*map(str, words)], self.environment, program)
        try:
            stdout, stderr = process.communicate(timeout=900)
        finally:
            process.kill()
        assert process.returncode == -signal.SIGKILL, f"{process.returncode}\n{stdout}\n{stderr}"

    def __call__(
        self, *words: str | Path, code: int = 0, fresh: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """The command to its end, which must be by exit code `code`."""
        process = self.start(*words) if fresh else self.fork(*words)
        try:
            stdout, stderr = process.communicate(timeout=900)
        finally:
            process.kill()
        assert process.returncode == code, f"{process.returncode}\n{stdout}\n{stderr}"
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def json(self, *words: str | Path, fresh: bool = False) -> Any:
        return json.loads(self(*words, "--json", fresh=fresh).stdout)


@pytest.fixture(scope="session")
def acdc(tmp_path_factory: pytest.TempPathFactory) -> Acdc:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell starts what it puts in the background so, and children would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return Acdc(tmp_path_factory.mktemp("home"))


@pytest.fixture
def at_home(acdc: Acdc, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is where the runs of `acdc` were begun, and what they ask for is permitted."""
    monkeypatch.setenv("ACDC_CACHE", acdc.environment["ACDC_CACHE"])


@pytest.fixture(scope="session")
def finished_run(acdc: Acdc, tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run on tiny models, made once."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    acdc("run", folder, "--config", tiny_config, fresh=True)
    return folder


def with_prices(folder: Path) -> Path:
    """The same run, of whose scientist, and so of its critic, prices are configured."""
    file = folder / "config.json"
    manifest = json.loads(file.read_text())
    manifest["config"]["endpoints"]["scientist"] |= {"price_in": 2.0, "price_out": 10.0}
    file.write_text(json.dumps(manifest))
    return folder


def outcome_of(folder: Path) -> dict[str, Any]:
    """What must be equal between two runs: archive by genome, and all skill vectors."""
    from memory.store import RunStore

    with RunStore.open(folder, read_only=True) as store:
        latest = store.latest_archive()
        assert latest is not None
        return {
            "generation": latest[0],
            "archive": [
                (entry.rank, entry.expert, store.expert(entry.expert).genome_id, entry.fitness)
                for entry in latest[1]
            ],
            "skills": store.all_skills(),
            "families": [
                (family.id, store.family_status(family.id)) for family in store.families()
            ],
        }


def the_line(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, stderr
    return " ".join(stderr[stderr.index("error:") :].split())
