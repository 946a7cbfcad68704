"""What a write changes in a version of a table: which rows are new, which files go, which are written."""

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

#: A partition with this many files is written anew as one at the next merge into it.
MANY_FILES = 16


class LocalTable(DeltaTable):
    """A table whose folder may have any name: Polars 2.1 takes its encoded address for a path, and finds no file where
    there is a space in it."""

    @property
    def table_uri(self) -> str:
        return unquote(super().table_uri)

    def file_uris(self, *args: Any, **kwargs: Any) -> list[str]:
        folder = super().table_uri.removeprefix("file://")
        return [unquote(folder) + uri.removeprefix(folder) for uri in super().file_uris(*args, **kwargs)]


def rows_of(table: DeltaTable) -> pl.LazyFrame:
    """All stored columns, hidden ones too, of the version that ``table`` has loaded."""
    return pl.scan_delta(table)


def active_files(table: DeltaTable) -> pl.DataFrame:
    """The files of a version: ``path``, ``size_bytes``, ``partition.COLUMN`` for each partition column, ``min.`` ..."""
    return pl.DataFrame(table.get_add_actions(flatten=True))


def removals(files: pl.DataFrame, by: Sequence[str]) -> list[RemoveAction]:
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


def in_partitions(frame: pl.LazyFrame, by: Sequence[str], values: pl.DataFrame) -> pl.LazyFrame:
    """The rows of the partitions named in ``values``; a single partition column is pruned by file."""
    if not by:
        return frame
    if len(by) == 1:
        column = values[by[0]]
        kept = pl.col(by[0]).is_in(column.drop_nulls().implode())
        return frame.filter(kept | pl.col(by[0]).is_null() if column.null_count() else kept)
    return frame.join(values.lazy(), on=list(by), how="semi", nulls_equal=True)


def merge_plan(table: DeltaTable, info: TableInfo, frame: pl.DataFrame, work: Work | None) -> CommitPlan | Commit:
    """Upsert by primary key. Rows that stand in the table already as they are given are left alone."""
    keys, by = list(info.primary_key), list(info.partition_by)
    stored = rows_of(table)
    if by and set(by) <= set(keys):
        stored = in_partitions(stored, by, frame.select(by).unique())
    matched = stored.join(frame.lazy().select(keys), on=keys, how="semi").collect()
    changed = _other_than(frame, matched)
    if not changed.height:
        return Commit(info.name, table.version(), False, 0)
    files = active_files(table)
    rewritten = _rewritten(files, by, matched.join(changed, on=keys, how="semi"), changed)
    rest = _rest(rows_of(table), by, rewritten, changed.select(keys))
    written = write_files(pl.concat([rest, changed.select(rest.columns)]), info, "merge")
    touched = _touched(matched.join(changed, on=keys, how="semi"), changed, info)
    gone = removals(_files_of(files, by, rewritten), by)
    return CommitPlan(written, gone, temporary=written, rows=changed.height, work=work, days=touched)


def append_plan(table: DeltaTable, info: TableInfo, frame: pl.DataFrame, work: Work | None) -> CommitPlan:
    """Adds the rows beside what is there; a partition that has too many files by then is written anew as one."""
    by, files = list(info.partition_by), active_files(table)
    crowded = _crowded(files, by, frame)
    rest = _rest(rows_of(table), by, crowded, frame.clear().select(info.primary_key))
    written = write_files(pl.concat([rest, frame.select(rest.columns)]), info, "append")
    gone = removals(_files_of(files, by, crowded), by)
    touched = _touched(frame.clear(), frame, info)
    return CommitPlan(written, gone, temporary=written, rows=frame.height, work=work, days=touched)


def _crowded(files: pl.DataFrame, by: list[str], given: pl.DataFrame) -> pl.DataFrame | None:
    """The partitions of ``given`` with many files; see ``_rewritten``."""
    if not by:
        return pl.DataFrame() if files.height >= MANY_FILES else None
    counted = files.rename({f"partition.{c}": c for c in by}).group_by(by).len().filter(pl.col("len") >= MANY_FILES)
    return given.select(by).unique().join(counted.select(by), on=by, how="semi", nulls_equal=True)


def delete_plan(table: DeltaTable, info: TableInfo, keys: pl.DataFrame) -> CommitPlan | Commit:
    """Takes away every row whose columns equal a row of ``keys``; the rest of its partitions is written anew."""
    by = list(info.partition_by)
    matched = rows_of(table).join(keys.lazy(), on=keys.columns, how="semi").collect()
    if not matched.height:
        return Commit(info.name, table.version(), False, 0)
    partitions = matched.select(by).unique() if by else pl.DataFrame()
    rest = in_partitions(rows_of(table), by, partitions).join(keys.lazy(), on=keys.columns, how="anti").collect()
    written = write_files(rest, info, "delete")
    gone = removals(_files_of(active_files(table), by, partitions), by)
    touched = _touched(matched, matched, info)
    return CommitPlan(written, gone, temporary=written, rows=matched.height, days=touched)


def _other_than(frame: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    if not stored.height:
        return frame
    if any(t.is_nested() for t in frame.dtypes):  # lists can't be compared by a join
        return frame
    return frame.join(stored.select(frame.columns), on=frame.columns, how="anti", nulls_equal=True)


def _rewritten(files: pl.DataFrame, by: list[str], replaced: pl.DataFrame, given: pl.DataFrame) -> pl.DataFrame | None:
    """The partitions to write anew: those with replaced rows, and those of the frame that hold too many files.

    None: none of an unpartitioned table; an unpartitioned table has the one partition without columns. (A frame
    without columns has no height, so whole rows are passed.)
    """
    crowded = _crowded(files, by, given)
    if not by:
        return pl.DataFrame() if replaced.height else crowded
    assert crowded is not None
    return pl.concat([replaced.select(by), crowded]).unique()


def _rest(stored: pl.LazyFrame, by: list[str], partitions: pl.DataFrame | None, keys: pl.DataFrame) -> pl.DataFrame:
    """The rows that stay as they are in the partitions that are written anew."""
    if partitions is None or (by and not partitions.height):
        return stored.limit(0).collect()
    return in_partitions(stored, by, partitions).join(keys.lazy(), on=keys.columns, how="anti").collect()


def _files_of(files: pl.DataFrame, by: list[str], partitions: pl.DataFrame | None) -> pl.DataFrame:
    if partitions is None:
        return files.clear()
    if not by:
        return files
    return files.join(partitions, left_on=[f"partition.{c}" for c in by], right_on=by, how="semi", nulls_equal=True)


def _touched(replaced: pl.DataFrame, changed: pl.DataFrame, info: TableInfo) -> tuple[date, ...]:
    if info.timeseries is None:
        return ()
    days = pl.concat([replaced[info.timeseries].cast(pl.Date), changed[info.timeseries].cast(pl.Date)])
    return tuple(days.drop_nulls().unique().sort().to_list())


def replace_plan(table: DeltaTable, info: TableInfo, days: Sequence[date] | None) -> CommitPlan:
    """Takes away all rows, or those of ``days``; where files hold other days too, these rows are written anew."""
    by, files = list(info.partition_by), active_files(table)
    if days is None:
        return CommitPlan(remove=removals(files, by))
    if info.day_column:
        gone = files.filter(pl.col(f"partition.{info.day_column}").is_in(list(days)))
        return CommitPlan(remove=removals(gone, by))
    assert info.timeseries is not None
    day = pl.col(info.timeseries).cast(pl.Date)
    rest = rows_of(table).filter(day.is_null() | ~day.is_in(list(days))).collect()
    kept = write_files(rest, info, "rest")
    return CommitPlan(add=list(kept), remove=removals(files, by), temporary=kept)
