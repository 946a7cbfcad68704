"""Features: aggregations over windows of gold, event columns, and columns derived from other features."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal

import polars as pl

from karat.declare.base import Declaration, Duration, format_duration
from karat.dtypes import Dtype
from karat.sql import columns_read

Function = Literal["sum", "count", "mean", "min", "max", "std", "variance", "count_distinct", "share", "first", "last"]
Closed = Literal["left", "right"]


class Feature(Declaration):
    """One feature; made by ``aggregate`` and the ``from_...`` functions, never directly.

    Exactly one definition is set: ``function`` (an aggregation of ``column`` over ``window``), ``event`` (an expression
    over the event's own gold row), ``polars``, ``sql`` or ``python``. The last three read the key and the features
    declared before them, row by row. ``closed`` and ``delay`` None: as the table has them.
    """

    name: str
    description: str
    dtype: Dtype = "float64"
    function: Function | None = None
    column: str | None = None
    window: Duration | None = None
    where: str | None = None
    closed: Closed | None = None
    delay: Duration | None = None
    event: str | None = None
    polars: pl.Expr | None = None
    sql: str | None = None
    python: Callable[..., Any] | None = None
    inputs: tuple[str, ...] = ()
    deprecated: str | None = None
    intermediate: bool = False

    @property
    def definition(self) -> str:
        """The feature's meaning as text: what is hashed, and what the catalogue shows."""
        if self.function:
            what = f"{self.function}({self.column or '*'})"
            where = f" where {self.where}" if self.where else ""
            return f"{what}{where} over {format_duration(self.window) if self.window else 'all rows'}{self._shifted}"
        if self.event:
            return f"event: {self.event}"
        if self.polars is not None:
            return f"polars: {self.polars.meta.tree_format(return_as_string=True)}"
        if self.sql:
            return f"sql: {self.sql}"
        assert self.python is not None
        return f"python: {textwrap.dedent(inspect.getsource(self.python))}"

    def reads(self, before: list[str]) -> set[str]:
        """The features of ``before`` that this one reads."""
        if self.polars is not None:
            return set(self.polars.meta.root_names()) & set(before)
        if self.sql is not None:
            return set(columns_read([self.sql], before))
        return set(self.inputs) & set(before)

    @property
    def derived(self) -> bool:
        """Whether it is computed from the features before it, not from gold."""
        return self.function is None and self.event is None

    @property
    def _shifted(self) -> str:
        closed = f", closed {self.closed}" if self.closed else ""
        return closed + (f", {format_duration(self.delay)} back" if self.delay is not None else "")


def aggregate(
    name: str,
    function: Function,
    column: str | None = None,
    *,
    window: str | timedelta | None = None,
    description: str,
    where: str | None = None,
    closed: Closed | None = None,
    delay: str | timedelta | None = None,
    dtype: Dtype | None = None,
    deprecated: str | None = None,
    intermediate: bool = False,
) -> Feature:
    """Declare an aggregation of gold rows within a window.

    Args:
        name: The feature's name.
        function: The aggregate. ``share`` is the mean of a condition; ``count`` without a column counts rows.
        column: A gold column or an SQL expression over gold columns.
        window: The window, such as ``"7d"``; None (all rows) for tables without time.
        description: What the feature means.
        where: An SQL condition on gold rows.
        closed: The closed side of the window, where it differs from the event table's.
        delay: How long before the event the window ends, where it differs from the event table's.
        dtype: The type; ``int64`` for counts and ``float64`` for the rest by default.
        deprecated: Why the feature should no longer be used.
        intermediate: Whether it only feeds later features and is not stored.

    Returns:
        The feature. A sum or count of no rows is 0, every other aggregation null.
    """
    counted = function in ("count", "count_distinct")
    return Feature(
        name=name,
        description=description,
        dtype=dtype or ("int64" if counted else "float64"),
        function=function,
        column=column,
        window=window,
        where=where,
        closed=closed,
        delay=delay,
        deprecated=deprecated,
        intermediate=intermediate,
    )


def from_event(
    name: str, expression: str | None = None, *, description: str, dtype: Dtype = "float64", **more: Any
) -> Feature:
    """Declare an SQL expression over the event's own gold row, by default its column ``name``; for event tables.

    It is known when the event is: online it comes with the request. What is only known later (whether the payment was a
    fraud) belongs in an aggregation with a delay.
    """
    return Feature(name=name, description=description, dtype=dtype, event=expression or name, **more)


def from_polars(name: str, expression: pl.Expr, *, description: str, dtype: Dtype = "float64", **more: Any) -> Feature:
    """Declare a Polars expression over the columns before it: one value a row, no aggregation over rows."""
    return Feature(name=name, description=description, dtype=dtype, polars=expression, **more)


def from_sql(name: str, expression: str, *, description: str, dtype: Dtype = "float64", **more: Any) -> Feature:
    """Declare an SQL (DuckDB) expression over the columns before it: one value a row."""
    return Feature(name=name, description=description, dtype=dtype, sql=expression, **more)


def from_python(
    name: str,
    function: Callable[..., object],
    inputs: tuple[str, ...],
    *,
    description: str,
    dtype: Dtype = "float64",
    **more: Any,
) -> Feature:
    """Declare a Python function of the ``inputs`` by position: Polars Series of a block of rows in, one Series out."""
    return Feature(name=name, description=description, dtype=dtype, python=function, inputs=inputs, **more)
