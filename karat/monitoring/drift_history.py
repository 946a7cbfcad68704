"""Drift history: how far a column moved in past periods, by the same comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import polars as pl
from scipy import stats

from karat.monitoring.bins import Bins, stability_index
from karat.monitoring.current_window import MIN_ROWS, WEEK

#: At most this many past periods are compared, each as long as the current one.
MAX_PERIODS = 8
#: Chance alone passes the bound for a sample's size in one of this many columns.
CHANCE_ODDS = 1000


@dataclass(frozen=True)
class PastPeriod:
    """A past period and its reference.

    Attributes:
        rows: Positions of the period's rows among all rows.
        before: Positions of the reference rows among the training rows.
    """

    rows: np.ndarray
    before: np.ndarray


def past_periods(every: pl.Series, learned: pl.Series, first: date, last: date, until: date) -> list[PastPeriod]:
    """Return past periods of the same length and weekday, newest first, each with its reference at the same gap.

    A reference covers at least two lengths of the period; if the training set is too short for the gap, the gap is
    less.

    Args:
        every: Day of each row that existed at the time, with or without a label, ``(rows,)``.
        learned: Day of each training row, ``(rows,)``.
        first: First current day.
        last: Last current day.
        until: Last day of the reference.

    Returns:
        At most ``MAX_PERIODS`` periods.
    """
    days, known = every.to_physical().to_numpy(), learned.to_physical().to_numpy()
    begin, end, oldest, newest = _day_number(first), _day_number(last), int(known.min()), int(known.max())
    length = end - begin + 1
    far, step = max(0, begin - _day_number(until) - 1), max(WEEK, -(-length // WEEK) * WEEK)
    back = -(-max(0, end - newest) // WEEK) * WEEK
    periods: list[PastPeriod] = []
    while len(periods) < MAX_PERIODS and begin - back >= oldest + 2 * length:
        begins, ends = begin - back, end - back
        before = np.flatnonzero(known < max(begins - far, oldest + 2 * length))
        past = PastPeriod(np.flatnonzero((days >= begins) & (days <= ends)), before)
        if min(len(past.rows), len(past.before)) >= MIN_ROWS:
            periods.append(past)
        back += step
    return periods


def _day_number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


@dataclass(frozen=True)
class ColumnComparison:
    """One column's bins and the bin codes of all rows to compare.

    Attributes:
        bins: Bins of the reference.
        before: Codes of the reference rows.
        now: Codes of the current rows.
        every: Codes of all rows of the past.
        learned: Codes of the training rows.
        past: The past periods.
    """

    bins: Bins
    before: np.ndarray
    now: np.ndarray
    every: np.ndarray
    learned: np.ndarray
    past: Sequence[PastPeriod]

    @classmethod
    def from_columns(
        cls, reference: pl.Series, current: pl.Series, every: pl.Series, learned: pl.Series, past: Sequence[PastPeriod]
    ) -> ColumnComparison:
        """Fit the bins to ``reference`` and code all columns."""
        bins = Bins.fit(reference)
        before, now = bins.codes(reference), bins.codes(current)
        return cls(bins, before, now, bins.codes(every), bins.codes(learned), past)

    @cached_property
    def index(self) -> float:
        """The index of the current rows against the reference."""
        return stability_index(self.bins.counts(self.before), self.bins.counts(self.now))

    @cached_property
    def past_indexes(self) -> list[float]:
        """The index of each past period against its reference."""
        counts = self.bins.counts
        return [stability_index(counts(self.learned[p.before]), counts(self.every[p.rows])) for p in self.past]

    @property
    def chance_bound(self) -> float:
        """The index that samples of these sizes from one distribution exceed once in ``CHANCE_ODDS``.

        Divided by (1/n + 1/m), the index is distributed as chi-square with one degree of freedom less than there are
        bins.
        """
        used = np.union1d(self.before, self.now).size
        quantile = float(stats.chi2.ppf(1 - 1 / CHANCE_ODDS, max(used - 1, 1)))
        return quantile * (1 / len(self.before) + 1 / len(self.now))
