"""What the Delta log says of a table's commits: the work each did, and the days each touched."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl

from karat.lake.records import Work


def log_path(table: Path, version: int) -> Path:
    return table / "_delta_log" / f"{version:020d}.json"


def actions(table: Path, version: int) -> list[dict[str, Any]]:
    """The actions of one commit, as the Delta protocol writes them."""
    return [json.loads(line) for line in log_path(table, version).read_text().splitlines() if line]


def commit_info(table: Path, version: int) -> dict[str, Any]:
    return next((a["commitInfo"] for a in actions(table, version) if "commitInfo" in a), {})


def is_ours(table: Path, version: int) -> bool:
    """Whether Karat made this commit. One whose log is gone may be anybody's."""
    return log_path(table, version).exists() and "karat.commit" in commit_info(table, version)


def work_of(info: dict[str, Any]) -> Work | None:
    found = info.get("karat.work")
    return Work(found["kind"], found["key"], found.get("detail", {})) if found else None


def changed_files(table: Path, since: int, until: int) -> list[dict[str, Any]]:
    """The add and remove actions by which the rows of two versions differ, oldest first.

    A file that came and went in between is left out, and so is what only rearranges rows (``dataChange`` false).
    """
    added: dict[str, dict[str, Any]] = {}
    removed: dict[str, dict[str, Any]] = {}
    for version in range(since + 1, until + 1):
        for action in actions(table, version):
            add, remove = action.get("add"), action.get("remove")
            if add and add.get("dataChange", True):
                added[add["path"]] = add
            if remove and remove.get("dataChange", True) and not added.pop(remove["path"], None):
                removed[remove["path"]] = remove
    return [*removed.values(), *added.values()]


def find_add(table: Path, path: str, before: int) -> dict[str, Any] | None:
    """The add action of a file, looked for from version ``before`` backwards: removals carry no statistics."""
    for version in range(before, -1, -1):
        for action in actions(table, version):
            if action.get("add", {}).get("path") == path:
                made: dict[str, Any] | None = action["add"]
                return made
    return None


def committed_since(table: Path, modified: float) -> set[str]:
    """The files that any commit written after ``modified`` (milliseconds of the epoch; 0: ever) has added.

    A minute is allowed for clocks that differ.
    """
    paths: set[str] = set()
    for file in sorted((table / "_delta_log").glob("*.json"), reverse=True):
        if file.stat().st_mtime * 1000 < modified - 60_000:
            break
        if file.stem.isdigit():
            paths |= {unquote(a["add"]["path"]) for a in actions(table, int(file.stem)) if "add" in a}
    return paths


def days_of(table: Path, action: dict[str, Any], column: str, partition: str | None, until: int) -> set[date]:
    """The days of ``column`` that an added or removed file holds: by its partition, its statistics, or its rows."""
    if partition:
        value = action.get("partitionValues", {}).get(partition)
        return {date.fromisoformat(value)} if value else set()
    # A removal carries no statistics of its own.
    add = action if "stats" in action else find_add(table, action["path"], until) or {}
    statistics = json.loads(add.get("stats") or "{}")
    ends = [statistics.get(k, {}).get(column) for k in ("minValues", "maxValues")]
    if None not in ends:
        first, last = (datetime.fromisoformat(t).date() for t in ends)
        return {first + timedelta(days=n) for n in range((last - first).days + 1)}
    rows = pl.scan_parquet(table / unquote(action["path"])).select(pl.col(column).cast(pl.Date)).drop_nulls()
    return set(rows.unique().collect().to_series().to_list())
