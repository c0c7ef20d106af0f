"""`acdc doctor`: what is there, what is missing, and what to type, before a run is begun."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import psutil
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.chat import ChatClient
from agents.offline import OfflineTransport
from agents.sandbox import open_sandbox
from console.assembly import cache_folder, writes_offline
from console.config import RunConfig
from evolution.bank import load_bank
from evolution.mergeability import mergeability
from memory.embedding import open_embedder
from memory.errors import AcdcError
from memory.records import Role
from memory.store import RunStore

State = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    detail: str


async def examine(config: RunConfig) -> list[Finding]:
    """Look at machine, sandbox, embedder, seeds and endpoints; nothing of a run is touched."""
    findings = [_machine()]
    findings.append(await _sandbox(config))
    findings.append(await asyncio.to_thread(_embedder, config))
    findings += await asyncio.to_thread(_seeds, config)
    findings += await _endpoints(config)
    return findings


def _machine() -> Finding:
    memory = psutil.virtual_memory()
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    return Finding(
        "machine",
        "ok",
        f"{psutil.cpu_count()} cores, {memory.available / 2**30:.1f} of "
        f"{memory.total / 2**30:.1f} GiB free, {device}",
    )


async def _sandbox(config: RunConfig) -> Finding:
    try:
        sandbox = await asyncio.to_thread(
            open_sandbox, config.sandbox, trusted=writes_offline(config)
        )
    except AcdcError as error:
        return Finding("sandbox", "failed", str(error))
    try:
        inspection = await sandbox.inspect(_PROBE)
    except AcdcError as error:
        return Finding("sandbox", "failed", str(error))
    finally:
        await sandbox.close()
    if not sandbox.isolated:
        return Finding("sandbox", "warning", "tasks run in a plain limited process: no isolation")
    kind = "docker" if config.sandbox.kind == "docker" else "bubblewrap"
    return Finding("sandbox", "ok", f"{kind}, {len(inspection.instructions)} probes ran")


_PROBE = """
class TaskFamily:
    @staticmethod
    def get_tasks():
        return {"1": {"n": 1}, "2": {"n": 2}}

    @staticmethod
    def get_instructions(t):
        return f"Say {t['n']}."

    @staticmethod
    def score(t, submission):
        return 1.0 if submission.strip() == str(t["n"]) else 0.0
"""


def _embedder(config: RunConfig) -> Finding:
    try:
        embedder = open_embedder(config.novelty)
        vectors = embedder.embed(["a task"])
    except AcdcError as error:
        return Finding("embedder", "failed", str(error))
    return Finding("embedder", "ok", f"{embedder.name}, {vectors.shape[1]} dimensions")


def _seeds(config: RunConfig) -> list[Finding]:
    try:
        bank = load_bank(config.models, config.spectral, cache_folder())
    except AcdcError as error:
        return [Finding("seeds", "failed", str(error))]
    found = [
        Finding("seeds", "ok", f"{', '.join(bank.seed_names)}; {bank.memory_bytes / 2**20:.0f} MiB")
    ]
    report = mergeability(bank)
    if report is not None:
        found.append(Finding("mergeability", "ok", report.advice))
    return found


async def _endpoints(config: RunConfig) -> list[Finding]:
    """Each endpoint once, under the first role that uses it."""
    findings = []
    seen = set()
    with tempfile.TemporaryDirectory() as scratch, RunStore.open(Path(scratch)) as store:
        chat = ChatClient(config.endpoints, store, transport=OfflineTransport())
        try:
            for role in get_args(Role):
                endpoint = config.endpoints.of(role)
                place = (endpoint.base_url, endpoint.model)
                if place not in seen:
                    seen.add(place)
                    findings.append(await _endpoint(chat, role))
        finally:
            await chat.close()
    return findings


async def _endpoint(chat: ChatClient, role: Role) -> Finding:
    try:
        found = await chat.check(role)
    except AcdcError as error:
        return Finding(f"endpoint of the {role}", "failed", str(error))
    return Finding(f"endpoint of the {role}", "ok", str(found))


def as_json(findings: list[Finding]) -> dict[str, object]:
    """The findings as one object."""
    return {
        "ok": not any(finding.state == "failed" for finding in findings),
        "findings": [asdict(finding) for finding in findings],
    }


def show(findings: list[Finding], console: Console) -> None:
    """Print the findings for a person."""
    table = Table(box=None, show_header=False, pad_edge=False)
    colours = {"ok": "green", "warning": "yellow", "failed": "red"}
    for finding in findings:
        state = Text(finding.state, style=colours[finding.state])
        table.add_row(state, Text(finding.what), Text(finding.detail))
    console.print(table)
