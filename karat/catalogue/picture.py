"""Plot of a lineage: one column per kind, left to right."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from pathlib import Path

import networkx as nx

from karat.catalogue.lineage import Lineage, Node, NodeKind

#: With more nodes in a column, tables replace their columns.
MAX_NODES = 45
_COLOURS = {
    "gold": "#f6e3b4",
    "feature": "#cfe3f5",
    "model": "#d8efd3",
    "predictions": "#ead9f2",
    "endpoint": "#f4d6d6",
}
#: Columns from left to right, with the kinds of nodes in each.
_COLUMNS: dict[str, tuple[NodeKind, ...]] = {
    "gold": ("gold",),
    "features": ("feature",),
    "models": ("model",),
    "prediction tables and endpoints": ("predictions", "endpoint"),
}
_STEP, _WIDTH, _ROW = 4.1, 3.2, 0.42
_ROUNDS = 8


def draw_lineage(lineage: Lineage, path: Path, *, chosen: Collection[str] = (), title: str = "") -> None:
    """Plot a lineage; with too many nodes in a column, tables replace their columns.

    Args:
        lineage: The lineage.
        path: The file: .svg, or another suffix that matplotlib knows.
        chosen: Ids of nodes with a bold frame.
        title: The title.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    shown = lineage
    if max((len(ids) for ids in _order_nodes(lineage).values()), default=0) > MAX_NODES:
        chosen = {f"{lineage.node(c).kind}:{lineage.node(c).group}" for c in chosen if c in lineage.graph}
        shown = lineage.group_by_table()
    columns = _order_nodes(shown)
    tallest = max(len(ids) for ids in columns.values())
    width, height = _STEP * len(columns), max(2.2, _ROW * tallest + 1.2)
    figure, axes = plt.subplots(figsize=(width, height))
    axes.set(xlim=(0, width), ylim=(-height + 0.9, 0.9))
    axes.axis("off")
    if title:
        axes.text(0.2, 0.62, title, fontsize=11, fontweight="bold")
    places: dict[str, tuple[float, float]] = {}
    for number, (heading, ids) in enumerate(columns.items()):
        x = 0.2 + _STEP * number
        axes.text(x, 0.25, heading, fontsize=9, color="#57606a")
        top = -(tallest - len(ids)) * _ROW / 2
        for row, id_ in enumerate(ids):
            y = top - _ROW * row
            places[id_] = (x, y)
            bold = id_ in chosen
            axes.add_patch(
                FancyBboxPatch(
                    (x, y - 0.14),
                    _WIDTH,
                    0.28,
                    boxstyle="round,pad=0.03",
                    facecolor=_COLOURS[shown.node(id_).kind],
                    edgecolor="#1b1f24" if bold else "#8c959f",
                    linewidth=1.8 if bold else 0.7,
                )
            )
            axes.text(x + 0.06, y, _node_text(shown.node(id_)), fontsize=7, va="center", clip_on=True)
    for start, end, data in shown.graph.edges(data=True):
        (x1, y1), (x2, y2) = places[start], places[end]
        same = x1 == x2  # a feature derived from another: out to the right and back
        axes.add_patch(
            FancyArrowPatch(
                (x1 + _WIDTH + 0.05, y1),
                (x2 + _WIDTH + 0.05 if same else x2 - 0.05, y2),
                connectionstyle=f"arc3,rad={(0.5 if y1 < y2 else -0.5) if same else 0}",
                arrowstyle="-|>",
                mutation_scale=6,
                color="#8c959f",
                linewidth=0.6,
                linestyle={"label": "--", "key": ":"}.get(data["role"], "-"),
                zorder=0,
            )
        )
    with mpl.rc_context({"svg.fonttype": "none"}):  # keep names as searchable text
        figure.savefig(path, bbox_inches="tight")
    plt.close(figure)


def _order_nodes(lineage: Lineage) -> dict[str, list[str]]:
    """Order the ids of each column near their neighbours (barycentres: Sugiyama, Tagawa and Toda, 1981)."""
    columns = {c: sorted(n.id for n in lineage.nodes if n.kind in kinds) for c, kinds in _COLUMNS.items()}
    columns = {k: ids for k, ids in columns.items() if ids}
    undirected = nx.Graph(lineage.graph)
    for turn in range(_ROUNDS):
        order = list(columns) if turn % 2 == 0 else list(reversed(columns))
        for before, here in pairwise(order):
            rank = {id_: place / max(1, len(columns[before]) - 1) for place, id_ in enumerate(columns[before])}
            columns[here].sort(key=_barycentres(undirected, columns[here], rank).__getitem__)
    return columns


def _barycentres(graph: nx.Graph, ids: list[str], rank: dict[str, float]) -> dict[str, float]:
    tied = {i: [rank[n] for n in graph[i] if n in rank] for i in ids}
    return {i: sum(found) / len(found) if found else 0.5 for i, found in tied.items()}


def _node_text(node: Node) -> str:
    table = node.group.rpartition(".")[2]
    text = f"{table}.{node.name}" if node.is_part else node.group if node.kind == "endpoint" else table
    if node.note:
        text = f"{text}  ({node.note.partition(',')[0].partition(':')[0]})"
    return text if len(text) <= 52 else text[:51] + "…"
