"""Plans of changes to a version of a table: which rows are new, which files are removed, which are written."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import date
from typing import Any
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable
from deltalake.transaction import RemoveAction

from karat.lake.files import write_files
from karat.lake.records import Commit, TableInfo, Work
from karat.lake.transaction import CommitPlan

#: Files from which on a partition is rewritten as one file, at the next merge into it.
MANY_FILES = 16


class LocalTable(DeltaTable):
    """A Delta table whose folder may have any name.

    Polars 2.1 takes the encoded address for a path, and finds no file if it contains a space.
    """

    @property
    def table_uri(self) -> str:
        """The table's address, decoded."""
        return unquote(super().table_uri)

    def file_uris(self, *args: Any, **kwargs: Any) -> list[str]:
        """The addresses of the files, decoded."""
        folder = super().table_uri.removeprefix("file://")
        return [unquote(folder) + uri.removeprefix(folder) for uri in super().file_uris(*args, **kwargs)]


def scan_version(table: DeltaTable) -> pl.LazyFrame:
    """All columns, hidden ones too, of the version that ``table`` has loaded."""
    return pl.scan_delta(table)


def active_files(table: DeltaTable) -> pl.DataFrame:
    """The files of a version: ``path``, ``size_bytes``, ``partition.COLUMN`` per partition column, ``min.`` ..."""
    return pl.DataFrame(table.get_add_actions(flatten=True))


def remove_actions(files: pl.DataFrame, by: Sequence[str]) -> list[RemoveAction]:
    """The actions that remove ``files``, partitioned by the columns ``by``."""
    now = int(time.time() * 1000)
    return [
        RemoveAction(
            unquote(row["path"]),  # deltalake encodes it again; a path that names no file would remove nothing
            True,
            now,
            row["size_bytes"],
            {c: None if row[f"partition.{c}"] is None else str(row[f"partition.{c}"]) for c in by},
        )
        for row in files.to_dicts()
    ]


def filter_partitions(frame: pl.LazyFrame, by: Sequence[str], values: pl.DataFrame) -> pl.LazyFrame:
    """The rows of the partitions in ``values``; Delta skips files only for a single partition column."""
    if not by:
        return frame
    if len(by) == 1:
        column = values[by[0]]
        kept = pl.col(by[0]).is_in(column.drop_nulls().implode())
        return frame.filter(kept | pl.col(by[0]).is_null() if column.null_count() else kept)
    return frame.join(values.lazy(), on=list(by), how="semi", nulls_equal=True)


def merge_plan(table: DeltaTable, info: TableInfo, frame: pl.DataFrame, work: Work | None) -> CommitPlan | Commit:
    """Plan an upsert by primary key. Rows that the table has already, with the same values, are left alone.

    Args:
        table: The version to change.
        info: Its contract.
        frame: Rows that conform to it.
        work: The work that they are part of.

    Returns:
        The plan, or the outcome if no row differs.
    """
    keys, by = list(info.primary_key), list(info.partition_by)
    stored = scan_version(table)
    if by and {info.tokens.get(c, c) for c in by} <= set(keys):
        stored = filter_partitions(stored, by, frame.select(by).unique())
    matched = stored.join(frame.lazy().select(keys), on=keys, how="semi").collect()
    changed = _changed_rows(frame, matched)
    if not changed.height:
        return Commit(info.name, table.version(), False, 0)
    files = active_files(table)
    rewritten = _partitions_to_rewrite(files, by, matched.join(changed, on=keys, how="semi"), changed)
    rest = _remaining_rows(scan_version(table), by, rewritten, changed.select(keys))
    written = write_files(pl.concat([rest, changed.select(rest.columns)]), info, "merge")
    touched = _changed_days(matched.join(changed, on=keys, how="semi"), changed, info)
    gone = remove_actions(_files_of(files, by, rewritten), by)
    return CommitPlan(written, gone, temporary=written, rows=changed.height, work=work, days=touched)


def append_plan(table: DeltaTable, info: TableInfo, frame: pl.DataFrame, work: Work | None) -> CommitPlan:
    """Plan to add rows. A partition that would have too many files is rewritten as one.

    Args:
        table: The version to change.
        info: Its contract.
        frame: Rows that conform to it.
        work: The work that they are part of.

    Returns:
        The plan.
    """
    by, files = list(info.partition_by), active_files(table)
    crowded = _fragmented_partitions(files, by, frame)
    rest = _remaining_rows(scan_version(table), by, crowded, frame.clear().select(info.primary_key))
    written = write_files(pl.concat([rest, frame.select(rest.columns)]), info, "append")
    gone = remove_actions(_files_of(files, by, crowded), by)
    touched = _changed_days(frame.clear(), frame, info)
    return CommitPlan(written, gone, temporary=written, rows=frame.height, work=work, days=touched)


def _fragmented_partitions(files: pl.DataFrame, by: list[str], given: pl.DataFrame) -> pl.DataFrame | None:
    """The partitions of ``given`` that have many files; see ``_partitions_to_rewrite``."""
    if not by:
        return pl.DataFrame() if files.height >= MANY_FILES else None
    counted = files.rename({f"partition.{c}": c for c in by}).group_by(by).len().filter(pl.col("len") >= MANY_FILES)
    return given.select(by).unique().join(counted.select(by), on=by, how="semi", nulls_equal=True)


def delete_plan(table: DeltaTable, info: TableInfo, keys: pl.DataFrame) -> CommitPlan | Commit:
    """Plan to delete every row whose columns are equal to a row of ``keys``. The rest of its partitions is rewritten.

    Args:
        table: The version to change.
        info: Its contract.
        keys: Distinct rows of some columns.

    Returns:
        The plan, or the outcome if no row matches.
    """
    by = list(info.partition_by)
    matched = scan_version(table).join(keys.lazy(), on=keys.columns, how="semi").collect()
    if not matched.height:
        return Commit(info.name, table.version(), False, 0)
    partitions = matched.select(by).unique() if by else pl.DataFrame()
    rest = (
        filter_partitions(scan_version(table), by, partitions).join(keys.lazy(), on=keys.columns, how="anti").collect()
    )
    written = write_files(rest, info, "delete")
    gone = remove_actions(_files_of(active_files(table), by, partitions), by)
    touched = _changed_days(matched, matched, info)
    return CommitPlan(written, gone, temporary=written, rows=matched.height, days=touched)


def _changed_rows(frame: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """The rows of ``frame`` that are not in ``stored`` with the same values."""
    if not stored.height:
        return frame
    if any(t.is_nested() for t in frame.dtypes):  # lists can't be compared by a join
        return frame
    return frame.join(stored.select(frame.columns), on=frame.columns, how="anti", nulls_equal=True)


def _partitions_to_rewrite(
    files: pl.DataFrame, by: list[str], replaced: pl.DataFrame, given: pl.DataFrame
) -> pl.DataFrame | None:
    """The partitions to rewrite: those with replaced rows, and those of ``given`` that have too many files.

    None if an unpartitioned table need not be rewritten; such a table has one partition without columns. (A frame
    without
    columns has no height, so whole rows are passed.)
    """
    crowded = _fragmented_partitions(files, by, given)
    if not by:
        return pl.DataFrame() if replaced.height else crowded
    assert crowded is not None
    return pl.concat([replaced.select(by), crowded]).unique()


def _remaining_rows(
    stored: pl.LazyFrame, by: list[str], partitions: pl.DataFrame | None, keys: pl.DataFrame
) -> pl.DataFrame:
    """The rows that stay unchanged in the partitions to rewrite."""
    if partitions is None or (by and not partitions.height):
        return stored.limit(0).collect()
    return filter_partitions(stored, by, partitions).join(keys.lazy(), on=keys.columns, how="anti").collect()


def _files_of(files: pl.DataFrame, by: list[str], partitions: pl.DataFrame | None) -> pl.DataFrame:
    if partitions is None:
        return files.clear()
    if not by:
        return files
    return files.join(partitions, left_on=[f"partition.{c}" for c in by], right_on=by, how="semi", nulls_equal=True)


def _changed_days(replaced: pl.DataFrame, changed: pl.DataFrame, info: TableInfo) -> tuple[date, ...]:
    """The UTC days of the replaced and the changed rows, sorted."""
    if info.timeseries is None:
        return ()
    days = pl.concat([replaced[info.timeseries].cast(pl.Date), changed[info.timeseries].cast(pl.Date)])
    return tuple(days.drop_nulls().unique().sort().to_list())


def replace_plan(table: DeltaTable, info: TableInfo, days: Sequence[date] | None) -> CommitPlan:
    """Plan to remove all rows, or those of some days. Rows of other days in the same files are rewritten.

    Args:
        table: The version to change.
        info: Its contract.
        days: UTC days; None for all rows.

    Returns:
        The plan, to which the caller adds files.
    """
    by, files = list(info.partition_by), active_files(table)
    if days is None:
        return CommitPlan(remove=remove_actions(files, by))
    if info.day_column:
        gone = files.filter(pl.col(f"partition.{info.day_column}").is_in(list(days)))
        return CommitPlan(remove=remove_actions(gone, by))
    assert info.timeseries is not None
    day = pl.col(info.timeseries).cast(pl.Date)
    rest = scan_version(table).filter(day.is_null() | ~day.is_in(list(days))).collect()
    kept = write_files(rest, info, "rest")
    return CommitPlan(add=list(kept), remove=remove_actions(files, by), temporary=kept)
