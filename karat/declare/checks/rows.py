"""Checks that every row keeps or breaks by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import polars as pl
import pyarrow as pa
from polars.exceptions import PolarsError
from pydantic import Field, model_validator
from typing_extensions import override

from karat.declare.checks.base import Check, OnFail
from karat.dtypes import ARROW


class RowCheck(Check):
    """A check of each row by itself; ``at_most`` is the share of rows that may break it without consequences."""

    at_most: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _no_share_aside(self) -> RowCheck:
        if self.at_most and self.on_fail in ("set_aside", "null"):
            raise ValueError("at_most is for checks that block or warn: the others act on every row that breaks it")
        return self

    @property
    @override
    def name(self) -> str:
        return f"{self.rule} (but for {self.at_most:g} of the rows)" if self.at_most else self.rule

    @property
    def rule(self) -> str:
        """The rule in words, without the share that may break it."""
        raise NotImplementedError

    @override
    def default(self, *, gold: bool) -> OnFail:
        return "set_aside" if gold and not self.at_most else "block"

    def reasons(self) -> Iterator[tuple[pl.Expr, str]]:
        """Give each way to break the rule: an expression, true for such rows and never null, and the reason."""
        raise NotImplementedError

    def broken(self) -> pl.Expr:
        """True where a row breaks the rule, never null."""
        return pl.any_horizontal(*(rule for rule, _ in self.reasons()))


class OfColumn(RowCheck):
    """A check of one column's values."""

    column: str

    @property
    @override
    def columns(self) -> tuple[str, ...]:
        return (self.column,)


class NotNull(OfColumn):
    """``key`` says that the column is of the table's key, for the reason's sake."""

    kind: Literal["not_null"] = "not_null"
    key: bool = False

    @property
    @override
    def rule(self) -> str:
        return f"{self.column} is not null"

    @override
    def reasons(self) -> Iterator[tuple[pl.Expr, str]]:
        where = "no value in key column" if self.key else "no value"
        yield pl.col(self.column).is_null(), f"{where}: {self.column}"


class Between(OfColumn):
    """Both ends count, None is no end. A null keeps it, NaN breaks it."""

    kind: Literal["between"] = "between"
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _has_ends(self) -> Between:
        if self.low is None and self.high is None:
            raise ValueError(f"the range of {self.column!r} has no end: give low, high or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"the range of {self.column!r} is empty: {self.low:g} is above {self.high:g}")
        return self

    @property
    @override
    def rule(self) -> str:
        if self.low is not None and self.high is not None:
            return f"{self.column} is between {self.low:g} and {self.high:g}"
        return f"{self.column} is " + (f"at least {self.low:g}" if self.low is not None else f"at most {self.high:g}")

    @override
    def problem(self, dtypes: Mapping[str, str], time: str | None) -> str | None:
        dtype = dtypes[self.column]
        return None if dtype in ("int64", "float64") else f"{self.column!r} is {dtype}, and a range is of numbers"

    @override
    def reasons(self) -> Iterator[tuple[pl.Expr, str]]:
        value = pl.col(self.column)
        if self.low is not None:
            yield ~(value >= self.low).fill_null(True), f"below {self.low:g}: {self.column}"
        # To Polars NaN is above every number: with a low end alone it would pass.
        above = pl.lit(False) if self.high is None else ~(value <= self.high).fill_null(True)
        nan = value.cast(pl.Float64).is_nan().fill_null(False)
        yield above | nan, f"above {self.high:g}: {self.column}" if self.high is not None else f"NaN: {self.column}"


class IsIn(OfColumn):
    """A null keeps it."""

    kind: Literal["is_in"] = "is_in"
    values: tuple[str, ...] = Field(min_length=1)

    @property
    @override
    def rule(self) -> str:
        shown = ", ".join(self.values[:6]) + (", ..." if len(self.values) > 6 else "")
        return f"{self.column} is one of {shown}"

    @override
    def problem(self, dtypes: Mapping[str, str], time: str | None) -> str | None:
        return f"{self.column!r} is float64: such values can't be listed" if dtypes[self.column] == "float64" else None

    @override
    def reasons(self) -> Iterator[tuple[pl.Expr, str]]:
        listed = pl.col(self.column).cast(pl.String).is_in(list(self.values))
        yield ~listed.fill_null(True), f"not an allowed value: {self.column}"


class Matches(RowCheck):
    """An SQL condition (Polars' SQL) on one row. A row for which it is null keeps it, as with SQL's CHECK."""

    kind: Literal["matches"] = "matches"
    sql: str

    @model_validator(mode="after")
    def _parses(self) -> Matches:
        try:
            alone = _by_row(pl.sql_expr(self.sql))
        except PolarsError as error:
            raise ValueError(f"{self.sql!r} is not a condition in Polars' SQL: {_line(error)}") from None
        if not alone:
            raise ValueError(f"{self.sql!r} looks at more than its own row")
        return self

    @property
    @override
    def rule(self) -> str:
        return self.sql

    @property
    @override
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(pl.sql_expr(self.sql).meta.root_names()))

    @override
    def problem(self, dtypes: Mapping[str, str], time: str | None) -> str | None:
        empty = pl.from_arrow(pa.schema([(c, ARROW[d]) for c, d in dtypes.items()]).empty_table())
        assert isinstance(empty, pl.DataFrame)
        try:
            found = empty.select(pl.sql_expr(self.sql).alias("kept"))["kept"].dtype
        except PolarsError as error:
            return f"{self.sql!r}: {_line(error)}"
        return None if found == pl.Boolean else f"{self.sql!r} is {found}, and a condition is true or false"

    @override
    def reasons(self) -> Iterator[tuple[pl.Expr, str]]:
        yield ~pl.sql_expr(self.sql).fill_null(True), f"breaks {self.sql}"


def _by_row(expression: pl.Expr) -> bool:
    """Whether no part of it is an aggregate or a window (Polars asks the outermost part alone)."""
    meta = expression.meta
    try:
        alone = meta.is_literal(allow_aliasing=True) or meta.is_row_separable()
    except PolarsError:  # IN (...) can't be asked without a schema, and is by row
        alone = True
    return alone and all(_by_row(part) for part in meta.pop())


def _line(error: Exception) -> str:
    return str(error).splitlines()[0]


def not_null(column: str, *, at_most: float = 0.0, on_fail: OnFail | None = None, description: str = "") -> NotNull:
    """Every row has a value, but for a share of ``at_most``."""
    return NotNull(column=column, at_most=at_most, on_fail=on_fail, description=description)


def between(
    column: str,
    low: float | None = None,
    high: float | None = None,
    *,
    at_most: float = 0.0,
    on_fail: OnFail | None = None,
    description: str = "",
) -> Between:
    """Numbers from ``low`` to ``high``, both ends included."""
    return Between(column=column, low=low, high=high, at_most=at_most, on_fail=on_fail, description=description)


def is_in(
    column: str, *values: str, at_most: float = 0.0, on_fail: OnFail | None = None, description: str = ""
) -> IsIn:
    """One of ``values``, as text."""
    return IsIn(column=column, values=values, at_most=at_most, on_fail=on_fail, description=description)


def matches(sql: str, *, at_most: float = 0.0, on_fail: OnFail | None = None, description: str = "") -> Matches:
    """A condition over several columns of one row, in Polars' SQL, as in ``matches("net <= gross")``."""
    return Matches(sql=sql, at_most=at_most, on_fail=on_fail, description=description)
