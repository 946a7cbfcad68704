"""``catalog.monitoring.feature_statistics``: what every feature looked like on every day, kept as its table changes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl
import pyarrow as pa

from karat.features.statistics import finite_numbers
from karat.lake import Lake, TableInfo, Work
from karat.names import TableName


def _field(name: str, kind: pa.DataType, comment: str) -> pa.Field:
    return pa.field(name, kind, metadata={"comment": comment})


SCHEMA = pa.schema(
    [
        _field("table_name", pa.string(), "catalog.schema.table"),
        _field("feature", pa.string(), "the feature"),
        _field("day", pa.date32(), "UTC day of the rows; of the commit, for a table without time"),
        _field("count", pa.int64(), "rows of that day; 0 where the table has none any more"),
        _field("null_count", pa.int64(), "how many of them are null"),
        _field("null_rate", pa.float64(), "their share"),
        _field("minimum", pa.float64(), "of the finite numbers, a flag counting as 0 or 1; null for texts and times"),
        _field("maximum", pa.float64(), "as minimum"),
        _field("mean", pa.float64(), "as minimum"),
        _field("std", pa.float64(), "as minimum, with n - 1"),
        _field("table_version", pa.int64(), "the Delta version that was looked at"),
        _field("computed_at", pa.timestamp("us", tz="UTC"), "when that version was committed"),
    ]
)
KEY = ("table_name", "feature", "day")
_MEASURES = ("null_count", "minimum", "maximum", "mean", "std")


def statistics_name(catalog: str) -> TableName:
    return TableName(catalog, "monitoring", "feature_statistics")


def keep_statistics(lake: Lake, name: TableName) -> int:
    """Brings the statistics of ``name`` to its current version: the days that changed since they were kept last are
    looked at, in one pass. Gives how many days these were.

    One commit, or none where nothing changed; what a killed run left out, the next one finds. Raises TableNotFound.
    """
    info, kind = lake.info(name), f"statistics.{name}"
    stats = statistics_name(name.catalog)
    last = lake.last_work(stats, kind) if lake.exists(stats) else None
    known = int(last.detail["version"]) if last and last.detail["id"] == info.id else None
    if known == info.version:
        return 0
    days = _changed(lake, info, known)
    if days is not None and not days:
        return 0
    lake.create(
        stats,
        SCHEMA,
        primary_key=KEY,
        partition_by=("table_name",),
        description="what every feature looked like on every day",
    )
    if last is not None and known is None:  # another table of the same name
        lake.delete(stats, pl.DataFrame({"table_name": [str(name)]}))
    found = _of_days(lake, info, days)
    work = Work(kind, f"{info.id}:{info.version}", {"id": info.id, "version": info.version})
    lake.merge(stats, found.select(SCHEMA.names), work=work)
    return found["day"].n_unique()


def daily_statistics(lake: Lake, catalog: str, table: TableName | None = None) -> pl.DataFrame:
    """All rows of a catalog, of one table if it is named; by table, feature and day."""
    stats = statistics_name(catalog)
    if not lake.exists(stats):
        empty = pl.from_arrow(SCHEMA.empty_table())
        assert isinstance(empty, pl.DataFrame)
        return empty
    rows = lake.scan(stats)
    return (rows.filter(pl.col("table_name") == str(table)) if table else rows).sort(KEY).collect()


def _changed(lake: Lake, info: TableInfo, known: int | None) -> list[date] | None:
    """None for all days."""
    if known is None or info.timeseries is None:
        return None
    return lake.changed_days(info.name, info.timeseries, known, info.version)


def _of_days(lake: Lake, info: TableInfo, days: Sequence[date] | None) -> pl.DataFrame:
    at = lake.changed_at(info.name)
    features = [f.name for f in info.schema if f.name not in info.primary_key]
    rows = lake.scan(info.name, info.version, days=(min(days), max(days)) if days else None)
    day = pl.col(info.timeseries).dt.date() if info.timeseries else pl.lit(at.date())
    rows = rows.with_columns(day.alias("__day")).drop_nulls("__day")
    if days:
        rows = rows.filter(pl.col("__day").is_in(days))
    types = rows.collect_schema()
    wide = (
        rows.group_by("__day")
        .agg(pl.len().cast(pl.Int64).alias("__rows"), *(e for f in features for e in _measured(f, types[f])))
        .collect(engine="streaming")
    )
    if days:  # a day may have lost its rows
        wide = pl.DataFrame({"__day": days}).join(wide, on="__day", how="left")
    frames = [_of_feature(wide, feature) for feature in features]
    return pl.concat(frames).with_columns(
        table_name=pl.lit(str(info.name)),
        null_rate=pl.when(pl.col("count") > 0).then(pl.col("null_count") / pl.col("count")),
        table_version=pl.lit(info.version, pl.Int64),
        computed_at=pl.lit(at),
    )


def _measured(feature: str, dtype: pl.DataType) -> list[pl.Expr]:
    numbers = finite_numbers(feature, dtype)
    nothing = pl.lit(None, dtype=pl.Float64)
    found = [pl.col(feature).null_count().cast(pl.Int64)]
    found += [nothing] * 4 if numbers is None else [numbers.min(), numbers.max(), numbers.mean(), numbers.std()]
    return [e.alias(f"{m}:{feature}") for m, e in zip(_MEASURES, found, strict=True)]


def _of_feature(wide: pl.DataFrame, feature: str) -> pl.DataFrame:
    return wide.select(
        pl.lit(feature).alias("feature"),
        pl.col("__day").alias("day"),
        pl.col("__rows").fill_null(0).alias("count"),
        pl.col(f"null_count:{feature}").fill_null(0).alias("null_count"),
        *(pl.col(f"{m}:{feature}").alias(m) for m in _MEASURES[1:]),
    )
