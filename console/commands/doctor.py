"""`acdc doctor`: what is there, what is missing, and what to type, before a run is begun."""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.config import RunConfig
from agents.sandbox import open_sandbox
from console.commands.forecast import GPU_GFLOPS, SIZES, forecast, in_words
from console.commands.frame import (
    AsJson,
    ConfigFile,
    Debug,
    Overrides,
    app,
    finish,
    out,
    print_json,
    run_async,
)
from console.errors import UsageError
from console.run.config import cache_folder, resolve
from evolution.engines.settings import EngineSettings
from evolution.planning.headroom import free_memory
from memory.errors import AcdcError
from memory.messages import first_line
from memory.novelty.embedding import open_embedder
from memory.records import Json, Role
from memory.store import RunStore

if TYPE_CHECKING:
    from agents.chat.client import ChatClient
    from evolution.bank.bank import Bank
    from evolution.bank.mergeability import Pairs
    from evolution.engines.compute import Compute
    from evolution.planning.lessons import Lessons
    from evolution.planning.merging import Merging
    from evolution.planning.plan import MemoryPlan

State = Literal["ok", "hint", "warning", "failed"]
"""A hint says what may come, and judges nothing."""


EXAMPLES = """Examples:

acdc doctor    for the quickstart

acdc doctor --config mine.toml    what that run needs, and what is missing
"""


@app.command(epilog=EXAMPLES)
def doctor(
    config: ConfigFile = None, set_: Overrides = None, as_json: AsJson = False, debug: Debug = False
) -> None:
    """Check machine, sandbox, seeds and endpoints before a run."""

    def action() -> None:
        settings = resolve(config, set_ or [])
        findings = run_async(examine(settings, None if as_json else partial(show, out)))
        if as_json:
            print_json(findings_json(findings))
        if any(finding.state == "failed" for finding in findings):
            raise UsageError("a required check failed, see above")

    finish(action, debug)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        figures: what the detail is read from, for programs.
    """

    what: str
    state: State
    detail: str
    figures: Mapping[str, Json] = field(default_factory=dict)


async def examine(
    config: RunConfig, report: Callable[[Finding], None] | None = None
) -> list[Finding]:
    """Look at machine, sandbox, embedder, seeds and endpoints; nothing of a run is touched.

    Args:
        config: of the run that is planned.
        report: is called with each finding as soon as it is known.
    """
    findings = []
    async for finding in _findings(config):
        findings.append(finding)
        if report is not None:
            report(finding)
    return findings


async def _findings(config: RunConfig) -> AsyncIterator[Finding]:
    yield _machine()
    yield await _sandbox(config)
    failed: dict[str, str] = {}
    for check in (_embedder, _engine, _seeds):
        for finding in await asyncio.to_thread(check, config):
            if finding.state == "failed":
                first = failed.setdefault(finding.detail, finding.what)
                if first != finding.what:
                    finding = replace(finding, detail=f"the same, see {first}")
            yield finding
    if config.cluster.kind != "none":
        yield await _cluster(config)
    async for finding in _endpoints(config):
        yield finding


async def _cluster(config: RunConfig) -> Finding:
    """Whether the workers of a run find their places."""
    from evolution.engines.pool.opening import survey

    try:
        places = await survey(config.engine, config.cluster)
    except AcdcError as error:
        return Finding("cluster", "failed", str(error))
    figures: dict[str, Json] = {"workers": places.workers, **places.there}
    parts = ", ".join(f"{number:g} {what}" for what, number in places.there.items())
    detail = f"{config.cluster.kind}, {places.workers} workers; {parts}"
    if not places.fits:
        return Finding("cluster", "warning", f"{detail}: some will wait for their place", figures)
    return Finding("cluster", "ok", detail, figures)


def _machine() -> Finding:
    import psutil
    import torch

    free, total = free_memory(), psutil.virtual_memory().total
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    return Finding(
        "machine",
        "ok",
        f"{psutil.cpu_count()} cores, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free, {device}",
    )


async def _sandbox(config: RunConfig) -> Finding:
    from console.run.reading import is_all_ours

    try:
        sandbox = await asyncio.to_thread(
            open_sandbox, config.sandbox, ours=_PROBE.__eq__ if is_all_ours(config) else None
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
    return Finding("sandbox", "ok", f"{kind}, {len(inspection.first.instructions)} probes ran")


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


def _embedder(config: RunConfig) -> list[Finding]:
    try:
        embedder = open_embedder(config.novelty)
        vectors = embedder.embed(["a task"])
    except AcdcError as error:
        return [Finding("embedder", "failed", str(error))]
    return [Finding("embedder", "ok", f"{embedder.name}, {vectors.shape[1]} dimensions")]


def _engine(config: RunConfig) -> list[Finding]:
    """Which engine a run would take, and the memory of a run with it."""
    from evolution.engines.compute import choose_compute

    try:
        engine = config.engine.settled()
    except AcdcError as error:
        return [Finding("engine", "failed", str(error))]
    chosen = " (auto)" if config.engine.kind == "auto" else ""
    found = [Finding("engine", "ok", f"{engine.kind}{chosen}")]
    try:
        compute = choose_compute(engine, config.models.dtype, cache_folder())
    except AcdcError as error:
        return [*found, Finding("compute", "failed", str(error))]
    engine = engine.model_copy(update={"compute": compute.dtype})
    plans, own = _plans(config, engine, compute)
    return [*found, _computed(compute), *plans, _forecast(config, compute, own)]


def _forecast(config: RunConfig, compute: Compute, own: int | None) -> Finding:
    """What the run will take: calls, tokens, money, and the time of answers by size of model.

    Args:
        config: of the run.
        compute: the number format, and the speed of this machine.
        own: parameters of the configured models, None where they cannot be read.
    """
    will = forecast(config)
    low, high = will.calls
    calls = (
        f"{low} to {high} calls of scientist and critic, {will.tokens_in[0] / 1e6:.2f} to "
        f"{will.tokens_in[1] / 1e6:.2f} million tokens in, {will.tokens_out[0] / 1e6:.2f} to "
        f"{will.tokens_out[1] / 1e6:.2f} out"
    )
    scientist = config.endpoints.scientist
    costs = [
        scientist.cost(*tokens) for tokens in zip(will.tokens_in, will.tokens_out, strict=True)
    ]
    if not config.endpoints.is_live("scientist"):
        calls += " (offline: they cost nothing)"
    elif None not in costs:
        calls += f", {costs[0]:.2f} to {costs[1]:.2f} USD at the scientist's prices"
    lines = [
        calls,
        f"about {will.answers:,} answers of experts, each up to {config.judge.max_tokens} tokens "
        "(judge.max_tokens)",
        "time of answering, by size of model: here, and on a large GPU (not measured: "
        f"{GPU_GFLOPS / 1000:.0f} TFLOP/s are assumed); memory of the weights",
    ]
    speed, rows = compute.gflops.get(compute.dtype), dict[str, Json]()
    if own is None:
        lines.append(f"{_YOURS:>12} unknown: the checkpoints cannot be read, see memory")
        rows[_YOURS] = None
    for name, parameters in _sizes_with(own).items():
        weights = will.weights(parameters) / 2**30
        hours = None if speed is None else will.hours(parameters, speed)
        gpu = will.hours(parameters, GPU_GFLOPS)
        here = "" if hours is None else in_words(hours)
        label = f"{name} ({_many(parameters)})" if name == _YOURS else name
        lines.append(f"{label:>12} {here:>8} {in_words(gpu):>8} {weights:>6.1f} GiB")
        rows[name] = {"hours": hours, "gpu_hours": gpu, "weights_gib": round(weights, 2)}
    return Finding("forecast", "hint", "\n".join(lines), {**asdict(will), "sizes": rows})


_YOURS = "yours"
"""The row of the models that are configured."""


def _many(parameters: float) -> str:
    """A number of parameters as models are called by it: 135M, 7.6B."""
    return f"{parameters / 1e9:.1f}B" if parameters >= 1e9 else f"{parameters / 1e6:.0f}M"


def _sizes_with(own: int | None) -> dict[str, float]:
    """The sizes that a forecast shows: first the configured one, where it is known."""
    return SIZES if own is None else {_YOURS: float(own), **SIZES}


def _computed(compute: Compute) -> Finding:
    """The number format of a run, and whether another would be much faster."""
    slower = max(compute.gflops.values()) > 2 * compute.gflops.get(compute.dtype, math.inf)
    figures: dict[str, Json] = {"dtype": compute.dtype, "gflops": {**compute.gflops}}
    if slower:
        advice = "another format is more than twice as fast here: set engine.compute to auto"
        return Finding("compute", "warning", f"{compute}; {advice}", figures)
    return Finding("compute", "ok", str(compute), figures)


def _plans(
    config: RunConfig, engine: EngineSettings, compute: Compute
) -> tuple[list[Finding], int | None]:
    """Memory of a run and time of merges and lessons, from headers, before seeds are loaded.

    Returns:
        The findings, and the parameters of the models; None where their headers cannot be read.
    """
    import torch

    from agents.archive.grafting import occasions
    from evolution.engines.compute import device_of
    from evolution.planning.lessons import plan_lessons
    from evolution.planning.merging import plan_merging
    from evolution.planning.plan import Machine, plan_memory
    from evolution.planning.sizes import measure_sizes

    try:
        sizes = measure_sizes(config.models, config.spectral, cache_folder())
        machine = Machine.here(engine)
        item: int = getattr(torch, compute.dtype).itemsize
        often = occasions(config)
        merging = plan_merging(config.models, config.spectral, cache_folder(), often, item)
        device = device_of(engine.device).type
        lessons = plan_lessons(config.models, cache_folder(), often, device, item)
    except AcdcError as error:
        return [Finding("memory", "failed", str(error))], None
    plan = plan_memory(
        sizes,
        engine,
        machine,
        tokens=_PROMPT_TOKENS + config.judge.max_tokens,
        sandbox=config.sandbox.guests * config.sandbox.memory_mb * 2**20,
        merging=merging,
        lessons=lessons,
    )
    state: State = "ok" if plan.verdict == "fits" else "warning"
    parts = ", ".join(f"{need.what} {_mib(need.bytes)}" for need in plan.needs)
    memory = Finding("memory", state, f"{plan.verdict}: {parts}; {plan.advice}", _figures(plan))
    found = [memory, *_merges(merging, compute), *_lessons(lessons, compute)]
    return found, sizes.parameters


def _merges(merging: Merging | None, compute: Compute) -> list[Finding]:
    """How many merges there will be, and how long one takes at the speed that was measured."""
    if merging is None or merging.plan is None:
        return []
    speeds = compute.gflops
    seconds = merging.plan.seconds(speeds[compute.dtype], speeds["float32"])
    detail = (
        f"up to {merging.merges}, each about {max(1, round(seconds))} s: {merging.members} experts "
        f"read {merging.texts} texts of about {merging.tokens} tokens"
    )
    figures: dict[str, Json] = {**asdict(merging), "seconds": round(seconds, 2)}
    if seconds < _LONG_S:
        return [Finding("merges", "ok", detail, figures)]
    advice = "; lower breeding.regmean.texts or members, or graft less often (breeding.graft.every)"
    return [Finding("merges", "hint", detail + advice, figures)]


def _lessons(lessons: Lessons | None, compute: Compute) -> list[Finding]:
    """How many lessons there will be, where, and how long one takes at the measured speed."""
    if lessons is None:
        return []
    seconds = lessons.plan.seconds(compute.gflops[compute.dtype])
    size = _mib(lessons.plan.memory)
    detail = (
        f"up to {lessons.lessons}, each {lessons.steps} steps on this {lessons.device.upper()} in "
        f"about {max(1, round(seconds))} s and {size}"
    )
    figures: dict[str, Json] = {**asdict(lessons), "seconds": round(seconds, 2)}
    if seconds < _LONG_S:
        return [Finding("lessons", "ok", detail, figures)]
    advice = "; lower breeding.tutor.steps or batch, or teach less often (breeding.tutor.every)"
    return [Finding("lessons", "hint", detail + advice, figures)]


_LONG_S = 300.0
"""A merge or a lesson that takes longer than this is worth a hint."""

_PROMPT_TOKENS = 512
"""Of a long question with its opening."""


def _figures(plan: MemoryPlan) -> dict[str, Json]:
    return {
        "verdict": plan.verdict,
        "bank": plan.bank,
        "needs": [asdict(need) for need in plan.needs],
        "free": asdict(plan.machine),
    }


def _seeds(config: RunConfig) -> list[Finding]:
    import torch

    from evolution.bank.bank import load_bank
    from evolution.materialise.weights import lacks_loop

    try:
        bank = load_bank(config.models, config.spectral, cache_folder())
    except AcdcError as error:
        return [Finding("seeds", "failed", str(error))]
    found = [Finding("seeds", "ok", ", ".join(bank.seed_names))]
    if not torch.cuda.is_available() and lacks_loop(bank):
        found.append(Finding("swaps", "hint", _SLOW))
    return [*found, *_witness(bank, config.engine), *_mergeability(bank)]


_SLOW = (
    "full seeds are summed a few times slower than they could be: no C++ compiler here builds the "
    "loop for it; install one (apt-get install g++), or name one with CXX"
)


def _witness(bank: Bank, engine: EngineSettings) -> list[Finding]:
    """Whether base and seeds compute as transformers and PEFT read them."""
    from evolution.engines.witness import witness, witness_bytes

    needed, free = witness_bytes(bank), free_memory()
    if needed > free:
        detail = (
            f"not compared with transformers and PEFT: that takes {_mib(needed)}, and {_mib(free)} "
            "are free"
        )
        return [Finding("reading", "hint", detail)]
    try:
        seen = [*witness(bank, engine.kind != "vllm")]
    except (AcdcError, OSError) as error:
        return [Finding("reading", "failed", first_line(error))]
    figures: dict[str, Json] = {each.name: each.apart for each in seen}
    wrong = [each for each in seen if each.apart > each.most]
    if wrong:
        worst = max(wrong, key=lambda each: each.apart / each.most)
        return [
            Finding(
                "reading",
                "failed",
                f"{worst.name} computes otherwise than transformers (or PEFT) reads it: scores "
                f"differ by up to {worst.apart:.2g}; leave it out, or merge it into a full "
                "checkpoint with the library that made it",
                figures,
            )
        ]
    apart = max(each.apart for each in seen)
    return [
        Finding("reading", "ok", f"as transformers and PEFT: scores differ by {apart:.1g}", figures)
    ]


def _mergeability(bank: Bank) -> list[Finding]:
    from evolution.bank.mergeability import mergeability

    report = mergeability(bank)
    if report is None:
        return []

    def listed(pairs: Pairs) -> list[Json]:
        return [[*pair, round(value, 4)] for pair, value in pairs.items()]

    detail = report.advice
    if report.sign_agreement:
        low, high = min(report.sign_agreement.values()), max(report.sign_agreement.values())
        detail += f"; signs agree in {low:.0%} to {high:.0%} of the weights that two seeds change"
    figures: dict[str, Json] = {
        "ratio": report.ratio,
        "distances": listed(report.distances),
        "cosines": listed(report.cosines),
        "sign_agreement": listed(report.sign_agreement),
    }
    return [Finding("mergeability", "hint", detail, figures)]


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


async def _endpoints(config: RunConfig) -> AsyncIterator[Finding]:
    """Each endpoint once, under the first role that uses it."""
    from agents.chat.client import ChatClient
    from agents.offline import OfflineTransport

    with tempfile.TemporaryDirectory() as scratch, RunStore.open(Path(scratch)) as store:
        chat = ChatClient(config.endpoints, store, transport=OfflineTransport())
        try:
            for role in config.endpoints.distinct():
                yield await _endpoint(chat, role)
        finally:
            await chat.close()


async def _endpoint(chat: ChatClient, role: Role) -> Finding:
    try:
        found = await chat.check(role)
    except AcdcError as error:
        return Finding(f"endpoint of the {role}", "failed", str(error))
    return Finding(f"endpoint of the {role}", "ok", str(found))


def findings_json(findings: list[Finding]) -> dict[str, object]:
    """The findings as one object."""
    return {
        "ok": not any(finding.state == "failed" for finding in findings),
        "findings": [asdict(finding) for finding in findings],
    }


def show(console: Console, finding: Finding) -> None:
    """Print one finding for a person; further lines of its detail begin below the first."""
    colours = {"ok": "green", "hint": "cyan", "warning": "yellow", "failed": "red"}
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(width=7)
    table.add_column(width=23)
    table.add_column()
    state = Text(finding.state, style=colours[finding.state])
    table.add_row(state, Text(finding.what), Text(finding.detail))
    console.print(table)
