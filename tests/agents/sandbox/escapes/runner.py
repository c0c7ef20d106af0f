"""Puts up decoys, runs a hostile case beside a good neighbour, and says what went wrong."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from agents.errors import FamilyFault
from agents.sandbox import Sandbox, Score, Submission
from agents.sandbox.bubblewrap import interpreter_paths
from tests.agents.sandbox.escapes.case import Escape
from tests.agents.sandbox.escapes.exhausting import EXHAUSTING
from tests.agents.sandbox.escapes.forging import FORGING
from tests.agents.sandbox.escapes.lasting import LASTING
from tests.agents.sandbox.escapes.reaching import REACHING
from tests.agents.sandbox.escapes.submitted import SUBMITTED

ESCAPES: tuple[Escape, ...] = (*REACHING, *EXHAUSTING, *FORGING, *LASTING, *SUBMITTED)
REPOSITORY = Path(__file__).resolve().parents[4]
NEIGHBOURLY = 3


@dataclass(frozen=True)
class Decoys:
    """Things on the host that hostile code must neither read, change nor reach."""

    secret: Path
    listeners: Sequence[socket.socket]
    abstract: str
    victim: subprocess.Popen[bytes]

    def filled_in(self, code: str) -> str:
        """Code with the decoys in the place of their names."""
        tcp, udp, _, _ = self.listeners
        shown = interpreter_paths()
        places: dict[str, object] = {
            "PORT": tcp.getsockname()[1],
            "UDP": udp.getsockname()[1],
            "SOCKET": str(self.secret.with_name("service")),
            "ABSTRACT": self.abstract,
            "SECRET": str(self.secret),
            "HOME": str(Path.home()),
            "REPOSITORY": str(REPOSITORY),
            "VICTIM": self.victim.pid,
            "SHOWN": shown,
        }
        for name, value in places.items():
            code = code.replace(f"@{name}@", repr(value))
        return code

    def harm(self) -> str:
        """What happened to them; "" if nothing did."""
        if self.secret.read_text() != "xyzzy" or len(list(self.secret.parent.iterdir())) != 2:
            return "a file of the host was changed"
        if self.victim.poll() is not None:
            return "a process of the host was killed"
        for listener in self.listeners:
            try:
                listener.recvfrom(1) if listener.type & socket.SOCK_DGRAM else listener.accept()
            except BlockingIOError:
                continue
            return "a service of the host was reached"
        return ""


@contextmanager
def decoys() -> Iterator[Decoys]:
    """Decoys for as long as the context lasts."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        secret = folder / "secret-of-the-host"
        secret.write_text("xyzzy")
        abstract = f"acdc-decoy-{os.getpid()}"
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        named = stack.enter_context(socket.socket(socket.AF_UNIX))
        named.bind(str(folder / "service"))
        nameless = stack.enter_context(socket.socket(socket.AF_UNIX))
        nameless.bind(f"\0{abstract}")
        for listener in (named, nameless):
            listener.listen()
        for listener in (tcp, udp, named, nameless):
            listener.setblocking(False)
        os.environ["ACDC_DECOY_KEY"] = "xyzzy"
        stack.callback(os.environ.pop, "ACDC_DECOY_KEY")
        victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
        stack.callback(victim.wait)
        stack.callback(victim.kill)
        yield Decoys(secret, (tcp, udp, named, nameless), abstract, victim)


def family(body: str, moment: str = "score") -> str:
    """A family that does these statements at some moment, and nothing else."""
    indented = "\n".join("        " + line for line in body.strip().splitlines())
    tasks = indented if moment == "get_tasks" else '        return {"1": {}, "2": {}}'
    score = indented if moment == "score" else "        return 0"
    imported = body if moment == "import" else ""
    return f"""
{imported}
class TaskFamily:
    @staticmethod
    def get_tasks():
{tasks}
    @staticmethod
    def get_instructions(t):
        return "Say something."
    @staticmethod
    def score(t, submission):
{score}
"""


GOOD = family("import json, re, math; return float(re.fullmatch('4+2', submission) is not None)")


async def outcome(sandbox: Sandbox, escape: Escape, decoys: Decoys) -> str:
    """What came of a case: a score, or the reason code of a fault."""
    code = decoys.filled_in(family(escape.body, escape.moment))
    if escape.moment != "score":
        try:
            await sandbox.inspect(code)
        except FamilyFault as fault:
            return fault.code
        return "inspected"
    [score] = await sandbox.score(code, [Submission("1", escape.submission)])
    return score.fault.code if score.fault is not None else f"{score.value:g}"


async def neighbour(sandbox: Sandbox) -> bool:
    """Whether a good family is scored as it should be."""
    answers = [Submission("1", "42"), Submission("2", "41"), Submission("2", "4442")]
    return await sandbox.score(GOOD, answers) == [Score(1.0), Score(0.0), Score(1.0)]


async def neighbours(sandbox: Sandbox) -> bool:
    """Whether good families are scored as they should be, over and over."""
    return all([await neighbour(sandbox) for _ in range(NEIGHBOURLY)])


async def escaped(sandbox: Sandbox, escape: Escape, decoys: Decoys) -> str:
    """What a case got away with; "" if it was held.

    Raises:
        ValueError: the sandbox does not isolate, and hostile code must not run in it.
    """
    if not sandbox.isolated:
        raise ValueError("hostile cases are run under isolation only")
    came_of_it, undisturbed = await asyncio.gather(
        outcome(sandbox, escape, decoys), neighbours(sandbox)
    )
    if came_of_it not in escape.outcomes:
        return f"came to {came_of_it}, not to {' or '.join(escape.outcomes)}"
    if not undisturbed:
        return "a neighbour got a wrong score"
    if escape.after:
        later = Escape(escape.name, "", escape.after)
        # Both guests are asked, whichever of them served the hostile call.
        found = await asyncio.gather(*(outcome(sandbox, later, decoys) for _ in range(2)))
        if set(found) != {"0"}:
            return f"a later call found its traces ({found})"
    if not await neighbour(sandbox):
        return "a later call got a wrong score"
    return decoys.harm()
