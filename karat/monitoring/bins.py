"""Values sorted into the bins of a reference, and how far two counts over these bins are apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

#: Of texts and flags so many values have a bin each; the rest share one with what the reference never had.
VALUES = 30


@dataclass(frozen=True)
class Bins:
    """``edges``: the quantiles between the bins of numbers, or None; ``values``: value -> bin of anything else."""

    edges: np.ndarray | None
    values: dict[str, int]

    @classmethod
    def of(cls, reference: pl.Series, bins: int = 10) -> Bins:
        """Numbers by the quantiles of ``reference``, so that each bin holds as many of its rows; anything else by its
        most frequent values, as text."""
        if reference.dtype.is_numeric():
            known = _numbers(reference)
            known = known[~np.isnan(known)]
            edges = np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1]) if len(known) else known
            return cls(np.unique(edges), {})
        counted = reference.cast(pl.String).drop_nulls().alias("v").value_counts(name="n")
        kept = counted.sort(pl.col("n"), "v", descending=[True, False])["v"].head(VALUES)
        return cls(None, {value: i for i, value in enumerate(kept)})

    @property
    def number(self) -> int:
        """How many bins there are; the last is that of nulls."""
        return (2 * len(self.edges) + 2) if self.edges is not None else len(self.values) + 2

    def codes(self, column: pl.Series) -> np.ndarray:
        """(n,) the bin of each value. A number that equals an edge is in a bin of its own, for columns have values that
        many rows share (nothing bought: 0), and a move away from one goes to either side."""
        if self.edges is None:
            texts = column.cast(pl.String)
            found = texts.replace_strict(self.values, default=len(self.values), return_dtype=pl.Int64)
            return found.set(texts.is_null(), self.number - 1).to_numpy()
        values = _numbers(column)
        codes = np.searchsorted(self.edges, values, "left") + np.searchsorted(self.edges, values, "right")
        return np.where(np.isnan(values), self.number - 1, codes)

    def counts(self, codes: np.ndarray) -> np.ndarray:
        """(number,) how many of ``codes`` are in each bin."""
        return np.bincount(codes, minlength=self.number)


def stability_index(before: np.ndarray, now: np.ndarray) -> float:
    """The population stability index of two counts: the sum over bins of (q - p) ln(q / p).

    Half a row is added to each bin that either side uses (Jeffreys), so that a bin which a short week leaves empty
    counts for what it is worth: nothing is infinite, and few rows don't make a great distance.
    """
    used = (before + now) > 0
    p, q = ((side[used] + 0.5) / (side[used] + 0.5).sum() for side in (before, now))
    return float(((q - p) * np.log(q / p)).sum())


def _numbers(column: pl.Series) -> np.ndarray:
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
