"""Feature tables: aggregations over windows of a gold table, and columns derived from them."""

from __future__ import annotations

import hashlib
import inspect
import json
import textwrap
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal

import polars as pl
from pydantic import model_validator

from karat.declare.base import DAY, Declaration, Dtype, Duration, format_duration
from karat.declare.checks import AnyCheck, attached

Function = Literal["sum", "count", "mean", "min", "max", "std", "variance", "count_distinct", "share", "first", "last"]


class Feature(Declaration):
    """One feature; made by ``aggregate``, ``from_polars``, ``from_sql`` or ``from_python``, never directly.

    Exactly one definition is set: ``function`` (an aggregation of ``column`` over ``window``), ``polars``, ``sql`` or
    ``python``. The last three read the entity, the time and the features declared before them, row by row.
    """

    name: str
    description: str
    dtype: Dtype = "float64"
    function: Function | None = None
    column: str | None = None
    window: Duration | None = None
    where: str | None = None
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
            return f"{what}{where} over {format_duration(self.window) if self.window else 'all rows'}"
        if self.polars is not None:
            return f"polars: {self.polars.meta.tree_format(return_as_string=True)}"
        if self.sql:
            return f"sql: {self.sql}"
        assert self.python is not None
        return f"python: {textwrap.dedent(inspect.getsource(self.python))}"


def aggregate(
    name: str,
    function: Function,
    column: str | None = None,
    *,
    window: str | timedelta | None = None,
    description: str,
    where: str | None = None,
    dtype: Dtype | None = None,
    deprecated: str | None = None,
    intermediate: bool = False,
) -> Feature:
    """``function`` of the gold ``column`` (an SQL expression over gold columns) within ``window``.

    ``where`` is an SQL condition on gold rows. ``share`` is the mean of a condition: ``column`` is that condition.
    ``count`` without a column counts rows. A sum or count of no rows is 0, every other aggregation null.
    ``intermediate`` features feed later ones and are not stored. ``window=None`` (all rows) is for tables without time.
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
        deprecated=deprecated,
        intermediate=intermediate,
    )


def from_polars(name: str, expression: pl.Expr, *, description: str, dtype: Dtype = "float64", **more: Any) -> Feature:
    """A Polars expression over the columns before it, one value a row (no aggregation over rows)."""
    return Feature(name=name, description=description, dtype=dtype, polars=expression, **more)


def from_sql(name: str, expression: str, *, description: str, dtype: Dtype = "float64", **more: Any) -> Feature:
    """An SQL (DuckDB) expression over the columns before it, one value a row."""
    return Feature(name=name, description=description, dtype=dtype, sql=expression, **more)


def from_python(
    name: str,
    function: Callable[..., Any],
    inputs: tuple[str, ...],
    *,
    description: str,
    dtype: Dtype = "float64",
    **more: Any,
) -> Feature:
    """A Python function of the ``inputs`` by position, each a Polars Series of one block of rows; gives a Series."""
    return Feature(name=name, description=description, dtype=dtype, python=function, inputs=inputs, **more)


class FeatureTable(Declaration):
    """A feature table: one row per entity and day (daily grain), or per entity where ``time`` is None.

    ``time`` names the timeseries column, a date; a gold timestamp is cut to its UTC day. ``rows``: ``"active"`` makes a
    row for each day on which the entity has a gold row, ``"window"`` one for each day on which the widest window is not
    empty, so that an idle entity's sums go down instead of going stale. Row D covers [D+1d-w, D+1d) and is known at
    D + ``lag`` (one grain by default). ``checks`` are asked of computed rows before they are committed.
    """

    name: str
    description: str
    owner: str = ""
    source: str
    entity: tuple[str, ...]
    time: str | None = None
    event_time: str | None = None
    grain: Duration = DAY
    lag: Duration = DAY
    rows: Literal["active", "window"] = "active"
    where: str | None = None
    online: bool = True
    features: tuple[Feature, ...]
    checks: tuple[AnyCheck, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> FeatureTable:
        seen: set[str] = set(self.primary_key)
        for feature in self.features:
            if feature.name in seen:
                raise ValueError(f"feature {feature.name!r} of {self.name!r} is declared twice, or is a key column")
            seen.add(feature.name)
            if feature.function and self.time and feature.window is None:
                raise ValueError(f"feature {feature.name!r} of {self.name!r} needs a window")
            if feature.function and not self.time and feature.window is not None:
                raise ValueError(f"feature {feature.name!r}: {self.name!r} has no time, so no window can be kept")
            if feature.window is not None and (feature.window % self.grain or feature.window < self.grain):
                raise ValueError(
                    f"the window of {feature.name!r} is not a whole number of grains ({format_duration(self.grain)})"
                )
            unknown = [i for i in feature.inputs if i not in seen]
            if unknown:
                raise ValueError(f"feature {feature.name!r} reads {unknown}, which no feature before it is named")
        if self.time and self.grain != DAY:
            raise ValueError(f"the grain of {self.name!r} must be 1d")
        self.declared_checks  # noqa: B018 - raises what is wrong with them
        return self

    @property
    def primary_key(self) -> tuple[str, ...]:
        return (*self.entity, *([self.time] if self.time else []))

    @property
    def stored(self) -> tuple[Feature, ...]:
        """The features that the table holds."""
        return tuple(f for f in self.features if not f.intermediate)

    @property
    def declared_checks(self) -> tuple[AnyCheck, ...]:
        """``checks`` with their defaults. The types of keys are gold's, and not known here."""
        dtypes: dict[str, str | None] = dict.fromkeys(self.primary_key) | {f.name: f.dtype for f in self.stored}
        return attached(self.checks, f"feature table {self.name!r}", dtypes, self.time, gold=False)

    @property
    def lookback(self) -> timedelta:
        """The widest window: how far back of a day its row reads."""
        return max((f.window for f in self.features if f.window), default=timedelta(0))

    @property
    def definition_hash(self) -> str:
        """BLAKE2 over everything that gives the values their meaning (descriptions and owner do not)."""
        meaning = {
            "source": self.source,
            "entity": self.entity,
            "time": self.time,
            "event_time": self.event_time,
            "grain": format_duration(self.grain),
            "rows": self.rows,
            "where": self.where,
            "features": [(f.name, f.dtype, f.definition, f.inputs, f.intermediate) for f in self.features],
        }
        return hashlib.blake2b(json.dumps(meaning).encode(), digest_size=16).hexdigest()
