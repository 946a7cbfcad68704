"""Parquet files in a table's folder, written before any commit names them."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import polars as pl

from karat.lake.column_statistics import ColumnStatistics, measure_columns
from karat.lake.log import committed_since
from karat.lake.records import StagedFile, TableInfo

_NULL = "__HIVE_DEFAULT_PARTITION__"
_PLAIN = re.compile(r"^[A-Za-z0-9._-]+$")
_STATISTICS_COLUMNS = 32  # Delta's default
_LONG_TEXT = 64
#: Rows of a row group in clustered files: so few that a read of few keys skips most groups, so many that a read of all
#: rows is not slower.
_CLUSTERED_ROWS = 16_384


def write_files(frame: pl.DataFrame, info: TableInfo, label: str, *, measure: bool = False) -> list[StagedFile]:
    """Write one file per partition. On any error the files already written are deleted.

    Args:
        frame: Rows that conform to the contract.
        info: The table's contract.
        label: How the names of the files begin.
        measure: Whether to compute statistics of each file's columns.

    Returns:
        The files.
    """
    written: list[StagedFile] = []
    try:
        for values, part in _partitions(frame, info.partition_by):
            written.append(_write(part, values, info, label, measure))
    except BaseException:
        for file in written:
            (info.path / file.path).unlink(missing_ok=True)
        raise
    return written


def discard(folder: Path, staged: Sequence[StagedFile]) -> None:
    """Delete staged files, except those that a commit names: an interrupted commit may have succeeded."""
    if not staged:
        return
    committed = committed_since(folder, min(s.modified for s in staged))
    for file in staged:
        if file.path not in committed:
            (folder / file.path).unlink(missing_ok=True)


def orphans(folder: Path, older_than: timedelta) -> list[Path]:
    """The Parquet files older than ``older_than`` that no version of the table names."""
    limit = time.time() - older_than.total_seconds()
    old = [p for p in folder.rglob("*.parquet") if "_delta_log" not in p.parts and p.stat().st_mtime < limit]
    committed = committed_since(folder, 0) if old else set()
    return [p for p in old if p.relative_to(folder).as_posix() not in committed]


def _partitions(frame: pl.DataFrame, by: Sequence[str]) -> list[tuple[dict[str, object], pl.DataFrame]]:
    if not frame.height:
        return []
    if not by:
        return [({}, frame)]
    if len(by) == 1 and (only := frame[by[0]]).null_count() == 0 and only.min() == only.max():
        return [
            ({by[0]: only[0]}, frame.drop(by[0]))
        ]  # a comparison is cheap, gathering the rows of each column is not
    parts = frame.partition_by(*by, as_dict=True, include_key=False)
    return [(dict(zip(by, key, strict=True)), part) for key, part in parts.items()]


def _write(part: pl.DataFrame, values: dict[str, object], info: TableInfo, label: str, measure: bool) -> StagedFile:
    partition = {k: None if v is None else str(v) for k, v in values.items()}
    name = f"{label if _PLAIN.match(label) else 'part'}-{uuid.uuid4().hex}.parquet"
    # Delta allows any path, but readers such as Polars take the partition's value from a path in Hive's form.
    folders = [f"{k}={_NULL if v is None else quote(v, safe='')}" for k, v in partition.items()]
    relative = "/".join([*folders, name])
    target = info.path / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    clustered = [c for c in json.loads(info.properties.get("karat.cluster_by", "[]")) if c in part.columns]
    if clustered:
        part = part.sort(clustered, maintain_order=True)
    groups = _CLUSTERED_ROWS if clustered else None
    try:
        part.write_parquet(target, compression="zstd", compression_level=1, row_group_size=groups)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    columns = measure_columns(part, info.features) if measure else None
    return StagedFile(
        path=relative,
        size=target.stat().st_size,
        modified=int(time.time() * 1000),
        partition=partition,
        rows=part.height,
        days=days_of(part, values, info),
        statistics=statistics_of(part, columns or {}),
        column_statistics=columns,
    )


def days_of(part: pl.DataFrame, values: dict[str, object], info: TableInfo) -> tuple[date, ...]:
    """The days of the rows, by the table's time column; none if it has none."""
    if info.day_column:
        value = values[info.day_column]
        return (value,) if isinstance(value, date) else ()
    if info.timeseries is None:
        return ()
    return tuple(part[info.timeseries].cast(pl.Date).drop_nulls().unique().sort().to_list())


def statistics_of(part: pl.DataFrame, measured: Mapping[str, ColumnStatistics]) -> str:
    """Delta's statistics of a file.

    Args:
        part: The file's rows.
        measured: Statistics that some columns have already; they need not be computed again.

    Returns:
        JSON: rows, and per column nulls, the smallest and the greatest value.
    """
    columns = [c for c in part.get_columns() if not isinstance(c.dtype, pl.Struct)]  # Delta's are one per part
    columns = columns[:_STATISTICS_COLUMNS]
    nulls = {c.name: c.null_count() for c in columns}
    asked = [c for c in columns if nulls[c.name] < len(c) and _has_range(c.dtype)]
    known = {c.name: measured[c.name] for c in asked if _gives_range(measured.get(c.name), c)}
    smallest: dict[str, object] = {name: s.minimum for name, s in known.items()}
    greatest: dict[str, object] = {name: s.maximum for name, s in known.items()}
    asked = [c for c in asked if c.name not in known]
    # In one call: hundreds of calls would take longer than the work itself.
    ranges = iter(part.select(e for i, c in enumerate(asked) for e in _range(c, str(i))).row(0) if asked else ())
    for column in asked:
        low, high, valid = next(ranges), next(ranges), next(ranges)
        if valid:
            smallest[column.name], greatest[column.name] = _json_value(low), _json_value(high)
    return json.dumps(
        {"numRecords": part.height, "minValues": smallest, "maxValues": greatest, "nullCount": nulls},
        separators=(",", ":"),
    )


def _gives_range(measured: ColumnStatistics | None, column: pl.Series) -> bool:
    """Whether statistics cover all values of the column, exactly: they are doubles, of finite values only."""
    if measured is None or column.dtype != pl.Float64:
        return False
    return measured.numbers == measured.rows - measured.nulls > 0


def _has_range(dtype: pl.DataType) -> bool:
    return dtype.is_float() or dtype.is_integer() or isinstance(dtype, pl.String | pl.Date | pl.Datetime)


def _range(column: pl.Series, place: str) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    """Smallest value, greatest value, and whether they are valid as statistics."""
    values, valid = pl.col(column.name), pl.lit(True)
    if column.dtype.is_float():
        valid = values.is_finite().all()  # JSON has no NaN, and a range without it would hide rows
    elif column.dtype == pl.String:
        valid = values.str.len_chars().max() <= _LONG_TEXT
    return values.min().alias(f"{place}_low"), values.max().alias(f"{place}_high"), valid.alias(f"{place}_valid")


def _json_value(value: object) -> object:
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    return value.isoformat() if isinstance(value, date) else value
