"""Gradient boosting on histograms (XGBoost), with native splits of texts and early stopping.

A tenth of the training rows is validation. Rounds after the best one are dropped.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from sklearn.utils.class_weight import compute_sample_weight

from karat.errors import UntrustedModel
from karat.kinds._kind import Kind, Report, State
from karat.kinds._trees import check_nodes
from karat.kinds._validation import validation_rows

_FILE = "estimator.ubj"
_OBJECTIVES = {
    "regression": ("reg:squarederror", "rmse"),
    "binary": ("binary:logistic", "logloss"),
    "multiclass": ("multi:softprob", "mlogloss"),
    "multilabel": ("binary:logistic", "logloss"),
}


class XGBoost(Kind):
    """An XGBoost booster."""

    tasks = frozenset({"regression", "binary", "multiclass", "multilabel"})
    weighs_rows = True
    rounds_parameter = "n_estimators"
    defaults = {
        "n_estimators": 300,
        "learning_rate": 0.1,
        "max_depth": 6,
        "min_child_weight": 1.0,
        "gamma": 0.0,
        "subsample": 1.0,
        "colsample_bytree": 1.0,
        "colsample_bylevel": 1.0,
        "colsample_bynode": 1.0,
        "reg_alpha": 0.0,
        "reg_lambda": 1.0,
        "max_bin": 256,
        "max_leaves": 0,
        "grow_policy": "depthwise",
        "max_cat_to_onehot": 4,
        "scale_pos_weight": None,  # of a binary model: the weight of its positive rows
        "objective": None,
        "eval_metric": None,
        "early_stopping_rounds": 20,  # 0 trains every round
        "validation_fraction": 0.1,
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
        if self.parameters["early_stopping_rounds"]:
            aside = validation_rows(y, self.parameters["validation_fraction"], classes=self.classes, seed=self.seed)
        weight = self.row_weights(compute_sample_weight(self.class_weight, y) if self.class_weight else None)
        types = ["c" if c else "q" for c in categorical]
        parts = {"train": ~aside} | ({"validation": aside} if aside.any() else {})
        data = {part: self._matrix(X[rows], y[rows], weight, rows, types) for part, rows in parts.items()}
        losses: dict[str, dict[str, list[float]]] = {}
        booster = xgboost.train(
            self._given(),
            data["train"],
            self.parameters["n_estimators"],
            evals=[(matrix, part) for part, matrix in data.items()],
            evals_result=losses,
            early_stopping_rounds=self.parameters["early_stopping_rounds"] if aside.any() else None,
            verbose_eval=False,
            callbacks=[_Reporting(report)] if report else None,
        )
        self._booster = booster[: booster.best_iteration + 1] if aside.any() else booster
        self._booster.set_param({"nthread": 1})
        self.curve_metric = next(reversed(losses["train"]))
        self.curve = {part: each[self.curve_metric] for part, each in losses.items()}

    def _matrix(
        self, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None, rows: np.ndarray, types: list[str]
    ) -> xgboost.DMatrix:
        return xgboost.DMatrix(
            X,
            y,
            weight=None if weight is None else weight[rows],
            feature_types=types,
            enable_categorical=True,
            nthread=self.parameters["n_jobs"],
        )

    def _given(self) -> dict[str, Any]:
        objective, metric = _OBJECTIVES[self.task]
        own = ("n_estimators", "early_stopping_rounds", "validation_fraction", "n_jobs", "objective", "eval_metric")
        return {
            **{k: v for k, v in self.parameters.items() if k not in own and v is not None},
            "objective": self.parameters["objective"] or objective,
            "eval_metric": self.parameters["eval_metric"] or metric,
            **({"num_class": self.classes} if self.task == "multiclass" else {}),
            "tree_method": "hist",
            "nthread": self.parameters["n_jobs"],
            "seed": self.seed,
        }

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predict each row; see ``Kind.predict``."""
        return self._booster.inplace_predict(X).astype(np.float64)

    def contributions(self, X: np.ndarray) -> tuple[np.ndarray, str]:
        """XGBoost's own tree SHAP values."""
        row = xgboost.DMatrix(X, feature_types=self._booster.feature_types, enable_categorical=True, nthread=1)
        shares = self._booster.predict(row, pred_contribs=True, strict_shape=True)[0].astype(np.float64)
        if self.parameters["objective"]:  # whose link only XGBoost knows
            return shares, "margin"
        return shares, "value" if self.task == "regression" else "log-odds"

    def importance(self) -> np.ndarray:
        """Shares of the total gain."""
        gain = np.zeros(self._booster.num_features())
        for name, value in self._booster.get_score(importance_type="total_gain").items():
            gain[int(name[1:])] = float(np.sum(value))
        return gain / gain.sum() if gain.sum() else gain

    def _save_estimator(self, folder: Path) -> None:
        self._booster.save_model(folder / _FILE)

    def _load_estimator(self, folder: Path, state: State) -> None:
        self._booster = xgboost.Booster()
        try:
            self._booster.load_model(folder / _FILE)
        except (xgboost.core.XGBoostError, OSError, ValueError) as error:
            raise UntrustedModel(
                f"the model's file can't be read as an XGBoost model: {error}",
                where=str(folder / _FILE),
                remedy="load a folder that Model.save has written, or train the model again",
            ) from error
        _check(self._booster)
        self._booster.set_param({"nthread": 1})


def _check(booster: xgboost.Booster) -> None:
    """Check the trees: XGBoost follows node numbers from a file without checking them."""
    model = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]["model"]
    for tree in model["trees"]:
        left, right, feature = (np.array(tree[k]) for k in ("left_children", "right_children", "split_indices"))
        check_nodes(left, right, left == -1, feature, booster.num_features())
        ends = np.add(tree["categories_segments"], tree["categories_sizes"])
        told = np.array(tree["split_type"])[left != -1].sum()
        if len(ends) != told or (ends > len(tree["categories"])).any():
            raise UntrustedModel("a tree in the model's file tests categories that do not exist")


class _Reporting(xgboost.callback.TrainingCallback):
    """Calls ``report`` after each round."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        self._report(epoch + 1, {part: list(each.values())[-1][-1] for part, each in evals_log.items()})
        return False
