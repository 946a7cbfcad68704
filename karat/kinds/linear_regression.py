"""Linear regression (scikit-learn's Ridge: least squares with a small penalty, ``alpha``; 0 is ordinary least squares)
on imputed, scaled and one-hot columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model import Ridge

from karat.kinds._linear import Linear


class LinearRegression(Linear):
    tasks = frozenset({"regression"})
    defaults = {"alpha": 1.0, "fit_intercept": True, "positive": False, "n_jobs": 1}

    def _estimator(self) -> Any:
        given = {k: v for k, v in self.parameters.items() if k != "n_jobs"}
        return Ridge(**given, random_state=self.seed)

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self._sums(X)[:, 0]
