"""Bins of a reference column, and the population stability index of two counts over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

#: This many values of a text or boolean column have a bin each; all others share one.
MAX_CATEGORIES = 30


@dataclass(frozen=True)
class Bins:
    """Bins of a reference column.

    Attributes:
        edges: Quantiles between the bins of numbers; None for other types.
        values: Maps the values of other types to bins.
    """

    edges: np.ndarray | None
    values: dict[str, int]

    @classmethod
    def fit(cls, reference: pl.Series, bins: int = 10) -> Bins:
        """Bin numbers by the quantiles of ``reference``, and other types by its most frequent values.

        Args:
            reference: The reference column, ``(rows,)``.
            bins: Number of quantile bins.

        Returns:
            The bins; numeric bins hold equal shares of the reference.
        """
        if reference.dtype.is_numeric():
            known = _float_values(reference)
            known = known[~np.isnan(known)]
            return cls(_quantile_edges(known, bins), {})
        counted = reference.cast(pl.String).drop_nulls().alias("v").value_counts(name="n")
        kept = counted.sort(pl.col("n"), "v", descending=[True, False])["v"].head(MAX_CATEGORIES)
        return cls(None, {value: i for i, value in enumerate(kept)})

    @property
    def number(self) -> int:
        """Number of bins; the last one holds nulls."""
        return (2 * len(self.edges) + 2) if self.edges is not None else len(self.values) + 2

    def codes(self, column: pl.Series) -> np.ndarray:
        """Return the bin of each value, ``(rows,)``.

        A number equal to an edge has a bin of its own: many rows share a value such as 0 (nothing bought), and a move
        away
        from it can go to either side.
        """
        if self.edges is None:
            texts = column.cast(pl.String)
            bins = texts.replace_strict(self.values, default=len(self.values), return_dtype=pl.Int64)
            return bins.set(texts.is_null(), self.number - 1).to_numpy()
        values = _float_values(column)
        codes = np.searchsorted(self.edges, values, "left") + np.searchsorted(self.edges, values, "right")
        return np.where(np.isnan(values), self.number - 1, codes)

    def counts(self, codes: np.ndarray) -> np.ndarray:
        """Count ``codes`` per bin, ``(number,)``."""
        return np.bincount(codes, minlength=self.number)


def _quantile_edges(known: np.ndarray, bins: int) -> np.ndarray:
    """Return the distinct inner quantiles; a value of the sample where interpolation meets an infinite end."""
    if not len(known):
        return known
    shares = np.linspace(0, 1, bins + 1)[1:-1]
    with np.errstate(invalid="ignore", over="ignore"):
        edges = np.quantile(known, shares)
    edges = np.where(np.isfinite(edges), edges, np.quantile(known, shares, method="lower"))
    distinct: np.ndarray = np.unique(edges)
    return distinct


def stability_index(before: np.ndarray, now: np.ndarray) -> float:
    """Compute the population stability index: the sum over bins of (q - p) ln(q / p).

    Half a row is added to each bin that either side uses (Jeffreys' prior). An empty bin therefore gives a finite
    index,
    and few rows do not give a great one.

    Args:
        before: Reference counts, ``(bins,)``.
        now: Current counts, ``(bins,)``.

    Returns:
        The index, 0 for equal shares.
    """
    used = (before + now) > 0
    p, q = ((side[used] + 0.5) / (side[used] + 0.5).sum() for side in (before, now))
    return float(((q - p) * np.log(q / p)).sum())


def _float_values(column: pl.Series) -> np.ndarray:
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
