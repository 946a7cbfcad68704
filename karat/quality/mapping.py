"""Application of a map to the rows of a file, in a DuckDB that can reach nothing but these rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import polars as pl

from karat.declare import GoldTable
from karat.errors import ColumnMissing, DeclarationError, did_you_mean
from karat.quality.calendar_text import add_calendar
from karat.quality.maps import Expression, Map
from karat.quality.numbers import MACROS
from karat.quality.sources import InputFile
from karat.sql import column_references, quote, unused_name

ROW, FILE = "_row", "_file"


@dataclass(frozen=True)
class MappedRows:
    """The rows of a file after a map.

    Attributes:
        frame: The rows, in the contract's columns.
        problem: Why an expression failed on each row; null if none did.
        numbers: Each row's number in ``source``, from 1.
        source: The file.
    """

    frame: pl.DataFrame
    problem: pl.Series
    numbers: pl.Series
    source: InputFile


def isolated_connection(timezone: str | None) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB without files, network, extensions or Python's variables; its settings are locked.

    It has ``parse_number`` and ``parse_integer``, and those of ``add_calendar``.
    """
    connection = duckdb.connect(
        config={
            "enable_external_access": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
    )
    connection.execute("SET python_enable_replacements = false")
    for macro in MACROS:
        connection.execute(macro)
    add_calendar(connection)
    connection.execute(f"SET TimeZone = '{timezone or 'UTC'}'")
    # This optimizer moves common expressions out of TRY(...), so that one bad value would fail all rows.
    connection.execute("SET disabled_optimizers = 'common_subexpressions'")
    connection.execute("SET lock_configuration = true")
    return connection


def bind_map(chosen: Map, head: pl.DataFrame, path: str) -> None:
    """Check that a map fits a file's columns and their types, before any row is read.

    Args:
        chosen: The map.
        head: The file without its rows.
        path: The file, for the error.

    Raises:
        ColumnMissing: The file lacks a column that the map reads.
        DeclarationError: DuckDB cannot bind an expression; the message lists all.
    """
    missing = missing_columns(head.columns, referenced_columns(chosen))
    if missing:
        raise ColumnMissing(
            f"the map {chosen.name!r} reads the column {missing[0]!r}, which the file does not have"
            + (f" (nor {', '.join(map(repr, missing[1:]))})" if missing[1:] else ""),
            where=path,
            remedy=did_you_mean(missing[0], head.columns),
        )
    errors: list[str] = []
    with isolated_connection(None) as connection:
        connection.register("rows", _numbered(head, path).to_arrow())
        texts = _expressions(chosen)
        if not _binds(connection, ", ".join(texts.values())):
            for target, text in texts.items():
                _binds(connection, text, errors, target)
    if errors:
        raise DeclarationError(
            f"the map {chosen.name!r} has expressions that DuckDB cannot bind to this file",
            where=path,
            remedy="correct the map",
            errors=errors,
        )


def _binds(connection: duckdb.DuckDBPyConnection, text: str, errors: list[str] | None = None, target: str = "") -> bool:
    """Whether DuckDB binds expressions to the rows; an error is added to ``errors``."""
    try:
        connection.sql(f"SELECT {text} FROM rows").columns  # noqa: B018 - binding alone is wanted
    except duckdb.Error as error:
        if errors is not None:
            errors.append(f"{target}: {str(error).splitlines()[0]}")
        return False
    return True


def missing_columns(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    """The names that are no columns of a file; case does not count, as in SQL."""
    known = {c.lower() for c in (*columns, ROW, FILE)}
    return [name for name in names if name.lower() not in known]


def referenced_columns(chosen: Map) -> list[str]:
    """The columns of a file that a map reads, in the map's order; ``bind_map`` refuses invalid SQL."""
    found: dict[str, None] = {}
    for value in (*chosen.columns.values(), *([Expression(sql=chosen.where)] if chosen.where else [])):
        if isinstance(value, str):
            found[value] = None
            continue
        for path in column_references(value.sql, subqueries=False) or ():
            name = path[1] if path[0] == "rows" and len(path) > 1 else path[0]
            if name.lower() not in (ROW, FILE):
                found[name] = None
    return list(found)


def _expressions(chosen: Map) -> dict[str, str]:
    texts = {t: quote(v) if isinstance(v, str) else f"({v.sql})" for t, v in chosen.columns.items()}
    return texts | ({"where": f"({chosen.where})"} if chosen.where else {})


def _numbered(rows: pl.DataFrame, name: str, order: str | None = None) -> pl.DataFrame:
    """The rows with ``_row`` and ``_file``, unless the file has such a column itself."""
    numbers = pl.int_range(1, pl.len() + 1)
    taken = {c.lower() for c in rows.columns}
    own = {ROW: numbers, FILE: pl.lit(name)}
    added = [value.alias(column) for column, value in own.items() if column not in taken]
    return rows.with_columns(*added, *([numbers.alias(order)] if order else []))


def apply_map(chosen: Map, source: InputFile, table: GoldTable, timezone: str | None) -> MappedRows:
    """Apply a map to a file.

    Args:
        chosen: The map.
        source: The file.
        table: The gold table.
        timezone: IANA zone of DuckDB's session.

    Returns:
        The rows that ``where`` keeps. Columns that the map leaves out are null; an expression that fails on a row gives
        null
        and a problem there.

    Raises:
        DeclarationError: An expression fails as a whole.
    """
    order = unused_name((*source.rows.columns, *table.columns), "__row")
    rows = _numbered(source.rows, source.path.name, order)
    with isolated_connection(timezone) as connection:
        connection.register("rows", rows.to_arrow())
        kept = _kept(connection, chosen)
        columns, failed = _targets(connection, chosen)
        selected = ", ".join([order, *columns, *failed, *kept[0]])
        try:
            found = pl.DataFrame(
                connection.sql(f"SELECT {selected} FROM rows {kept[1]} ORDER BY {order}").to_arrow_table()
            )
        except duckdb.Error as error:
            raise DeclarationError(
                f"the map {chosen.name!r} failed on {source.path}: {str(error).splitlines()[0]}",
                remedy="use TRY_CAST where a cast may fail on a row",
            ) from None
    return MappedRows(_completed(found, table), _problem(found), found[order], source)


def _kept(connection: duckdb.DuckDBPyConnection, chosen: Map) -> tuple[list[str], str]:
    if not chosen.where:
        return [], ""
    if not _can_try(connection, chosen.where):
        return [], f"WHERE ({chosen.where})"
    failed = f"(TRY(({chosen.where}) IS NULL) IS NULL)"
    return [f'{failed} AS "__failed: where"'], f"WHERE {failed} OR TRY({chosen.where})"


def _targets(connection: duckdb.DuckDBPyConnection, chosen: Map) -> tuple[list[str], list[str]]:
    columns, failed = [], []
    tried = [v.sql for v in chosen.columns.values() if isinstance(v, Expression)]
    every = bool(tried) and _binds(connection, ", ".join(f"TRY({sql})" for sql in tried))
    for target, value in chosen.columns.items():
        if isinstance(value, str):
            columns.append(f"{quote(value)} AS {quote(target)}")
        elif every or _can_try(connection, value.sql):
            columns.append(f"TRY({value.sql}) AS {quote(target)}")
            failed.append(f"(TRY(({value.sql}) IS NULL) IS NULL) AS {quote(f'__failed: {target}')}")
        else:
            columns.append(f"({value.sql}) AS {quote(target)}")
    return columns, failed


def _can_try(connection: duckdb.DuckDBPyConnection, expression: str) -> bool:
    """Whether DuckDB's TRY takes the expression: it takes no window function and no subquery."""
    return _binds(connection, f"TRY({expression})")


def _completed(found: pl.DataFrame, table: GoldTable) -> pl.DataFrame:
    return found.select(
        pl.col(c) if c in found.columns else pl.lit(None, dtype=pl.String).alias(c) for c in table.columns
    )


def _problem(found: pl.DataFrame) -> pl.Series:
    marks = [c for c in found.columns if c.startswith("__failed: ")]
    if not marks:
        return pl.Series("problem", [None] * found.height, dtype=pl.String)
    texts = [pl.when(pl.col(m)).then(pl.lit(f"its expression fails: {m.removeprefix('__failed: ')}")) for m in marks]
    return found.select(pl.coalesce(*texts).alias("problem")).to_series()
