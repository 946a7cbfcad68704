"""What goes into the lake and comes out of it besides rows."""

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
    """What a commit did: the ``key`` names the piece of work, so that the same piece is never done twice.

    Stored as JSON in the commit's custom metadata under ``karat.work``; ``detail`` must be JSON-able.
    """

    kind: str
    key: str
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Commit:
    """The outcome of one write. ``changed`` False: nothing was written, the table stands as it was.

    ``rows`` counts the rows given that were new or other than before, ``days`` the days they (or replaced rows) are of.
    """

    table: TableName
    version: int
    changed: bool
    rows: int
    days: tuple[date, ...] = ()


@dataclass(frozen=True)
class StagedFile:
    """One Parquet file in a table's folder that no commit names yet; picklable, made by ``Lake.stage``.

    ``figures``: of each column that is no key, where ``stage`` was told to ``measure``.
    """

    path: str
    size: int
    modified: int
    partition: dict[str, str | None]
    rows: int
    days: tuple[date, ...]
    statistics: str
    figures: dict[str, ColumnStatistics] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class TableInfo:
    """A table's contract as its own metadata hold it.

    ``schema`` leaves out hidden columns (``_day``); ``partition_by`` names them. ``lag``: how long after its time a
    row is known. ``id`` is Delta's own: a table that was removed and made anew has another. ``event_id`` is the column
    that tells rows of one entity and time apart (a table with a row per event, whose ``grain`` is None here).
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

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that are no part of the key."""
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
