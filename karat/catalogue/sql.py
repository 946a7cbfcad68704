"""SQL queries over the lake: DuckDB reads the tables and views that a query names, and nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb
import polars as pl

from karat.catalogue.views import Views
from karat.errors import TableNotFound, WrongCall, did_you_mean
from karat.lake import Lake
from karat.names import TableName
from karat.sql import literal, nodes, open_database, parse_select, quote, why

#: A query's syntax tree, as DuckDB serialises it to JSON.
_Tree = dict[str, Any]
#: Columns of a view that depend on others: a query that groups by these may select them, as in other databases.
_DEPENDENT = {"prediction_count": {"model_id", "model_name", "version"}}


def run_query(text: str, views: Views, *, limit: int | None = None) -> pl.DataFrame:
    """Run one SELECT (or WITH ... SELECT) in DuckDB's dialect.

    Args:
        text: The query. A table is ``catalog.schema.table``, or a unique last part of that; views are those of
            ``Views``.
        views: The views, with the lake.
        limit: Greatest number of rows.

    Returns:
        The rows.

    Raises:
        WrongCall: It is not a single SELECT, or it fails.
        TableNotFound: There is no such table or view; the message has the nearest name.
    """
    tree = _parse_query(text)
    scans = _QueryTables(views.lake, views)
    with open_database(threads=os.cpu_count()) as connection:
        for path in dict.fromkeys(_table_paths(tree)):
            scans.put(connection, path)
        changed = _add_dependent_columns(tree)
        asked = text.strip().rstrip(";") if changed is None else _tree_sql(connection, changed)
        try:
            rows = connection.sql(asked if limit is None else f"SELECT * FROM ({asked}) LIMIT {limit}")
            made: pl.DataFrame = rows.pl()
            return made
        except duckdb.Error as error:
            hints = [line.strip() for line in str(error).splitlines() if line.startswith(("Candidate", "Did you"))]
            raise WrongCall(
                f"the query fails: {why(error)}", where=text.strip()[:200], remedy="; ".join(hints)
            ) from error


def _parse_query(text: str) -> _Tree:
    try:
        tree = parse_select(text)
    except duckdb.Error as error:
        raise WrongCall(f"the query is not valid SQL: {why(error)}", where=text.strip()[:200]) from error
    if tree["error"]:
        raise WrongCall(
            f"the query is not valid SQL: {tree['error_message']}",
            where=text.strip()[:200],
            remedy="write one SELECT in DuckDB's dialect; queries only read",
        )
    if not tree["statements"]:
        raise WrongCall("there is no query", remedy='give one, as in: karat sql "SELECT * FROM ml_models"')
    if len(tree["statements"]) != 1:
        raise WrongCall("there are several queries", where=text.strip()[:200], remedy="run one query at a time")
    return tree


def _table_paths(tree: _Tree) -> Iterator[tuple[str, ...]]:
    """Yield the names of tables; names from WITH belong to the query itself."""
    own = {entry["key"].lower() for node in nodes(tree) if "cte_map" in node for entry in node["cte_map"]["map"]}
    for node in nodes(tree):
        if node.get("type") == "BASE_TABLE":
            parts = (node.get("catalog_name"), node.get("schema_name"), node.get("table_name"))
            path = tuple(p for p in parts if p)
            if len(path) > 1 or path[0].lower() not in own:
                yield path


def _add_dependent_columns(tree: _Tree) -> _Tree | None:
    """Group by the dependent columns that the query selects, too; None if there are none."""
    changed = False
    for node in (n for n in nodes(tree) if n.get("group_expressions")):
        grouped = {e["column_names"][-1].lower() for e in node["group_expressions"] if e.get("column_names")}
        chosen = [e for e in node["select_list"] if e.get("column_names")]
        for column in (e for e in chosen if _DEPENDENT.get(e["column_names"][-1].lower(), set()) & grouped):
            if column["column_names"][-1].lower() not in grouped:
                node["group_expressions"].append(column)
                node["group_sets"] = [[*each, len(node["group_expressions"]) - 1] for each in node["group_sets"]]
                changed = True
    return tree if changed else None


def _tree_sql(connection: duckdb.DuckDBPyConnection, tree: _Tree) -> str:
    text: str = connection.sql(f"SELECT json_deserialize_sql({literal(json.dumps(tree))})").fetchall()[0][0]
    return text


@dataclass
class _QueryTables:
    """Registers the tables and views of a query on a connection, under the names that the query uses."""

    lake: Lake
    views: Views
    made: int = 0
    schemas: set[tuple[str, ...]] = field(default_factory=set)

    def put(self, connection: duckdb.DuckDBPyConnection, path: tuple[str, ...]) -> None:
        """Register the table or view of ``path``."""
        rows = self._rows(path)
        self.made += 1
        connection.register(f"__karat_{self.made}", rows)
        self._make_schema(connection, path[:-1])
        where = ".".join(quote(p) for p in path)
        connection.execute(f"CREATE VIEW {where} AS SELECT * FROM __karat_{self.made}")

    def _make_schema(self, connection: duckdb.DuckDBPyConnection, above: tuple[str, ...]) -> None:
        if not above or above in self.schemas:
            return
        if len(above) == 2 and above[:1] not in self.schemas:
            connection.execute(f"ATTACH ':memory:' AS {quote(above[0])}")
            self.schemas.add(above[:1])
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {'.'.join(quote(p) for p in above)}")
        self.schemas.add(above)

    def _rows(self, path: tuple[str, ...]) -> pl.LazyFrame:
        if len(path) == 1 and path[0].lower() in self.views.names:
            made: Callable[[], pl.LazyFrame] = getattr(self.views, path[0].lower())
            return made()
        return self.lake.scan(self._table(path))

    def _table(self, path: tuple[str, ...]) -> TableName:
        known = self._known()
        wanted = ".".join(path).lower()
        found = [name for text, name in known.items() if text == wanted or text.endswith(f".{wanted}")]
        if len(found) == 1:
            return found[0]
        if found:
            raise WrongCall(
                f"several tables are named {wanted!r}: {', '.join(map(str, found))}",
                remedy="write the catalog and the schema, too",
            )
        short = {**known, **{text.partition(".")[2]: n for text, n in known.items()}}
        names = [*short, *{n.table for n in known.values()}, *self.views.names]
        raise TableNotFound(
            f"there is no table or view {'.'.join(path)!r}",
            where=str(self.lake.root),
            remedy=did_you_mean(wanted, names),
        )

    def _known(self) -> Mapping[str, TableName]:
        return {str(name).lower(): name for name in self.lake.tables()}
