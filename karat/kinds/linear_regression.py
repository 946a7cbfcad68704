"""Linear regression (scikit-learn's Ridge) on imputed, scaled and one-hot columns.

``alpha`` is the penalty of the squared coefficients; 0 is ordinary least squares.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model import Ridge

from karat.kinds._linear import Linear


class LinearRegression(Linear):
    """Ridge regression."""

    tasks = frozenset({"regression"})
    weighs_rows = True
    defaults = {"alpha": 1.0, "fit_intercept": True, "positive": False, "n_jobs": 1}

    def _estimator(self) -> Any:
        given = {k: v for k, v in self.parameters.items() if k != "n_jobs"}
        return Ridge(**given, random_state=self.seed)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predict each row; see ``Kind.predict``."""
        return self._sums(X)[:, 0]
