"""Logistic regression (scikit-learn) on imputed, scaled and one-hot columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression as Estimator

from karat.kinds._linear import Linear


class LogisticRegression(Linear):
    """Logistic regression of two or more classes."""

    tasks = frozenset({"binary", "multiclass"})
    weighs_rows = True
    defaults = {"C": 1.0, "l1_ratio": 0.0, "solver": "lbfgs", "max_iter": 1000, "tol": 1e-4, "n_jobs": 1}

    def _estimator(self) -> Any:
        given = {k: v for k, v in self.parameters.items() if k != "n_jobs"}
        return Estimator(**given, class_weight=self.class_weight, random_state=self.seed)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predict each row; see ``Kind.predict``."""
        sums = self._sums(X)
        if self.task == "binary":
            made: np.ndarray = expit(sums[:, 0])
            return made
        if sums.shape[1] == 1:  # two classes have one sum between them
            chance = expit(sums)
            return np.hstack([1 - chance, chance])
        chances: np.ndarray = softmax(sums, axis=1)
        return chances
