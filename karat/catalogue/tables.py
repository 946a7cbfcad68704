"""SQL views of feature tables: statistics by day, and freshness."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from karat.declare import Project
from karat.features import daily_statistics, is_fresh
from karat.lake import Lake

_FRESHNESS: dict[str, type[pl.DataType] | pl.DataType] = {
    "table_name": pl.String,
    "project": pl.String,
    "is_fresh": pl.Boolean,
    "reason": pl.String,
    "last_day": pl.Date,
    "gold_version": pl.Int64,
    "computed_gold_version": pl.Int64,
    "table_version": pl.Int64,
    "definition_hash": pl.String,
    "last_updated": pl.Datetime("us", "UTC"),
}


def statistics_by_day(lake: Lake, catalogs: Sequence[str]) -> pl.LazyFrame:
    """Return the daily statistics of these catalogs."""
    return pl.concat([daily_statistics(lake, c) for c in catalogs] or [daily_statistics(lake, "")]).lazy()


def freshness(lake: Lake, projects: Sequence[Project]) -> pl.LazyFrame:
    """Return one row per declared feature table; reads no row of features."""
    rows = [row for project in projects for row in _freshness_rows(lake, project)]
    return pl.LazyFrame(rows, schema=_FRESHNESS, orient="row")


def _freshness_rows(lake: Lake, project: Project) -> Iterator[tuple[object, ...]]:
    for table in project.tables.values():
        found = is_fresh(project, table.name, lake)
        there = lake.exists(found.table)
        yield (
            str(found.table),
            project.name,
            found.fresh,
            found.reason or None,
            found.last_day,
            found.gold_version,
            found.computed_gold_version,
            lake.version(found.table) if there else None,
            table.definition_hash,
            lake.changed_at(found.table) if there else None,
        )
