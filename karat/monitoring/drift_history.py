"""How far a column usually moves: what the same comparison would have said in the weeks that were learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import polars as pl
from scipy import stats

from karat.monitoring.bins import Bins, stability_index

WEEK = 7
#: So many past stretches are looked at, at most; each as long as the one that is judged.
STRETCHES = 8
#: A stretch or what lies before it with fewer rows says nothing.
FEWEST = 50
#: Chance alone passes the bound of a sample's size once in so many columns.
ONE_IN = 1000


@dataclass(frozen=True)
class Past:
    """Rows of a past stretch of days, and what lies before it: positions among all rows that there were, and among
    those that were learned from."""

    stretch: np.ndarray
    before: np.ndarray


def past_of(every: pl.Series, learned: pl.Series, first: date, last: date, until: date) -> list[Past]:
    """Stretches that are as long as ``first`` to ``last`` and begin on the same weekday, the newest first, and before
    each what it may be compared with, as far away as ``first`` is from ``until``, the last day of the reference.

    ``every``: the day of each row that there was at the time, as ``first`` to ``last`` holds every row of now;
    ``learned``: of those that were learned from. Two lengths of a stretch at least lie before one; where that is too
    short for the distance, the distance is less.
    """
    days, known = every.to_physical().to_numpy(), learned.to_physical().to_numpy()
    begin, end, oldest, newest = _number(first), _number(last), int(known.min()), int(known.max())
    length = end - begin + 1
    far, step = max(0, begin - _number(until) - 1), max(WEEK, -(-length // WEEK) * WEEK)
    back = -(-max(0, end - newest) // WEEK) * WEEK
    found: list[Past] = []
    while len(found) < STRETCHES and begin - back >= oldest + 2 * length:
        begins, ends = begin - back, end - back
        before = np.flatnonzero(known < max(begins - far, oldest + 2 * length))
        past = Past(np.flatnonzero((days >= begins) & (days <= ends)), before)
        if min(len(past.stretch), len(past.before)) >= FEWEST:
            found.append(past)
        back += step
    return found


def _number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


@dataclass(frozen=True)
class Comparison:
    """One column of the reference and of the current rows, in bins; and of those whose ``past`` is looked at: all rows
    that there were, and those that were learned from."""

    bins: Bins
    before: np.ndarray
    now: np.ndarray
    every: np.ndarray
    learned: np.ndarray
    past: Sequence[Past]

    @classmethod
    def of(
        cls, reference: pl.Series, current: pl.Series, every: pl.Series, learned: pl.Series, past: Sequence[Past]
    ) -> Comparison:
        bins = Bins.of(reference)
        before, now = bins.codes(reference), bins.codes(current)
        return cls(bins, before, now, bins.codes(every), bins.codes(learned), past)

    @cached_property
    def index(self) -> float:
        return stability_index(self.bins.counts(self.before), self.bins.counts(self.now))

    @cached_property
    def usual(self) -> list[float]:
        """The index of each past stretch against what lay before it."""
        counts = self.bins.counts
        return [stability_index(counts(self.learned[p.before]), counts(self.every[p.stretch])) for p in self.past]

    @property
    def chance(self) -> float:
        """What samples of these sizes from one distribution pass once in ``ONE_IN``: over (1/n + 1/m) the index is
        distributed as chi-square with one degree of freedom less than there are bins."""
        used = np.union1d(self.before, self.now).size
        quantile = float(stats.chi2.ppf(1 - 1 / ONE_IN, max(used - 1, 1)))
        return quantile * (1 / len(self.before) + 1 / len(self.now))
