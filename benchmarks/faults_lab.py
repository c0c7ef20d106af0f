"""Where faults are injected: tiny models, a scripted scientist, and an undisturbed run to compare.

Runs are real ones, of the real command in processes of their own.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import psutil
from transformers import LlamaConfig

from memory.store import RunStore
from tests.conftest import make_family
from tests.console.conftest import Acdc, outcome_of
from tests.console.forked import Forked, Process
from tests.console.scientist_server import scientist_server
from tests.console.tiny_run import tiny_run_config

ENDING_SECONDS = 600.0
"""Until a run that got a signal has to be gone, on a machine that is busy with other work."""


@dataclass(frozen=True)
class Lab:
    """What runs are made of, and the one that nothing happened to.

    Attributes:
        acdc: the command.
        config: of all runs.
        whole: the folder of the undisturbed run.
        seconds: that it took.
        place: where the folders of other runs go.
    """

    acdc: Acdc
    config: Path
    whole: Path
    seconds: float
    place: Path

    def start(self, folder: Path, *words: str | Path) -> Forked:
        """Begin a run in a folder, or go on with it."""
        return self.acdc.fork("run", folder, "--config", self.config, *words)

    def finish(self, folder: Path, *words: str | Path) -> None:
        """Go on until the run is finished.

        Raises:
            AssertionError: it ends otherwise.
        """
        self.acdc("run", folder, "--config", self.config, *words)


@contextmanager
def open_lab(place: Path) -> Iterator[Lab]:
    """Make models and the undisturbed run in a folder, and serve the scientist meanwhile."""
    family = make_family(place / "models", LlamaConfig, tied=True)
    with scientist_server() as (url, _):
        config = place / "tiny.toml"
        config.write_text(tiny_run_config(family, url))
        acdc = Acdc(place / "home")
        acdc("--version")  # from now on the program is loaded
        begun, whole = time.monotonic(), place / "undisturbed"
        acdc("run", whole, "--config", config)
        yield Lab(acdc, config, whole, time.monotonic() - begun, place)


@dataclass(frozen=True)
class Difference:
    """How what a run has kept differs from the undisturbed run; all 0 where nothing was harmed.

    Attributes:
        archive: 1 if archive, skill vectors or families are others.
        lost: answers and grades that are missing.
        added: answers and grades that the undisturbed run has not.
        doubled: answers of one genome to one instance with one number, and grades of one answer by
            one scorer, beyond the first.
        changed: answers and grades with another content under the same key: another text, or the
            text of another expert.
    """

    archive: int
    lost: int
    added: int
    doubled: int
    changed: int

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) for each in fields(self))

    def __str__(self) -> str:
        told = {each.name: getattr(self, each.name) for each in fields(self)}
        return ", ".join(f"{name} {count}" for name, count in told.items() if count) or "none"


def difference(folder: Path, whole: Path) -> Difference:
    """Compare what two runs have kept, answer by answer and grade by grade."""
    kept, wanted = (_kept(each) for each in (folder, whole))
    return Difference(
        archive=int(outcome_of(folder) != outcome_of(whole)),
        lost=len(wanted.keys() - kept.keys()),
        added=len(kept.keys() - wanted.keys()),
        doubled=_doubled(folder),
        changed=sum(kept[key] != wanted[key] for key in kept.keys() & wanted.keys()),
    )


def _kept(folder: Path) -> Mapping[str, Any]:
    """Answers and grades by key, without the seconds that they took."""
    with RunStore.open(folder, read_only=True) as store:
        answers = {f"answer {each.key}": each.model_dump() for each in store.answers_of()}
        grades = {f"grade {each.key}": each.model_dump() for each in store.all_grades()}
    for each in answers.values():
        del each["reply"]["seconds"]
    return answers | grades


def _doubled(folder: Path) -> int:
    with RunStore.open(folder, read_only=True) as store:
        answered = Counter(
            (each.genome_id, each.instance_hash, each.sample) for each in store.answers_of()
        )
        graded = Counter(
            (each.answer_key, each.code_hash, each.vote) for each in store.all_grades()
        )
    return sum(count - 1 for counts in (answered, graded) for count in counts.values())


def descendants(process: Process) -> list[psutil.Process]:
    """What a run has started, and what that has."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


@dataclass(frozen=True)
class Outcome:
    """What became of a run with a fault.

    Attributes:
        fault: what was done to it.
        found: what became of it, for people.
        harm: whether it ended otherwise than the undisturbed run, or without a clear error.
    """

    fault: str
    found: str
    harm: bool = False

    def row(self) -> dict[str, Any]:
        return {"fault": self.fault, "found": self.found, "harm": self.harm}


def words(settings: Sequence[str]) -> list[str]:
    """Settings as a command line has them."""
    return [word for setting in settings for word in ("--set", setting)]


def left_with(process: Process) -> tuple[int | None, str]:
    """The exit code of a run, once it has ended, and its last line."""
    try:
        _, said = process.communicate(timeout=ENDING_SECONDS)
    except (TimeoutError, subprocess.TimeoutExpired):
        process.kill()
        process.communicate()
        return None, f"did not end in {ENDING_SECONDS:g} s"
    # What is long is wrapped, and begins anew where the error does.
    return process.returncode, " ".join(said[said.rfind("error:") :].split())


def ended(lab: Lab, fault: str, folder: Path, process: Process, found: str) -> Outcome:
    """The outcome of a run that has to get through a fault by itself."""
    code, line = left_with(process)
    if code != 0:
        return Outcome(fault, f"{found}; exit code {code}: {line}", harm=True)
    return compared(lab, fault, folder, found)


def compared(lab: Lab, fault: str, folder: Path, found: str, *, harm: bool = False) -> Outcome:
    """The outcome of a run that goes on until it is finished."""
    lab.finish(folder)
    differs = difference(folder, lab.whole)
    if not differs and not harm:
        shutil.rmtree(folder)
    return Outcome(fault, f"{found}; differences: {differs}", harm or bool(differs))
