"""Prediction intervals of a regression or a forecast, by split conformal prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Self

import numpy as np

from karat.kinds._label_transform import least_label, restore_label, transform_label

#: At most so many bins of the prediction have half-widths of their own, of at least so many calibration rows each.
MAX_BINS, BIN_ROWS = 5, 100


@dataclass(frozen=True)
class HalfWidths:
    """Half-widths by the size of the prediction.

    Attributes:
        edges: Ascending edges between the bins of the prediction; empty for a single bin.
        widths: The half-width in each bin.
    """

    edges: Sequence[float]
    widths: Sequence[float]

    def at(self, prediction: np.ndarray) -> np.ndarray:
        """Return the half-width of each prediction, ``(rows,)``."""
        return np.asarray(self.widths)[np.searchsorted(np.asarray(self.edges), prediction, side="right")]


@dataclass(frozen=True)
class ConformalInterval:
    """Intervals around a prediction that hold the label with a given probability.

    Source: Lei, G'Sell, Rinaldo, Tibshirani and Wasserman, Distribution-free predictive inference for regression,
    JASA 113, 2018 (split conformal); Bostrom and Johansson, Mondrian conformal regressors, COPA 2020 (half-widths by
    bins of the prediction). With a transform of the label, half-widths are in the transformed unit.

    Attributes:
        coverage: Share of labels that the intervals hold, if later rows are like the calibration rows.
        steps: The half-widths; of a forecast those of each step.
        transform: The transform of the label; None without.
        rows: Number of calibration rows.
    """

    coverage: float
    steps: Sequence[HalfWidths]
    transform: str | None = None
    rows: int = 0

    @classmethod
    def fit(
        cls, coverage: float, prediction: np.ndarray, y: np.ndarray, *, transform: str | None = None
    ) -> Self | None:
        """Take the half-widths from rows that the estimator has not learned from.

        Args:
            coverage: Share of labels that the intervals are to hold.
            prediction: Predictions in the label's own unit, ``(rows,)`` or ``(rows, steps)``.
            y: Labels, of the same shape.
            transform: The transform of the label.

        Returns:
            The intervals; None if there are too few rows for the coverage.
        """
        if ceil((len(y) + 1) * coverage) > len(y):
            return None
        columns = zip(prediction.reshape(len(y), -1).T, y.reshape(len(y), -1).T, strict=True)
        steps = [_half_widths(coverage, _learned(p, transform), _learned(told, transform)) for p, told in columns]
        return cls(coverage, steps, transform, len(y))

    def ends(self, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and upper ends, of the shape of ``prediction``, in the label's own unit."""
        middle = _learned(prediction.astype(np.float64), self.transform)
        columns = middle.reshape(len(middle), -1)
        width = np.column_stack([step.at(columns[:, k]) for k, step in enumerate(self.steps)]).reshape(middle.shape)
        low, high = middle - width, middle + width
        if self.transform is None:
            return low, high
        return restore_label(self.transform, low), restore_label(self.transform, high)

    def to_json(self) -> dict[str, object]:
        """Return what ``from_json`` reads: plain numbers."""
        steps = [{"edges": list(step.edges), "widths": list(step.widths)} for step in self.steps]
        return {"coverage": self.coverage, "steps": steps, "transform": self.transform, "rows": self.rows}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` returned.

        Raises:
            KeyError: An entry is missing.
            TypeError: An entry is no list of numbers.
        """
        steps = [HalfWidths([*map(float, s["edges"])], [*map(float, s["widths"])]) for s in record["steps"]]
        return cls(float(record["coverage"]), steps, record["transform"], int(record["rows"]))


def _learned(values: np.ndarray, transform: str | None) -> np.ndarray:
    if transform is None:
        return values
    # A prediction far below the others is restored to the least label itself, which has no logarithm.
    least = least_label(transform)
    return transform_label(transform, np.maximum(values, np.nextafter(least, np.inf)))


def _half_widths(coverage: float, prediction: np.ndarray, y: np.ndarray) -> HalfWidths:
    bins = max(1, min(MAX_BINS, len(y) // BIN_ROWS))
    edges = np.unique(np.quantile(prediction, np.arange(1, bins) / bins)) if bins > 1 else np.empty(0)
    member = np.searchsorted(edges, prediction, side="right")
    residual = np.abs(y - prediction)
    if (np.bincount(member, minlength=len(edges) + 1) < BIN_ROWS // 2).any():  # many predictions are the same
        return HalfWidths([], [_quantile(coverage, residual)])
    return HalfWidths(edges.tolist(), [_quantile(coverage, residual[member == k]) for k in range(len(edges) + 1)])


def _quantile(coverage: float, residual: np.ndarray) -> float:
    """The smallest residual that at least ``(n + 1) * coverage`` of them do not exceed; the greatest if that is all."""
    rank = min(ceil((len(residual) + 1) * coverage), len(residual))
    return float(np.sort(residual)[rank - 1])
