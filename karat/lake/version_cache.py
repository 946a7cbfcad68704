"""Opened tables, kept in memory: to open one again, its log is read and parsed anew, which takes milliseconds."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from karat.lake.changes import LocalTable
from karat.lake.log import log_path

#: How many opened versions a process keeps; one holds the list of its files.
KEPT = 64


def newest_version(folder: Path) -> int | None:
    """The newest version that the log of a table names; None where there is no log.

    Args:
        folder: The table's folder.
    """
    try:
        entries = os.listdir(folder / "_delta_log")
    except (FileNotFoundError, NotADirectoryError):
        return None
    versions = [entry[:20] for entry in entries if len(entry) == 25 and entry.endswith(".json")]
    return max((int(v) for v in versions if v.isdecimal()), default=None)


def opened_version(folder: Path, version: int) -> LocalTable:
    """Open a version for reading, or take the one that was opened before.

    A version never changes, so it is known by its log file. A table that was dropped and made again has other log
    files. The table is shared: who commits through it would change what others read.

    Args:
        folder: The table's folder.
        version: The version.

    Returns:
        The table at that version.

    Raises:
        TableNotFoundError: There is no such table, as Delta says it.
        DeltaError: There is no such version, as Delta says it.
    """
    try:
        commit = log_path(folder, version).stat()
    except FileNotFoundError:  # the log before a checkpoint may be gone
        return LocalTable(folder, version=version)
    return _opened(folder, version, commit.st_ino, commit.st_mtime_ns)


@lru_cache(maxsize=KEPT)
def _opened(folder: Path, version: int, inode: int, modified: int) -> LocalTable:
    """Kept by what tells one log file from another, though only the folder and the version are needed to open it."""
    return LocalTable(folder, version=version)
