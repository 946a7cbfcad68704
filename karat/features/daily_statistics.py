"""Daily feature statistics: ``catalog.monitoring.feature_statistics``, kept as tables change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime

import polars as pl
import pyarrow as pa

from karat.lake import Lake, StagedFile, TableInfo, Work, retry_conflicts
from karat.lake.column_statistics import ColumnStatistics, measure_columns, merge_statistics
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
ATTEMPTS = 5
#: The figures of each feature, by day.
Days = dict[date, dict[str, ColumnStatistics]]


def statistics_name(catalog: str) -> TableName:
    """The full name of a catalog's table of feature statistics."""
    return TableName(catalog, "monitoring", "feature_statistics")


def keep_statistics(lake: Lake, name: TableName, staged: Sequence[StagedFile] = ()) -> int:
    """Bring the statistics of a feature table to its current version, in one commit.

    Only days that changed since the last time are computed; days that a killed run left out are among them.

    Args:
        lake: The lake.
        name: The feature table.
        staged: The files of its newest commit, with their figures; if they hold all that changed, nothing is read.

    Returns:
        The number of days that changed.

    Raises:
        TableNotFound: There is no such table.
    """
    # After a conflict, another run may have kept statistics of a newer version: they must not be lost.
    return retry_conflicts(ATTEMPTS)(_keep, lake, name, staged)


def _keep(lake: Lake, name: TableName, staged: Sequence[StagedFile]) -> int:
    info, kind = lake.info(name), f"statistics.{name}"
    stats = statistics_name(name.catalog)
    last = lake.last_work(stats, kind) if lake.exists(stats) else None
    known = int(last.detail["version"]) if last and last.detail["id"] == info.id else None
    if known is not None and known >= info.version:
        return 0
    changed = _changed(lake, info, known)
    if not changed:
        return 0
    if last is None:
        _create(lake, stats)
    elif known is None:  # another table of the same name
        lake.delete(stats, pl.DataFrame({"table_name": [str(name)]}))
    found = _staged_days(lake, info, staged, changed) or _read_days(lake, info, changed)
    work = Work(kind, f"{info.id}:{info.version}", {"id": info.id, "version": info.version})
    lake.merge(stats, _rows(lake, info, found), work=work, base=last)
    return len(found)


def daily_statistics(lake: Lake, catalog: str, table: TableName | None = None) -> pl.DataFrame:
    """Read the statistics of a catalog, or of one table, sorted by table, feature and day."""
    stats = statistics_name(catalog)
    if not lake.exists(stats):
        empty = pl.from_arrow(SCHEMA.empty_table())
        assert isinstance(empty, pl.DataFrame)
        return empty
    rows = lake.scan(stats)
    return (rows.filter(pl.col("table_name") == str(table)) if table else rows).sort(KEY).collect()


def _create(lake: Lake, stats: TableName) -> None:
    lake.create(
        stats,
        SCHEMA,
        primary_key=KEY,
        partition_by=("table_name",),
        description="what every feature looked like on every day",
    )


def _changed(lake: Lake, info: TableInfo, known: int | None) -> list[date]:
    """The days to be looked at; of a table without time, the one of its commit."""
    if info.timeseries is None:
        return [_committed_at(lake, info).date()]
    if known is None:
        return [d for d, rows in lake.rows_by_day(info.name, info.version).items() if rows]
    return lake.changed_days(info.name, info.timeseries, known, info.version)


def _committed_at(lake: Lake, info: TableInfo) -> datetime:
    ago = lake.version(info.name) - info.version
    return datetime.fromtimestamp(lake.history(info.name, ago + 1)[ago]["timestamp"] / 1000, UTC)


def _staged_days(lake: Lake, info: TableInfo, staged: Sequence[StagedFile], changed: Sequence[date]) -> Days | None:
    """The figures that came with the files; None unless these files are all that the table has of the changed days."""
    if not staged or (info.timeseries and not info.day_column):
        return None
    day_of = {file.path: (file.days or (None,))[0] if info.timeseries else changed[0] for file in staged}
    stands = {path: day if info.timeseries else changed[0] for path, day in lake.files(info.name, info.version).items()}
    wanted = set(changed)
    if {p for p, d in stands.items() if d in wanted} != {p for p, d in day_of.items() if d in wanted}:
        return None
    parts: dict[date, list[StagedFile]] = {day: [] for day in changed}
    for file in staged:
        if (day := day_of[file.path]) in wanted:
            parts[day].append(file)
    return {day: _of_files(info, files) for day, files in parts.items()}


def _of_files(info: TableInfo, files: Sequence[StagedFile]) -> dict[str, ColumnStatistics]:
    return {
        f: merge_statistics(file.column_statistics[f] for file in files if file.column_statistics is not None)
        for f in info.features
    }


def _read_days(lake: Lake, info: TableInfo, changed: Sequence[date]) -> Days:
    """One day after the other: no more than a day's rows are in memory."""
    if info.timeseries is None:
        return {changed[0]: measure_columns(lake.read(info.name, version=info.version), info.features)}
    rows = lake.scan(info.name, info.version, days=(min(changed), max(changed)), hidden=True)
    day = pl.col(info.day_column) if info.day_column else pl.col(info.timeseries).dt.date()
    return {d: measure_columns(rows.filter(day == d).select(info.features).collect(), info.features) for d in changed}


def _rows(lake: Lake, info: TableInfo, found: Mapping[date, Mapping[str, ColumnStatistics]]) -> pl.DataFrame:
    rows = pl.DataFrame(list(_told(found)), schema=_TOLD, orient="row")
    return rows.with_columns(
        table_name=pl.lit(str(info.name)),
        null_rate=pl.when(pl.col("count") > 0).then(pl.col("null_count") / pl.col("count")),
        table_version=pl.lit(info.version, pl.Int64),
        computed_at=pl.lit(_committed_at(lake, info)),
    ).select(SCHEMA.names)


_TOLD = {
    "feature": pl.String,
    "day": pl.Date,
    "count": pl.Int64,
    "null_count": pl.Int64,
    **dict.fromkeys(("minimum", "maximum", "mean", "std"), pl.Float64),
}


def _told(found: Mapping[date, Mapping[str, ColumnStatistics]]) -> Iterator[tuple[object, ...]]:
    for day, of_day in found.items():
        for feature, f in of_day.items():
            yield feature, day, f.rows, f.nulls, f.minimum, f.maximum, f.mean, f.std
