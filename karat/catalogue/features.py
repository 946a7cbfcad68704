"""The catalogue: every declared feature with its meaning, its figures and the models that use it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from karat.declare import FeatureTable, Project
from karat.declare.base import format_duration
from karat.errors import ModelNotFound
from karat.features import is_fresh, statistics
from karat.lake import Lake

if TYPE_CHECKING:  # MLflow takes seconds to import
    from karat.registry import Registry

#: Columns of ``statistics`` that the catalogue shows.
FIGURES = ("count", "null_rate", "min", "max", "mean", "std", "distinct")
#: (feature table, feature) -> model -> share of the champion's importance.
Importance = dict[tuple[str, str], dict[str, float]]


def declared(project: Project, table: FeatureTable) -> Iterator[dict[str, Any]]:
    """One row a feature: what the declaration says, without looking at the lake."""
    meanings = table.meanings
    for feature in table.stored:
        yield {
            "project": project.name,
            "table": str(project.table_name(table.name)),
            "feature": feature.name,
            "type": feature.dtype,
            "source": str(project.gold_name(table.source)),
            "definition": feature.definition,
            "window": format_duration(feature.window) if feature.window else None,
            "description": feature.description,
            "owner": table.owner or project.spec.owner,
            "version": meanings[feature.name],
            "deprecated": feature.deprecated,
        }


def catalogued(
    project: Project, table: FeatureTable, lake: Lake, importance: Importance | None = None
) -> list[dict[str, Any]]:
    """``declared`` with what stands in the lake: ``table_version`` and ``updated_at`` (None: not computed yet),
    ``fresh`` and ``last_day``, ``statistics`` (``FIGURES``, of the whole table), ``importance`` (model -> share);
    ``definition_hash`` is the declared table's."""
    name = project.table_name(table.name)
    there = lake.exists(name)
    found = statistics(lake, name).rows(named=True) if there else []
    figures = {r["feature"]: {f: r[f] for f in FIGURES} for r in found}
    fresh = is_fresh(project, table.name, lake)
    of_table = {
        "table_version": lake.version(name) if there else None,
        "definition_hash": table.definition_hash,
        "updated_at": lake.changed_at(name) if there else None,
        "fresh": fresh.fresh,
        "stale_because": fresh.reason or None,
        "last_day": fresh.last_day,
    }
    shares = importance or {}
    return [
        row
        | of_table
        | {"statistics": figures.get(row["feature"]), "importance": shares.get((row["table"], row["feature"]), {})}
        for row in declared(project, table)
    ]


def importance_of(registry: Registry, catalogs: Sequence[str]) -> Importance:
    """Of the champions of these catalogs, as it was logged when they were trained."""
    found: Importance = {}
    for standing in (s for c in catalogs for s in registry.statuses(c)):
        if standing.champion is None:
            continue
        try:
            metadata = registry.metadata(standing.champion)
        except ModelNotFound:  # its files are gone
            continue
        shares = metadata.importance or {}
        for lookup in metadata.lookups:
            table = str(lookup.table)
            for feature, output in lookup.columns.items():
                if output in shares:
                    found.setdefault((table, feature), {})[standing.model.name] = shares[output]
    return found
