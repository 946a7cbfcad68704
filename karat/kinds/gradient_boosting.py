"""Gradient boosting on histograms (scikit-learn), with native splits of texts and early stopping.

A tenth of the training rows is validation.
"""

# ruff: noqa: SLF001 (scikit-learn offers no public way to its predictions without its checks, which take longer than the rest)
from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from karat.errors import UntrustedModel
from karat.kinds import _skops
from karat.kinds._contributions import EXPONENTIAL, IDENTITY, LOGISTIC, PATH_DEPENDENT, SOFTMAX, Contributions
from karat.kinds._kind import UNITS, Kind, Report, State
from karat.kinds._tree_shap import Tree, TreeEnsemble, explain_outputs
from karat.kinds._trees import check_nodes
from karat.kinds._validation import validation_rows

_TRUSTED = (
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    # scikit-learn's own preparation of columns with codes; it is stored, but never called here.
    "functools.partial",
    "sklearn.utils.validation.check_array",
)
#: scikit-learn looks for the bins in so many rows; a column with no value among them makes it fail.
_BIN_ROWS = 200_000


class GradientBoosting(Kind):
    """scikit-learn's HistGradientBoosting, predicted without its per-call checks."""

    tasks = frozenset({"regression", "binary", "multiclass"})
    weighs_rows = True
    defaults = {
        "learning_rate": 0.1,
        "max_iter": 200,
        "max_leaf_nodes": 31,
        "max_depth": None,
        "min_samples_leaf": 20,
        "l2_regularization": 0.0,
        "max_features": 1.0,
        "max_bins": 255,
        "loss": None,
        "quantile": None,
        "early_stopping": True,
        "n_iter_no_change": 10,
        "validation_fraction": 0.1,
        "tol": 1e-7,
        "n_jobs": 1,
    }

    def _fit(
        self,
        X: np.ndarray,
        y: np.ndarray | None,
        *,
        names: list[str],
        categorical: list[bool],
        report: Report | None,
    ) -> None:
        assert y is not None
        aside = np.zeros(len(y), dtype=bool)
        if self.parameters["early_stopping"]:
            aside = validation_rows(y, self.parameters["validation_fraction"], classes=self.classes, seed=self.seed)
        learned = X[~aside]
        # A column without values can't be binned; it may be empty only in the rows that are left.
        empty = np.isnan(X).sum(0) > len(X) - 20 * max(1.0, len(X) / _BIN_ROWS)
        empty |= np.isnan(learned).all(0)
        learned[:, empty] = 0.0
        # Codes beyond the bins are taken as numbers.
        self._categorical = np.array(categorical) & (np.nan_to_num(X).max(0, initial=0) < self.parameters["max_bins"])
        self._estimator = self._new(bool(aside.any()))
        validation = {"X_val": X[aside], "y_val": y[aside]} if aside.any() else {}
        if self.weight is not None:
            validation |= {"sample_weight": self.weight[~aside]}
            validation |= {"sample_weight_val": self.weight[aside]} if aside.any() else {}
        self._estimator.fit(learned, y[~aside], **validation)
        self._prepare(_tables(self._estimator, self._categorical, X))
        self._learning_curve(report)

    def _new(self, stops: bool) -> Any:
        own = ("n_jobs", "early_stopping", "validation_fraction", "quantile", "loss")
        given = {k: v for k, v in self.parameters.items() if k not in own}
        given |= {k: self.parameters[k] for k in ("loss", "quantile") if self.parameters[k] is not None}
        given |= {"early_stopping": stops, "random_state": self.seed}
        given["categorical_features"] = self._categorical if self._categorical.any() else None
        if self.task == "regression":
            return HistGradientBoostingRegressor(**given)
        return HistGradientBoostingClassifier(**given, class_weight=self.class_weight)

    def _learning_curve(self, report: Report | None) -> None:
        scores = {"train": self._estimator.train_score_, "validation": self._estimator.validation_score_}
        # The first score is that of no tree at all.
        self.curve = {part: (-s[1:]).tolist() for part, s in scores.items() if len(s) > 1}
        self.curve_metric = "loss"
        if report and self.curve:
            report(len(self.curve["train"]), {part: losses[-1] for part, losses in self.curve.items()})

    def _prepare(self, tables: dict[int, np.ndarray]) -> None:
        """Extract once what predictions need. The estimator puts columns with codes first and renumbers the codes."""
        self.__dict__.pop("_ensembles", None)
        self._tables = tables
        self._order = np.concatenate([np.flatnonzero(self._categorical), np.flatnonzero(~self._categorical)])
        self._bitsets = self._estimator._bin_mapper.make_known_categories_bitsets()
        self._rounds = [[p.predict for p in each] for each in self._estimator._predictors]

    def _inputs(self, X: np.ndarray) -> np.ndarray:
        """The columns and codes as the estimator's trees read them."""
        if not self._tables:
            return X
        X = X.copy()
        for j, table in self._tables.items():
            known = (X[:, j] >= 0) & (X[:, j] < len(table))
            X[:, j] = np.where(known, table[np.where(known, X[:, j], 0).astype(np.intp)], np.nan)
        made: np.ndarray = X[:, self._order]
        return made

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predict each row; see ``Kind.predict``."""
        # What the estimator's own predict does, in the same order, less up to 0.7 ms of checks for each call.
        X = self._inputs(X)
        estimator, (bitsets, positions) = self._estimator, self._bitsets
        raw = np.zeros((len(X), estimator.n_trees_per_iteration_), order="F")
        raw += estimator._baseline_prediction
        for trees in self._rounds:
            for column, tree in enumerate(trees):
                raw[:, column] += tree(X, bitsets, positions, 1)
        if self.task == "regression":
            made: np.ndarray = estimator._loss.link.inverse(raw[:, 0])
            return made
        chances = estimator._loss.predict_proba(raw)
        chosen: np.ndarray = chances if self.task == "multiclass" else chances[:, 1]
        return chosen

    def contributions(self, X: np.ndarray, outputs: list[int] | None = None) -> Contributions:
        """Tree SHAP values of the trees' sum and its link to the prediction; see ``Kind.contributions``."""
        link = LOGISTIC if self.task == "binary" else SOFTMAX if self.task == "multiclass" else IDENTITY
        if self.task == "regression" and self.parameters["loss"] in ("poisson", "gamma"):
            link = EXPONENTIAL
        found, base = explain_outputs(self._ensembles, self._inputs(X), None)
        base = base + self._estimator._baseline_prediction.ravel()
        if self.task == "multiclass" and base.shape[1] == 1:  # two classes have one sum between them
            found, base = np.concatenate([0 * found, found], axis=1), np.concatenate([0 * base, base], axis=1)
        values = found
        if self._tables:
            values = np.empty_like(found)
            values[..., self._order] = found
        made = Contributions(values, base, PATH_DEPENDENT, UNITS[self.task], link)
        return made if link.joint else made.of_outputs(outputs)

    @cached_property
    def _ensembles(self) -> list[TreeEnsemble]:
        """One ensemble for each output."""
        each_output = zip(*self._estimator._predictors, strict=True)
        return [TreeEnsemble([_tree(predictor) for predictor in trees]) for trees in each_output]

    def _state(self) -> State:
        return {
            "categorical": self._categorical.tolist(),
            "tables": [[j, [None if np.isnan(v) else v for v in t.tolist()]] for j, t in self._tables.items()],
        }

    def _save_estimator(self, folder: Path) -> None:
        _skops.save(self._estimator, folder)

    def _load_estimator(self, folder: Path, state: State) -> None:
        regression = self.task == "regression"
        expected = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
        self._estimator = _skops.load(folder, expected, _TRUSTED)
        self._categorical = np.array(state["categorical"], dtype=bool)
        self._prepare({j: np.array(t, dtype=float) for j, t in state["tables"]})
        for tree in (p for each in self._estimator._predictors for p in each):
            _check(tree, len(self._categorical))


def _tree(predictor: Any) -> Tree:
    nodes = predictor.nodes
    inner = nodes["is_leaf"] == 0
    left, right = (np.where(inner, nodes[side].astype(np.int64), -1) for side in ("left", "right"))
    by_category = (nodes["is_categorical"] != 0) & inner
    return Tree(
        feature=np.where(inner, nodes["feature_idx"].astype(np.int64), 0),
        threshold=nodes["num_threshold"],
        left=left,
        right=right,
        missing_left=nodes["missing_go_to_left"] != 0,
        cover=nodes["count"].astype(np.float64),
        value=nodes["value"][:, None],
        category=np.where(by_category, nodes["bitset_idx"].astype(np.int64), -1),
        bitsets=predictor.raw_left_cat_bitsets,
    )


def _tables(estimator: Any, categorical: np.ndarray, X: np.ndarray) -> dict[int, np.ndarray]:
    """Column -> the estimator's number of each code; NaN for codes that it has not seen."""
    columns = np.flatnonzero(categorical)
    if not len(columns):
        return {}
    most = int(np.nan_to_num(X[:, columns]).max()) + 1
    probe = np.zeros((most, X.shape[1]))
    probe[:, columns] = np.arange(most)[:, None]
    numbers = estimator._preprocess_X(probe, reset=False)
    return {int(j): numbers[:, i].copy() for i, j in enumerate(columns)}


def _check(tree: Any, features: int) -> None:
    nodes, bitsets = tree.nodes, tree.raw_left_cat_bitsets
    leaf = nodes["is_leaf"].astype(bool)
    left, right = (nodes[side].astype(np.int64) for side in ("left", "right"))
    check_nodes(left, right, leaf, nodes["feature_idx"].astype(np.int64), features)
    splits = nodes[(nodes["is_categorical"] != 0) & ~leaf]
    if bitsets.shape[1:] != (8,) or (len(splits) and splits["bitset_idx"].max() >= len(bitsets)):
        raise UntrustedModel("a tree in the model's file tests categories that do not exist")
