"""Delta tables in one folder: ``ROOT/CATALOG/SCHEMA/TABLE``, each an ordinary Delta table."""

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
from karat.lake.transaction import CommitPlan, commit_with_retries, store_errors
from karat.lake.vacuum import VacuumResult, needed_versions, unneeded_files
from karat.names import TableName, project_of
from karat.settings import ENVIRONMENTS

Frame: TypeAlias = pl.DataFrame | pa.Table
#: The last work of a kind on which new work was planned; None if there was none, ``"any"`` if it does not matter.
Base: TypeAlias = Work | Literal["any"] | None
#: Age at which a file that no commit names counts as left by a killed writer.
_ORPHAN_AGE = timedelta(days=1)


class Lake(LakeReader):
    """All tables in a folder.

    Args:
        root: The folder.
        environment: The only environment (dev, prod, ...) whose catalogs may be written; None allows all.
    """

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
        """Create a table, or bring an existing one to this definition.

        An existing table may gain nullable columns; owner, description, grain, lag and properties are updated. Column
        descriptions are the ``comment`` metadata of the fields.

        Args:
            name: The table.
            schema: Its columns.
            primary_key: Its key columns.
            timeseries: Its time column.
            partition_by: Partition columns. None partitions gold and feature tables with a time column by day (a
                timestamp by
                its hidden ``_day``), and no other table.
            grain: The time between two rows of an entity; ``"event"`` for a row per event.
            lag: How long after its time a row is known.
            event_id: The column that tells rows of one entity and time apart; only with the grain ``"event"``.
            owner: Who is responsible for it.
            description: What it holds.
            properties: Table properties; a name without a dot gets the prefix ``karat.``.

        Returns:
            The table's contract.

        Raises:
            SchemaMismatch: The table exists with another definition, or the definition contradicts itself.
            ColumnMissing: A key, time or partition column is not in the schema.
            NaiveTimestamp: A timestamp column has no time zone.
            ForeignCatalog: The catalog belongs to another environment.
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
        """Upsert rows by primary key, in one commit.

        Rows that the table has already, with the same values, are not written again.

        Args:
            name: The table.
            frame: The rows.
            work: The work that they are part of; if it was committed before, nothing is written.
            timezone: IANA zone of naive timestamps.
            base: As in ``commit``.

        Returns:
            The outcome.

        Raises:
            KeyColumnNull: A row has no value in a key column.
            DuplicateKeys: Several rows have the same key.
            ColumnMissing: A column of the table is missing.
            SchemaMismatch: A column is unknown, or its values do not fit its type.
            NaiveTimestamp: Timestamps have no zone, and ``timezone`` is None.
            CommitConflict: Other writers were faster in every attempt.
            DiskFull: The volume is full.
        """
        self._check_environment(name)
        rows = conform(frame, self.info(name), timezone)
        return commit_with_retries(
            name,
            lambda: self._open_for_commit(name),
            lambda table, info: self._finished_commit(name, work, base) or merge_plan(table, info, rows, work),
        )

    def append(self, name: TableName, frame: Frame, *, work: Work | None = None) -> Commit:
        """Append rows with new keys, such as generated ids, without searching the table for them.

        Args:
            name: The table.
            frame: The rows.
            work: The work that they are part of; if it was committed before, nothing is written.

        Returns:
            The outcome.

        Raises:
            DataError: As ``merge``.
            CommitConflict: As ``merge``.
            DiskFull: As ``merge``.
        """
        self._check_environment(name)
        rows = conform(frame, self.info(name))
        return commit_with_retries(
            name,
            lambda: self._open_for_commit(name),
            lambda table, info: self.commit_of(name, work) or append_plan(table, info, rows, work),
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
        """Replace the whole table, or the rows of some days, in one commit.

        Args:
            name: The table.
            frame: The new rows.
            days: UTC days of the time column; None replaces all rows.
            work: The work that they are part of; if it was committed before, nothing is written.
            timezone: IANA zone of naive timestamps.

        Returns:
            The outcome.

        Raises:
            DataError: As ``merge``, or a row is outside ``days``.
            CommitConflict: As ``merge``.
            DiskFull: As ``merge``.
        """
        self._check_environment(name)
        done = self.commit_of(name, work)
        if done:
            return done
        staged = self.stage(name, frame, label="overwrite", timezone=timezone)
        try:
            return self._replace(name, staged, days, work)
        except BaseException:
            discard(self.path(name), staged)
            raise

    def delete(self, name: TableName, keys: pl.DataFrame) -> Commit:
        """Delete rows in one commit; earlier versions keep them.

        Args:
            name: The table.
            keys: Rows whose columns are equal to a row of this frame are deleted.

        Returns:
            The outcome.

        Raises:
            ColumnMissing: The table has no such column.
            CommitConflict: Other writers were faster in every attempt.
            DiskFull: The volume is full.
        """
        self._check_environment(name)
        for column in keys.columns:
            if column not in (known := self.info(name).schema.names):
                raise ColumnMissing(
                    f"the table has no column {column!r}", where=str(name), remedy=did_you_mean(column, known)
                )
        return commit_with_retries(
            name, lambda: self._open_for_commit(name), lambda table, info: delete_plan(table, info, keys.unique())
        )

    def drop(self, name: TableName) -> None:
        """Delete a table with all its versions. The log is deleted first, so that a killed drop leaves no table."""
        self._check_environment(name)
        with store_errors(name):
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
        """Write rows into the table's folder, for a later ``commit``. No reader sees them before.

        It may be called in any process; the result is picklable.

        Args:
            name: The table.
            frame: The rows, or several frames that share no key; they are checked and written one by one.
            label: How the names of the files begin.
            timezone: IANA zone of naive timestamps.
            measure: Whether to compute statistics of each file's columns.

        Returns:
            The files.

        Raises:
            DataError: As ``merge``.
            DiskFull: The volume is full.
        """
        self._check_environment(name)
        info = self.info(name)
        staged: list[StagedFile] = []
        try:
            for part in [frame] if isinstance(frame, pl.DataFrame | pa.Table) else frame:
                rows = conform(part, info, timezone)
                with store_errors(name):
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
        """Commit the files of many ``stage`` calls at once.

        The caller makes sure that no two workers stage the same key.

        Args:
            name: The table.
            staged: The files.
            replace: The rows that they replace: ``"all"``, or those of some days.
            work: The work that they are part of. If it was committed before, nothing is written and the files are
                deleted.
            base: The last work of this kind on which this work was planned; None if there was none.

        Returns:
            The outcome.

        Raises:
            DataError: A file is gone or has rows outside of ``replace``.
            CommitConflict: Other work than ``base`` was committed last, or other writers were faster in every attempt.
            DiskFull: The volume is full.
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
        """Delete staged files that will not be committed."""
        discard(self.path(name), staged)

    def sweep(self, name: TableName, older_than: timedelta = _ORPHAN_AGE) -> int:
        """Delete the files that killed writers left; old versions stay readable.

        Args:
            name: The table.
            older_than: Age from which a file that no version names is deleted.

        Returns:
            How many files were deleted.
        """
        self._check_environment(name)
        with store_errors(name):
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
        """Delete the files that no needed version has, and those that killed writers left.

        It makes no commit, so the table keeps its version. If it is killed, the next call completes it.

        Args:
            name: The table.
            keep: Versions that stay readable.
            older_than: Versions that were the newest at any moment of this last period stay readable, too.
            dry_run: Whether to count the files only.
            now: The end of that period; now by default.

        Returns:
            What was deleted, or would be.

        Raises:
            StoreUnreachable: The table's log has gaps.
        """
        self._check_environment(name)
        folder = self.path(name)
        with store_errors(name):
            kept = needed_versions(folder, keep, (now or utc_now()) - older_than)
            stray, lost = unneeded_files(folder, kept)
            left = orphans(folder, _ORPHAN_AGE)
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
            done = self._finished_commit(name, work, base)
            if done:
                discard(info.path, staged)
                return done
            plan = replace_plan(table, contract, days)
            plan.add.extend(staged)
            plan.rows, plan.work, plan.days = sum(s.rows for s in staged), work, touched
            return plan

        return commit_with_retries(name, lambda: self._open_for_commit(name), plan_of)

    def _finished_commit(self, name: TableName, work: Work | None, base: Base) -> Commit | None:
        """The commit that did this work before. Raises CommitConflict if other work than ``base`` was the last."""
        done = self.commit_of(name, work)
        if done is None and work is not None and base != "any" and self.last_work(name, work.kind) != base:
            raise CommitConflict(
                f"another writer committed {work.kind} while this one was computed",
                where=str(name),
                remedy="run this again, on the newest version of the table",
            )
        return done

    def _check_environment(self, name: TableName) -> None:
        suffix = name.catalog.rpartition("_")[2]
        foreign = suffix in ENVIRONMENTS and project_of(name.catalog) != name.catalog
        if self.environment is not None and foreign and suffix != self.environment:
            raise ForeignCatalog(
                f"this process runs in environment {self.environment!r}, and {name} belongs to {suffix!r}",
                where=str(name),
                remedy=f"write to {project_of(name.catalog)}_{self.environment}, or set KARAT_ENVIRONMENT={suffix}",
            )


def _staged_rows(info: TableInfo, file: StagedFile, schema: pl.Schema) -> pl.LazyFrame:
    rows = pl.scan_parquet(info.path / file.path, hive_partitioning=False)
    values = {c: v for c, v in file.partition.items() if c in schema}
    typed = (_partition_value(v, schema[c]).alias(c) for c, v in values.items())
    return rows.with_columns(typed).select(schema.names())


def _partition_value(text: str | None, dtype: pl.DataType) -> pl.Expr:
    """A partition's value, which the log holds as text."""
    if text is not None and dtype == pl.Date:
        return pl.lit(date.fromisoformat(text), dtype)
    return pl.lit(text, pl.String).cast(dtype)


def _check_staged(info: TableInfo, staged: Sequence[StagedFile], days: Sequence[date] | None) -> None:
    """Refuse files that are gone, and rows outside the days to replace."""
    for file in staged:
        path = info.path / file.path
        if not path.exists() or path.stat().st_size != file.size:
            raise DataError(
                f"the staged file {file.path} was deleted or changed", where=str(info.name), remedy="stage it again"
            )
    if days is None:
        return
    if info.timeseries is None:
        raise SchemaMismatch(f"{info.name} has no time column, so it has no days", where=str(info.path))
    outside = sorted({d for s in staged for d in s.days} - set(days))
    dayless = info.day_column and any(s.partition.get(info.day_column) is None for s in staged)
    if outside or dayless:
        raise DataError(
            f"rows of {', '.join(map(str, outside[:3])) or 'no day'} are outside the days to replace",
            where=str(info.name),
            remedy="add their days, or leave these rows out",
        )
