"""Calibration of probabilities: a monotone map from what an estimator says to how often it is so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np

CalibrationMethod = Literal["isotonic", "platt"]
#: Probabilities are moved this far from 0 and 1 before their log-odds are taken.
_EDGE = 1e-12


@dataclass(frozen=True)
class ProbabilityMap:
    """The map of one class or label: knots of a piecewise linear function, or a line in the log-odds.

    Attributes:
        x: Probabilities before, ascending; of Platt's map the slope alone.
        y: Probabilities after; of Platt's map the intercept alone.
    """

    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Calibrator:
    """A fitted calibration, applied in the same way to a frame, a row and a batch.

    ``isotonic`` is a step-wise monotone regression (Zadrozny and Elkan, KDD 2002), ``platt`` a logistic regression on
    the log-odds (Platt, 1999). Several classes are calibrated one by one against the rest, and their probabilities
    scaled to sum to 1, as scikit-learn does.

    Attributes:
        method: The method.
        maps: One map for a binary model; one for each class or label otherwise.
        sums_to_one: Whether the probabilities of a row are scaled to sum to 1.
        rows: Number of rows that it was fitted on.
    """

    method: CalibrationMethod
    maps: Sequence[ProbabilityMap]
    sums_to_one: bool = False
    rows: int = 0

    @classmethod
    def fit(
        cls, method: CalibrationMethod, prediction: np.ndarray, positive: np.ndarray, *, sums_to_one: bool = False
    ) -> Self:
        """Fit the maps on rows that the estimator has not learned from.

        Args:
            method: The method.
            prediction: Probabilities, ``(rows,)`` or ``(rows, outputs)``.
            positive: Whether each class or label is so, of the same shape.
            sums_to_one: Whether the outputs are classes of which one is so.

        Returns:
            The calibrator.
        """
        columns = zip(prediction.reshape(len(prediction), -1).T, positive.reshape(len(prediction), -1).T, strict=True)
        fit_map = _isotonic_map if method == "isotonic" else _platt_map
        return cls(method, [fit_map(p, yes) for p, yes in columns], sums_to_one, len(prediction))

    def apply(self, prediction: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities, of the shape of ``prediction``; a row's do not depend on other rows."""
        made = self.map_each(prediction.reshape(len(prediction), -1))
        if self.sums_to_one:
            total = made.sum(axis=1, keepdims=True)
            made = np.divide(made, total, out=np.full_like(made, 1 / made.shape[1]), where=total > 0)
        return made.reshape(prediction.shape)

    def map_each(self, prediction: np.ndarray) -> np.ndarray:
        """Calibrate each class or label by itself, ``(rows, outputs)``; they need not sum to 1."""
        return np.column_stack([self._mapped(one, prediction[:, k]) for k, one in enumerate(self.maps)])

    def _mapped(self, one: ProbabilityMap, prediction: np.ndarray) -> np.ndarray:
        if self.method == "isotonic":
            return np.asarray(np.interp(prediction, one.x, one.y))
        return np.asarray(1 / (1 + np.exp(-(one.x[0] * log_odds(prediction) + one.y[0]))))

    def to_json(self) -> dict[str, object]:
        """Return what ``from_json`` reads: plain numbers."""
        maps = [{"x": list(one.x), "y": list(one.y)} for one in self.maps]
        return {"method": self.method, "maps": maps, "sums_to_one": self.sums_to_one, "rows": self.rows}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` returned.

        Raises:
            KeyError: An entry is missing.
            TypeError: An entry is no list of numbers.
        """
        maps = [ProbabilityMap([*map(float, one["x"])], [*map(float, one["y"])]) for one in record["maps"]]
        return cls(record["method"], maps, bool(record["sums_to_one"]), int(record["rows"]))


def log_odds(probability: np.ndarray) -> np.ndarray:
    """Return ``log(p / (1 - p))``, finite also for 0 and 1."""
    inside = np.clip(probability.astype(np.float64), _EDGE, 1 - _EDGE)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def _isotonic_map(prediction: np.ndarray, positive: np.ndarray) -> ProbabilityMap:
    from sklearn.isotonic import IsotonicRegression  # training alone; applying needs NumPy

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(prediction, positive.astype(float))
    return ProbabilityMap(fitted.X_thresholds_.tolist(), fitted.y_thresholds_.tolist())


def _platt_map(prediction: np.ndarray, positive: np.ndarray) -> ProbabilityMap:
    from sklearn.linear_model import LogisticRegression  # training alone; applying needs NumPy

    if positive.all() or not positive.any():  # no line can be fitted: keep the probabilities
        return ProbabilityMap([1.0], [0.0])
    fitted = LogisticRegression(C=np.inf).fit(log_odds(prediction).reshape(-1, 1), positive.astype(int))
    return ProbabilityMap([float(fitted.coef_[0, 0])], [float(fitted.intercept_[0])])
