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
    """A stretch of days of the reference, and the days before it: positions of rows."""

    stretch: np.ndarray
    before: np.ndarray


def past_of(days: pl.Series, first: date, last: date, learned: date) -> list[Past]:
    """Stretches of what was learned from (``days``: the day of each of its rows) that are as long as ``first`` to
    ``last`` and begin on the same weekday, the newest first; and before each what it may be compared with, as far away
    as ``first`` is from ``learned``, the last day of the reference.

    Two lengths of a stretch at least lie before it; where that is too short for the distance, the distance is less.
    """
    day = days.to_physical().to_numpy()
    begin, end, oldest, newest = _number(first), _number(last), int(day.min()), int(day.max())
    length = end - begin + 1
    far, step = max(0, begin - _number(learned) - 1), max(WEEK, -(-length // WEEK) * WEEK)
    back = -(-max(0, end - newest) // WEEK) * WEEK
    found: list[Past] = []
    while len(found) < STRETCHES and begin - back >= oldest + 2 * length:
        begins, ends = begin - back, end - back
        until = max(begins - far, oldest + 2 * length)
        past = Past(np.flatnonzero((day >= begins) & (day <= ends)), np.flatnonzero(day < until))
        if len(past.stretch) >= FEWEST and len(past.before) >= FEWEST:
            found.append(past)
        back += step
    return found


def _number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


@dataclass(frozen=True)
class Comparison:
    """One column of the reference, of the current rows and of those whose ``past`` is looked at, in bins."""

    bins: Bins
    before: np.ndarray
    now: np.ndarray
    history: np.ndarray
    past: Sequence[Past]

    @classmethod
    def of(cls, reference: pl.Series, current: pl.Series, history: pl.Series, past: Sequence[Past]) -> Comparison:
        bins = Bins.of(reference)
        before = bins.codes(reference)
        known = before if history is reference else bins.codes(history)
        return cls(bins, before, bins.codes(current), known, past)

    @cached_property
    def index(self) -> float:
        return stability_index(self.bins.counts(self.before), self.bins.counts(self.now))

    @cached_property
    def usual(self) -> list[float]:
        """The index of each past stretch against what lay before it."""
        return [self._index(past) for past in self.past]

    def _index(self, past: Past) -> float:
        before, stretch = (self.bins.counts(self.history[rows]) for rows in (past.before, past.stretch))
        return stability_index(before, stretch)

    @property
    def chance(self) -> float:
        """What samples of these sizes from one distribution pass once in ``ONE_IN``: over (1/n + 1/m) the index is
        distributed as chi-square with one degree of freedom less than there are bins."""
        used = np.union1d(self.before, self.now).size
        quantile = float(stats.chi2.ppf(1 - 1 / ONE_IN, max(used - 1, 1)))
        return quantile * (1 / len(self.before) + 1 / len(self.now))
