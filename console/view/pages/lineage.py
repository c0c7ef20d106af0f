"""Who was bred from whom, and of what: the lineage of a run, and the path to one expert."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from console.errors import NotFoundError
from console.stories.anchors import anchor_in_words, merge_of
from console.stories.expert import against_parents, anchors_of
from console.view.matrix import SkillMatrix, latest_archive, mean_of
from console.view.page import Choice, Column, Figure, Form, Page, Query, Row, Table
from console.view.source import Run
from console.view.svg.draw import COLOURS
from console.view.svg.lineage import Node, lineage


@dataclass(frozen=True)
class Tree:
    """The experts of a run with their parents and what they are made of.

    Attributes:
        parents: expert -> its parents, the oldest expert first.
        generations: expert -> in which it was born.
        operators: expert -> how.
        mixes: expert -> anchor -> mean coefficient.
        archive: those of the latest archive by rank.
        anchors: the bank's, in its order.
    """

    parents: Mapping[str, Sequence[str]]
    generations: Mapping[str, int]
    operators: Mapping[str, str]
    mixes: Mapping[str, Mapping[str, float]]
    archive: Sequence[str]
    anchors: Sequence[str]

    @classmethod
    def of(cls, run: Run) -> Tree:
        """Of everybody in a run."""
        rows = run.rows(
            "SELECT id, genome_id, generation, json_extract(record, '$.operator') AS operator, "
            "json_extract(record, '$.parents') AS parents FROM experts "
            "ORDER BY generation, birth, id"
        )
        anchors, found = anchors_of(run.store), run.coefficients()
        return cls(
            {row["id"]: json.loads(row["parents"] or "[]") for row in rows},
            {row["id"]: row["generation"] for row in rows},
            {row["id"]: row["operator"] for row in rows},
            {row["id"]: _named(anchors, found[row["genome_id"]]) for row in rows},
            latest_archive(run),
            anchors,
        )

    def children(self, name: str) -> list[str]:
        """Experts of which one is a parent."""
        return [child for child, parents in self.parents.items() if name in parents]

    def ancestors(self, name: str) -> Tree:
        """An expert and all from whom it comes."""
        found, waiting = set[str](), [name]
        while waiting:
            one = waiting.pop()
            if one not in found and one in self.parents:
                found.add(one)
                waiting += self.parents[one]
        return self.among(found)

    def among(self, some: Iterable[str]) -> Tree:
        """Some of the experts."""
        wanted = set(some)
        return replace(
            self,
            parents={name: of for name, of in self.parents.items() if name in wanted},
            mixes={name: mix for name, mix in self.mixes.items() if name in wanted},
        )

    def steps(self, name: str, matrix: SkillMatrix) -> list[str]:
        """From a seed to an expert, through the parent that passes more at each step."""
        means = _means(matrix)
        steps = [name]
        while parents := [p for p in self.parents[steps[-1]] if p in means and p not in steps]:
            steps.append(max(parents, key=lambda parent: means[parent]))
        return steps[::-1]


def path(tree: Tree, name: str, matrix: SkillMatrix) -> list[Row]:
    """The steps to an expert, with what each gained and lost against all of its parents."""
    means, steps = _means(matrix), tree.steps(name, matrix)
    known = [
        one for one in {*steps, *(p for one in steps for p in tree.parents[one])} if one in means
    ]
    skills = {one: matrix.skills(one) for one in known}
    rows = []
    for place, one in enumerate(steps):
        before = steps[place - 1] if place else None
        theirs = {parent: skills[parent] for parent in tree.parents[one] if parent in skills}
        changes = against_parents(skills[one], theirs)
        rows.append(
            {
                "expert": one,
                "operator": tree.operators[one],
                "with": [parent for parent in tree.parents[one] if parent != before],
                "rate": means[one],
                "gained": [row["family"] for row in changes["gained"]],
                "lost": [row["family"] for row in changes["lost"]],
                "mix": mix_in_words(tree.mixes[one], tree.anchors),
            }
        )
    return rows


def _means(matrix: SkillMatrix) -> dict[str, float]:
    """Expert -> mean pass rate; 0 where nothing is graded."""
    means = np.nan_to_num(mean_of(matrix.rates, axis=1))
    return dict(zip(matrix.experts, means.tolist(), strict=True))


def _named(anchors: Sequence[str], coefficients: Sequence[float]) -> dict[str, float]:
    names = [*anchors, *(f"anchor {n + 1}" for n in range(len(anchors), len(coefficients)))]
    return {
        name: value for name, value in zip(names, coefficients, strict=False) if abs(value) > 1e-6
    }


def mix_in_words(mix: Mapping[str, float], anchors: Sequence[str]) -> str:
    """What an expert is made of, as in `0.24 of numbers + 0.92 of words`.

    A merge of the run that is there in equal parts is one part.

    Args:
        mix: anchor -> coefficient.
        anchors: all of the bank.
    """
    merges: dict[str, list[str]] = {}
    for anchor in anchors:
        merges.setdefault(merge_of(anchor), []).append(anchor)
    parts = []
    for merge, members in merges.items():
        values = [f"{mix.get(anchor, 0.0):.2f}" for anchor in members]
        if len({*values}) == 1 and members[0] in mix:
            parts.append(f"{values[0]} of {anchor_in_words(merge)}")
        else:
            parts += [f"{mix[one]:.2f} of {anchor_in_words(one)}" for one in members if one in mix]
    return " + ".join(parts) or "the base"


def colours_of(trees: Tree) -> dict[str, str]:
    """Anchor -> class of its colour: seeds have one each, with what was made for them by a merge.

    The anchors of a merge are named after its members, as in `regmean-g0.words`.
    """
    names = dict.fromkeys(name for mix in trees.mixes.values() for name in mix)
    seeds = [name for name in names if name in trees.parents]
    own = {name: f"c{place}" for place, name in enumerate(seeds[:COLOURS])}
    return {name: own.get(name) or own.get(name.rpartition(".")[2], "cx") for name in names}


def lineage_figure(run: Run, tree: Tree, name: str, way: Sequence[str] = ()) -> Figure:
    """A tree as a picture of links, in which the way to one expert is marked."""
    colours = colours_of(tree)
    archive = set(tree.archive)
    nodes = [
        Node(
            one,
            tree.generations[one],
            [parent for parent in parents if parent in tree.parents],
            [(colours[anchor], abs(value)) for anchor, value in tree.mixes[one].items()],
            f"{one}: {tree.operators[one]}"
            + (f" of {', '.join(parents)}" if parents else "")
            + f"; {mix_in_words(tree.mixes[one], tree.anchors)}"
            + ("; in the archive" if one in archive else ""),
            run.link("experts", one),
            one in archive,
            one in way,
        )
        for one, parents in tree.parents.items()
    ]
    key = [(colour, anchor) for anchor, colour in colours.items() if anchor in tree.parents]
    if "cx" in colours.values():
        key.append(("cx", "other merges"))
    return Figure(
        name,
        lineage(f"{name}: {len(nodes)} experts by generation", nodes),
        note="A column is a generation; the bar of an expert is its mix of task-vector "
        "coefficients (rest the pointer on it). A thick frame: in the latest archive. "
        "Thick lines: the way to the expert, through the parent that passes more.",
        key=key,
    )


def edge_table(tree: Tree) -> Table:
    """Who is a parent of whom: a row for each parent, and one for an expert without any."""
    archive = set(tree.archive)
    rows = [
        {
            "expert": one,
            "generation": tree.generations[one],
            "operator": tree.operators[one],
            "parent": parent or None,
            "archive": one in archive,
        }
        for one, parents in tree.parents.items()
        for parent in parents or ("",)
    ]
    columns = [
        Column("expert", "expert", to="experts/{expert}"),
        Column("generation", "generation", "count"),
        Column("operator", "operator"),
        Column("parent", "parent", to="experts/{parent}"),
        Column("archive", "in the archive", "yes"),
    ]
    return Table("edges", "Parents", columns, rows, lookup=True)


def lineage_page(run: Run, query: Query, rest: str) -> Page:
    """The lineage of all experts, or of those from whom one comes; the winner is marked."""
    tree = Tree.of(run)
    winner = query.get("of") or (tree.archive[0] if tree.archive else "")
    if winner and winner not in tree.parents:
        raise NotFoundError(f"the run has no expert {winner!r}")
    form = Form(
        [
            Choice(
                "of",
                "The way to",
                winner,
                [(name, name) for name in [*tree.archive, *_others(tree)]],
            ),
            Choice(
                "show",
                "Show",
                query.get("show", "kept"),
                [
                    ("kept", "ever in an archive, and parents"),
                    ("ancestors", "only its ancestors"),
                    ("all", "everybody"),
                ],
                closed=True,
            ),
        ]
    )
    shown = _chosen(run, tree, query.get("show", "kept"), winner)
    way = tree.steps(winner, SkillMatrix.of(run)) if winner else []
    figure = lineage_figure(run, shown, "Lineage", way)
    return Page("Lineage", [form, figure, edge_table(shown)], crumbs=[("experts", "Experts")])


def _others(tree: Tree) -> list[str]:
    kept = set(tree.archive)
    return [name for name in tree.parents if name not in kept]


def _chosen(run: Run, tree: Tree, show: str, winner: str) -> Tree:
    if show == "all":
        return tree
    if show == "ancestors" and winner:
        return tree.ancestors(winner)
    kept = {row["expert"] for row in run.rows("SELECT DISTINCT expert FROM archive_entries")}
    kept |= {name for name, born in tree.generations.items() if born == 0}
    parents = {parent for name in kept if name in tree.parents for parent in tree.parents[name]}
    return tree.among(kept | parents)
