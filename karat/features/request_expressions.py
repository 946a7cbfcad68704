"""SQL and derived features of a request, which need an engine."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import numpy as np
import polars as pl

from karat.declare import Feature
from karat.dtypes import POLARS
from karat.errors import DeclarationError
from karat.features.derived_features import evaluate_one
from karat.features.event_values import MaskedValues
from karat.features.expressions import ExpressionPlace, typed_value
from karat.features.request_plan import RequestPlan, columns_of
from karat.features.schema import to_declared
from karat.sql import connect, plain_times, why


def evaluated(plan: RequestPlan, rows: Mapping[str, np.ndarray], moments: np.ndarray) -> dict[str, MaskedValues]:
    """Every expression of the plan over the tail's rows."""
    time = plan.table.time
    read = dict.fromkeys(c for sql in plan.expressions for c in columns_of(sql) if c != time)
    columns = {c: pl.Series(c, rows[c].tolist() if rows[c].dtype.kind == "O" else rows[c]) for c in read}
    frame = pl.DataFrame(columns | {time: pl.Series(time, moments).cast(pl.Datetime("us"))})
    found = _by_sql(plan, plan.expressions, frame)
    return {sql: _values(found.to_series(i)) for i, sql in enumerate(plan.expressions)}


def _values(column: pl.Series) -> MaskedValues:
    valid = column.is_not_null().to_numpy() if column.null_count() else None
    if column.dtype == pl.String:
        return MaskedValues(np.array(column.to_list(), dtype=object), valid)
    filled = column.fill_null(strategy="zero") if column.dtype.is_numeric() else column
    if column.dtype == pl.Boolean:
        filled = column.fill_null(False)
    return MaskedValues(filled.to_numpy(), valid)


def evaluated_own(plan: RequestPlan, row: Mapping[str, object]) -> dict[str, object]:
    """Every expression over the event's own row."""
    frame = pl.DataFrame({c: [v] for c, v in row.items()})
    found = _by_sql(plan, plan.own_expressions, frame).row(0)
    return dict(zip(plan.own_expressions, found, strict=True))


def _by_sql(plan: RequestPlan, expressions: tuple[str, ...], frame: pl.DataFrame) -> pl.DataFrame:
    floats = [c for c, t in frame.schema.items() if t.is_float()]
    finite = frame.with_columns(pl.when(pl.col(c).is_finite()).then(pl.col(c)).alias(c) for c in floats)
    with connect(threads=1) as connection:
        connection.register("tail", plain_times(finite))
        try:
            bare = connection.sql(f"SELECT {', '.join(f'({e}{chr(10)})' for e in expressions)} FROM tail")
            columns = [
                f"{typed_value(e, str(t))} AS c{i}"
                for i, (e, t) in enumerate(zip(expressions, bare.types, strict=True))
            ]
            made: pl.DataFrame = connection.sql(f"SELECT {', '.join(columns)} FROM tail").pl()
            return made
        except duckdb.Error as error:
            raise ExpressionPlace(plan.table.name).error(
                f"{' and '.join(expressions)}: {why(error)}", remedy="send the columns that the event's features read"
            ) from error
        finally:
            connection.unregister("tail")


def derived(plan: RequestPlan, found: dict[str, object], keys: Mapping[str, object]) -> dict[str, object]:
    """``found`` with the features derived from it, in the order of their declaration."""
    table = plan.table
    ready = [f for f in table.features if not f.derived]
    columns = [pl.Series(k, [v], dtype=pl.Datetime("us", "UTC") if k == table.time else None) for k, v in keys.items()]
    frame = pl.DataFrame([*columns, *(pl.Series(f.name, [found[f.name]], dtype=POLARS[f.dtype]) for f in ready)])
    for feature in plan.derived:
        frame = frame.with_columns(_one(plan, feature, frame))
    row = frame.row(0, named=True)
    return found | {f.name: row[f.name] for f in plan.derived}


def _one(plan: RequestPlan, feature: Feature, frame: pl.DataFrame) -> pl.Series:
    place = ExpressionPlace(plan.table.name, feature.name)
    try:
        column = evaluate_one(feature, frame)
    except DeclarationError:
        raise
    except Exception as error:  # whatever a declared expression raises is that declaration's error
        raise place.error(f"{type(error).__name__}: {error}", remedy="mend its definition") from error
    return to_declared(column, feature.dtype, place).alias(feature.name)
