"""Declared SQL expressions, checked before any row is read: they bind, and each reads one row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import duckdb
import polars as pl

from karat.declare import FeatureTable
from karat.errors import DeclarationError, did_you_mean
from karat.sql import columns_read, has_subquery, quote, why


@dataclass(frozen=True)
class ExpressionPlace:
    """The feature and table that declare an expression, for error messages."""

    table: str
    feature: str | None = None

    def error(self, what: str, *, remedy: str = "") -> DeclarationError:
        """The error of the expression that is declared here."""
        subject = f"feature {self.feature!r} of {self.table!r}" if self.feature else f"feature table {self.table!r}"
        return DeclarationError(f"{subject}: {what}", where=f"feature table {self.table!r}", remedy=remedy)


@dataclass(frozen=True)
class Relation:
    """Rows that are registered with a connection by a name; ``schema`` is theirs."""

    connection: duckdb.DuckDBPyConnection
    name: str
    schema: pl.Schema

    def check(self, sql: str, place: ExpressionPlace) -> str:
        """The type of ``sql`` as DuckDB names it. DeclarationError unless it binds and reads one row at a time.

        Shards hold some entities and some days only, so an expression that looks at other rows would depend on how the
        work was cut.
        """
        found = self._known.get(sql)
        if found is None:
            found = self._known[sql] = self._checked(sql, place)
        return found

    def bind_together(self, expressions: Iterable[str]) -> None:
        """Find the types of many expressions in few queries, since each binds all columns of a wide table anew.

        Those that do not bind are left to ``check``, which says what is wrong with which.
        """
        new = [sql for sql in dict.fromkeys(expressions) if sql not in self._known and not has_subquery(sql)]
        for some in (new[i : i + _TOGETHER] for i in range(0, len(new), _TOGETHER)):
            with suppress(duckdb.Error):
                self._known.update(zip(some, self._bound(some), strict=True))

    @cached_property
    def _known(self) -> dict[str, str]:
        if len(_TYPES) >= _REMEMBERED:  # by another thread, too, at any time
            _TYPES.clear()
        return _TYPES.setdefault((self.name, *self.schema.items()), {})

    def _bound(self, expressions: Sequence[str]) -> list[str]:
        # WHERE takes neither aggregates nor window functions: what binds there is about one row.
        missing = " OR ".join(f"({sql}\n) IS NULL" for sql in expressions)
        self.connection.sql(f"SELECT 1 FROM {self.name} WHERE {missing}")
        # An expression could read the name of one before it: no feature has a name like these.
        values = ", ".join(f"({sql}\n) AS __karat_{i}" for i, sql in enumerate(expressions))
        return [str(dtype) for dtype in self.connection.sql(f"SELECT {values} FROM {self.name}").types]

    def _checked(self, sql: str, place: ExpressionPlace) -> str:
        if has_subquery(sql):
            raise place.error(f"{sql!r} has a subquery", remedy="write an expression over the columns of one row")
        try:
            return self._bound([sql])[0]
        except duckdb.Error as error:
            remedy = _nearest(self.connection, self.name, error)
            raise place.error(f"{sql!r}: {why(error)}", remedy=remedy) from error


#: Of each relation the types of its expressions: asked again for each part of the work and each request, and dearer
#: than the work itself where that is of one entity.
_TYPES: dict[tuple[object, ...], dict[str, str]] = {}
_REMEMBERED = 500
#: How many expressions one query binds: DuckDB limits how deep an expression may be.
_TOGETHER = 200


def _nearest(connection: duckdb.DuckDBPyConnection, relation: str, error: Exception) -> str:
    text = str(error)
    if "not found in FROM clause" not in text or '"' not in text:
        return "mend the expression; it is SQL as DuckDB speaks it"
    missing = text.split('"')[1]
    columns = connection.sql(f"SELECT * FROM {relation}").columns
    return did_you_mean(missing, [c for c in columns if not c.startswith("__")])


def gold_columns(table: FeatureTable, available: list[str]) -> list[str]:
    """The columns of ``available`` that the table's keys and gold expressions read."""
    expressions = [table.where, *(e for f in table.features for e in (f.column, f.where, f.event))]
    read = columns_read(expressions, available)
    return [c for c in available if c in table.entity or c in read]


def typed_value(sql: str, dtype: str) -> str:
    """A gold expression ready to aggregate: decimals become doubles, and what is not finite is missing."""
    if dtype.startswith("DECIMAL"):
        return f"({sql}\n)::DOUBLE"
    if dtype in ("DOUBLE", "FLOAT"):
        return f"(CASE WHEN isfinite(({sql}\n)) THEN ({sql}\n)::DOUBLE END)"
    return f"({sql}\n)"


def key_list(columns: tuple[str, ...], prefix: str = "") -> str:
    """Quoted column names, joined by commas."""
    return ", ".join(prefix + quote(c) for c in columns)
