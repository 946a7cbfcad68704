"""Has a column's distribution changed? Kolmogorov-Smirnov, chi-square and the population stability index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import stats

from karat.errors import TooFewRows

#: A share that a bin without rows counts as, so that the index stays finite.
_EMPTY = 1e-4


@dataclass(frozen=True)
class Drift:
    """The outcome for one column. ``p_value`` None: the method has none; ``drifted`` where it is below the threshold,
    or, without one, where the statistic is above it."""

    column: str
    method: str
    statistic: float
    p_value: float | None
    threshold: float
    drifted: bool
    reference_rows: int
    current_rows: int


def kolmogorov_smirnov(reference: pl.Series, current: pl.Series, threshold: float = 0.05) -> Drift:
    """Two-sample test of numbers: the greatest distance of their distributions. Nulls and NaN are left out.

    Raises TooFewRows where one side has no value.
    """
    before, now = _numbers(reference), _numbers(current)
    _refuse_empty(reference.name, len(before), len(now))
    found = stats.ks_2samp(before, now)
    p = float(found.pvalue)
    sizes = (len(before), len(now))
    return Drift(reference.name, "ks", float(found.statistic), p, threshold, p < threshold, *sizes)


def chi_square(reference: pl.Series, current: pl.Series, threshold: float = 0.05) -> Drift:
    """Test of homogeneity of two samples of categories; one that a side never has counts too. Nulls are left out.

    Raises TooFewRows where one side has no value.
    """
    before, now = reference.drop_nulls(), current.drop_nulls()
    _refuse_empty(reference.name, len(before), len(now))
    counts = _counts(before, now)
    sizes = (len(before), len(now))
    if counts.shape[1] < 2:  # one category throughout: there is nothing to differ in
        return Drift(reference.name, "chi_square", 0.0, 1.0, threshold, False, *sizes)
    found = stats.chi2_contingency(counts, correction=False)
    p = float(found.pvalue)
    return Drift(reference.name, "chi_square", float(found.statistic), p, threshold, p < threshold, *sizes)


def population_stability(reference: pl.Series, current: pl.Series, threshold: float = 0.2, bins: int = 10) -> Drift:
    """Sum over bins of (q - p) ln(q / p): numbers by the quantiles of the reference, anything else by its value.

    By the usual reading less than 0.1 is stable, more than 0.2 a shift. Nulls are a bin of their own.
    """
    _refuse_empty(reference.name, len(reference), len(current))
    reference_bins, current_bins = reference, current
    if reference.dtype.is_numeric():
        known = _numbers(reference)
        edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1])) if len(known) else known
        reference_bins, current_bins = _binned(reference, edges), _binned(current, edges)
    counts = _counts(reference_bins, current_bins)
    p, q = (np.clip(row / row.sum(), _EMPTY, None) for row in counts)
    index = float(((q - p) * np.log(q / p)).sum())
    sizes = (len(reference), len(current))
    return Drift(reference.name, "psi", index, None, threshold, index > threshold, *sizes)


def _numbers(column: pl.Series) -> np.ndarray:
    values = column.drop_nulls().cast(pl.Float64).to_numpy()
    made: np.ndarray = values[~np.isnan(values)]
    return made


def _binned(column: pl.Series, edges: np.ndarray) -> pl.Series:
    """The bin of each value; null for what is no number."""
    values = column.cast(pl.Float64).fill_nan(None)
    found = pl.Series(np.searchsorted(edges, values.fill_null(0).to_numpy(), side="left"), dtype=pl.Int64)
    return found.set(values.is_null(), None)


def _counts(before: pl.Series, now: pl.Series) -> np.ndarray:
    """Rows: reference and current; columns: the values that either has, null among them."""
    sides = [s.alias("v").value_counts(name="n") for s in (before, now)]
    both = sides[0].join(sides[1], on="v", how="full", nulls_equal=True, suffix="_now")
    return both.select(pl.col("n").fill_null(0), pl.col("n_now").fill_null(0)).to_numpy().T.astype(float)


def _refuse_empty(column: str, before: int, now: int) -> None:
    if not before or not now:
        raise TooFewRows(
            f"the column {column!r} has no value in the {'current' if before else 'reference'} rows",
            where="drift",
            remedy="give rows of both times, or leave the column out",
        )
