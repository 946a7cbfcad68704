"""Records of the lake: work, commits, staged files, and the contract of a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from karat.lake.column_statistics import ColumnStatistics
from karat.names import TableName


@dataclass(frozen=True)
class Work:
    """The work that a commit does. Work with the same key is never done twice.

    It is stored as JSON in the commit's metadata, under ``karat.work``.

    Attributes:
        kind: The kind of work, such as ``gold``.
        key: The identity of this piece of work.
        detail: More about it, as JSON values.
    """

    kind: str
    key: str
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Commit:
    """The outcome of one write.

    Attributes:
        table: The table.
        version: Its newest version.
        changed: Whether anything was written.
        rows: Given rows that were new or different.
        days: The days of these rows and of replaced rows.
    """

    table: TableName
    version: int
    changed: bool
    rows: int
    days: tuple[date, ...] = ()


@dataclass(frozen=True)
class StagedFile:
    """A Parquet file in a table's folder that no commit names yet; picklable, made by ``Lake.stage``.

    Attributes:
        path: Path in the table's folder.
        size: Bytes.
        modified: Milliseconds since the epoch.
        partition: Partition column -> value as text.
        rows: Rows.
        days: UTC days of the rows.
        statistics: Delta's statistics, as JSON.
        column_statistics: Statistics of each column outside the key, if ``stage`` was called with ``measure``.
    """

    path: str
    size: int
    modified: int
    partition: dict[str, str | None]
    rows: int
    days: tuple[date, ...]
    statistics: str
    column_statistics: dict[str, ColumnStatistics] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class TableInfo:
    """A table's contract, as the table's own metadata hold it.

    Attributes:
        name: The table.
        version: The version.
        schema: Its columns, without the hidden ones.
        primary_key: Its key columns.
        timeseries: Its time column.
        grain: The time between two rows of an entity; None if undeclared, and for a row per event.
        lag: How long after its time a row is known.
        owner: Who is responsible for it.
        description: What it holds.
        properties: Its properties, without Delta's own.
        comments: Column -> description.
        partition_by: Its partition columns, with the hidden ones.
        path: Its folder.
        id: Delta's id: a table that was dropped and created again has another.
        event_id: The column that tells rows of one entity and time apart, in a table with a row per event.
        tokens: Hidden partition column -> the column of whose values it holds tokens.
    """

    name: TableName
    version: int
    schema: pa.Schema
    primary_key: tuple[str, ...]
    timeseries: str | None
    grain: timedelta | None
    lag: timedelta
    owner: str
    description: str
    properties: dict[str, str]
    comments: dict[str, str]
    partition_by: tuple[str, ...]
    path: Path
    id: str = ""
    event_id: str | None = None
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def hidden(self) -> tuple[str, ...]:
        """The partition columns that ``schema`` leaves out: the day of a timestamp, and tokens."""
        return tuple(c for c in self.partition_by if c == DAY_COLUMN or c in self.tokens)

    @property
    def features(self) -> tuple[str, ...]:
        """The columns outside the key."""
        return tuple(f.name for f in self.schema if f.name not in self.primary_key)

    @property
    def day_column(self) -> str | None:
        """The partition column that holds each row's day, if the table is partitioned by day."""
        if self.timeseries is None:
            return None
        return next((c for c in (self.timeseries, DAY_COLUMN) if c in self.partition_by), None)


#: The grain of a table with a row per event.
EVENT = "event"

#: The hidden partition column of a table whose time is a timestamp: its UTC day.
DAY_COLUMN = "_day"
