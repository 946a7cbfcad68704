"""Where everything comes from and goes to: gold column, feature, model, prediction table, endpoint.

The graph is made from the declarations; where a registry is given, a model's node names its champion with the versions
of the tables that it pins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import networkx as nx

from karat.declare import DeclaredModel, FeatureTable, Project
from karat.declare.models import Label
from karat.errors import NotFound, did_you_mean
from karat.sql import columns_read
from karat.training_sets.lookups import declared_lookups

if TYPE_CHECKING:  # MLflow takes seconds to import
    from karat.registry import Registry

Kind = Literal["gold", "feature", "model", "predictions", "endpoint"]
#: From left to right.
KINDS: tuple[Kind, ...] = ("gold", "feature", "model", "predictions", "endpoint")


#: Roles of an edge, what says most first.
_ROLES = ("value", "label", "key")


@dataclass(frozen=True)
class Node:
    """``group`` is what it is part of: the table of a column or feature, else the node's own name; ``note`` says more
    (a champion and what it pins), ``champion`` the same as a record: version, run_id, tables with Delta versions."""

    id: str
    kind: Kind
    group: str
    name: str
    note: str = ""
    champion: Mapping[str, Any] | None = field(default=None, compare=False)

    @property
    def is_part(self) -> bool:
        """A column or a feature, not a whole table or anything else."""
        return self.kind in ("gold", "feature") and self.name != self.group

    def as_json(self) -> dict[str, Any]:
        out = {"id": self.id, "kind": self.kind, "group": self.group, "name": self.name, "note": self.note}
        return out | ({"champion": self.champion} if self.kind == "model" else {})


@dataclass(frozen=True)
class Lineage:
    """``graph`` has a Node under ``node`` of every id, and edges from what is read to what reads it; an edge's ``role``
    is "value", "label" for what only the label of a model reads, or "key" for what only says which row is meant."""

    graph: nx.DiGraph

    def node(self, id_: str) -> Node:
        found: Node = self.graph.nodes[id_]["node"]
        return found

    @property
    def nodes(self) -> list[Node]:
        return [self.node(i) for i in self.graph]

    def of(self, name: str, *, up: bool = True, down: bool = True) -> tuple[Lineage, set[str]]:
        """The part that ``name`` comes from (``up``) and goes to (``down``), and the ids that the name stands for: a
        column or feature as ``table.column``, a table with all it has, a model, a prediction table, or the last part of
        any of these where that is unique. Raises NotFound with the nearest name."""
        chosen = self._named(name)
        kept = set(chosen)
        for one in chosen:
            kept |= nx.ancestors(self.graph, one) if up else set()
            kept |= nx.descendants(self.graph, one) if down else set()
        return Lineage(self.graph.subgraph(kept).copy()), chosen

    def by_group(self) -> Lineage:
        """The same with one node a table."""
        merged = nx.DiGraph()
        for node in self.nodes:
            count = sum(1 for n in self.nodes if (n.kind, n.group) == (node.kind, node.group))
            whole = _whole(node, count) if node.is_part else node
            merged.add_node(whole.id, node=whole)
        for start, end in self.graph.edges:
            a, b = self.node(start), self.node(end)
            first, second = _id(a.kind, a.group), _id(b.kind, b.group)
            if first != second:
                _link(merged, first, second, self.graph.edges[start, end]["role"])
        return Lineage(merged)

    def as_json(self) -> dict[str, Any]:
        edges = [{"from": a, "to": b, "role": d["role"]} for a, b, d in self.graph.edges(data=True)]
        return {"nodes": [n.as_json() for n in self.nodes], "edges": edges}

    def _named(self, name: str) -> set[str]:
        wanted = name.lower()
        known: dict[str, set[str]] = {}
        for node in self.nodes:
            for text in _names(node):
                known.setdefault(text.lower(), set()).add(node.id)
        if wanted in known:
            return known[wanted]
        found = {text: ids for text, ids in known.items() if text.endswith(f".{wanted}")}
        if found:
            return set().union(*found.values())
        short = {text.rpartition(".")[2] for text in known} | {".".join(text.split(".")[-2:]) for text in known}
        raise NotFound(
            f"nothing is called {name!r} in the lineage",
            remedy=did_you_mean(wanted, short | set(known)) or "name a table, column, feature or model",
        )


def lineage(project: Project, registry: Registry | None = None) -> Lineage:
    """The lineage of a project."""
    graph = nx.DiGraph()
    champions = _champions(project, registry) if registry else {}
    for gold in project.gold.values():
        for column in gold.columns:
            _add(graph, "gold", str(project.gold_name(gold.name)), column)
    for table in project.tables.values():
        _add_features(graph, project, table)
    for spec in project.models.values():
        _add_model(graph, DeclaredModel(project, spec), champions.get(spec.name))
    for name, batch in project.spec.batch_tables.items():
        together = _add(graph, "predictions", str(project.prediction_name(name)), name)
        for model in batch.models:
            _link(graph, _id("model", str(project.model_name(model))), together, "value")
    return Lineage(graph)


def _add_features(graph: nx.DiGraph, project: Project, table: FeatureTable) -> None:
    gold, name = project.gold[table.source], str(project.table_name(table.name))
    source = str(project.gold_name(table.source))
    expressions = {f.name: [f.column, f.where, f.event] for f in table.features}
    columns = _columns_of([*expressions.values(), [table.where]], gold.columns)
    time = table.gold_time(gold)
    always = {time} if time else set()
    keys = {k: {k} if k in gold.columns else always for k in table.primary_key}
    read: dict[str, set[str]] = {}
    stored: dict[str, set[str]] = {}  # the stored features that stand for each one: itself, or what it is made of
    for place, (feature, named) in enumerate(zip(table.features, columns, strict=False)):
        own = named | columns[-1] | always if not feature.derived else set()
        before = feature.reads([*keys, *(f.name for f in table.features[:place])])
        read[feature.name] = own.union(*(keys.get(b) or read[b] for b in before))
        made_of = set().union(*(stored.get(b, set()) for b in before))
        stored[feature.name] = made_of if feature.intermediate else {feature.name}
        if feature.intermediate:
            continue
        id_ = _add(graph, "feature", name, feature.name)
        for column in (c for c in gold.columns if c in read[feature.name]):
            _link(graph, _id("gold", source, column), id_, "value")
        for column in (c for c in gold.columns if c in keys):
            _link(graph, _id("gold", source, column), id_, "key")
        for other in (f.name for f in table.features if f.name in made_of):
            _link(graph, _id("feature", name, other), id_, "value")


def _add_label(graph: nx.DiGraph, declared: DeclaredModel, label: Label, model: str) -> None:
    project, spine = declared.project, declared.spine
    gold = project.gold[label.source]
    (named,) = _columns_of([[label.expression, *label.expressions.values(), label.where]], gold.columns)
    keys = {label.columns.get(k, k) for k in spine.label_key(label)} | ({gold.event_time} if label.horizon else set())
    for role, columns in (("label", named), ("key", keys)):
        for column in (c for c in gold.columns if c in columns):
            _link(graph, _id("gold", str(project.gold_name(gold.name)), column), model, role)


def _add_model(graph: nx.DiGraph, declared: DeclaredModel, champion: Mapping[str, Any] | None) -> None:
    project, spec = declared.project, declared.spec
    model = _add(graph, "model", str(declared.name), spec.name, champion)
    for lookup in declared_lookups(declared):
        for feature in lookup.feature_names or ():
            _link(graph, _id("feature", lookup.table_name, str(feature)), model, "value")
    if spec.label is not None:
        _add_label(graph, declared, spec.label, model)
    predictions = str(project.prediction_name(spec.name))
    _link(graph, model, _add(graph, "predictions", predictions, spec.name), "value")
    if spec.online:
        address = f"/v1/predict/{project.name}.{spec.name}"
        _link(graph, model, _add(graph, "endpoint", address, address), "value")


def _link(graph: nx.DiGraph, start: str, end: str, role: str) -> None:
    """One edge has one role: the one that says most."""
    before = graph.edges[start, end]["role"] if graph.has_edge(start, end) else role
    graph.add_edge(start, end, role=min(before, role, key=_ROLES.index))


def _columns_of(groups: Sequence[Iterable[str | None]], available: Iterable[str]) -> list[set[str]]:
    """The columns of ``available`` that the SQL expressions of each group read."""
    columns = list(available)
    return [set(columns_read(group, columns)) for group in groups]


def _champions(project: Project, registry: Registry) -> dict[str, dict[str, Any]]:
    return {
        s.model.name: {
            "version": s.champion.version,
            "run_id": s.champion.run_id,
            "tables": dict(s.champion.own_tags.pins or {}),
        }
        for s in registry.statuses(project.catalog)
        if s.champion
    }


def _told(champion: Mapping[str, Any]) -> str:
    pinned = ", ".join(f"{t} version {v}" for t, v in champion["tables"].items())
    return f"champion version {champion['version']}, run {champion['run_id'][:8]}: {pinned}"


def _add(graph: nx.DiGraph, kind: Kind, group: str, name: str, champion: Mapping[str, Any] | None = None) -> str:
    part = name if kind in ("gold", "feature") else ""
    id_ = _id(kind, group, part)
    graph.add_node(id_, node=Node(id_, kind, group, name, _told(champion) if champion else "", champion))
    return id_


def _whole(node: Node, count: int) -> Node:
    what = "columns" if node.kind == "gold" else "features"
    return Node(_id(node.kind, node.group), node.kind, node.group, node.group, f"{count} {what}")


def _id(kind: str, group: str, part: str = "") -> str:
    return f"{kind}:{group}" + (f".{part}" if part else "")


def _names(node: Node) -> list[str]:
    """What a node may be called: its group stands for all that is in it."""
    return [node.group, f"{node.group}.{node.name}"] if node.is_part else [node.group]
