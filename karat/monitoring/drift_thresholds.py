"""Which columns have drifted: further than declared, than chance explains, and than they usually move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from karat.monitoring.drift_history import Comparison, Past

METHOD = "psi"
#: Document 003's PSI: what is more is a shift.
DECLARED = 0.2
#: How many times as far as its farthest past stretch a column may move.
SLACK = 1.5


@dataclass(frozen=True)
class Finding:
    """One column. ``statistic`` None: there was nothing to compare; ``note`` says what decided the threshold."""

    column: str
    method: str = METHOD
    statistic: float | None = None
    threshold: float | None = None
    drifted: bool = False
    usual: float | None = None
    note: str = ""


@dataclass(frozen=True)
class History:
    """All rows that there were, those that were learned from, and which of them to compare."""

    every: pl.DataFrame
    learned: pl.DataFrame
    past: Sequence[Past] = ()

    @classmethod
    def none(cls, like: pl.DataFrame) -> History:
        """Of a table without time, or a training set too short."""
        return cls(like.clear(), like.clear())


def judged(reference: pl.DataFrame, current: pl.DataFrame, history: History) -> list[Finding]:
    """Every column of ``reference``, in its order; all frames as ``plain`` makes them."""
    every, learned = history.every, history.learned
    return [
        _judged(Comparison.of(reference[n], current[n], every[n], learned[n], history.past), n)
        for n in reference.columns
    ]


def _judged(found: Comparison, name: str) -> Finding:
    usual = max(found.usual, default=None)
    bounds = {"": DECLARED, "chance in so few rows": found.chance}
    if usual is not None:
        bounds["it always moves"] = SLACK * usual
    note = max(bounds, key=lambda bound: bounds[bound])
    threshold = bounds[note]
    return Finding(name, METHOD, found.index, threshold, found.index > threshold, usual, note)


def plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Numbers as float64 (of a sequence its newest value, of a time the seconds), anything else as text."""
    return frame.select(_plain(name, dtype) for name, dtype in frame.schema.items())


def _plain(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if isinstance(dtype, pl.List | pl.Array):
        assert isinstance(dtype.inner, pl.DataType)
        column = column.list.last() if isinstance(dtype, pl.List) else column.arr.last()
        dtype = dtype.inner
    if dtype.is_temporal():
        return column.cast(pl.Datetime("us")).dt.epoch("s").cast(pl.Float64).alias(name)
    return column.cast(pl.Float64 if dtype.is_numeric() else pl.String).alias(name)


def nothing(columns: Sequence[str], why: str) -> list[Finding]:
    """What is said of every column where there is nothing to compare."""
    return [Finding(name, note=why) for name in columns]
