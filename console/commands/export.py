"""`acdc export`: an expert of a run as a Hugging Face folder, with recipe, lineage and skills.

With `--distil` it is one that learns what the task force of the run chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from agents.config import RunConfig
from agents.progress import Progress, ProgressEvent
from console import calling
from console.commands.frame import (
    METHOD,
    AsJson,
    Debug,
    RunDir,
    app,
    errors,
    finish,
    opened,
    out,
    print_json,
    run_async,
)
from console.display import Display
from console.errors import UsageError
from console.run.config import cache_folder
from console.run.folder import RunFolder
from console.stories.anchors import anchor_in_words
from evolution.bank.settings import ModelSettings
from evolution.genome.genome import Genome
from memory.records import Expert
from memory.store import RunStore
from memory.threads import done_in_own_thread

if TYPE_CHECKING:
    from evolution.bank.bank import Bank
    from evolution.exporting import Exported, Skill, Sources


EXAMPLES = """Examples:

acdc export runs/quickstart g4-2 out/    one expert

acdc export runs/quickstart out/ --distil -n 3    one that learns what a task force of 3 chooses
"""


@app.command("export", epilog=EXAMPLES)
def export_command(
    folder: RunDir,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[EXPERT] OUT",
            help="Id of the expert, as `acdc status` shows it (none with --distil), and an empty "
            "or new folder.",
        ),
    ],
    distil: Annotated[
        bool,
        typer.Option(
            "--distil",
            help="Write one expert that has learnt what the task force chooses.",
        ),
    ] = False,
    n: Annotated[int, typer.Option("-n", min=1, help="Size of that task force.")] = 3,
    select: Annotated[str, typer.Option(metavar="METHOD", help="How it chooses.")] = METHOD,
    instances: Annotated[
        int, typer.Option(min=1, help="Fresh questions to it, of each family that draws.")
    ] = 8,
    steps: Annotated[int, typer.Option(min=1, help="Gradient steps of the lesson.")] = 60,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite a model that is in OUT.")
    ] = False,
    shard_gb: Annotated[
        float, typer.Option(min=0.001, help="Largest weight file, in gigabytes.")
    ] = 5.0,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write an expert as a Hugging Face folder, with recipe and model card."""

    def action() -> None:
        place = opened(folder)
        *expert, target = words
        if len(expert) != (not distil):
            wanted = "DIR OUT --distil" if distil else "DIR EXPERT OUT"
            raise UsageError(f"the words do not fit: {calling.command()} export {wanted}")
        if distil:
            plan = Distilling(n, select, instances, steps)
            with Display(errors) as display:
                written = run_async(distilled(place, Path(target), plan, force, shard_gb, display))
        else:
            written = export(place, expert[0], Path(target), force, shard_gb)
        if as_json:
            print_json(exported_json(written))
        else:
            show(written, out)

    finish(action, debug)


def export(folder: RunFolder, expert_id: str, out: Path, force: bool, shard_gb: float) -> Exported:
    """Write an expert of a run, which may be live, to a folder.

    Raises:
        UsageError: there is no run.
        StoreError: there is no such expert; names the one most like it.
        ExportError: the place is taken, or cannot be written to.
    """
    from evolution.exporting import About, check_place, export_expert

    config = folder.config()
    with RunStore.open(folder.path, read_only=True) as store:
        expert = store.expert(expert_id)
        check_place(out, force)
        genome = Genome.stored(expert.genome_id, store.genome(expert.genome_id))
        bank = open_bank(folder, config, store)
        lineage, skills = _lineage(store, expert), _skills(store, expert)
        about = About(expert, folder.path.name, lineage, skills, _called(bank))
    bank.check_genome(expert.genome_id, genome)
    sources = _sources(config.models)
    return export_expert(
        bank, genome, about, sources, out, force=force, shard_bytes=int(shard_gb * 1e9)
    )


@dataclass(frozen=True)
class Distilling:
    """How a task force is distilled.

    Attributes:
        size: N of the force.
        method: how it chooses one of N answers.
        instances: fresh ones of each family.
        steps: of the lesson.
    """

    size: int = 3
    method: str = METHOD
    instances: int = 8
    steps: int = 60


async def distilled(
    folder: RunFolder,
    out: Path,
    plan: Distilling,
    force: bool,
    shard_gb: float,
    progress: Progress,
) -> Exported:
    """Write one expert that has learnt what the task force of a run chooses.

    Raises:
        AcdcError: as `export`; the run has no graded experts, nothing to ask, or no isolation for
            the code of its families; the force is right nowhere, or cannot be taught.
    """
    from agents.lessons.distil import distil
    from agents.task_force.collective import Collective
    from console.run.reading import open_reading, open_scoring
    from evolution.exporting import About, check_place, export_expert

    check_place(out, force)
    async with AsyncExitStack() as stack:
        context = await stack.enter_async_context(open_reading(folder, folder.config(), progress))
        sandbox = await stack.enter_async_context(open_scoring(context))
        collective = Collective.open(context, plan.size, plan.method)
        found = await distil(collective, sandbox, plan.instances, plan.steps)
        bank = await context.population.bank()
        lineage = _lineage(context.store, found.expert)
        about = About(found.expert, folder.path.name, lineage, called=_called(bank))
        sources = _sources(context.config.models)
        progress(
            ProgressEvent(
                "line",
                f"of {found.asked} fresh questions the force solves {found.right}; "
                f"{collective.members[0].expert.id} learnt them, loss {found.losses[0]:.2f} to "
                f"{found.losses[1]:.2f}",
            )
        )
        return await done_in_own_thread(
            lambda: export_expert(
                bank,
                found.genome,
                about,
                sources,
                out,
                force=force,
                shard_bytes=int(shard_gb * 1e9),
            )
        )


def exported_json(exported: Exported) -> dict[str, Any]:
    """What was written, as one object."""
    return {
        "folder": str(exported.folder),
        "files": list(exported.files),
        "weight_bytes": exported.weight_bytes,
        "mergekit": exported.obstacle is None,
        "no_mergekit_because": exported.obstacle,
    }


def show(exported: Exported, console: Console) -> None:
    """Print what was written for a person."""
    size = exported.weight_bytes / 1e6
    console.print(Text(f"wrote {exported.folder}: {size:.1f} MB of weights and"))
    console.print(Text("  " + ", ".join(f for f in exported.files if "safetensors" not in f)))
    if exported.obstacle is not None:
        console.print(Text(f"  no mergekit recipe: {exported.obstacle}"))


def _lineage(store: RunStore, expert: Expert) -> Sequence[Expert]:
    """All ancestors, the oldest first."""
    found: dict[str, Expert] = {}
    waiting = list(expert.parents)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = store.expert(name)
            waiting += found[name].parents
    return sorted(found.values(), key=lambda each: (each.generation, each.birth, each.id))


def _called(bank: Bank) -> dict[str, str]:
    return {anchor.name: anchor_in_words(anchor.name) for anchor in bank.anchors}


def _skills(store: RunStore, expert: Expert) -> Sequence[Skill]:
    from evolution.exporting import Skill

    capabilities = {family.id: family.capability for family in store.families()}
    return [
        Skill(family, capabilities.get(family, ""), counts.rate)
        for family, counts in store.skill_counts(expert.id).items()
    ]


def open_bank(folder: RunFolder, config: RunConfig, store: RunStore) -> Bank:
    """The bank of a run with all that it has grafted.

    Raises:
        BankError: a checkpoint or a graft is missing, or is another one.
    """
    from agents.archive.grafting import restore
    from evolution.bank.bank import load_bank
    from evolution.merging.merges import add_merges

    bank = load_bank(config.models, config.spectral, cache_folder())
    add_merges(bank, config.models.merges, cache_folder())
    restore(store, folder.path, config.breeding.regmean.anchors, bank)
    return bank


def _sources(models: ModelSettings) -> Sources:
    from evolution.bank.adapters import is_adapter
    from evolution.bank.sources import BUILT_IN_BASE, PUBLISHED_BASE, resolved_source
    from evolution.exporting import Sources

    cache = cache_folder()
    places = {seed.name: resolved_source(seed.path, cache, models.dtype) for seed in models.seeds}
    return Sources(
        base=None if models.base is None else resolved_source(models.base, cache, models.dtype),
        seeds=places,
        adapters=frozenset(name for name, place in places.items() if is_adapter(Path(place))),
        published_base=PUBLISHED_BASE if models.base == BUILT_IN_BASE else None,
    )
