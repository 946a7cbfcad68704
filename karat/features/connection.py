"""DuckDB, shut off from files and network: a declared expression can read the rows it is given and nothing else."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import duckdb
import polars as pl

#: What one connection holds before it spills to disk; several shards run on one node.
MEMORY_LIMIT = "2GB"


@contextmanager
def connect(threads: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory connection without external access; its spill folder goes when it closes.

    A Ray worker is told by OMP_NUM_THREADS how many cores it may use; DuckDB would take all of them. With one thread
    the same rows in the same order give the same sums to the last bit. Within ``kept_connection`` it is the kept one.
    """
    if _kept.depth and threads in (None, 1):
        yield _kept.connection()
        return
    spill = tempfile.mkdtemp(prefix="karat-spill-")
    config: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": "false",
        "memory_limit": MEMORY_LIMIT,
        "temp_directory": spill,
    }
    told = os.environ.get("OMP_NUM_THREADS", "")
    if threads is not None:
        config["threads"] = threads
    elif told.isdigit() and int(told) > 0:
        config["threads"] = told
    connection = duckdb.connect(":memory:", config=config)
    try:
        connection.sql("SET lock_configuration = true")
        yield connection
    finally:
        connection.close()
        shutil.rmtree(spill, ignore_errors=True)


class _Kept(threading.local):
    """One connection a thread, of one DuckDB thread: opening one takes longer than a single entity's features do."""

    def __init__(self) -> None:
        self.depth, self._stack = 0, ExitStack()
        self._open: duckdb.DuckDBPyConnection | None = None

    def connection(self) -> duckdb.DuckDBPyConnection:
        if self._open is None:
            depth, self.depth = self.depth, 0
            try:
                self._open = self._stack.enter_context(connect(threads=1))
            finally:
                self.depth = depth
        return self._open

    def __del__(self) -> None:
        self._stack.close()


_kept = _Kept()


@contextmanager
def kept_connection() -> Iterator[None]:
    """Until it ends, ``connect`` of this thread gives a connection that stays open for the next time."""
    _kept.depth += 1
    try:
        yield
    finally:
        _kept.depth -= 1


def quote(name: str) -> str:
    """``na"me`` -> ``"na""me"``: an SQL identifier, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """An SQL string."""
    return "'" + text.replace("'", "''") + "'"


def plain_times(frame: pl.DataFrame) -> pl.DataFrame:
    """Zoned timestamps as plain UTC ones: DuckDB's zoned functions need its time-zone extension."""
    zoned = [n for n, t in frame.schema.items() if isinstance(t, pl.Datetime) and t.time_zone]
    return frame.with_columns(pl.col(zoned).dt.convert_time_zone("UTC").dt.replace_time_zone(None)) if zoned else frame


def why(error: Exception) -> str:
    """DuckDB's first line, without the name of its exception class."""
    return str(error).splitlines()[0].split("Error: ", 1)[-1].strip()
