"""What the columns of some rows look like, in figures of which those of several parts make those of the whole."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import polars as pl


class ColumnStatistics(NamedTuple):
    """Of one column of one part. ``numbers`` counts its finite numbers, a flag being 0 or 1, of which the rest speaks:
    0 for texts and times. ``squares`` is the sum of the squared distances from ``mean``."""

    rows: int
    nulls: int
    numbers: int = 0
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    squares: float = 0.0

    @property
    def std(self) -> float | None:
        """With n - 1; None for fewer than two numbers."""
        return math.sqrt(self.squares / (self.numbers - 1)) if self.numbers > 1 else None


def figures_of(rows: pl.DataFrame, columns: Sequence[str]) -> dict[str, ColumnStatistics]:
    """Column -> its figures; one column after the other, while its rows are at hand anyway."""
    return {column: _of_column(rows[column]) for column in columns}


def _of_column(column: pl.Series) -> ColumnStatistics:
    rows, nulls = len(column), column.null_count()
    if nulls == rows or not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        return ColumnStatistics(rows, nulls)
    numbers = column.cast(pl.Float64) if column.dtype == pl.Boolean else column
    count, mean = rows - nulls, numbers.mean()
    if not math.isfinite(mean):  # type: ignore[arg-type]
        numbers = numbers.filter(numbers.is_finite())  # what is not finite is rare, and looking for it is not free
        count, mean = len(numbers), numbers.mean()
    if not count:
        return ColumnStatistics(rows, nulls)
    ends = float(numbers.min()), float(numbers.max())  # type: ignore[arg-type]
    variance = numbers.var() if count > 1 else 0.0
    return ColumnStatistics(rows, nulls, count, *ends, float(mean), float(variance) * (count - 1))  # type: ignore[arg-type]


def joined(parts: Iterable[ColumnStatistics]) -> ColumnStatistics:
    """The figures of all parts together; of none without any."""
    whole = ColumnStatistics(0, 0)
    for part in parts:
        whole = _both(whole, part)
    return whole


def _both(one: ColumnStatistics, other: ColumnStatistics) -> ColumnStatistics:
    rows, nulls = one.rows + other.rows, one.nulls + other.nulls
    if not one.numbers or not other.numbers:
        return (one if one.numbers else other)._replace(rows=rows, nulls=nulls)
    assert None not in one[3:6] + other[3:6]
    numbers, apart = one.numbers + other.numbers, other.mean - one.mean  # type: ignore[operator]
    return ColumnStatistics(
        rows,
        nulls,
        numbers,
        min(one.minimum, other.minimum),  # type: ignore[type-var]
        max(one.maximum, other.maximum),  # type: ignore[type-var]
        one.mean + apart * other.numbers / numbers,  # type: ignore[operator]
        one.squares + other.squares + apart**2 * one.numbers * other.numbers / numbers,
    )
