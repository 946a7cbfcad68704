"""Gradient boosting on histograms (LightGBM), with native splits of texts and early stopping.

A tenth of the training rows is validation. Rounds after the best one are dropped. A multi-label model has one booster
per label.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from sklearn.utils.class_weight import compute_sample_weight

from karat.errors import UntrustedModel
from karat.kinds._kind import Kind, Report, State
from karat.kinds._lightgbm_text import check_text
from karat.kinds._validation import validation_rows

_OBJECTIVES = {
    "regression": ("regression", "rmse"),
    "binary": ("binary", "binary_logloss"),
    "multiclass": ("multiclass", "multi_logloss"),
    "multilabel": ("binary", "binary_logloss"),
}


class LightGBM(Kind):
    """LightGBM boosters, one per label."""

    tasks = frozenset({"regression", "binary", "multiclass", "multilabel"})
    weighs_rows = True
    rounds_parameter = "num_boost_round"
    defaults = {
        "num_leaves": 31,
        "learning_rate": 0.05,
        "num_boost_round": 100,
        "feature_fraction": 0.9,
        "bagging_fraction": 0.8,
        "bagging_freq": 5,  # bagging_fraction has no effect without it
        "max_depth": -1,
        "min_data_in_leaf": 20,
        "min_sum_hessian_in_leaf": 1e-3,
        "min_gain_to_split": 0.0,
        "lambda_l1": 0.0,
        "lambda_l2": 0.0,
        "max_bin": 255,
        "cat_smooth": 10.0,
        "cat_l2": 10.0,
        "max_cat_to_onehot": 4,
        "linear_tree": False,
        "extra_trees": False,
        "scale_pos_weight": None,  # of a binary model: the weight of its positive rows
        "objective": None,
        "metric": None,
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
        several = y.T if y.ndim == 2 else y[None]
        found = [self._booster(X, label, categorical, report if len(several) == 1 else None) for label in several]
        self._boosters = [booster for booster, _ in found]
        self._learned(report, [losses for _, losses in found])

    def _booster(
        self, X: np.ndarray, y: np.ndarray, categorical: list[bool], report: Report | None
    ) -> tuple[lightgbm.Booster, dict[str, list[float]]]:
        """Fit one booster; with its losses by part of the rows."""
        classes = 2 if self.task == "multilabel" else self.classes
        aside = np.zeros(len(y), dtype=bool)
        if self.parameters["early_stopping_rounds"]:
            aside = validation_rows(y, self.parameters["validation_fraction"], classes=classes, seed=self.seed)
        weight = self.row_weights(compute_sample_weight(self.class_weight, y) if self.class_weight else None)
        parts = {"train": ~aside} | ({"validation": aside} if aside.any() else {})
        data: dict[str, lightgbm.Dataset] = {}
        for part, rows in parts.items():
            data[part] = lightgbm.Dataset(
                X[rows],
                y[rows],
                weight=None if weight is None else weight[rows],
                categorical_feature=np.flatnonzero(categorical).tolist(),
                reference=data.get("train"),
                params={"max_bin": self.parameters["max_bin"]},
            )
        losses: dict[str, dict[str, list[float]]] = {}
        booster = lightgbm.train(
            self._given(),
            data["train"],
            self.parameters["num_boost_round"],
            valid_sets=list(data.values()),
            valid_names=list(data),
            callbacks=self._callbacks(losses, report, stops=bool(aside.any())),
        )
        self.curve_metric = next(iter(losses["train"]))
        best = booster.best_iteration if booster.best_iteration > 0 else -1
        # As it will be loaded: the text has every digit, and a model that is not a copy of its file could differ.
        kept = lightgbm.Booster(model_str=booster.model_to_string(num_iteration=best))
        return kept, {part: each[self.curve_metric] for part, each in losses.items()}

    def _callbacks(self, losses: dict[str, Any], report: Report | None, *, stops: bool) -> list[Any]:
        callbacks: list[Any] = [lightgbm.record_evaluation(losses)]
        if stops:
            rounds = self.parameters["early_stopping_rounds"]
            callbacks.append(lightgbm.early_stopping(rounds, first_metric_only=True, verbose=False))
        if report:
            callbacks.append(_reporting(report))
        return callbacks

    def _learned(self, report: Report | None, losses: list[dict[str, list[float]]]) -> None:
        """Set the learning curve: the mean over the boosters, with the last loss of those that stopped."""
        longest = max(len(each["train"]) for each in losses)
        for part in losses[0]:
            lines = [each[part] + each[part][-1:] * (longest - len(each[part])) for each in losses if part in each]
            self.curve[part] = np.mean(lines, axis=0).tolist()
        if report and len(losses) > 1:
            report(longest, {part: line[-1] for part, line in self.curve.items()})

    def _given(self) -> dict[str, Any]:
        objective, metric = _OBJECTIVES[self.task]
        own = ("num_boost_round", "early_stopping_rounds", "validation_fraction", "n_jobs", "objective", "metric")
        return {
            **{k: v for k, v in self.parameters.items() if k not in own and v is not None},
            "objective": self.parameters["objective"] or objective,
            "metric": self.parameters["metric"] or metric,
            **({"num_class": self.classes} if self.task == "multiclass" else {}),
            "num_threads": self.parameters["n_jobs"],
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,  # else it tries both ways, and takes the faster one of the moment
            "verbosity": -1,
        }

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predict each row; see ``Kind.predict``."""
        found = [np.asarray(b.predict(X, num_threads=1), dtype=np.float64) for b in self._boosters]
        return np.column_stack(found) if self.outputs else found[0]

    def contributions(self, X: np.ndarray) -> tuple[np.ndarray, str] | None:
        """LightGBM's own tree SHAP values."""
        if self.parameters["linear_tree"]:
            return None
        found = [np.asarray(b.predict(X, pred_contrib=True, num_threads=1)) for b in self._boosters]
        shares = np.concatenate([each.reshape(-1, X.shape[1] + 1) for each in found])
        if self.parameters["objective"]:  # whose link only LightGBM knows
            return shares, "margin"
        return shares, "value" if self.task == "regression" else "log-odds"

    def importance(self) -> np.ndarray:
        """Shares of the total gain."""
        gain = np.sum([b.feature_importance("gain") for b in self._boosters], axis=0)
        made: np.ndarray = gain / gain.sum() if gain.sum() else gain
        return made

    def _state(self) -> State:
        return {"boosters": len(self._boosters)}

    def _save_estimator(self, folder: Path) -> None:
        for index, booster in enumerate(self._boosters):
            (folder / f"estimator_{index}.txt").write_text(booster.model_to_string(num_iteration=-1))

    def _load_estimator(self, folder: Path, state: State) -> None:
        count = int(state["boosters"])
        if count != (self.outputs or 1):
            raise UntrustedModel(f"the model has {self.outputs or 1} outputs and {count} boosters", where=str(folder))
        texts = [(folder / f"estimator_{index}.txt") for index in range(count)]
        self._boosters = [_read(path, self.classes if self.task == "multiclass" else 1) for path in texts]


def _read(path: Path, outputs: int) -> lightgbm.Booster:
    try:
        text = path.read_text()
        check_text(text, outputs)
        return lightgbm.Booster(model_str=text)
    except (lightgbm.basic.LightGBMError, OSError, ValueError, KeyError) as error:
        raise UntrustedModel(
            f"the model's file can't be read as a LightGBM model: {error}",
            where=str(path),
            remedy="load a folder that Model.save has written, or train the model again",
        ) from error


def _reporting(report: Report) -> Any:
    def tell(env: Any) -> None:
        report(env.iteration + 1, {part: value for part, _, value, _ in env.evaluation_result_list})

    return tell
