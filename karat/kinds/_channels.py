"""Standardised channels for networks and distances: numbers with mean 0 and variance 1, texts one-hot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from karat.kinds._reduction import OneWorker, Reduction

#: Values are clipped at this many standard deviations, so that one row does not drown the rest.
FARTHEST = 10.0


@dataclass(frozen=True)
class Channels:
    """Fitted scaling of columns. A missing number becomes the mean, a missing text has no channel set.

    Attributes:
        mean: Mean of each column, ``(features,)``.
        scale: Standard deviation of each column, ``(features,)``.
        told: Whether a column has an indicator channel for missing values, ``(features,)``.
        codes: Number of a text column's codes, 0 for a number, ``(features,)``.
    """

    mean: np.ndarray
    scale: np.ndarray
    told: np.ndarray
    codes: np.ndarray

    @classmethod
    def fit(
        cls, X: np.ndarray, categorical: list[bool], *, tell_missing: bool, workers: Reduction = OneWorker()
    ) -> Channels:
        """Fit the scaling.

        Args:
            X: ``(rows, features)`` or ``(rows, steps, features)``, NaN where missing. Every step counts as a row.
            categorical: Per feature, whether its values are codes of texts.
            tell_missing: Whether columns with missing numbers get an indicator channel.
            workers: Sums over the workers that each have some of the rows.

        Returns:
            The fitted channels.
        """
        rows = X.reshape(-1, X.shape[-1])
        texts, missing = np.array(categorical, dtype=bool), np.isnan(rows)
        count = np.maximum(workers.sum((~missing).sum(0)), 1)
        mean = workers.sum(np.where(missing, 0.0, rows / count).sum(0))
        spread = np.sqrt(workers.sum((np.where(missing, 0.0, rows - mean) ** 2 / count).sum(0)))
        # What varies in its last bits only is constant.
        scale = np.where(spread > 1e-12 * np.abs(mean), spread, 1.0)
        largest = workers.max(np.where(texts, np.nan_to_num(rows), 0).max(0, initial=0))
        codes = np.where(texts, largest.astype(int) + 1, 0)
        told = workers.max(missing.any(0).astype(float)) > 0
        return cls(mean, np.where(scale > 0, scale, 1.0), told & ~texts & tell_missing, codes)

    @property
    def owners(self) -> np.ndarray:
        """The column of each channel, ``(channels,)``."""
        numbers = np.flatnonzero(self.codes == 0)
        return np.concatenate([numbers, np.flatnonzero(self.told), np.repeat(np.arange(len(self.codes)), self.codes)])

    @property
    def width(self) -> int:
        """Number of channels."""
        return len(self.owners)

    def apply(self, X: np.ndarray, dtype: DTypeLike = np.float64) -> np.ndarray:
        """Scale ``X``, ``(..., features)``, to ``(..., channels)``: numbers, then missing indicators, then texts."""
        numbers = np.flatnonzero(self.codes == 0)
        scaled = np.clip((X[..., numbers] - self.mean[numbers]) / self.scale[numbers], -FARTHEST, FARTHEST)
        parts = [np.nan_to_num(scaled, copy=False), np.isnan(X[..., self.told])]
        parts += [X[..., j, None] == np.arange(self.codes[j]) for j in np.flatnonzero(self.codes)]
        return np.concatenate([p.astype(dtype) for p in parts], axis=-1)

    def arrays(self) -> dict[str, np.ndarray]:
        """The attributes as float arrays, for a file."""
        return {"mean": self.mean, "scale": self.scale, "told": self.told.astype(float), "codes": self.codes * 1.0}

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray]) -> Channels:
        """Channels from what ``arrays`` gave."""
        return cls(arrays["mean"], arrays["scale"], arrays["told"] > 0, arrays["codes"].astype(int))
