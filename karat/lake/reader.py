"""Read access to the lake: tables, their contracts, their rows, and the work committed to them."""

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
from karat.lake.changes import LocalTable, active_files, scan_version
from karat.lake.records import DAY_COLUMN, Commit, TableInfo, Work
from karat.lake.schema import info_of
from karat.lake.transaction import APP, store_errors
from karat.lake.version_cache import newest_version, opened_version
from karat.names import TableName, pinned_copy


class LakeReader:
    """All tables in a folder, for reading.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    # ---- tables

    def path(self, name: TableName) -> Path:
        """The folder of a table."""
        return self.root / name.catalog / name.schema / name.table

    def exists(self, name: TableName) -> bool:
        """Whether the table exists."""
        return newest_version(self.path(name)) is not None

    def tables(self, catalog: str | None = None, schema: str | None = None) -> list[TableName]:
        """Every table, sorted by name, of one ``catalog`` or ``schema`` if given."""
        found = self.root.glob(f"{catalog or '*'}/{schema or '*'}/*/_delta_log")
        names = (TableName(*p.parent.relative_to(self.root).parts) for p in found)
        return sorted(n for n in names if self.exists(n))

    def version(self, name: TableName) -> int:
        """The newest version of a table. Raises TableNotFound."""
        newest = newest_version(self.path(name))
        if newest is None:
            raise self._not_found(name)
        return newest

    def info(self, name: TableName, version: int | None = None) -> TableInfo:
        """The contract of a table.

        Args:
            name: The table.
            version: A version; the newest by default.

        Returns:
            The contract.

        Raises:
            TableNotFound: The table or the version does not exist; the message names the nearest table.
        """
        return info_of(name, self.path(name), self._open(name, version))

    def history(self, name: TableName, limit: int | None = None) -> list[dict[str, Any]]:
        """The commits, newest first, as Delta records them."""
        return self._open(name).history(limit)

    def count(self, name: TableName, version: int | None = None) -> int:
        """The number of rows, from the statistics of the files."""
        return int(self._open(name, version).count())

    def rows_by_day(self, name: TableName, version: int | None = None) -> dict[date, int]:
        """Count the rows of each UTC day of the time column.

        If the table is partitioned by day, the counts come from the statistics of the files.

        Args:
            name: The table.
            version: A version; the newest by default.

        Returns:
            Day -> rows, in order, without days that have none. Rows without a time are not counted.

        Raises:
            SchemaMismatch: The table has no time column.
        """
        table = self._open(name, version)
        info = info_of(name, self.path(name), table)
        if info.day_column:
            files = active_files(table).select(pl.col(f"partition.{info.day_column}").alias("day"), "num_records")
            counted = files.group_by("day").agg(pl.col("num_records").sum())
        else:
            counted = scan_version(table).group_by(self._day(info).alias("day")).len().collect(engine="streaming")
        return dict(counted.drop_nulls().filter(pl.nth(1) > 0).sort("day").iter_rows())

    def files(self, name: TableName, version: int | None = None) -> dict[str, date | None]:
        """The files of a version.

        Args:
            name: The table.
            version: A version; the newest by default.

        Returns:
            Path in the table's folder -> the file's day, or None if the table is not partitioned by day.
        """
        table = self._open(name, version)
        column = info_of(name, self.path(name), table).day_column
        found = active_files(table)
        days = found[f"partition.{column}"].to_list() if column else [None] * found.height
        return {unquote(path): day for path, day in zip(found["path"], days, strict=True)}

    def version_at(self, name: TableName, moment: datetime) -> int | None:
        """The version that was the newest at a moment; None if there was none yet.

        Args:
            name: The table.
            moment: The moment, in UTC.
        """
        asked = moment.timestamp() * 1000
        return next((int(c["version"]) for c in self._open(name).history() if c["timestamp"] <= asked), None)

    def changed_at(self, name: TableName) -> datetime:
        """When the newest version was committed, in UTC."""
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
        """Scan the rows lazily.

        Args:
            name: The table.
            version: A version; the newest by default.
            days: First and last UTC day, both included. If the table is partitioned by day, no other file is read.
            hidden: Whether to keep the hidden partition columns.

        Returns:
            The rows.

        Raises:
            TableNotFound: The table or the version does not exist.
        """
        table = self._open(name, version)
        info = info_of(name, self.path(name), table)
        rows = scan_version(table)
        if days is not None:
            rows = rows.filter(self._day(info).is_between(*days))
        return rows if hidden else rows.drop(info.hidden)

    def read(
        self,
        name: TableName,
        *,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        where: pl.Expr | None = None,
    ) -> pl.DataFrame:
        """Read the rows.

        Args:
            name: The table.
            version: A version; the newest by default.
            columns: Columns to read; all by default.
            where: A condition on the rows.

        Returns:
            The rows.

        Raises:
            TableNotFound: The table or the version does not exist.
            ColumnMissing: The table has no such column.
        """
        rows = self.scan(name, version, hidden=columns is not None and DAY_COLUMN in columns)
        known = rows.collect_schema().names()
        for column in columns or ():
            if column not in known:
                raise ColumnMissing(
                    f"the table has no column {column!r}", where=str(name), remedy=did_you_mean(column, known)
                )
        if where is not None:
            rows = rows.filter(where)
        with store_errors(name):  # the streaming engine frees filtered blocks
            chosen = rows.select(list(columns)) if columns is not None else rows
            return chosen.collect(engine="auto" if where is None else "streaming")

    def read_pinned(self, name: TableName, version: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Read a version that a model pins, or its copy if a person was erased from it.

        Args:
            name: The table.
            version: The pinned version.
            columns: Columns to read; all by default.

        Returns:
            The rows.

        Raises:
            TableNotFound: The table or the version does not exist.
            ColumnMissing: The table has no such column.
        """
        source, stands = self.pinned_source(name, version)
        return self.read(source, version=stands, columns=columns)

    def pinned_source(self, name: TableName, version: int) -> tuple[TableName, int | None]:
        """The table and the version (None: the newest) that hold the rows of a pinned version."""
        if self.is_copied(name, version):
            return pinned_copy(name, version), None
        return name, version

    def is_copied(self, name: TableName, version: int) -> bool:
        """Whether a pinned version has a copy without erased persons. An empty copy is that of a killed erasure."""
        left = pinned_copy(name, version)
        return self.exists(left) and self.version(left) > 0

    # ---- work

    def commit_of(self, name: TableName, work: Work | None) -> Commit | None:
        """Find the commit that did some work.

        Args:
            name: The table.
            work: The work; None finds nothing.

        Returns:
            That commit, with ``changed`` False, if the latest work of this kind has this key; else None.
        """
        last = self._last_commit(name, work.kind) if work else None
        if work is None or last is None or (done := log.work_of(last[1])) is None or done.key != work.key:
            return None
        version, info = last
        days = tuple(date.fromisoformat(d) for d in info.get("karat.days", []))
        return Commit(name, version, False, info.get("karat.rows", 0), days)

    def last_work(self, name: TableName, kind: str) -> Work | None:
        """The work of the latest commit of this kind, or None."""
        last = self._last_commit(name, kind)
        return log.work_of(last[1]) if last else None

    def foreign_versions(self, name: TableName, since: int | None, until: int) -> list[int]:
        """The versions that other programs than Karat committed; their rows were not checked against the contract.

        Args:
            name: The table.
            since: Versions after this one; None for all.
            until: The last version.

        Returns:
            Version numbers, in order.
        """
        first = 0 if since is None else since + 1
        with store_errors(name):
            return [v for v in range(first, until + 1) if not log.is_karat_commit(self.path(name), v)]

    def _last_commit(self, name: TableName, kind: str) -> tuple[int, log.CommitInfo] | None:
        version = self._open(name).transaction_version(f"{APP}.work.{kind}")
        with store_errors(name):
            return None if version is None else (version, log.commit_info(self.path(name), version))

    def changed_days(self, name: TableName, column: str, since: int, until: int) -> list[date]:
        """The days whose rows may differ between two versions.

        Args:
            name: The table.
            column: A date or timestamp column.
            since: One version.
            until: The other version.

        Returns:
            UTC days, sorted: exact if the table is partitioned by them, else from the statistics of the files. Rows
            without a
            day are ignored.
        """
        low, high = sorted((since, until))
        info = info_of(name, self.path(name), self._open(name, high))
        partition = info.day_column if column in (info.timeseries, info.day_column) else None
        with store_errors(name):
            actions = log.changed_files(info.path, low, high)
            days = (log.days_of(info.path, action, column, partition, high) for action in actions)
            return sorted(set().union(*days))

    # ---- private

    def _open_for_commit(self, name: TableName) -> tuple[DeltaTable, TableInfo]:
        """The newest version, not shared: a commit moves it on."""
        with store_errors(name):
            table = LocalTable(self.path(name), version=self.version(name))
        return table, info_of(name, self.path(name), table)

    def _open(self, name: TableName, version: int | None = None) -> DeltaTable:
        """A version for reading."""
        newest = self.version(name)
        with store_errors(name):
            try:
                return opened_version(self.path(name), newest if version is None else version)
            except (NoDeltaTable, DeltaError) as error:
                if version is None or version <= newest:
                    raise
                raise TableNotFound(
                    f"{name} has no version {version}",
                    where=str(self.path(name)),
                    remedy=f"its newest version is {newest}",
                ) from error

    def _not_found(self, name: TableName) -> TableNotFound:
        known = [str(n) for n in self.tables()]
        near = did_you_mean(str(name), known) or "the lake is empty: karat sample PROJECT creates gold tables"
        return TableNotFound(f"there is no table {name}", where=str(self.root), remedy=near)

    @staticmethod
    def _day(info: TableInfo) -> pl.Expr:
        if info.timeseries is None:
            raise SchemaMismatch(f"{info.name} has no time column, so its rows have no day", where=str(info.path))
        return pl.col(info.day_column) if info.day_column else pl.col(info.timeseries).cast(pl.Date)
