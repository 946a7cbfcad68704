"""Lineage from gold columns through features and models to prediction tables and endpoints.

The declarations give the graph. With a registry, a model's node names its champion and the table versions that it pins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypedDict

import networkx as nx

from karat.declare import DeclaredModel, FeatureTable, Project
from karat.declare.models import Label
from karat.errors import NotFound, did_you_mean
from karat.sql import columns_read
from karat.training_sets.lookups import declared_lookups

if TYPE_CHECKING:  # MLflow takes seconds to import
    from karat.registry import Registry

NodeKind = Literal["gold", "feature", "model", "predictions", "endpoint"]
#: From left to right.
NODE_KINDS: tuple[NodeKind, ...] = ("gold", "feature", "model", "predictions", "endpoint")


#: Roles of an edge, the most important first.
_ROLES = ("value", "label", "key")


class ChampionRecord(TypedDict):
    """A champion's version, run and pinned tables with their Delta versions."""

    version: int
    run_id: str
    tables: dict[str, int]


@dataclass(frozen=True)
class Node:
    """A node of the lineage.

    Attributes:
        id: Its id, ``kind:group.name``.
        kind: What it is.
        group: The table of a column or feature, else the node's own name.
        name: Its name in the group.
        note: The champion and what it pins, or the number of columns, in words.
        champion: The model's champion.
    """

    id: str
    kind: NodeKind
    group: str
    name: str
    note: str = ""
    champion: ChampionRecord | None = field(default=None, compare=False)

    @property
    def is_part(self) -> bool:
        """Whether it is a column or a feature."""
        return self.kind in ("gold", "feature") and self.name != self.group

    def as_json(self) -> dict[str, object]:
        """Return the node as JSON."""
        out: dict[str, object] = {
            "id": self.id,
            "kind": self.kind,
            "group": self.group,
            "name": self.name,
            "note": self.note,
        }
        return out | ({"champion": self.champion} if self.kind == "model" else {})


@dataclass(frozen=True)
class Lineage:
    """A lineage graph.

    Attributes:
        graph: Nodes have a Node under ``node``; edges run from what is read to its reader. An edge's ``role`` is
            "value",
            "label" (only a model's label reads it) or "key" (it only identifies rows).
    """

    graph: nx.DiGraph

    def node(self, id_: str) -> Node:
        """Return the node of an id."""
        found: Node = self.graph.nodes[id_]["node"]
        return found

    @property
    def nodes(self) -> list[Node]:
        """All nodes."""
        return [self.node(i) for i in self.graph]

    def select(self, name: str, *, up: bool = True, down: bool = True) -> tuple[Lineage, set[str]]:
        """Select what ``name`` comes from and goes to.

        Args:
            name: A column or feature as ``table.column``, a table, a model, a prediction table, or a unique last part
                of these.
            up: Includes what it comes from.
            down: Includes what it goes to.

        Returns:
            The part of the lineage, and the ids of ``name``.

        Raises:
            NotFound: There is no such name; the message has the nearest one.
        """
        chosen = self._matching_ids(name)
        kept = set(chosen)
        for one in chosen:
            kept |= nx.ancestors(self.graph, one) if up else set()
            kept |= nx.descendants(self.graph, one) if down else set()
        return Lineage(self.graph.subgraph(kept).copy()), chosen

    def group_by_table(self) -> Lineage:
        """Merge the columns of each table into one node."""
        merged = nx.DiGraph()
        for node in self.nodes:
            count = sum(1 for n in self.nodes if (n.kind, n.group) == (node.kind, node.group))
            whole = _table_node(node, count) if node.is_part else node
            merged.add_node(whole.id, node=whole)
        for start, end in self.graph.edges:
            a, b = self.node(start), self.node(end)
            first, second = _node_id(a.kind, a.group), _node_id(b.kind, b.group)
            if first != second:
                _add_edge(merged, first, second, self.graph.edges[start, end]["role"])
        return Lineage(merged)

    def as_json(self) -> dict[str, object]:
        """Return nodes and edges as JSON."""
        edges = [{"from": a, "to": b, "role": d["role"]} for a, b, d in self.graph.edges(data=True)]
        return {"nodes": [n.as_json() for n in self.nodes], "edges": edges}

    def _matching_ids(self, name: str) -> set[str]:
        wanted = name.lower()
        known: dict[str, set[str]] = {}
        for node in self.nodes:
            for text in _node_names(node):
                known.setdefault(text.lower(), set()).add(node.id)
        if wanted in known:
            return known[wanted]
        found = {text: ids for text, ids in known.items() if text.endswith(f".{wanted}")}
        if found:
            return set().union(*found.values())
        short = {text.rpartition(".")[2] for text in known} | {".".join(text.split(".")[-2:]) for text in known}
        raise NotFound(
            f"the lineage has no table, column, feature or model {name!r}",
            remedy=did_you_mean(wanted, short | set(known)) or "name a table, column, feature or model",
        )


def lineage(project: Project, registry: Registry | None = None) -> Lineage:
    """Return the lineage of a project; a registry adds its champions."""
    graph = nx.DiGraph()
    champions = _champions(project, registry) if registry else {}
    for gold in project.gold.values():
        for column in gold.columns:
            _add_node(graph, "gold", str(project.gold_name(gold.name)), column)
    for table in project.tables.values():
        _add_features(graph, project, table)
    for spec in project.models.values():
        _add_model(graph, DeclaredModel(project, spec), champions.get(spec.name))
    for name, batch in project.spec.batch_tables.items():
        together = _add_node(graph, "predictions", str(project.prediction_name(name)), name)
        for model in batch.models:
            _add_edge(graph, _node_id("model", str(project.model_name(model))), together, "value")
    return Lineage(graph)


def _add_features(graph: nx.DiGraph, project: Project, table: FeatureTable) -> None:
    gold, name = project.gold[table.source], str(project.table_name(table.name))
    source = str(project.gold_name(table.source))
    expressions = {f.name: [f.column, f.where, f.event] for f in table.features}
    columns = _named_columns([*expressions.values(), [table.where]], gold.columns)
    time = table.gold_time(gold)
    always = {time} if time else set()
    keys = {k: {k} if k in gold.columns else always for k in table.primary_key}
    read: dict[str, set[str]] = {}
    stored: dict[str, set[str]] = {}  # the stored features behind each feature: itself, or its inputs
    for place, (feature, named) in enumerate(zip(table.features, columns, strict=False)):
        own = named | columns[-1] | always if not feature.derived else set()
        before = feature.reads([*keys, *(f.name for f in table.features[:place])])
        read[feature.name] = own.union(*(keys.get(b) or read[b] for b in before))
        made_of = set().union(*(stored.get(b, set()) for b in before))
        stored[feature.name] = made_of if feature.intermediate else {feature.name}
        if feature.intermediate:
            continue
        id_ = _add_node(graph, "feature", name, feature.name)
        for column in (c for c in gold.columns if c in read[feature.name]):
            _add_edge(graph, _node_id("gold", source, column), id_, "value")
        for column in (c for c in gold.columns if c in keys):
            _add_edge(graph, _node_id("gold", source, column), id_, "key")
        for other in (f.name for f in table.features if f.name in made_of):
            _add_edge(graph, _node_id("feature", name, other), id_, "value")


def _add_label(graph: nx.DiGraph, declared: DeclaredModel, label: Label, model: str) -> None:
    project, spine = declared.project, declared.spine
    gold = project.gold[label.source]
    (named,) = _named_columns([[label.expression, *label.expressions.values(), label.where]], gold.columns)
    keys = {label.columns.get(k, k) for k in spine.label_key(label)} | ({gold.event_time} if label.horizon else set())
    for role, columns in (("label", named), ("key", keys)):
        for column in (c for c in gold.columns if c in columns):
            _add_edge(graph, _node_id("gold", str(project.gold_name(gold.name)), column), model, role)


def _add_model(graph: nx.DiGraph, declared: DeclaredModel, champion: ChampionRecord | None) -> None:
    project, spec = declared.project, declared.spec
    model = _add_node(graph, "model", str(declared.name), spec.name, champion)
    for lookup in declared_lookups(declared):
        for feature in lookup.feature_names or ():
            _add_edge(graph, _node_id("feature", lookup.table_name, str(feature)), model, "value")
    if spec.label is not None:
        _add_label(graph, declared, spec.label, model)
    predictions = str(project.prediction_name(spec.name))
    _add_edge(graph, model, _add_node(graph, "predictions", predictions, spec.name), "value")
    if spec.online:
        address = f"/v1/predict/{project.name}.{spec.name}"
        _add_edge(graph, model, _add_node(graph, "endpoint", address, address), "value")


def _add_edge(graph: nx.DiGraph, start: str, end: str, role: str) -> None:
    """Add an edge, or keep the more important role of an existing one."""
    before = graph.edges[start, end]["role"] if graph.has_edge(start, end) else role
    graph.add_edge(start, end, role=min(before, role, key=_ROLES.index))


def _named_columns(groups: Sequence[Iterable[str | None]], available: Iterable[str]) -> list[set[str]]:
    """Return the columns of ``available`` that each group of SQL expressions names, ignoring case."""
    columns = list(available)
    return [set(columns_read(group, columns)) for group in groups]


def _champions(project: Project, registry: Registry) -> dict[str, ChampionRecord]:
    return {
        s.model.name: {
            "version": s.champion.version,
            "run_id": s.champion.run_id,
            "tables": dict(s.champion.own_tags.pins or {}),
        }
        for s in registry.statuses(project.catalog)
        if s.champion and s.model.schema == "models"
    }


def _champion_note(champion: ChampionRecord) -> str:
    pinned = ", ".join(f"{t} version {v}" for t, v in champion["tables"].items())
    return f"champion version {champion['version']}, run {champion['run_id'][:8]}: {pinned}"


def _add_node(graph: nx.DiGraph, kind: NodeKind, group: str, name: str, champion: ChampionRecord | None = None) -> str:
    part = name if kind in ("gold", "feature") else ""
    id_ = _node_id(kind, group, part)
    graph.add_node(id_, node=Node(id_, kind, group, name, _champion_note(champion) if champion else "", champion))
    return id_


def _table_node(node: Node, count: int) -> Node:
    what = "columns" if node.kind == "gold" else "features"
    return Node(_node_id(node.kind, node.group), node.kind, node.group, node.group, f"{count} {what}")


def _node_id(kind: str, group: str, part: str = "") -> str:
    return f"{kind}:{group}" + (f".{part}" if part else "")


def _node_names(node: Node) -> list[str]:
    """Return the names of a node; its group's name stands for all nodes in the group."""
    return [node.group, f"{node.group}.{node.name}"] if node.is_part else [node.group]
