"""Derived features: columns computed from the features before them."""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import polars as pl

from karat.declare import Feature, FeatureTable
from karat.dtypes import POLARS
from karat.errors import DeclarationError
from karat.features.expressions import ExpressionPlace, Relation
from karat.features.schema import to_declared
from karat.sql import connect, plain_times

_PROBE_ROWS = 16


def derive(connection: duckdb.DuckDBPyConnection, table: FeatureTable, frame: pl.DataFrame) -> pl.DataFrame:
    """``frame`` (keys and aggregated features) with the derived features, each in its declared type.

    Raises DeclarationError naming the feature that fails, gives another number of rows, or reads other rows.
    """
    visible = list(table.primary_key)
    for feature in table.features:
        if feature.derived:
            column = _evaluate(connection, table, feature, frame.select(visible))
            frame = frame.with_columns(column.alias(feature.name))
        visible.append(feature.name)
    return frame


def _evaluate(
    connection: duckdb.DuckDBPyConnection, table: FeatureTable, feature: Feature, frame: pl.DataFrame
) -> pl.Series:
    place = ExpressionPlace(table.name, feature.name)
    compute = _computation(connection, feature, frame.head(0), place)
    try:
        column = compute(frame)
        _check_rowwise(compute, frame, column, place)
    except DeclarationError:
        raise
    except Exception as error:  # whatever a declared expression raises is that declaration's error
        raise place.error(
            f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}",
            remedy=f"mend its definition: {feature.definition.strip()[:200]}",
        ) from error
    return to_declared(column, feature.dtype, place)


def _computation(
    connection: duckdb.DuckDBPyConnection, feature: Feature, empty: pl.DataFrame, place: ExpressionPlace
) -> Callable[[pl.DataFrame], pl.Series]:
    if feature.polars is not None:
        expression = feature.polars
        return lambda frame: frame.select(expression.alias("v")).to_series()
    if feature.sql is not None:
        return _by_sql(connection, feature.sql, empty, place)
    function = feature.python
    assert function is not None
    inputs, nothing = feature.inputs, pl.Series("v", [], dtype=POLARS[feature.dtype])

    def by_python(frame: pl.DataFrame) -> pl.Series:
        if frame.is_empty():  # functions are written for rows; one without any is the check before the work
            return nothing
        result = function(*(frame[i] for i in inputs))
        return result if isinstance(result, pl.Series) else pl.Series("v", result)

    return by_python


def _by_sql(
    connection: duckdb.DuckDBPyConnection, sql: str, empty: pl.DataFrame, place: ExpressionPlace
) -> Callable[[pl.DataFrame], pl.Series]:
    connection.register("block", plain_times(empty))
    Relation(connection, "block", empty.schema).check(sql, place)
    # By substring, so that it can only err towards a column too many.
    read = [c for c in empty.columns if c.lower() in sql.lower()] or empty.columns[:1]

    def by_sql(frame: pl.DataFrame) -> pl.Series:
        connection.register("block", plain_times(frame.select(read)))
        made: pl.Series = connection.sql(f"SELECT ({sql}\n) AS v FROM block").pl().to_series()
        return made

    return by_sql


def _check_rowwise(
    compute: Callable[[pl.DataFrame], pl.Series], frame: pl.DataFrame, column: pl.Series, place: ExpressionPlace
) -> None:
    """A derived value must not depend on which rows happen to stand beside it: a few are computed again, reversed."""
    if len(column) != frame.height:
        raise place.error(
            f"it gave {len(column)} values for {frame.height} rows",
            remedy="give one value a row; what is over several rows belongs in an aggregation with a window",
        )
    if frame.height < 2:
        return
    count = min(_PROBE_ROWS, frame.height // 2)  # a part of the rows: a mean of all of them would not change
    start = (frame.height - count) // 2
    again, before = compute(frame.slice(start, count).reverse()), column.slice(start, count).reverse()
    if len(again) != len(before) or not _same(before, again):
        raise place.error(
            "its values change with the rows beside them (a mean, rank, shift, or something random)",
            remedy="give one value a row from that row alone; what is over several rows belongs in an aggregation",
        )


def _same(one: pl.Series, other: pl.Series) -> bool:
    """Equal, floats to nine digits: engines may add up a long and a short block differently."""
    if not (one.dtype.is_float() and other.dtype.is_float()):
        return one.eq_missing(other).all()
    near = (one - other).abs() <= 1e-9 * one.abs().clip(lower_bound=1e-300)
    return (near.fill_null(False) | one.eq_missing(other)).all()


def evaluate_one(feature: Feature, frame: pl.DataFrame) -> pl.Series:
    """A derived feature of one row: unchecked, for the engine has checked it when the table was computed."""
    if feature.sql is None:
        function = feature.python
        if feature.polars is not None:
            return frame.select(feature.polars.alias("v")).to_series()
        assert function is not None
        result = function(*(frame[i] for i in feature.inputs))
        return result if isinstance(result, pl.Series) else pl.Series("v", result)
    with connect(threads=1) as connection:
        connection.register("block", plain_times(frame))
        try:
            made: pl.Series = connection.sql(f"SELECT ({feature.sql}\n) AS v FROM block").pl().to_series()
            return made
        finally:
            connection.unregister("block")
