"""How a run scales: generations on 1 to 1,024 engines, in simulated time.

    python -m benchmarks.scale [--model 7B] [--device h100] [--seeds full] [--engines 1 8 64 ...]
    python -m benchmarks.scale --real        compare with real local workers, in about two minutes

The pool, its queue and its settings are those of `acdc run --set cluster.kind=...`; only engines,
scientists and the sandbox let simulated time pass (`benchmarks.scale_run`), as long as
`benchmarks.scale_costs` says. `--set NAME=VALUE` changes a cost, or something of the workload or
the pool. An engine is used while it loads an expert or answers, to an effect that counts.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.reporting import goal_lines, heading, show_progress
from benchmarks.scale_costs import DEVICES, Costs, Workload, costs_of, place
from benchmarks.scale_real import compared
from benchmarks.scale_run import Outcome, Scenario, run
from console.commands.forecast import SIZES
from evolution.engines.pool.settings import ClusterSettings

ENGINES = (1, 8, 64, 256, 1024)
CHILDREN = (2, 8, 32)
GOAL_ENGINES, GOAL_CHILDREN, GOAL = 64, 8, 0.9
SCHEDULES: dict[str, dict[str, str]] = {
    "as it is": {},
    "chunks of 256": {"chunk": "256"},
    "16 sandbox processes": {"guests": "16"},
    "8 instances": {"instances": "8"},
    "8 instances, adapts every 8": {"instances": "8", "adapt_every": "8"},
    "drafts ahead": {"draft_ahead": "true"},
    "drafts ahead, 8 instances": {"draft_ahead": "true", "instances": "8"},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--model", choices=SIZES, default="7B")
    parser.add_argument("--device", choices=DEVICES, default="h100")
    parser.add_argument("--seeds", choices=("full", "lora"), default="full")
    parser.add_argument("--engines", type=int, nargs="+", default=ENGINES)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--real", action="store_true", help="beside real workers of this machine")
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = real_report(options) if options.real else simulated_report(options)
    print(json.dumps(report, indent=2) if options.json else table(report))
    return 0


def simulated_report(options: argparse.Namespace) -> dict[str, Any]:
    engines = [1, 4] if options.quick else options.engines
    base = changed(scenario(options.model, options), pairs(options.set))
    rows = [row("engines", each, replace(base, engines=each)) for each in engines]
    few = replace(base, engines=4 if options.quick else GOAL_ENGINES)
    for children in CHILDREN[:2] if options.quick else CHILDREN:
        work = replace(few.workload, children=children)
        rows.append(row("children of each engine", children, replace(few, workload=work)))
    for model in SIZES:
        sized = changed(scenario(model, options), pairs(options.set))
        bank = place(SIZES[model], DEVICES[options.device], options.seeds)
        rows.append(
            row("model", model, replace(sized, engines=few.engines))
            | {"bank_gb": round(bank.bytes / 1e9, 1), "resident": bank.resident}
        )
    rows += [row("schedule", name, changed(few, more)) for name, more in SCHEDULES.items()]
    return {
        "bench": "scale",
        "machine": describe_machine(),
        "of": f"{options.model} on {options.device}, seeds: {options.seeds}",
        "costs": {field.name: getattr(base.costs, field.name) for field in fields(Costs)},
        "rows": rows,
        "goals": goals(rows, few.engines),
    }


def real_report(options: argparse.Namespace) -> dict[str, Any]:
    rows = compared(options.quick)
    off = max(abs(each["off"]) for each in rows)
    goal = {"name": "simulated time beside that of real workers", "unit": "off", "goal": 0.2}
    return {
        "bench": "scale",
        "machine": describe_machine(),
        "rows": rows,
        "goals": [goal | {"value": round(off, 3), "met": off <= 0.2}],
    }


def scenario(model: str, options: argparse.Namespace) -> Scenario:
    costs = costs_of(SIZES[model], DEVICES[options.device], options.seeds)
    return Scenario(GOAL_ENGINES, costs, cluster=ClusterSettings(kind="local"))


def pairs(words: Sequence[str]) -> dict[str, str]:
    found = [word.partition("=") for word in words]
    if bad := [name for name, sign, _ in found if not sign]:
        raise SystemExit(f"--set {bad[0]}: give NAME=VALUE")
    return {name: value for name, _, value in found}


def changed(scenario: Scenario, settings: dict[str, str]) -> Scenario:
    """A scenario with other costs, another workload or another pool.

    Raises:
        SystemExit: there is no such name, or the value is none.
    """
    costs, work, cluster = scenario.costs, scenario.workload, scenario.cluster
    generations = scenario.generations
    for name, text in settings.items():
        try:
            value = json.loads(text)
        except ValueError:
            raise SystemExit(f"--set {name}={text}: not a number, true or false") from None
        if hasattr(costs, name):
            costs = replace(costs, **{name: value})
        elif name in Workload.__dataclass_fields__:
            work = replace(work, **{name: value})
            generations = max(generations, work.adapt_every)
        elif name in ClusterSettings.model_fields:
            cluster = ClusterSettings.model_validate({**cluster.model_dump(), name: value})
        else:
            raise SystemExit(f"--set {name}: see benchmarks/scale_costs.py for the names")
    return replace(scenario, costs=costs, workload=work, cluster=cluster, generations=generations)


def row(what: str, value: object, scenario: Scenario) -> dict[str, Any]:
    found = run(scenario)
    shown = {"varied": what, "value": value, **described(found)}
    show_progress(f"{what} {value}: {shown['seconds']} s, {shown['utilisation']}")
    return shown


def described(outcome: Outcome) -> dict[str, Any]:
    """Figures of one generation on average."""
    scenario = outcome.scenario
    per_kept = outcome.engine_seconds_per_kept
    return {
        "engines": scenario.engines,
        "children": scenario.children,
        "seconds": round(outcome.seconds / scenario.generations, 1),
        "answers_per_s": round(outcome.answered / outcome.seconds, 1),
        "utilisation": round(outcome.utilisation, 3),
        "bottleneck": outcome.bottleneck,
        "shares": {name: round(outcome.share(name), 3) for name in sorted(outcome.spent)},
        "engine_seconds_per_kept": round(per_kept, 1),
        "dollars_per_kept": round(per_kept / 3600 * scenario.costs.price, 4),
    }


def goals(rows: list[dict[str, Any]], engines: int) -> list[dict[str, Any]]:
    name = f"utilisation at {engines} engines with {GOAL_CHILDREN} children each"
    schedules = [row for row in rows if row["varied"] == "schedule"]
    plain = schedules[0]["utilisation"]
    best = max(schedules, key=lambda row: float(row["utilisation"]))
    goal = {"unit": "of the engines' time", "goal": GOAL}
    return [
        {"name": name, "value": plain, **goal, "met": plain >= GOAL},
        {
            "name": f"the same, {best['value']}",
            "value": best["utilisation"],
            **goal,
            "met": best["utilisation"] >= GOAL,
        },
    ]


def table(report: dict[str, Any]) -> str:
    if report["rows"] and "off" in report["rows"][0]:
        return real_table(report)
    head = (
        f"{'':36}{'engines':>8}{'s/gen.':>8}{'used':>6}{'answers':>8}{'swaps':>6}"
        f"{'$/kept':>8}  bottleneck"
    )
    lines = [f"{heading(report)}; {report['of']}", head]
    for each in report["rows"]:
        shares = each["shares"]
        name = f"{each['varied']}: {each['value']}"
        lines.append(
            f"{name:36}{each['engines']:8}{each['seconds']:8}{each['utilisation']:6.2f}"
            f"{shares.get('answering', 0):8.2f}{shares.get('swapping', 0):6.2f}"
            f"{each['dollars_per_kept']:8.4f}  {each['bottleneck']}"
        )
    return "\n".join([*lines, *goal_lines(report)])


def real_table(report: dict[str, Any]) -> str:
    lines = [heading(report), f"{'':34}{'workers':>8}{'real s':>8}{'simulated s':>12}{'off':>7}"]
    lines += [
        f"{row['name']:34}{row['workers']:8}{row['real']:8.2f}{row['simulated']:12.2f}"
        f"{row['off']:7.1%}"
        for row in report["rows"]
    ]
    return "\n".join([*lines, *goal_lines(report)])


if __name__ == "__main__":
    sys.exit(main())
