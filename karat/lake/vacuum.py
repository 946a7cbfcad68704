"""Vacuum: the files of a table that no needed version has. Deleting them is no commit, so the log stays complete."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote

from karat.errors import StoreUnreachable
from karat.lake import log
from karat.names import TableName


@dataclass(frozen=True)
class VacuumResult:
    """What a vacuum deleted, or would delete.

    Attributes:
        table: The table.
        files: Files deleted.
        bytes: Their size.
        left_behind: Those of them that killed writers left.
        kept: Versions that can be read.
        lost: Versions that can no longer be read.
    """

    table: TableName
    files: int
    bytes: int
    left_behind: int
    kept: tuple[int, ...]
    lost: tuple[int, ...]


def needed_versions(table: Path, keep: Collection[int], since: datetime) -> tuple[int, ...]:
    """The versions ``keep``, and every version that was the newest at any moment after ``since``."""
    versions = _versions(table)
    horizon = since.timestamp() * 1000
    before = [v for v in versions if _committed(table, v) <= horizon]
    recent = [v for v in versions if v >= max(before, default=0)]
    return tuple(sorted({*recent, *(v for v in keep if v in versions)}))


def unneeded_files(table: Path, kept: Collection[int]) -> tuple[list[Path], tuple[int, ...]]:
    """The files that only unneeded versions have.

    Args:
        table: The table's folder.
        kept: The needed versions.

    Returns:
        These files, and the versions that miss a file or would after these are deleted.
    """
    snapshots = dict(_snapshots(table))
    needed = set().union(*(files for version, files in snapshots.items() if version in kept))
    every = set().union(*snapshots.values())
    stray = sorted(table / path for path in every - needed if (table / path).exists())
    there = {path for path in needed if (table / path).exists()}
    return stray, tuple(version for version, files in snapshots.items() if not files <= there)


def _snapshots(table: Path) -> Iterator[tuple[int, frozenset[str]]]:
    """(version, its files) of every version."""
    current: set[str] = set()
    for version in _versions(table):
        for action in log.actions(table, version):
            if "remove" in action:
                current.discard(unquote(action["remove"]["path"]))
            if "add" in action:
                current.add(unquote(action["add"]["path"]))
        yield version, frozenset(current)


def _versions(table: Path) -> list[int]:
    found = sorted(int(p.stem) for p in (table / "_delta_log").glob("*.json") if p.stem.isdigit())
    if found != list(range(len(found))):
        raise StoreUnreachable(
            "the log of the table has gaps, so the files of its versions are unknown",
            where=str(table / "_delta_log"),
            remedy="set delta.enableExpiredLogCleanup to false for it; nothing was deleted",
        )
    return found


def _committed(table: Path, version: int) -> float:
    """When a version was committed, in milliseconds since the epoch."""
    return float(
        log.commit_info(table, version).get("timestamp") or log.log_path(table, version).stat().st_mtime * 1000
    )
