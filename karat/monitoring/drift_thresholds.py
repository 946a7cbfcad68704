"""Drift thresholds: a column drifts if it moves further than declared, than chance explains and than usual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from karat.monitoring.drift_history import ColumnComparison, PastPeriod

METHOD = "psi"
#: A population stability index above this is a shift.
PSI_THRESHOLD = 0.2
#: A column may move this many times as far as in its farthest past period.
PAST_FACTOR = 1.5


@dataclass(frozen=True)
class Finding:
    """Result for one column.

    Attributes:
        column: The column.
        method: The statistic's name.
        statistic: The statistic; None if there was nothing to compare.
        threshold: Greatest statistic without drift.
        drifted: Whether the statistic is above the threshold.
        usual: The greatest statistic of past periods.
        note: What sets the threshold, or why there is no statistic.
    """

    column: str
    method: str = METHOD
    statistic: float | None = None
    threshold: float | None = None
    drifted: bool = False
    usual: float | None = None
    note: str = ""


@dataclass(frozen=True)
class DriftHistory:
    """Rows of the past and the periods to compare.

    Attributes:
        rows: All rows that existed at the time, ``(rows, columns)``.
        training: Training rows, ``(rows, columns)``.
        periods: The past periods.
    """

    rows: pl.DataFrame
    training: pl.DataFrame
    periods: Sequence[PastPeriod] = ()

    @classmethod
    def empty(cls, like: pl.DataFrame) -> DriftHistory:
        """Return an empty history, for a table without time or a short training set."""
        return cls(like.clear(), like.clear())


def drift_findings(reference: pl.DataFrame, current: pl.DataFrame, history: DriftHistory) -> list[Finding]:
    """Compare every column of ``reference``; all frames are as ``comparable_columns`` returns them.

    Args:
        reference: Reference columns, ``(rows, columns)``.
        current: Current columns, ``(rows, columns)``.
        history: Rows of the past.

    Returns:
        One finding per column, in order.
    """
    return [
        _drift_finding(
            ColumnComparison.from_columns(
                reference[n], current[n], history.rows[n], history.training[n], history.periods
            ),
            n,
        )
        for n in reference.columns
    ]


def _drift_finding(comparison: ColumnComparison, name: str) -> Finding:
    usual = max(comparison.past_indexes, default=None)
    bounds = {"": PSI_THRESHOLD, "higher threshold: few rows": comparison.chance_bound}
    if usual is not None:
        bounds["higher threshold: it usually moves"] = PAST_FACTOR * usual
    note = max(bounds, key=lambda bound: bounds[bound])
    threshold = bounds[note]
    return Finding(name, METHOD, comparison.index, threshold, comparison.index > threshold, usual, note)


def comparable_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """Convert to float64 (a sequence's newest value, a time's seconds) or text."""
    return frame.select(_comparable_column(name, dtype) for name, dtype in frame.schema.items())


def _comparable_column(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if isinstance(dtype, pl.List | pl.Array):
        assert isinstance(dtype.inner, pl.DataType)
        column = column.list.last() if isinstance(dtype, pl.List) else column.arr.last()
        dtype = dtype.inner
    if dtype.is_temporal():
        return column.cast(pl.Datetime("us")).dt.epoch("s").cast(pl.Float64).alias(name)
    return column.cast(pl.Float64 if dtype.is_numeric() else pl.String).alias(name)


def empty_findings(columns: Sequence[str], why: str) -> list[Finding]:
    """Return a finding without a statistic for every column."""
    return [Finding(name, note=why) for name in columns]
