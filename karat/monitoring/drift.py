"""Drift tests of a single column: Kolmogorov-Smirnov, chi-square and the population stability index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import stats

from karat.errors import TooFewRows
from karat.monitoring.bins import Bins

#: Share of a bin without rows, so that the index stays finite.
_MIN_SHARE = 1e-4


@dataclass(frozen=True)
class DriftTest:
    """Result of a drift test.

    Attributes:
        column: The column.
        method: "ks", "chi_square" or "psi".
        statistic: The test statistic.
        p_value: The p-value; None if the method has none.
        threshold: Bound of the p-value, or of the statistic if there is no p-value.
        drifted: Whether the p-value is below the threshold, or the statistic above it.
        reference_rows: Number of reference rows.
        current_rows: Number of current rows.
    """

    column: str
    method: str
    statistic: float
    p_value: float | None
    threshold: float
    drifted: bool
    reference_rows: int
    current_rows: int


def kolmogorov_smirnov(reference: pl.Series, current: pl.Series, threshold: float = 0.05) -> DriftTest:
    """Test two samples of numbers by the greatest distance of their distributions; nulls and NaN are left out.

    Args:
        reference: Reference values, ``(rows,)``.
        current: Current values, ``(rows,)``.
        threshold: Significance level of the p-value.

    Returns:
        The result.

    Raises:
        TooFewRows: One side has no value.
    """
    before, now = _float_values(reference), _float_values(current)
    _check_not_empty(reference.name, len(before), len(now))
    result = stats.ks_2samp(before, now)
    p = float(result.pvalue)
    sizes = (len(before), len(now))
    return DriftTest(reference.name, "ks", float(result.statistic), p, threshold, p < threshold, *sizes)


def chi_square(reference: pl.Series, current: pl.Series, threshold: float = 0.05) -> DriftTest:
    """Test two samples of categories for homogeneity; nulls are left out, categories of one side alone count.

    Args:
        reference: Reference values, ``(rows,)``.
        current: Current values, ``(rows,)``.
        threshold: Significance level of the p-value.

    Returns:
        The result.

    Raises:
        TooFewRows: One side has no value.
    """
    before, now = reference.drop_nulls(), current.drop_nulls()
    _check_not_empty(reference.name, len(before), len(now))
    counts = _contingency_table(before, now)
    sizes = (len(before), len(now))
    if counts.shape[1] < 2:  # one category cannot differ
        return DriftTest(reference.name, "chi_square", 0.0, 1.0, threshold, False, *sizes)
    result = stats.chi2_contingency(counts, correction=False)
    p = float(result.pvalue)
    return DriftTest(reference.name, "chi_square", float(result.statistic), p, threshold, p < threshold, *sizes)


def population_stability(reference: pl.Series, current: pl.Series, threshold: float = 0.2, bins: int = 10) -> DriftTest:
    """Compute the population stability index: the sum over bins of (q - p) ln(q / p).

    Numbers are binned by the quantiles of the reference, other types by value; nulls are a bin of their own. A value
    that equals a quantile has a bin of its own, so that a move away from a frequent value counts. By the usual reading
    less than 0.1 is stable and more than 0.2 a shift.

    Args:
        reference: Reference values, ``(rows,)``.
        current: Current values, ``(rows,)``.
        threshold: Greatest index without drift.
        bins: Number of quantile bins.

    Returns:
        The result, without a p-value.

    Raises:
        TooFewRows: One side has no row.
    """
    _check_not_empty(reference.name, len(reference), len(current))
    reference_bins, current_bins = reference, current
    if reference.dtype.is_numeric():
        quantiles = Bins.fit(reference, bins)
        reference_bins, current_bins = (pl.Series(quantiles.codes(side)) for side in (reference, current))
    counts = _contingency_table(reference_bins, current_bins)
    p, q = (np.clip(row / row.sum(), _MIN_SHARE, None) for row in counts)
    index = float(((q - p) * np.log(q / p)).sum())
    sizes = (len(reference), len(current))
    return DriftTest(reference.name, "psi", index, None, threshold, index > threshold, *sizes)


def _float_values(column: pl.Series) -> np.ndarray:
    values = column.drop_nulls().cast(pl.Float64).to_numpy()
    made: np.ndarray = values[~np.isnan(values)]
    return made


def _contingency_table(before: pl.Series, now: pl.Series) -> np.ndarray:
    """Count the values of both sides, null included, ``(2, values)``."""
    sides = [s.alias("v").value_counts(name="n") for s in (before, now)]
    both = sides[0].join(sides[1], on="v", how="full", nulls_equal=True, suffix="_now")
    return both.select(pl.col("n").fill_null(0), pl.col("n_now").fill_null(0)).to_numpy().T.astype(float)


def _check_not_empty(column: str, before: int, now: int) -> None:
    if not before or not now:
        raise TooFewRows(
            f"the column {column!r} has no value in the {'current' if before else 'reference'} rows",
            where="drift",
            remedy="give reference and current rows with values, or leave the column out",
        )
