"""The lineage of experts: a column for each generation, so that no layout has to be computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup

from console.view.svg.draw import clipped, link, picture, tag, title

ACROSS, DOWN = 110, 30
WIDTH, HEIGHT = 72, 20
MARGIN = 16
HEAD = 20


class Node(NamedTuple):
    """An expert.

    Attributes:
        parents: those of them that are shown.
        mix: (colour class, size) of what it is made of.
        said: all that its title says.
        to: where it leads; "" for nowhere.
        kept: whether it is in the archive.
        marked: whether it lies on the way that is shown.
    """

    name: str
    generation: int
    parents: Sequence[str]
    mix: Sequence[tuple[str, float]]
    said: str
    to: str
    kept: bool
    marked: bool


def lineage(label: str, nodes: Sequence[Node]) -> Markup:
    """Experts in columns of their generations, joined to their parents."""
    columns = {born: place for place, born in enumerate(sorted({n.generation for n in nodes}))}
    filled: dict[int, int] = {}
    places: dict[str, tuple[float, float]] = {}
    for node in nodes:
        row = filled.get(node.generation, 0)
        filled[node.generation] = row + 1
        places[node.name] = (
            MARGIN + ACROSS * columns[node.generation],
            HEAD + MARGIN + DOWN * row,
        )
    width = 2 * MARGIN + ACROSS * max(len(columns) - 1, 0) + WIDTH
    height = HEAD + 2 * MARGIN + DOWN * max([0, *(n - 1 for n in filled.values())]) + HEIGHT
    heads = [
        tag("text", f"generation {born}", x=MARGIN + ACROSS * place, y=HEAD)
        for born, place in columns.items()
    ]
    marked = {node.name for node in nodes if node.marked}
    edges = [edge for node in nodes for edge in _edges(node, places, marked)]
    drawn = [*heads, *edges, *(_node(node, places) for node in nodes)]
    return picture(width, height, label, drawn, links=any(node.to for node in nodes))


def _edges(
    node: Node, places: dict[str, tuple[float, float]], marked: set[str]
) -> Iterator[Markup]:
    x, y = places[node.name]
    for parent in node.parents:
        px, py = places[parent]
        strong = "edge way" if node.marked and parent in marked else "edge"
        middle = y + HEIGHT / 2, py + HEIGHT / 2
        if px < x:
            start, bend = px + WIDTH, (x - px - WIDTH) / 2
            path = (
                f"M{start:.0f} {middle[1]:.0f}c{bend:.0f} 0 {bend:.0f} {middle[0] - middle[1]:.0f} "
            )
            path += f"{x - start:.0f} {middle[0] - middle[1]:.0f}"
        else:
            # Of one generation, as founders are merged from seeds: around their left.
            path = f"M{px:.0f} {middle[1]:.0f}C{px - 14:.0f} {middle[1]:.0f} {x - 14:.0f} "
            path += f"{middle[0]:.0f} {x:.0f} {middle[0]:.0f}"
        yield tag("path", d=path, class_=strong)


def _node(node: Node, places: dict[str, tuple[float, float]]) -> Markup:
    x, y = places[node.name]
    total = sum(size for _, size in node.mix)
    parts = [title(node.said)]
    parts.append(tag("rect", x=x, y=y, width=WIDTH, height=HEIGHT, rx=3, class_="box"))
    start = x
    for colour, size in node.mix:
        wide = WIDTH * size / total
        parts.append(
            tag("rect", x=start, y=y + HEIGHT - 5, width=wide, height=5, class_=f"bar {colour}")
        )
        start += wide
    parts.append(tag("text", clipped(node.name, 11), x=x + 5, y=y + 11))
    classes = " ".join(
        ["node", *(["kept"] if node.kept else []), *(["way"] if node.marked else [])]
    )
    return tag("g", link(node.to, *parts), class_=classes)
