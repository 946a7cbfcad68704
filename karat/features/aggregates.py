"""Aggregates: one entry per aggregate function, with its form for each window engine.

Three engines compute windows: SQL over daily tiles (``windows``; sums, minima and maxima of tiles also as arrays, in
``dense_windows``), SQL over events (``event_windows``), and NumPy over one entity's events at the moment of a request
(``event_values``). A new aggregate is its name in ``karat.declare.features.Function`` and one entry in ``AGGREGATES``;
``tests/contracts/test_aggregates.py`` compares every entry with an oracle in every engine and names a missing form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, TypeVar

import numpy as np

from karat.declare import Feature
from karat.declare.features import Function
from karat.errors import DeclarationError
from karat.sql import quote

_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "BOOLEAN", "U")
Form = TypeVar("Form")
#: NumPy values that are not missing, and the feature's declared type, to one value; null (None) is possible.
Reduction = Callable[[np.ndarray, str], object]


@dataclass(frozen=True)
class Aggregation:
    """One aggregated feature with its typed gold expression; ``value`` None counts rows."""

    feature: Feature
    value: str | None
    dtype: str | None

    @property
    def filter(self) -> str:
        """The SQL filter of the feature's own condition; empty without one."""
        return f" FILTER (WHERE ({self.feature.where}\n))" if self.feature.where else ""

    @property
    def exact(self) -> bool:
        """Whether whole numbers stay whole, as the feature declares; everything else adds up as doubles."""
        integral = bool(self.dtype) and str(self.dtype).startswith(_INTEGERS)
        return integral and self.feature.dtype == "int64"


class TileQuery(Protocol):
    """What a daily form asks of the query that it is part of; each call gives a column's name or an SQL expression."""

    @property
    def order(self) -> tuple[str, ...]:
        """The gold columns that order an entity's rows."""

    def tile(self, sql: str) -> str:
        """A column with the aggregate ``sql`` of one day's rows."""

    def over(self, function: str, tile: str, window: timedelta | None) -> str:
        """A column with ``function`` (sum, min or max) of the tiles in the window."""

    def in_sql(self, function: str, tile: str, window: timedelta | None, shape: str = "{}") -> str:
        """The same for a function that only SQL knows; ``shape`` is put around it."""

    def distinct(self, aggregation: Aggregation) -> str:
        """A count of the distinct values in the window."""


@dataclass(frozen=True)
class Aggregate:
    """The forms of one aggregate function; None: an engine has none.

    Attributes:
        daily: Writes the SQL over daily tiles.
        event: The SQL over a window of events: ``{v}`` is the value, ``{w}`` the window, ``{n}`` the row's place.
        event_value: Writes what the event form reads of a row.
        request: Reduces the values of one window at request time.
        empty: The value of a window without values.
    """

    daily: Callable[[TileQuery, Aggregation], str] | None = None
    event: str | None = None
    event_value: Callable[[Aggregation], str] = lambda a: str(a.value)
    request: Reduction | None = None
    empty: int | None = None


def form_of(function: str, engine: str, form: Form | None) -> Form:
    """The form of an aggregate for an engine.

    Raises:
        DeclarationError: There is none.
    """
    if form is None:
        raise DeclarationError(
            f"the aggregate {function!r} has no {engine} form",
            where="karat/features/aggregates.py",
            remedy="take another aggregate, or a table of another grain",
        )
    return form


def or_zero(column: str) -> str:
    """SQL for a column, or 0 where it is null."""
    return f"coalesce({column}, 0)"


def _tile_sum(query: TileQuery, a: Aggregation, *, exact: bool) -> str:
    kind = "BIGINT" if exact else "DOUBLE"
    return query.over("sum", query.tile(f"(sum({a.value}){a.filter})::{kind}"), a.feature.window)


def _daily_sum(query: TileQuery, a: Aggregation) -> str:
    return or_zero(_tile_sum(query, a, exact=a.exact))


def _daily_count(query: TileQuery, a: Aggregation) -> str:
    tile = query.tile(f"count({a.value or '*'}){a.filter}")
    return or_zero(query.over("sum", tile, a.feature.window))


def _daily_mean(query: TileQuery, a: Aggregation) -> str:
    return f"{_tile_sum(query, a, exact=False)} / nullif({_daily_count(query, a)}, 0)"


def _daily_share(query: TileQuery, a: Aggregation) -> str:
    truth = Aggregation(a.feature, f"CASE WHEN {a.value} THEN 1 WHEN NOT {a.value} THEN 0 END", "INTEGER")
    return _daily_mean(query, truth)


def _daily_extreme(query: TileQuery, a: Aggregation) -> str:
    function = str(a.feature.function)
    return query.over(function, query.tile(f"{function}({a.value}){a.filter}"), a.feature.window)


def _daily_spread(query: TileQuery, a: Aggregation) -> str:
    """Variances travel as DuckDB's aggregate states, which merge without cancellation."""
    tile = query.tile(f"var_samp({a.value}::DOUBLE){a.filter} EXPORT_STATE")
    variance = query.in_sql(f"combine_aggr({tile})", tile, a.feature.window, "finalize({})")
    return f"sqrt({variance})" if a.feature.function == "std" else variance


def _daily_ordered(query: TileQuery, a: Aggregation) -> str:
    """The first or last value that is not null, by event time, then the gold key."""
    function = str(a.feature.function)
    order = ", ".join([*(quote(c) for c in query.order), str(a.value)])
    where = f"{a.value} IS NOT NULL" + (f" AND ({a.feature.where}\n)" if a.feature.where else "")
    tile = query.tile(f"{function}({a.value} ORDER BY {order}) FILTER (WHERE {where})")
    return query.in_sql(f"{function}_value({tile} IGNORE NULLS)", tile, a.feature.window)


def _daily_distinct(query: TileQuery, a: Aggregation) -> str:
    return query.distinct(a)


def _double(a: Aggregation) -> str:
    return f"({a.value})::DOUBLE"


def _summand(a: Aggregation) -> str:
    return f"({a.value})::BIGINT" if a.exact else _double(a)


def _counted(a: Aggregation) -> str:
    return f"(CASE WHEN {a.value} IS NOT NULL THEN 1 END)" if a.value else "1"


def _truth(a: Aggregation) -> str:
    return f"(CASE WHEN {a.value} THEN 1 WHEN NOT {a.value} THEN 0 END)"


def _numbers(array: np.ndarray) -> np.ndarray:
    return array if array.dtype == np.float64 else array.astype(np.float64)


def _request_sum(array: np.ndarray, dtype: str) -> int | float:
    if dtype == "int64" and array.dtype.kind in "iub":
        return int(array.sum())
    return float(_numbers(array).sum())


def _request_mean(array: np.ndarray, _: str) -> float:
    return float(_numbers(array).sum()) / len(array)


def _request_share(array: np.ndarray, _: str) -> float:
    return int(np.count_nonzero(array.astype(bool))) / len(array)


def _request_variance(array: np.ndarray, _: str) -> float | None:
    return float(_numbers(array).var(ddof=1)) if len(array) > 1 else None


def _request_std(array: np.ndarray, _: str) -> float | None:
    return float(_numbers(array).std(ddof=1)) if len(array) > 1 else None


AGGREGATES: dict[Function, Aggregate] = {
    "sum": Aggregate(_daily_sum, "coalesce(sum({v}) OVER {w}, 0)", _summand, _request_sum, empty=0),
    "count": Aggregate(_daily_count, "count({v}) OVER {w}", _counted, lambda array, _: len(array), empty=0),
    "mean": Aggregate(_daily_mean, "avg({v}) OVER {w}", _double, _request_mean),
    "share": Aggregate(_daily_share, "avg({v}) OVER {w}", _truth, _request_share),
    "min": Aggregate(_daily_extreme, "min({v}) OVER {w}", request=lambda array, _: array.min()),
    "max": Aggregate(_daily_extreme, "max({v}) OVER {w}", request=lambda array, _: array.max()),
    "std": Aggregate(_daily_spread, "stddev_samp({v}) OVER {w}", _double, _request_std),
    "variance": Aggregate(_daily_spread, "var_samp({v}) OVER {w}", _double, _request_variance),
    "count_distinct": Aggregate(
        _daily_distinct,
        "count(DISTINCT {v}) OVER {w}",
        request=lambda array, _: len(set(array.tolist())),
        empty=0,
    ),
    # Nulls are passed over, as in a table of days.
    "first": Aggregate(_daily_ordered, "arg_min({v}, {n}) OVER {w}", request=lambda array, _: array[0]),
    "last": Aggregate(_daily_ordered, "arg_max({v}, {n}) OVER {w}", request=lambda array, _: array[-1]),
}
