"""Anomalies planted into rows, for judging a detector that has no labels.

They follow two of the four kinds of synthetic anomaly of ADBench (Han, Hu, Huang, Jiang and Zhao, NeurIPS 2022,
section 3.2), half of the planted rows each:

- global: every number is drawn anew, uniformly between the least and the greatest value of its column, the range
  widened by a tenth. Each value is credible alone, the row is not.
- local: every number moves away from its column's median to five times its distance (ADBench scales the covariance of
  a fitted mixture by five; here the rows themselves are moved).

Missing values stay missing, texts, switches and times stay as they are.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from karat.errors import UnusableLabel

SHARE = 0.05
GLOBAL_WIDENED = 0.1
LOCAL_FACTOR = 5.0


def knows_both(labels: pl.Series) -> bool:
    """Whether labels tell anomalous from normal rows; where they don't, anomalies are planted."""
    return labels.drop_nulls().n_unique() > 1


def plant_anomalies(frame: pl.DataFrame, *, seed: int, share: float = SHARE) -> tuple[pl.DataFrame, pl.Series]:
    """``frame`` with anomalies in a seeded ``share`` of its rows (two at least), and which rows these are.

    The same frame and seed give the same rows, so that two models can be judged on the same ones. The planted columns
    are float64 in the answer. Raises UnusableLabel where there is nothing to move: too few rows or no varying number.
    """
    numbers = [
        s.name for s in frame if s.dtype.is_numeric() and s.drop_nulls().cast(pl.Float64).drop_nans().n_unique() > 1
    ]
    if frame.height < 4 or not numbers:
        raise UnusableLabel(
            f"no anomalies can be planted into {frame.height} rows with {len(numbers)} varying numbers",
            remedy="give the model a label that says which rows are anomalous, or features that vary",
        )
    random = np.random.default_rng(seed)
    rows = random.permutation(frame.height)[: max(2, round(frame.height * share))]
    X = frame.select(pl.col(numbers).cast(pl.Float64).fill_null(float("nan"))).to_numpy().copy()
    with np.errstate(invalid="ignore"):
        finite = np.where(np.isfinite(X), X, np.nan)
    anywhere, nearby = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    X[anywhere] = _anywhere(finite, anywhere, random)
    middle = np.nanmedian(finite, axis=0)
    X[nearby] = middle + (X[nearby] - middle) * LOCAL_FACTOR
    planted = np.zeros(frame.height, dtype=bool)
    planted[rows] = True
    moved = pl.DataFrame(X, schema=dict.fromkeys(numbers, pl.Float64)).fill_nan(None)
    return frame.with_columns(moved.get_columns()), pl.Series("planted", planted)


def _anywhere(X: np.ndarray, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    least, greatest = np.nanmin(X, axis=0), np.nanmax(X, axis=0)
    margin = (greatest - least) * GLOBAL_WIDENED / 2
    drawn = random.uniform(least - margin, greatest + margin, (len(rows), X.shape[1]))
    return np.where(np.isnan(X[rows]), np.nan, drawn)
