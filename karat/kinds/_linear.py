"""Base of the linear kinds: imputation, scaling and one-hot columns; a prediction is one sum per row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from karat.errors import UntrustedModel
from karat.kinds import _skops
from karat.kinds._contributions import IDENTITY, LOGISTIC, SOFTMAX, Contributions
from karat.kinds._kind import UNITS, Kind, Report, State

_METHOD = (
    "coefficient times the distance from the training mean; the base is a row with every number at its mean and no text"
)


class Linear(Kind):
    """A linear estimator behind scikit-learn's preprocessing.

    Missing numbers become the median, with an indicator column; numbers are scaled to mean 0 and variance 1. Texts are
    one-hot; an unseen text sets no column.
    """

    def _estimator(self) -> Any:
        """The unfitted scikit-learn estimator."""
        raise TypeError(f"{type(self).__name__} names no estimator")

    def _fit(
        self,
        X: np.ndarray,
        y: np.ndarray | None,
        *,
        names: list[str],
        categorical: list[bool],
        report: Report | None,
    ) -> None:
        self._features = X.shape[1]
        self._pipeline = Pipeline([("prepare", _preparation(categorical)), ("estimate", self._estimator())])
        self._pipeline.fit(X, y, estimate__sample_weight=self.weight)
        self._fold()

    def _fold(self) -> None:
        """Fold the pipeline into one slope per number, one table per text, and the term of a missing value."""
        estimator, prepare = self._pipeline["estimate"], self._pipeline["prepare"]
        coefficients = np.atleast_2d(estimator.coef_)
        outputs = len(coefficients)
        self._intercept = np.atleast_1d(np.asarray(estimator.intercept_, dtype=float)).copy()
        self._mean = np.zeros(self._features)
        self._slope = np.zeros((outputs, self._features))
        self._missing = np.zeros((outputs, self._features))
        self._tables: dict[int, np.ndarray] = {}
        self._weight = np.zeros(self._features)
        at = 0
        for name, step, columns in prepare.transformers_:
            if name == "numbers" and len(columns):
                at = self._fold_numbers(step, np.asarray(columns), coefficients)
            if name == "texts" and len(columns):
                self._fold_texts(step, np.asarray(columns), coefficients[:, at:])

    def _fold_numbers(self, step: Pipeline, columns: np.ndarray, coefficients: np.ndarray) -> int:
        imputer, scaler = step["impute"], step["scale"]
        slope = coefficients[:, : len(scaler.scale_)] / scaler.scale_
        count = len(columns)
        self._mean[columns] = scaler.mean_[:count]
        self._slope[:, columns] = slope[:, :count]
        self._missing[:, columns] = (imputer.statistics_ - scaler.mean_[:count]) * slope[:, :count]
        self._weight[columns] = np.abs(coefficients[:, :count]).sum(0)
        told = imputer.indicator_.features_ if imputer.indicator_ is not None else []
        for position, column in enumerate(columns[told], start=count):
            self._intercept -= slope[:, position] * scaler.mean_[position]
            self._missing[:, column] += slope[:, position]
            self._weight[column] += np.abs(coefficients[:, position]).sum()
        return len(scaler.scale_)

    def _fold_texts(self, step: OneHotEncoder, columns: np.ndarray, coefficients: np.ndarray) -> None:
        at = 0
        for column, codes in zip(columns.tolist(), step.categories_, strict=True):
            block = coefficients[:, at : at + len(codes)]
            at += len(codes)
            missing = np.isnan(codes)
            table = np.zeros((len(block), int(np.nan_to_num(codes).max(initial=0)) + 1))
            table[:, codes[~missing].astype(np.intp)] = block[:, ~missing]
            self._tables[column] = table
            if missing.any():
                self._missing[:, column] = block[:, missing][:, 0]
            self._weight[column] = np.abs(block).max(initial=0)

    def _terms(self, X: np.ndarray, output: int) -> np.ndarray:
        """What each feature adds to an output, ``(rows, features)``; without the intercept."""
        terms = (X - self._mean) * self._slope[output]
        for column, tables in self._tables.items():
            codes, table = X[:, column], tables[output]
            known = (codes >= 0) & (codes < len(table))
            terms[:, column] = np.where(known, table[np.where(known, codes, 0).astype(np.intp)], 0.0)
        np.copyto(terms, self._missing[output], where=np.isnan(X))
        made: np.ndarray = terms
        return made

    def _sums(self, X: np.ndarray) -> np.ndarray:
        """The linear predictor, ``(rows, outputs)``. Each row is summed alone, so it never depends on the others."""
        out = np.empty((len(X), len(self._slope)))
        for k in range(len(self._slope)):
            out[:, k] = self._terms(X, k).sum(axis=1) + self._intercept[k]
        return out

    def contributions(self, X: np.ndarray, outputs: list[int] | None = None) -> Contributions:
        """Coefficient times the distance from the training mean, the Shapley values of a linear model against it."""
        values = np.stack([self._terms(X, k) for k in range(len(self._slope))], axis=1)
        base = np.repeat(self._intercept[None], len(X), axis=0)
        link = LOGISTIC if self.task == "binary" else SOFTMAX if self.task == "multiclass" else IDENTITY
        if self.task == "multiclass" and base.shape[1] == 1:  # two classes have one sum between them
            values = np.concatenate([0 * values, values], axis=1)
            base = np.concatenate([0 * base, base], axis=1)
        found = Contributions(values, base, _METHOD, UNITS[self.task], link)
        return found if link.joint else found.of_outputs(outputs)

    def importance(self) -> np.ndarray:
        """Shares of the absolute coefficients, on the scaled columns."""
        return self._weight / self._weight.sum() if self._weight.sum() else self._weight

    def _state(self) -> State:
        return {"features": self._features}

    def _save_estimator(self, folder: Path) -> None:
        _skops.save(self._pipeline, folder)

    def _load_estimator(self, folder: Path, state: State) -> None:
        self._features = int(state["features"])
        self._pipeline = _skops.load(folder, Pipeline, ("numpy.dtype",))
        try:
            estimator = self._pipeline["estimate"]
            if type(estimator) is not type(self._estimator()) or self._pipeline.n_features_in_ != self._features:
                raise UntrustedModel(f"the model's file holds another {estimator}", where=str(folder))
            self._fold()
        except (AttributeError, KeyError, IndexError, ValueError, TypeError) as error:
            raise UntrustedModel(f"the model's file is no complete pipeline: {error}", where=str(folder)) from error


def _preparation(categorical: list[bool]) -> ColumnTransformer:
    numbers = Pipeline(
        [
            ("impute", SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)),
            ("scale", StandardScaler()),
        ]
    )
    texts = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    mask = np.array(categorical)
    return ColumnTransformer([("numbers", numbers, np.flatnonzero(~mask)), ("texts", texts, np.flatnonzero(mask))])
