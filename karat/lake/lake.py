"""Delta tables under one folder: ``ROOT/CATALOG/SCHEMA/TABLE``, each an ordinary Delta table."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from deltalake.exceptions import TableNotFoundError as NoDeltaTable
from deltalake.schema import Field

from karat.errors import (
    ColumnMissing,
    CommitConflict,
    DataError,
    ForeignCatalog,
    SchemaMismatch,
    TableNotFound,
    did_you_mean,
)
from karat.lake import log
from karat.lake.changes import merge_plan, replace_plan, rows_of
from karat.lake.conform import as_polars, conform
from karat.lake.files import discard, write_files
from karat.lake.records import DAY_COLUMN, Commit, Staged, TableInfo, Work
from karat.lake.schema import FIXED, Definition, changes, define, info_of
from karat.lake.transaction import Plan, commit_properties, repeat, storing
from karat.names import TableName, project_of
from karat.settings import ENVIRONMENTS

Frame: TypeAlias = pl.DataFrame | pa.Table


class Lake:
    """All tables under ``root``. ``environment`` (dev, prod, ...) is the only one whose catalogs may be written."""

    def __init__(self, root: Path, environment: str | None = None) -> None:
        self.root, self.environment = Path(root), environment

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

    def count(self, name: TableName) -> int:
        """The rows, from the files' statistics."""
        return int(self._open(name).count())

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
        with storing(name):
            return (rows.select(list(columns)) if columns is not None else rows).collect()

    # ---- definitions

    def create(
        self,
        name: TableName,
        schema: pa.Schema,
        *,
        primary_key: Sequence[str],
        timeseries: str | None = None,
        partition_by: Sequence[str] | None = None,
        grain: timedelta | None = None,
        lag: timedelta = timedelta(0),
        owner: str = "",
        description: str = "",
        properties: Mapping[str, str] | None = None,
    ) -> TableInfo:
        """Makes the table, or finds it as it should be; an existing one may gain nullable columns.

        Column descriptions are read from the fields' ``comment`` metadata. ``partition_by`` None: by day for gold and
        feature tables with a time (a timestamp by its hidden ``_day``), else not at all. Owner, description, grain,
        lag and properties follow the call. Raises SchemaMismatch, ColumnMissing, NaiveTimestamp, ForeignCatalog.
        """
        self._check_environment(name)
        wanted = define(
            name,
            schema,
            primary_key=primary_key,
            timeseries=timeseries,
            partition_by=partition_by,
            grain=grain,
            lag=lag,
            owner=owner,
            description=description,
            properties=properties or {},
        )
        if not self.exists(name):
            self._create(name, wanted)
        else:
            self._evolve(name, wanted)
        return self.info(name)

    def _create(self, name: TableName, wanted: Definition) -> None:
        with storing(name):
            try:
                DeltaTable.create(
                    self.path(name),
                    wanted.schema,
                    partition_by=list(wanted.partition_by) or None,
                    description=wanted.description,
                    configuration={**FIXED, **wanted.properties},
                    raise_if_key_not_exists=False,
                    commit_properties=commit_properties(0, uuid.uuid4().hex),
                )
            except DeltaError:
                if not self.exists(name):
                    raise
                self._evolve(name, wanted)  # somebody was faster

    def _evolve(self, name: TableName, wanted: Definition) -> None:
        """Only what differs is committed, so that the same definition twice leaves the table's version."""
        info = self.info(name)
        added = changes(info, wanted)
        with storing(name):
            if added:
                fields = [Field.from_arrow(f) for f in added]
                self._alter(name).add_columns(fields, commit_properties=self._next(name))
            differing = {k: v for k, v in wanted.properties.items() if info.properties.get(k) != v}
            if differing:
                self._alter(name).set_table_properties(
                    differing, raise_if_not_exists=False, commit_properties=self._next(name)
                )
            if wanted.description != info.description:
                self._alter(name).set_table_description(wanted.description, commit_properties=self._next(name))
            for field in wanted.schema:
                comment = (field.metadata or {}).get(b"comment", b"").decode()
                if comment != info.comments.get(field.name, comment):
                    self._alter(name).set_column_metadata(
                        field.name, {"comment": comment}, commit_properties=self._next(name)
                    )

    def _alter(self, name: TableName) -> Any:
        return self._open(name).alter

    def _next(self, name: TableName) -> Any:
        return commit_properties(self.version(name) + 1, uuid.uuid4().hex)

    # ---- writing

    def merge(self, name: TableName, frame: Frame, *, work: Work | None = None, timezone: str | None = None) -> Commit:
        """Upsert by primary key in one commit; rows that stand there already as given are not written again.

        Raises KeyColumnNull, DuplicateKeys, ColumnMissing, SchemaMismatch, NaiveTimestamp (unless ``timezone`` names
        the zone of naive times) before anything is written; DiskFull, CommitConflict.
        """
        self._check_environment(name)
        rows = conform(frame, self.info(name), timezone)
        return repeat(
            lambda: self._opened(name),
            lambda table, info: self._done(name, work) or merge_plan(table, info, rows, work),
        )

    def overwrite(
        self,
        name: TableName,
        frame: Frame,
        *,
        days: Sequence[date] | None = None,
        work: Work | None = None,
        timezone: str | None = None,
    ) -> Commit:
        """Replaces the whole table, or the rows of ``days`` (UTC days of the time column), in one commit.

        Raises as ``merge`` does, and DataError where a row lies outside of ``days``.
        """
        self._check_environment(name)
        done = self._done(name, work)
        if done:
            return done
        staged = self.stage(name, frame, label="overwrite", timezone=timezone)
        try:
            return self._replace(name, staged, days, work)
        except BaseException:
            discard(self.path(name), staged)
            raise

    def stage(self, name: TableName, frame: Frame, *, label: str, timezone: str | None = None) -> list[Staged]:
        """Writes the rows into the table's folder, for a ``commit`` to come; no reader sees them until then.

        Checks the contract as ``merge`` does. May be called in any process; what it gives is picklable.
        """
        self._check_environment(name)
        info = self.info(name)
        rows = conform(as_polars(frame), info, timezone)
        with storing(name):
            return write_files(rows, info, label)

    def commit(
        self,
        name: TableName,
        staged: Sequence[Staged],
        *,
        replace: Literal["all"] | Sequence[date],
        work: Work,
        base: Work | Literal["any"] | None = "any",
    ) -> Commit:
        """One commit of what many ``stage`` calls wrote; ``replace`` says which rows they stand for.

        That two workers never stage the same key is theirs to see to. ``work`` done already: nothing is written, and
        the staged files are removed. ``base`` is the last work of this kind (None: there was none) on which this one
        was planned: where another was committed since, CommitConflict. Raises DataError, CommitConflict, DiskFull.
        """
        self._check_environment(name)
        return self._replace(name, staged, None if isinstance(replace, str) else replace, work, base)

    def discard(self, name: TableName, staged: Sequence[Staged]) -> None:
        """Removes staged files that will never be committed."""
        discard(self.path(name), staged)

    def _replace(
        self,
        name: TableName,
        staged: Sequence[Staged],
        days: Sequence[date] | None,
        work: Work | None,
        base: Work | Literal["any"] | None = "any",
    ) -> Commit:
        info = self.info(name)
        _check_staged(info, staged, days)
        written = {d for s in staged for d in s.days}
        touched = tuple(sorted(written | set(days or ())))

        def plan_of(table: DeltaTable, contract: TableInfo) -> Plan | Commit:
            done = self._done(name, work)
            if done:
                discard(info.path, staged)
                return done
            if work is not None and base != "any" and self.last_work(name, work.kind) != base:
                raise CommitConflict(
                    f"other {work.kind} were committed while these were made",
                    where=str(name),
                    remedy="plan it anew on the table as it stands now",
                )
            plan = replace_plan(table, contract, days)
            plan.add.extend(staged)
            plan.rows, plan.work, plan.days = sum(s.rows for s in staged), work, touched
            return plan

        return repeat(lambda: self._opened(name), plan_of)

    # ---- what was done

    def done(self, name: TableName, work: Work) -> Commit | None:
        """The commit that did this work, if the latest one of its kind has its key; ``changed`` is False."""
        return self._done(name, work)

    def _done(self, name: TableName, work: Work | None) -> Commit | None:
        found = self._last(name, work.kind) if work else None
        if work is None or found is None:
            return None
        version, info = found
        last = log.work_of(info)
        if last is None or last.key != work.key:
            return None
        days = tuple(date.fromisoformat(d) for d in info.get("karat.days", []))
        return Commit(name, version, False, info.get("karat.rows", 0), days)

    def last_work(self, name: TableName, kind: str) -> Work | None:
        """What the latest commit of this kind of work did."""
        found = self._last(name, kind)
        return log.work_of(found[1]) if found else None

    def _last(self, name: TableName, kind: str) -> tuple[int, dict[str, Any]] | None:
        version = self._open(name).transaction_version(f"karat.work.{kind}")
        return None if version is None else (version, log.commit_info(self.path(name), version))

    def changed_days(self, name: TableName, column: str, since: int, until: int) -> list[date]:
        """The days of ``column`` whose rows may differ between two versions, sorted.

        Exact to the day where the table is partitioned by it; else from the files' statistics. Rows without a day
        are of none.
        """
        table = self._open(name, until)
        info = info_of(name, self.path(name), table)
        partition = info.day_column if column in (info.timeseries, info.day_column) else None
        low, high = sorted((since, until))
        days: set[date] = set()
        for action in log.changed_files(info.path, low, high):
            if partition:
                value = action.get("partitionValues", {}).get(partition)
                days |= {date.fromisoformat(value)} if value else set()
            else:
                days |= self._days_of_file(info, column, action, high)
        return sorted(days)

    def _days_of_file(self, info: TableInfo, column: str, action: dict[str, Any], until: int) -> set[date]:
        add = action if "stats" in action else log.find_add(info.path, action["path"], until) or {}
        statistics = json.loads(add.get("stats") or "{}")
        smallest, greatest = (statistics.get(k, {}).get(column) for k in ("minValues", "maxValues"))
        if smallest is not None and greatest is not None:
            return set(log.days_between(smallest, greatest))
        rows = pl.scan_parquet(info.path / unquote(action["path"])).select(pl.col(column).cast(pl.Date)).drop_nulls()
        return set(rows.unique().collect().to_series().to_list())

    # ---- inside

    def _check_environment(self, name: TableName) -> None:
        suffix = name.catalog.rpartition("_")[2]
        foreign = suffix in ENVIRONMENTS and project_of(name.catalog) != name.catalog
        if self.environment is not None and foreign and suffix != self.environment:
            raise ForeignCatalog(
                f"this is the environment {self.environment!r}, and {name} belongs to {suffix!r}",
                where=str(name),
                remedy=f"write to {project_of(name.catalog)}_{self.environment}, or work with "
                f"KARAT_ENVIRONMENT={suffix}",
            )

    def _opened(self, name: TableName) -> tuple[DeltaTable, TableInfo]:
        table = self._open(name)
        return table, info_of(name, self.path(name), table)

    def _open(self, name: TableName, version: int | None = None) -> DeltaTable:
        with storing(name):
            if not self.exists(name):
                raise self._not_found(name)
            try:
                return DeltaTable(self.path(name), version=version)
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


def _check_staged(info: TableInfo, staged: Sequence[Staged], days: Sequence[date] | None) -> None:
    """Nothing may be committed that isn't there, or that lies outside of what it replaces."""
    for file in staged:
        path = info.path / file.path
        if not path.exists() or path.stat().st_size != file.size:
            raise DataError(
                f"the staged file {file.path} is gone or was changed", where=str(info.name), remedy="stage it again"
            )
    if days is None:
        return
    if info.timeseries is None:
        raise SchemaMismatch(f"{info.name} has no time column, so it has no days", where=str(info.path))
    outside = sorted({d for s in staged for d in s.days} - set(days))
    dayless = info.day_column and any(s.partition.get(info.day_column) is None for s in staged)
    if outside or dayless:
        raise DataError(
            f"rows of {', '.join(map(str, outside[:3])) or 'no day'} lie outside of the days to be replaced",
            where=str(info.name),
            remedy="give their days too, or leave the rows out",
        )
