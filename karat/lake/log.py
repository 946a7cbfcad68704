"""The Delta log of a table: the work that each commit did, and the days it changed."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, TypedDict
from urllib.parse import unquote

import polars as pl

from karat.lake.records import Work

#: The metadata of a commit. The ``karat.`` entries are those of ``transaction.commit_properties``.
CommitInfo = TypedDict(
    "CommitInfo",
    {
        "timestamp": int,
        "karat.commit": str,
        "karat.rows": int,
        "karat.days": list[str],
        "karat.work": dict[str, Any],
    },
    total=False,
)


class FileAction(TypedDict, total=False):
    """The add or remove action of one file."""

    path: str
    dataChange: bool
    partitionValues: dict[str, str | None]
    stats: str


class Action(TypedDict, total=False):
    """One line of a commit's log file."""

    add: FileAction
    remove: FileAction
    commitInfo: CommitInfo


def log_path(table: Path, version: int) -> Path:
    """The log file of a version."""
    return table / "_delta_log" / f"{version:020d}.json"


def actions(table: Path, version: int) -> list[Action]:
    """The actions of one commit, as the Delta protocol writes them."""
    return [json.loads(line) for line in log_path(table, version).read_text().splitlines() if line]


def commit_info(table: Path, version: int) -> CommitInfo:
    """The metadata of one commit; empty if it has none."""
    return next((a["commitInfo"] for a in actions(table, version) if "commitInfo" in a), CommitInfo())


def is_karat_commit(table: Path, version: int) -> bool:
    """Whether Karat made this commit; False if its log file is gone."""
    return log_path(table, version).exists() and "karat.commit" in commit_info(table, version)


def work_of(info: CommitInfo) -> Work | None:
    """The work that a commit did, or None."""
    work = info.get("karat.work")
    return Work(work["kind"], work["key"], work["detail"]) if work else None


def changed_files(table: Path, since: int, until: int) -> list[FileAction]:
    """The files by which the rows of two versions differ.

    A file that was added and removed in between is left out, and so are commits that only rearrange rows
    (``dataChange``
    false).

    Args:
        table: The table's folder.
        since: The older version.
        until: The newer version.

    Returns:
        Remove actions, then add actions, each oldest first.
    """
    added: dict[str, FileAction] = {}
    removed: dict[str, FileAction] = {}
    for version in range(since + 1, until + 1):
        for action in actions(table, version):
            add, remove = action.get("add"), action.get("remove")
            if add and add.get("dataChange", True):
                added[add["path"]] = add
            if remove and remove.get("dataChange", True) and not added.pop(remove["path"], None):
                removed[remove["path"]] = remove
    return [*removed.values(), *added.values()]


def find_add(table: Path, path: str, before: int) -> FileAction | None:
    """The add action of a file, searched from version ``before`` backwards: remove actions have no statistics."""
    for version in range(before, -1, -1):
        for action in actions(table, version):
            if "add" in action and action["add"]["path"] == path:
                return action["add"]
    return None


def committed_since(table: Path, modified: float) -> set[str]:
    """The files that commits after a time have added.

    Args:
        table: The table's folder.
        modified: Milliseconds since the epoch; 0 for all commits. One minute is allowed for clocks that differ.

    Returns:
        Paths in the table's folder.
    """
    paths: set[str] = set()
    for file in sorted((table / "_delta_log").glob("*.json"), reverse=True):
        if file.stat().st_mtime * 1000 < modified - 60_000:
            break
        if file.stem.isdigit():
            paths |= {unquote(a["add"]["path"]) for a in actions(table, int(file.stem)) if "add" in a}
    return paths


def days_of(table: Path, action: FileAction, column: str, partition: str | None, until: int) -> set[date]:
    """The days of the rows in an added or removed file: from its partition, its statistics, or its rows.

    Args:
        table: The table's folder.
        action: The file's add or remove action.
        column: A date or timestamp column.
        partition: The partition column that holds the day; None if there is none.
        until: The version from which to search for the file's statistics, backwards.

    Returns:
        UTC days; from statistics, every day between the smallest and the greatest value.
    """
    if partition:
        value = action.get("partitionValues", {}).get(partition)
        return {date.fromisoformat(value)} if value else set()
    # A removal carries no statistics of its own.
    add = action if "stats" in action else find_add(table, action["path"], until) or FileAction()
    statistics = json.loads(add.get("stats") or "{}")
    ends = [statistics.get(k, {}).get(column) for k in ("minValues", "maxValues")]
    if None not in ends:
        first, last = (datetime.fromisoformat(t).date() for t in ends)
        return {first + timedelta(days=n) for n in range((last - first).days + 1)}
    rows = pl.scan_parquet(table / unquote(action["path"])).select(pl.col(column).cast(pl.Date)).drop_nulls()
    return set(rows.unique().collect().to_series().to_list())
