"""What stands in the lake: tables, their contracts, their rows, and what was done to them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from deltalake.exceptions import TableNotFoundError as NoDeltaTable

from karat.errors import ColumnMissing, SchemaMismatch, TableNotFound, did_you_mean
from karat.lake import log
from karat.lake.changes import LocalTable, active_files, rows_of
from karat.lake.records import DAY_COLUMN, Commit, TableInfo, Work
from karat.lake.schema import info_of
from karat.lake.transaction import APP, storing
from karat.names import TableName, pinned_copy


class LakeReader:
    """All tables under ``root``, to be read."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    # ---- what there is

    def path(self, name: TableName) -> Path:
        return self.root / name.catalog / name.schema / name.table

    def exists(self, name: TableName) -> bool:
        return any((self.path(name) / "_delta_log").glob("*.json"))

    def tables(self, catalog: str | None = None, schema: str | None = None) -> list[TableName]:
        """Every table, sorted by name; ``catalog`` and ``schema`` narrow it."""
        found = self.root.glob(f"{catalog or '*'}/{schema or '*'}/*/_delta_log")
        names = (TableName(*p.parent.relative_to(self.root).parts) for p in found)
        return sorted(n for n in names if self.exists(n))

    def version(self, name: TableName) -> int:
        return self._open(name).version()

    def info(self, name: TableName, version: int | None = None) -> TableInfo:
        """The table's contract. Raises TableNotFound with the nearest name."""
        return info_of(name, self.path(name), self._open(name, version))

    def history(self, name: TableName, limit: int | None = None) -> list[dict[str, Any]]:
        """The commits, newest first, as Delta tells them."""
        return self._open(name).history(limit)

    def count(self, name: TableName, version: int | None = None) -> int:
        """The rows, from the files' statistics."""
        return int(self._open(name, version).count())

    def rows_by_day(self, name: TableName, version: int | None = None) -> dict[date, int]:
        """The rows of each UTC day of the time column, in order; of the files' statistics where days are partitions.

        Rows without a day are of none. Raises SchemaMismatch where the table has no time column.
        """
        table = self._open(name, version)
        info = info_of(name, self.path(name), table)
        if info.day_column:
            files = active_files(table).select(pl.col(f"partition.{info.day_column}").alias("day"), "num_records")
            counted = files.group_by("day").agg(pl.col("num_records").sum())
        else:
            counted = rows_of(table).group_by(self._day(info).alias("day")).len().collect(engine="streaming")
        return dict(counted.drop_nulls().filter(pl.nth(1) > 0).sort("day").iter_rows())

    def files(self, name: TableName, version: int | None = None) -> dict[str, date | None]:
        """The version's files, by their path in the table's folder, and the day of each where days are partitions."""
        table = self._open(name, version)
        column = info_of(name, self.path(name), table).day_column
        found = active_files(table)
        days = found[f"partition.{column}"].to_list() if column else [None] * found.height
        return {unquote(path): day for path, day in zip(found["path"], days, strict=True)}

    def changed_at(self, name: TableName) -> datetime:
        """When the newest version was committed (UTC)."""
        return datetime.fromtimestamp(self._open(name).history(1)[0]["timestamp"] / 1000, UTC)

    # ---- reading

    def scan(
        self,
        name: TableName,
        version: int | None = None,
        *,
        days: tuple[date, date] | None = None,
        hidden: bool = False,
    ) -> pl.LazyFrame:
        """The rows, lazily. ``days`` (first, last, both included) reads no other files where days are partitions;
        ``hidden`` keeps the derived ``_day``."""
        table = self._open(name, version)
        info = info_of(name, self.path(name), table)
        rows = rows_of(table)
        if days is not None:
            rows = rows.filter(self._day(info).is_between(*days))
        return rows if hidden or DAY_COLUMN not in info.partition_by else rows.drop(DAY_COLUMN)

    def read(
        self,
        name: TableName,
        *,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        where: pl.Expr | None = None,
    ) -> pl.DataFrame:
        """The rows as a frame. Raises TableNotFound, ColumnMissing."""
        rows = self.scan(name, version, hidden=columns is not None and DAY_COLUMN in columns)
        known = rows.collect_schema().names()
        for column in columns or ():
            if column not in known:
                raise ColumnMissing(
                    f"the table has no column {column!r}", where=str(name), remedy=did_you_mean(column, known)
                )
        if where is not None:
            rows = rows.filter(where)
        with storing(name):  # what is filtered is let go block by block
            chosen = rows.select(list(columns)) if columns is not None else rows
            return chosen.collect(engine="auto" if where is None else "streaming")

    def read_pinned(self, name: TableName, version: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """A version that a model pins; where a person was erased from it, what is left of it. Raises as ``read``."""
        source, stands = self.pinned_source(name, version)
        return self.read(source, version=stands, columns=columns)

    def pinned_source(self, name: TableName, version: int) -> tuple[TableName, int | None]:
        """Where the rows of a pinned version stand: the table and the version to read."""
        if self.is_copied(name, version):
            return pinned_copy(name, version), None
        return name, version

    def is_copied(self, name: TableName, version: int) -> bool:
        """Whether what is left of a version stands in a table of its own; an empty one is a copy that was killed."""
        left = pinned_copy(name, version)
        return self.exists(left) and self.version(left) > 0

    # ---- what was done

    def done(self, name: TableName, work: Work) -> Commit | None:
        """The commit that did this work, if the latest one of its kind has its key; ``changed`` is False."""
        found = self._last(name, work.kind)
        last = log.work_of(found[1]) if found else None
        if found is None or last is None or last.key != work.key:
            return None
        version, info = found
        days = tuple(date.fromisoformat(d) for d in info.get("karat.days", []))
        return Commit(name, version, False, info.get("karat.rows", 0), days)

    def last_work(self, name: TableName, kind: str) -> Work | None:
        """What the latest commit of this kind of work did."""
        found = self._last(name, kind)
        return log.work_of(found[1]) if found else None

    def foreign(self, name: TableName, since: int | None, until: int) -> list[int]:
        """The versions after ``since`` (None: all) up to ``until`` that something else than Karat has committed: what
        stands in them went by no contract."""
        first = 0 if since is None else since + 1
        with storing(name):
            return [v for v in range(first, until + 1) if not log.is_ours(self.path(name), v)]

    def _last(self, name: TableName, kind: str) -> tuple[int, dict[str, Any]] | None:
        version = self._open(name).transaction_version(f"{APP}.work.{kind}")
        with storing(name):
            return None if version is None else (version, log.commit_info(self.path(name), version))

    def changed_days(self, name: TableName, column: str, since: int, until: int) -> list[date]:
        """The days of ``column`` whose rows may differ between two versions, sorted.

        Exact to the day where the table is partitioned by it; else from the files' statistics. Rows without a day
        are of none.
        """
        low, high = sorted((since, until))
        info = info_of(name, self.path(name), self._open(name, high))
        partition = info.day_column if column in (info.timeseries, info.day_column) else None
        with storing(name):
            actions = log.changed_files(info.path, low, high)
            days = (log.days_of(info.path, action, column, partition, high) for action in actions)
            return sorted(set().union(*days))

    # ---- inside

    def _opened(self, name: TableName) -> tuple[DeltaTable, TableInfo]:
        table = self._open(name)
        return table, info_of(name, self.path(name), table)

    def _open(self, name: TableName, version: int | None = None) -> DeltaTable:
        with storing(name):
            if not self.exists(name):
                raise self._not_found(name)
            try:
                return LocalTable(self.path(name), version=version)
            except (NoDeltaTable, DeltaError) as error:
                latest = DeltaTable(self.path(name)).version()
                if version is None or version <= latest:
                    raise
                raise TableNotFound(
                    f"{name} has no version {version}", where=str(self.path(name)), remedy=f"the newest is {latest}"
                ) from error

    def _not_found(self, name: TableName) -> TableNotFound:
        known = [str(n) for n in self.tables()]
        near = did_you_mean(str(name), known) or "there is no table yet: karat sample PROJECT makes gold tables"
        return TableNotFound(f"there is no table {name}", where=str(self.root), remedy=near)

    @staticmethod
    def _day(info: TableInfo) -> pl.Expr:
        if info.timeseries is None:
            raise SchemaMismatch(f"{info.name} has no time column, so it has no days", where=str(info.path))
        return pl.col(info.day_column) if info.day_column else pl.col(info.timeseries).cast(pl.Date)
