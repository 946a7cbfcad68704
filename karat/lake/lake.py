"""Delta tables under one folder: ``ROOT/CATALOG/SCHEMA/TABLE``, each an ordinary Delta table."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Literal, TypeAlias

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable

from karat.clock import utc_now
from karat.errors import ColumnMissing, CommitConflict, DataError, ForeignCatalog, SchemaMismatch, did_you_mean
from karat.lake.changes import append_plan, delete_plan, merge_plan, replace_plan
from karat.lake.conform import conform
from karat.lake.definition import create_table, evolve_table
from karat.lake.files import discard, orphans, write_files
from karat.lake.reader import LakeReader
from karat.lake.records import Commit, StagedFile, TableInfo, Work
from karat.lake.schema import define
from karat.lake.transaction import CommitPlan, repeat, storing
from karat.lake.vacuum import VacuumResult, needed_versions, unneeded
from karat.names import TableName, project_of
from karat.settings import ENVIRONMENTS

Frame: TypeAlias = pl.DataFrame | pa.Table
#: The last work of a kind on which another was planned; None: there was none; ``"any"``: it does not matter.
Base: TypeAlias = Work | Literal["any"] | None
#: Files that no commit names are taken for a killed writer's once they are as old as this.
_LEFT_BEHIND = timedelta(days=1)


class Lake(LakeReader):
    """All tables under ``root``. ``environment`` (dev, prod, ...) is the only one whose catalogs may be written."""

    def __init__(self, root: Path, environment: str | None = None) -> None:
        super().__init__(root)
        self.environment = environment

    def create(
        self,
        name: TableName,
        schema: pa.Schema,
        *,
        primary_key: Sequence[str],
        timeseries: str | None = None,
        partition_by: Sequence[str] | None = None,
        grain: timedelta | str | None = None,
        lag: timedelta = timedelta(0),
        event_id: str | None = None,
        owner: str = "",
        description: str = "",
        properties: Mapping[str, str] | None = None,
    ) -> TableInfo:
        """Makes the table, or finds it as it should be; an existing one may gain nullable columns.

        Column descriptions are read from the fields' ``comment`` metadata. ``partition_by`` None: by day for gold and
        feature tables with a time (a timestamp by its hidden ``_day``), else not at all. ``grain="event"`` with an
        ``event_id`` is a table with a row per event. Owner, description, grain,
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
            event_id=event_id,
            owner=owner,
            description=description,
            properties=properties or {},
        )
        if not self.exists(name):
            create_table(name, self.path(name), wanted)
        evolve_table(name, self.path(name), wanted)  # also where somebody else was faster
        return self.info(name)

    def merge(
        self,
        name: TableName,
        frame: Frame,
        *,
        work: Work | None = None,
        timezone: str | None = None,
        base: Base = "any",
    ) -> Commit:
        """Upsert by primary key in one commit; rows that stand there already as given are not written again. ``base``
        as in ``commit``.

        Raises KeyColumnNull, DuplicateKeys, ColumnMissing, SchemaMismatch, NaiveTimestamp (unless ``timezone`` names
        the zone of naive times) before anything is written; DiskFull, CommitConflict.
        """
        self._check_environment(name)
        rows = conform(frame, self.info(name), timezone)
        return repeat(
            lambda: self._opened(name),
            lambda table, info: self._stands(name, work, base) or merge_plan(table, info, rows, work),
        )

    def append(self, name: TableName, frame: Frame, *, work: Work | None = None) -> Commit:
        """Adds rows whose keys the table cannot have yet, such as ids just made: none is looked for. Raises as
        ``merge`` does."""
        self._check_environment(name)
        rows = conform(frame, self.info(name))
        return repeat(
            lambda: self._opened(name),
            lambda table, info: self._done(name, work) or append_plan(table, info, rows, work),
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

    def delete(self, name: TableName, keys: pl.DataFrame) -> Commit:
        """Takes away the rows whose columns equal a row of ``keys``, in one commit; earlier versions still have them.

        Raises ColumnMissing for a column that the table has not, CommitConflict, DiskFull.
        """
        self._check_environment(name)
        for column in keys.columns:
            if column not in (known := self.info(name).schema.names):
                raise ColumnMissing(
                    f"the table has no column {column!r}", where=str(name), remedy=did_you_mean(column, known)
                )
        return repeat(lambda: self._opened(name), lambda table, info: delete_plan(table, info, keys.unique()))

    def drop(self, name: TableName) -> None:
        """Removes the table with all its versions. Its log goes first, so that a killed drop leaves no table."""
        self._check_environment(name)
        with storing(name):
            shutil.rmtree(self.path(name) / "_delta_log", ignore_errors=True)
            shutil.rmtree(self.path(name), ignore_errors=True)

    def stage(
        self,
        name: TableName,
        frame: Frame | Iterable[Frame],
        *,
        label: str,
        timezone: str | None = None,
        measure: bool = False,
    ) -> list[StagedFile]:
        """Writes the rows into the table's folder, for a ``commit`` to come; no reader sees them until then. With
        ``measure`` each file brings the figures of its columns.

        Checks the contract as ``merge`` does; of several frames, of which none shares a key with another, each by
        itself, and one after the other. May be called in any process; what it gives is picklable.
        """
        self._check_environment(name)
        info = self.info(name)
        staged: list[StagedFile] = []
        try:
            for part in [frame] if isinstance(frame, pl.DataFrame | pa.Table) else frame:
                rows = conform(part, info, timezone)
                with storing(name):
                    staged += write_files(rows, info, label, measure=measure)
        except BaseException:
            self.discard(name, staged)
            raise
        return staged

    def commit(
        self,
        name: TableName,
        staged: Sequence[StagedFile],
        *,
        replace: Literal["all"] | Sequence[date],
        work: Work,
        base: Base = "any",
    ) -> Commit:
        """One commit of what many ``stage`` calls wrote; ``replace`` says which rows they stand for.

        That two workers never stage the same key is theirs to see to. ``work`` done already: nothing is written, and
        the staged files are removed. ``base`` is the last work of this kind (None: there was none) on which this one
        was planned: where another was committed since, CommitConflict. Raises DataError, CommitConflict, DiskFull.
        """
        self._check_environment(name)
        return self._replace(name, staged, None if isinstance(replace, str) else replace, work, base)

    def scan_staged(self, name: TableName, staged: Sequence[StagedFile]) -> pl.LazyFrame:
        """The rows of staged files, with the table's columns."""
        info = self.info(name)
        empty = pl.from_arrow(info.schema.empty_table())
        assert isinstance(empty, pl.DataFrame)
        return pl.concat([empty.lazy(), *(_staged_rows(info, file, empty.schema) for file in staged)])

    def discard(self, name: TableName, staged: Sequence[StagedFile]) -> None:
        """Removes staged files that will never be committed."""
        discard(self.path(name), staged)

    def sweep(self, name: TableName, older_than: timedelta = _LEFT_BEHIND) -> int:
        """Removes what killed writers left: files older than this that no version of the table names. Gives their
        number; old versions stay readable."""
        self._check_environment(name)
        with storing(name):
            found = orphans(self.path(name), older_than)
            for path in found:
                path.unlink(missing_ok=True)
        return len(found)

    def vacuum(
        self,
        name: TableName,
        *,
        keep: Collection[int] = (),
        older_than: timedelta = timedelta(days=30),
        dry_run: bool = False,
        now: datetime | None = None,
    ) -> VacuumResult:
        """Removes the files that no version needs which is in ``keep`` or was the newest one at some moment since
        ``older_than`` before ``now``, and what killed writers left. No commit: the table's version stays.

        A killed one is finished by the next. Raises StoreUnreachable for a table whose log has gaps.
        """
        self._check_environment(name)
        folder = self.path(name)
        with storing(name):
            kept = needed_versions(folder, keep, (now or utc_now()) - older_than)
            stray, lost = unneeded(folder, kept)
            left = orphans(folder, _LEFT_BEHIND)
            size = sum(p.stat().st_size for p in (*stray, *left))
            for path in () if dry_run else (*stray, *left):
                path.unlink(missing_ok=True)
        return VacuumResult(name, len(stray) + len(left), size, len(left), kept, lost)

    def _replace(
        self,
        name: TableName,
        staged: Sequence[StagedFile],
        days: Sequence[date] | None,
        work: Work | None,
        base: Base = "any",
    ) -> Commit:
        info = self.info(name)
        _check_staged(info, staged, days)
        written = {d for s in staged for d in s.days}
        touched = tuple(sorted(written | set(days or ())))

        def plan_of(table: DeltaTable, contract: TableInfo) -> CommitPlan | Commit:
            done = self._stands(name, work, base)
            if done:
                discard(info.path, staged)
                return done
            plan = replace_plan(table, contract, days)
            plan.add.extend(staged)
            plan.rows, plan.work, plan.days = sum(s.rows for s in staged), work, touched
            return plan

        return repeat(lambda: self._opened(name), plan_of)

    def _stands(self, name: TableName, work: Work | None, base: Base) -> Commit | None:
        """The commit that did this work already. Raises CommitConflict where another one than ``base`` did the last."""
        done = self._done(name, work)
        if done is None and work is not None and base != "any" and self.last_work(name, work.kind) != base:
            raise CommitConflict(
                f"other {work.kind} were committed while these were made",
                where=str(name),
                remedy="plan it anew on the table as it stands now",
            )
        return done

    def _done(self, name: TableName, work: Work | None) -> Commit | None:
        return self.done(name, work) if work else None

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


def _staged_rows(info: TableInfo, file: StagedFile, schema: pl.Schema) -> pl.LazyFrame:
    rows = pl.scan_parquet(info.path / file.path, hive_partitioning=False)
    values = {c: v for c, v in file.partition.items() if c in schema}
    typed = (_partition_value(v, schema[c]).alias(c) for c, v in values.items())
    return rows.with_columns(typed).select(schema.names())


def _partition_value(text: str | None, dtype: pl.DataType) -> pl.Expr:
    """A partition's value stands in the log as text."""
    if text is not None and dtype == pl.Date:
        return pl.lit(date.fromisoformat(text), dtype)
    return pl.lit(text, pl.String).cast(dtype)


def _check_staged(info: TableInfo, staged: Sequence[StagedFile], days: Sequence[date] | None) -> None:
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
