"""Feature catalogue: every declared feature with its definition, statistics and the models that use it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, TypedDict

from karat.declare import FeatureTable, Project
from karat.declare.base import format_duration
from karat.errors import ModelNotFound
from karat.features import is_fresh, statistics
from karat.lake import Lake

if TYPE_CHECKING:  # MLflow takes seconds to import
    from karat.registry import Registry


class FeatureRow(TypedDict):
    """A declared feature; ``version`` is the hash of its definition."""

    project: str
    table: str
    feature: str
    type: str
    source: str
    definition: str
    window: str | None
    description: str
    owner: str
    version: str
    deprecated: str | None


class CatalogueRow(FeatureRow):
    """A declared feature with what the lake and the registry hold of it.

    ``table_version`` and ``updated_at`` are None before the first computation; ``definition_hash`` is the declared
    table's; ``importance`` maps models to the feature's share.
    """

    table_version: int | None
    definition_hash: str
    updated_at: datetime | None
    fresh: bool
    stale_because: str | None
    last_day: date | None
    statistics: dict[str, float | None] | None
    importance: dict[str, float]


#: Columns of ``statistics`` that the catalogue shows.
STATISTICS = ("count", "null_rate", "min", "max", "mean", "std", "distinct")
#: (feature table, feature) -> model -> share of the champion's importance.
Importance = dict[tuple[str, str], dict[str, float]]


def declared_features(project: Project, table: FeatureTable) -> Iterator[FeatureRow]:
    """Yield one row per feature from the declaration alone."""
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


def catalogue_rows(
    project: Project, table: FeatureTable, lake: Lake, importance: Importance | None = None
) -> list[CatalogueRow]:
    """Return the declared features of a table with what the lake holds.

    Args:
        project: The project.
        table: The feature table.
        lake: The lake.
        importance: Importance of features in champions (``champion_importance``).

    Returns:
        One row per feature; ``statistics`` are of the whole table.
    """
    name = project.table_name(table.name)
    there = lake.exists(name)
    rows = statistics(lake, name).rows(named=True) if there else []
    figures = {r["feature"]: {f: r[f] for f in STATISTICS} for r in rows}
    fresh = is_fresh(project, table.name, lake)
    version, updated_at = (lake.version(name), lake.changed_at(name)) if there else (None, None)
    shares, definition = importance or {}, table.definition_hash
    return [
        {
            **row,
            "table_version": version,
            "definition_hash": definition,
            "updated_at": updated_at,
            "fresh": fresh.fresh,
            "stale_because": fresh.reason or None,
            "last_day": fresh.last_day,
            "statistics": figures.get(row["feature"]),
            "importance": shares.get((row["table"], row["feature"]), {}),
        }
        for row in declared_features(project, table)
    ]


def champion_importance(registry: Registry, catalogs: Sequence[str]) -> Importance:
    """Return the importance of features in the champions of these catalogs, as logged at training."""
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
                    found.setdefault((table, feature), {})[standing.model.short] = shares[output]
    return found
