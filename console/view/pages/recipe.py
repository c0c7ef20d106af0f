"""What an expert is made of, in the words of `acdc trace`."""

from __future__ import annotations

from collections.abc import Iterator

from console.stories.anchors import anchor_in_words, anchors_explained
from console.stories.expert import listed
from console.view.page import Column, Fact, Table
from console.view.pages.lineage import Tree
from console.view.source import Run
from evolution.genome import Genome
from memory.records import Expert


def parameters(record: Expert) -> Iterator[Fact]:
    """What its operators were given, as far as that is not what it is made of."""
    for operator, given in record.parameters.items():
        said = listed(given)
        if said not in ("", f"method {operator}"):
            yield Fact("bounds, scaled down" if operator == "bounds" else operator, said)
    if record.rng_seed is not None:
        yield Fact("random stream", record.rng_seed, "code")


def mix_table(run: Run, tree: Tree, record: Expert) -> Table:
    """How much it has of each anchor, and what mutations add."""
    mix = {anchor: value for anchor, value in tree.mixes[record.id].items() if abs(value) > 1e-4}
    genome = Genome.stored(record.genome_id, run.store.genome(record.genome_id))
    note = "Task-vector coefficients, means over blocks; 1 is as much as the seed or merge has."
    for line in anchors_explained(run.store, [*mix]):
        note += f" {line[0].upper()}{line[1:]}."
    if genome.displacements:
        note += f" Mutations changed the singular values of {len(genome.displacements)} matrices."
    if genome.noise:
        note += " Gaussian noise was added."
    return Table(
        "coefficients",
        "What it is made of",
        [
            Column("anchor", "part", called={anchor: anchor_in_words(anchor) for anchor in mix}),
            Column("coefficient", "mean coefficient", "gain"),
        ],
        [{"anchor": anchor, "coefficient": value} for anchor, value in mix.items()],
        note,
        order="-coefficient",
    )
