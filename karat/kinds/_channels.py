"""Columns as a network or a distance wants them: numbers with mean 0 and variance 1, texts as one column each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

#: A value farther from the mean than so many standard deviations counts as that far: one row must not drown the rest.
FARTHEST = 10.0


@dataclass(frozen=True)
class Channels:
    """``mean`` and ``scale`` (f,) of each column; ``told`` (f,): whether a channel says that its value is missing;
    ``codes`` (f,): the number of a text's codes, 0 of a number. A missing number is the mean, a missing text none."""

    mean: np.ndarray
    scale: np.ndarray
    told: np.ndarray
    codes: np.ndarray

    @classmethod
    def fit(cls, X: np.ndarray, categorical: list[bool], *, tell_missing: bool) -> Channels:
        """``X`` (n, f) or (n, steps, f), NaN where missing; every step counts as a row."""
        rows = X.reshape(-1, X.shape[-1])
        texts, missing = np.array(categorical, dtype=bool), np.isnan(rows)
        count = np.maximum((~missing).sum(0), 1)
        mean = np.where(missing, 0.0, rows / count).sum(0)
        spread = np.sqrt((np.where(missing, 0.0, rows - mean) ** 2 / count).sum(0))
        # What varies in its last bits only is constant.
        scale = np.where(spread > 1e-12 * np.abs(mean), spread, 1.0)
        codes = np.where(texts, np.where(texts, np.nan_to_num(rows), 0).max(0, initial=0).astype(int) + 1, 0)
        return cls(mean, np.where(scale > 0, scale, 1.0), missing.any(0) & ~texts & tell_missing, codes)

    @property
    def owners(self) -> np.ndarray:
        """(c,): the column of each channel."""
        numbers = np.flatnonzero(self.codes == 0)
        return np.concatenate([numbers, np.flatnonzero(self.told), np.repeat(np.arange(len(self.codes)), self.codes)])

    @property
    def width(self) -> int:
        return len(self.owners)

    def apply(self, X: np.ndarray, dtype: Any = np.float64) -> np.ndarray:
        """(..., f) -> (..., c): numbers, then what is missing, then texts. Each value by itself."""
        numbers = np.flatnonzero(self.codes == 0)
        scaled = np.clip((X[..., numbers] - self.mean[numbers]) / self.scale[numbers], -FARTHEST, FARTHEST)
        parts = [np.nan_to_num(scaled, copy=False), np.isnan(X[..., self.told])]
        parts += [X[..., j, None] == np.arange(self.codes[j]) for j in np.flatnonzero(self.codes)]
        return np.concatenate([p.astype(dtype) for p in parts], axis=-1)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"mean": self.mean, "scale": self.scale, "told": self.told.astype(float), "codes": self.codes * 1.0}

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray]) -> Channels:
        return cls(arrays["mean"], arrays["scale"], arrays["told"] > 0, arrays["codes"].astype(int))
