"""SQL expressions: a DuckDB connection without files or network, DuckDB's parse tree, and quoting.

A declared expression can read the rows that it is given and nothing else.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import threading
import weakref
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import duckdb
import polars as pl

#: Memory that one connection uses before it spills to disk; several shards run on one node.
MEMORY_LIMIT = "2GB"
#: A parse tree as DuckDB serialises it to JSON.
Tree = dict[str, Any]
#: An expression that is one unquoted column name; it needs no parser.
_PLAIN = re.compile(r"(?!(?:true|false|null)$)[a-z_]\w*", re.IGNORECASE)


@contextmanager
def connect(threads: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a connection to an in-memory database without external access, for SELECTs over registered frames.

    With one thread the same rows in the same order give the same sums to the last bit. What is registered is gone
    afterwards. A table or a view that the block makes would stay: use ``open_database`` for these.

    Args:
        threads: DuckDB's threads. By default OMP_NUM_THREADS, by which Ray tells a worker its cores, and 1 within
            ``one_thread``.

    Yields:
        The connection.
    """
    if threads is None:
        told = "1" if _calls.on_one_thread else os.environ.get("OMP_NUM_THREADS", "")
        threads = int(told) if told.isdigit() and int(told) > 0 else None
    with _idle.database(threads) as database, database.connection.cursor() as connection:
        yield connection


class _Calls(threading.local):
    on_one_thread = False


_calls = _Calls()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let ``connect`` use one thread in the block: a few rows are not worth more."""
    before, _calls.on_one_thread = _calls.on_one_thread, True
    try:
        yield
    finally:
        _calls.on_one_thread = before


@contextmanager
def open_database(threads: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an in-memory database without external access; it is gone when it closes, and its tables with it."""
    database = _Database(threads)
    try:
        yield database.connection
    finally:
        database.close()


class _Database:
    """An in-memory database. Its spill folder is deleted when it closes, or when its process ends."""

    def __init__(self, threads: int | None) -> None:
        spill = tempfile.mkdtemp(prefix="karat-spill-")
        self._remove = weakref.finalize(self, _remove_folder, spill, os.getpid())
        config: dict[str, str | bool | int | float | list[str]] = {
            "enable_external_access": "false",
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": spill,
        }
        if threads is not None:
            config["threads"] = threads
        self.connection = duckdb.connect(":memory:", config=config)
        self.connection.sql("SET lock_configuration = true")

    def close(self) -> None:
        self.connection.close()
        self._remove()


def _remove_folder(folder: str, owner: int) -> None:
    """A forked process leaves the folder to its parent."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


class _IdleDatabases:
    """Databases that wait for their next use: to open one takes 20 ms, longer than most queries on it.

    There are as many as were in use at one time.
    """

    def __init__(self) -> None:
        self._waiting: defaultdict[int | None, list[_Database]] = defaultdict(list)
        self._of_parent: list[object] = []
        os.register_at_fork(after_in_child=self._forget)

    @contextmanager
    def database(self, threads: int | None) -> Iterator[_Database]:
        """A database that nobody else uses meanwhile."""
        waiting = self._waiting[threads]
        try:
            database = waiting.pop()
        except IndexError:
            database = _Database(threads)
        try:
            yield database
        finally:
            waiting.append(database)

    def _forget(self) -> None:
        """In a forked process: DuckDB's threads are not there, so that even closing would wait for them forever."""
        self._of_parent.append(self._waiting)
        self._waiting = defaultdict(list)


_idle = _IdleDatabases()


def quote(name: str) -> str:
    """Quote an SQL identifier: ``na"me`` becomes ``"na""me"``."""
    return '"' + name.replace('"', '""') + '"'


def identifier(name: str) -> str:
    """A column as SQL names it: without quotes where it needs none, so that generated declarations read well."""
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) and name not in _words() else quote(name)


@lru_cache(maxsize=1)
def _words() -> frozenset[str]:
    """The words of DuckDB's SQL that cannot name a column everywhere."""
    with duckdb.connect() as connection:
        asked = "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'"
        return frozenset(row[0] for row in connection.execute(asked).fetchall())


def unused_name(columns: Iterable[str], wanted: str) -> str:
    """``wanted``, or that with underscores, so that a helper column never meets one of the user's."""
    taken = {c.lower() for c in columns}
    while wanted.lower() in taken:
        wanted += "_"
    return wanted


def literal(text: str) -> str:
    """Quote an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def plain_times(frame: pl.DataFrame) -> pl.DataFrame:
    """Replace zoned timestamps by naive UTC ones: DuckDB's zoned functions need its time-zone extension."""
    zoned = [n for n, t in frame.schema.items() if isinstance(t, pl.Datetime) and t.time_zone]
    return frame.with_columns(pl.col(zoned).dt.convert_time_zone("UTC").dt.replace_time_zone(None)) if zoned else frame


def why(error: Exception) -> str:
    """The first line of a DuckDB error, without the name of its exception class."""
    return str(error).splitlines()[0].split("Error: ", 1)[-1].strip()


def missing_column(error: Exception) -> str | None:
    """The column that a DuckDB binder error did not find; None if it is another error."""
    found = re.search(r'column "([^"]+)" not found', str(error))
    return found[1] if found else None


def is_column_name(expression: str) -> bool:
    """Whether an expression is one unquoted column name, so that it needs no engine."""
    return _PLAIN.fullmatch(expression.strip()) is not None


def parse_select(query: str) -> Tree:
    """Parse a query with DuckDB's own parser.

    Args:
        query: One or several SELECT statements.

    Returns:
        The tree of ``json_serialize_sql``. Its ``error`` is true, with an ``error_message``, if the text cannot be
        parsed.

    Raises:
        duckdb.Error: The text is no SELECT.
    """
    with connect(threads=1) as connection:
        text = connection.sql(f"SELECT json_serialize_sql({literal(query)})").fetchall()[0][0]
    tree: Tree = json.loads(text)
    return tree


def nodes(tree: object) -> Iterator[Tree]:
    """Every object of a parse tree, depth first."""
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from nodes(value)


@lru_cache(maxsize=4096)
def _parsed(expression: str) -> Tree | None:
    """The parse tree of one expression; None if DuckDB cannot parse it."""
    try:
        tree = parse_select(f"SELECT ({expression}\n)")
    except duckdb.Error:
        return None
    return None if tree.get("error") else tree


def has_subquery(expression: str) -> bool:
    """Whether an expression contains a subquery."""
    tree = _parsed(expression)
    return tree is not None and any(node.get("class") == "SUBQUERY" for node in nodes(tree))


@lru_cache(maxsize=4096)
def column_references(expression: str, *, subqueries: bool = True) -> tuple[tuple[str, ...], ...] | None:
    """The column references of an expression, in the order in which they appear.

    A reference with dots is ``table.column`` or ``column.field``: only a binder can tell which. Parameters of lambdas
    are no columns.

    Args:
        expression: One SQL expression.
        subqueries: Whether to look into subqueries, which have names of their own.

    Returns:
        The parts of each reference; None if DuckDB cannot parse the expression.
    """
    if is_column_name(expression):
        return ((expression.strip(),),)
    tree = _parsed(expression)
    return None if tree is None else tuple(dict.fromkeys(_references(tree, frozenset(), subqueries)))


def _references(node: object, parameters: frozenset[str], subqueries: bool) -> Iterator[tuple[str, ...]]:
    """The references below a node, without the parameters of the lambdas around it."""
    if isinstance(node, list):
        for value in node:
            yield from _references(value, parameters, subqueries)
    if not isinstance(node, dict) or (node.get("class") == "SUBQUERY" and not subqueries):
        return
    names = node.get("column_names")
    if node.get("class") == "COLUMN_REF" and isinstance(names, list):
        path = tuple(str(name) for name in names)
        if path[0].lower() not in parameters:
            yield path
    if node.get("class") == "LAMBDA":
        own = {path[0].lower() for path in _references(node.get("lhs"), frozenset(), subqueries)}
        parameters |= own
    for value in node.values():
        yield from _references(value, parameters, subqueries)


def columns_read(expressions: Iterable[str | None], available: Iterable[str]) -> tuple[str, ...]:
    """The columns of ``available`` that SQL expressions read.

    Args:
        expressions: SQL expressions; None is skipped.
        available: The columns that there are.

    Returns:
        Columns in the order of ``available``. All of them if an expression cannot be parsed or has a star, so that the
        binder and not this function refuses it.
    """
    columns = list(available)
    known = {column.lower(): column for column in columns}
    read: set[str] = set()
    for expression in expressions:
        if expression is None:
            continue
        paths = column_references(expression)
        if paths is None or _has_star(expression):
            return tuple(columns)
        for path in paths:
            # The first part that is a column: in table.column the second, in column.field the first.
            read.update([known[part.lower()] for part in path if part.lower() in known][:1])
    return tuple(column for column in columns if column in read)


def _has_star(expression: str) -> bool:
    tree = None if is_column_name(expression) else _parsed(expression)
    return tree is not None and any(node.get("class") == "STAR" for node in nodes(tree))
