"""Parquet files in a table's folder, written before any commit names them."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl

from karat.lake.column_statistics import ColumnStatistics, figures_of
from karat.lake.log import committed_since
from karat.lake.records import StagedFile, TableInfo

_NULL = "__HIVE_DEFAULT_PARTITION__"
_PLAIN = re.compile(r"^[A-Za-z0-9._-]+$")
_STATISTICS_COLUMNS = 32  # as many as Delta's own default
_LONG_TEXT = 64
#: Rows of a row group where files are clustered: so few that Parquet's statistics leave most of them unread when a
#: few keys are asked for, so many that reading all of them takes no longer.
_CLUSTERED_ROWS = 16_384


def write_files(frame: pl.DataFrame, info: TableInfo, label: str, *, measure: bool = False) -> list[StagedFile]:
    """One file per partition of ``frame``, with its figures if told to ``measure``; on any error what was written is
    removed again."""
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
    """Removes staged files, but never one that a commit names: an interrupted commit may have come about."""
    if not staged:
        return
    committed = committed_since(folder, min(s.modified for s in staged))
    for file in staged:
        if file.path not in committed:
            (folder / file.path).unlink(missing_ok=True)


def orphans(folder: Path, older_than: timedelta) -> list[Path]:
    """Parquet files older than this that no version of the table names."""
    limit = time.time() - older_than.total_seconds()
    old = [p for p in folder.rglob("*.parquet") if "_delta_log" not in p.parts and p.stat().st_mtime < limit]
    committed = committed_since(folder, 0) if old else set()
    return [p for p in old if p.relative_to(folder).as_posix() not in committed]


def _partitions(frame: pl.DataFrame, by: Sequence[str]) -> list[tuple[dict[str, Any], pl.DataFrame]]:
    if not frame.height:
        return []
    if not by:
        return [({}, frame)]
    if len(by) == 1 and (only := frame[by[0]]).null_count() == 0 and only.min() == only.max():
        return [({by[0]: only[0]}, frame.drop(by[0]))]  # looking is cheap, gathering each column's rows is not
    parts = frame.partition_by(*by, as_dict=True, include_key=False)
    return [(dict(zip(by, key, strict=True)), part) for key, part in parts.items()]


def _write(part: pl.DataFrame, values: dict[str, Any], info: TableInfo, label: str, measure: bool) -> StagedFile:
    partition = {k: None if v is None else str(v) for k, v in values.items()}
    name = f"{label if _PLAIN.match(label) else 'part'}-{uuid.uuid4().hex}.parquet"
    # The path is free in Delta, but readers such as Polars take the partition's value from it, as Hive has it.
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
    figures = figures_of(part, info.features) if measure else None
    return StagedFile(
        path=relative,
        size=target.stat().st_size,
        modified=int(time.time() * 1000),
        partition=partition,
        rows=part.height,
        days=days_of(part, values, info),
        statistics=statistics_of(part, figures or {}),
        figures=figures,
    )


def days_of(part: pl.DataFrame, values: dict[str, Any], info: TableInfo) -> tuple[date, ...]:
    """The days of a table's rows by its time column; none without one."""
    if info.day_column:
        value = values[info.day_column]
        return () if value is None else (value,)
    if info.timeseries is None:
        return ()
    return tuple(part[info.timeseries].cast(pl.Date).drop_nulls().unique().sort().to_list())


def statistics_of(part: pl.DataFrame, figures: Mapping[str, ColumnStatistics]) -> str:
    """Delta's file statistics: rows, and per column nulls, smallest and greatest value, where the ``figures`` do not
    have them already."""
    columns = part.get_columns()[:_STATISTICS_COLUMNS]
    nulls = {c.name: c.null_count() for c in columns}
    asked = [c for c in columns if nulls[c.name] < len(c) and _may_have_order(c.dtype)]
    told = {c.name: figures[c.name] for c in asked if _tell_range(figures.get(c.name), c)}
    smallest: dict[str, Any] = {name: f.minimum for name, f in told.items()}
    greatest: dict[str, Any] = {name: f.maximum for name, f in told.items()}
    asked = [c for c in asked if c.name not in told]
    # All at once: a call of its own for each of some hundred figures takes longer than to count them.
    found = iter(part.select(e for i, c in enumerate(asked) for e in _range(c, str(i))).row(0) if asked else ())
    for column in asked:
        low, high, ordered = next(found), next(found), next(found)
        if ordered:
            smallest[column.name], greatest[column.name] = _json(low), _json(high)
    return json.dumps(
        {"numRecords": part.height, "minValues": smallest, "maxValues": greatest, "nullCount": nulls},
        separators=(",", ":"),
    )


def _tell_range(figures: ColumnStatistics | None, column: pl.Series) -> bool:
    """Whether they are of all values of the column, and exact: they are doubles, and of finite values alone."""
    return figures is not None and column.dtype == pl.Float64 and figures.numbers == figures.rows - figures.nulls > 0


def _may_have_order(dtype: pl.DataType) -> bool:
    return dtype.is_float() or dtype.is_integer() or isinstance(dtype, pl.String | pl.Date | pl.Datetime)


def _range(column: pl.Series, place: str) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    """Smallest, greatest, and whether they may be told."""
    values, told = pl.col(column.name), pl.lit(True)
    if column.dtype.is_float():
        told = values.is_finite().all()  # JSON has no NaN, and a range that leaves it out would hide rows
    elif column.dtype == pl.String:
        told = values.str.len_chars().max() <= _LONG_TEXT
    return values.min().alias(f"{place}_low"), values.max().alias(f"{place}_high"), told.alias(f"{place}_told")


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return value.isoformat() if isinstance(value, date) else value
