"""Synthetic anomalies, which evaluate an anomaly model without labels.

They follow two of the four kinds of ADBench (Han, Hu, Huang, Jiang and Zhao, NeurIPS 2022, section 3.2), half of the
rows each:

- global: every number is drawn anew, uniformly between its column's least and greatest value, the range widened by a
  tenth. Each value is credible alone, the row is not.
- local: every number moves away from its column's median to five times its distance. (ADBench scales the covariance of
  a fitted mixture by five; here the rows themselves move.)

Missing values stay missing; texts, booleans and times stay as they are.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from karat.errors import UnusableLabel

SHARE = 0.05
GLOBAL_WIDENED = 0.1
LOCAL_FACTOR = 5.0


def has_both_classes(labels: pl.Series) -> bool:
    """Whether labels have normal and anomalous rows; if not, synthetic anomalies replace them."""
    return labels.drop_nulls().n_unique() > 1


def plant_anomalies(frame: pl.DataFrame, *, seed: int, share: float = SHARE) -> tuple[pl.DataFrame, pl.Series]:
    """Replace a seeded share of the rows by synthetic anomalies.

    The same frame and seed give the same rows, so that two models can be compared on them.

    Args:
        frame: Rows, ``(rows, features)``.
        seed: Seed of the draws.
        share: Share of the rows, at least two rows.

    Returns:
        The frame, changed columns as float64, and which rows are anomalies, ``(rows,)``.

    Raises:
        UnusableLabel: There are too few rows, or no number varies.
    """
    numbers = [
        s.name for s in frame if s.dtype.is_numeric() and s.drop_nulls().cast(pl.Float64).drop_nans().n_unique() > 1
    ]
    if frame.height < 4 or not numbers:
        raise UnusableLabel(
            f"synthetic anomalies need 4 rows and a number that varies; there are {frame.height} rows and "
            f"{len(numbers)} such numbers",
            remedy="give the model a label that marks anomalous rows, or features that vary",
        )
    random = np.random.default_rng(seed)
    rows = random.permutation(frame.height)[: max(2, round(frame.height * share))]
    X = frame.select(pl.col(numbers).cast(pl.Float64).fill_null(float("nan"))).to_numpy().copy()
    with np.errstate(invalid="ignore"):
        finite = np.where(np.isfinite(X), X, np.nan)
    anywhere, nearby = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    X[anywhere] = _global_anomalies(finite, anywhere, random)
    middle = np.nanmedian(finite, axis=0)
    X[nearby] = middle + (X[nearby] - middle) * LOCAL_FACTOR
    planted = np.zeros(frame.height, dtype=bool)
    planted[rows] = True
    moved = pl.DataFrame(X, schema=dict.fromkeys(numbers, pl.Float64)).fill_nan(None)
    return frame.with_columns(moved.get_columns()), pl.Series("planted", planted)


def _global_anomalies(X: np.ndarray, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    least, greatest = np.nanmin(X, axis=0), np.nanmax(X, axis=0)
    margin = (greatest - least) * GLOBAL_WIDENED / 2
    drawn = random.uniform(least - margin, greatest + margin, (len(rows), X.shape[1]))
    return np.where(np.isnan(X[rows]), np.nan, drawn)
