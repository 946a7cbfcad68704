"""Mergeable statistics of a table's columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import polars as pl


class ColumnStatistics(NamedTuple):
    """Statistics of one column of some rows.

    Attributes:
        rows: Rows.
        nulls: Rows without a value.
        numbers: Finite numbers; a flag counts as 0 or 1. 0 for text and times. The following describe these numbers.
        minimum: The smallest.
        maximum: The greatest.
        mean: The mean.
        squares: The sum of squared distances from the mean.
    """

    rows: int
    nulls: int
    numbers: int = 0
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    squares: float = 0.0

    @property
    def std(self) -> float | None:
        """The standard deviation with n - 1; None for fewer than two numbers."""
        return math.sqrt(self.squares / (self.numbers - 1)) if self.numbers > 1 else None


def measure_columns(rows: pl.DataFrame, columns: Sequence[str]) -> dict[str, ColumnStatistics]:
    """Measure some columns of a frame: column -> its statistics."""
    return {column: _measure_column(rows[column]) for column in columns}


def _measure_column(column: pl.Series) -> ColumnStatistics:
    rows, nulls = len(column), column.null_count()
    if nulls == rows or not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        return ColumnStatistics(rows, nulls)
    numbers = column.cast(pl.Float64) if column.dtype == pl.Boolean else column
    count, mean = rows - nulls, numbers.mean()
    if not math.isfinite(mean):  # type: ignore[arg-type]
        numbers = numbers.filter(numbers.is_finite())  # searching costs time, and infinite values are rare
        count, mean = len(numbers), numbers.mean()
    if not count:
        return ColumnStatistics(rows, nulls)
    ends = float(numbers.min()), float(numbers.max())  # type: ignore[arg-type]
    variance = numbers.var() if count > 1 else 0.0
    return ColumnStatistics(rows, nulls, count, *ends, float(mean), float(variance) * (count - 1))  # type: ignore[arg-type]


def merge_statistics(parts: Iterable[ColumnStatistics]) -> ColumnStatistics:
    """Merge the statistics of parts into those of the whole (Chan, Golub and LeVeque, 1979).

    Args:
        parts: Statistics of disjoint rows.

    Returns:
        Statistics of all rows.
    """
    whole = ColumnStatistics(0, 0)
    for part in parts:
        whole = _merge_pair(whole, part)
    return whole


def _merge_pair(one: ColumnStatistics, other: ColumnStatistics) -> ColumnStatistics:
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
