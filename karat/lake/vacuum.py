"""Which files of a table no version needs that is to stay readable. Deleting them is no commit: the log stays whole."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from karat.errors import StoreUnreachable
from karat.lake import log
from karat.names import TableName


@dataclass(frozen=True)
class VacuumResult:
    """``files`` of ``bytes`` were removed (or would be), ``left_behind`` of them by killed writers; of the table's
    versions ``lost`` can no longer be read, those in ``kept`` can."""

    table: TableName
    files: int
    bytes: int
    left_behind: int
    kept: tuple[int, ...]
    lost: tuple[int, ...]


def needed_versions(table: Path, keep: Collection[int], since: datetime) -> tuple[int, ...]:
    """``keep``, and every version that was the newest at some moment from ``since`` on."""
    versions = _versions(table)
    horizon = since.timestamp() * 1000
    before = [v for v in versions if _committed(table, v) <= horizon]
    recent = [v for v in versions if v >= max(before, default=0)]
    return tuple(sorted({*recent, *(v for v in keep if v in versions)}))


def unneeded(table: Path, kept: Collection[int]) -> tuple[list[Path], tuple[int, ...]]:
    """The files that are on disk and that only other versions than ``kept`` name; and the versions that need one that
    is not there (or is among those)."""
    snapshots = dict(_snapshots(table))
    needed = set().union(*(files for version, files in snapshots.items() if version in kept))
    every = set().union(*snapshots.values())
    stray = sorted(table / path for path in every - needed if (table / path).exists())
    there = {path for path in needed if (table / path).exists()}
    return stray, tuple(version for version, files in snapshots.items() if not files <= there)


def _snapshots(table: Path) -> Iterator[tuple[int, frozenset[str]]]:
    """The files of every version."""
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
            "the log of the table has gaps, so nobody can say which files its versions need",
            where=str(table / "_delta_log"),
            remedy="switch delta.enableExpiredLogCleanup off for it; nothing was removed",
        )
    return found


def _committed(table: Path, version: int) -> float:
    """Milliseconds of the epoch."""
    info: dict[str, Any] = log.commit_info(table, version)
    return float(info.get("timestamp") or log.log_path(table, version).stat().st_mtime * 1000)
