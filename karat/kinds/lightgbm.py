"""Gradient boosting on histograms (LightGBM), with native splits of texts and early stopping.

A tenth of the training rows is validation. Rounds after the best one are dropped. A multi-label model has one booster
per label.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from sklearn.utils.class_weight import compute_sample_weight

from karat.errors import MissingExtra, UntrustedModel
from karat.kinds._contributions import (
    EXPONENTIAL,
    IDENTITY,
    LOGISTIC,
    PATH_DEPENDENT,
    SOFTMAX,
    SOFTPLUS,
    Contributions,
)
from karat.kinds._kind import UNITS, Kind, Report, State
from karat.kinds._lightgbm_text import check_text, read_trees
from karat.kinds._shard import Batch, Checkpoints, NoCheckpoints, Shard, collect
from karat.kinds._tree_shap import TreeEnsemble, explain_outputs
from karat.kinds._validation import validation_rows

#: Part of the rows -> metric -> the loss after each round.
Losses = dict[str, dict[str, list[float]]]

_CHECKPOINT, _LOSSES = "checkpoint.txt", "losses.json"
_OBJECTIVES = {
    "regression": ("regression", "rmse"),
    "binary": ("binary", "binary_logloss"),
    "multiclass": ("multiclass", "multi_logloss"),
    "multilabel": ("binary", "binary_logloss"),
}
#: Objective -> the function from the trees' sum to the prediction.
_LINKS = {
    **dict.fromkeys(("regression", "regression_l1", "huber", "fair", "quantile", "mape"), IDENTITY),
    **dict.fromkeys(("binary", "multiclassova", "cross_entropy"), LOGISTIC),
    **dict.fromkeys(("poisson", "gamma", "tweedie"), EXPONENTIAL),
    "multiclass": SOFTMAX,
    "cross_entropy_lambda": SOFTPLUS,
}


class LightGBM(Kind):
    """LightGBM boosters, one per label."""

    tasks = frozenset({"regression", "binary", "multiclass", "multilabel"})
    weighs_rows = True
    rounds_parameter = "num_boost_round"
    communicator = "lightgbm"
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
        self._boosters = [_kept(booster) for booster, _ in found]
        self._learned(report, [losses for _, losses in found])

    def _booster(
        self, X: np.ndarray, y: np.ndarray, categorical: list[bool], report: Report | None
    ) -> tuple[lightgbm.Booster, dict[str, list[float]]]:
        """Fit one booster; with its losses by part of the rows."""
        aside = self._aside(y)
        weight = self.row_weights(compute_sample_weight(self.class_weight, y) if self.class_weight else None)
        parts = {"train": ~aside} | ({"validation": aside} if aside.any() else {})
        rows = {
            part: Batch(X[chosen], y[chosen], aside[chosen], None if weight is None else weight[chosen])
            for part, chosen in parts.items()
        }
        return self._boost(rows, categorical, self._given(), report, NoCheckpoints())

    def _fit_shard(
        self,
        shard: Shard,
        *,
        names: list[str],
        categorical: list[bool],
        report: Report | None,
        checkpoints: Checkpoints,
    ) -> None:
        rows = {"train": collect((batch.part(aside=False) for batch in shard.batches()), shard.rows)}
        if shard.labels.validation_rows:
            # LightGBM sums no losses over its workers: they validate on the same rows, and so stop in the same round.
            rows["validation"] = collect(shard.validation(), shard.labels.validation_rows)
        given = self._given() | {"num_threads": shard.place.cores}
        network = shard.place.network
        if shard.place.workers > 1:
            given |= {"tree_learner": "data", "pre_partition": True, "num_machines": shard.place.workers}
        if not self.outputs:
            found = [self._boost(rows, categorical, {**given, **network}, report, checkpoints)]
        else:
            labels = [{p: batch.output(k) for p, batch in rows.items()} for k in range(self.outputs)]
            # The first booster sets the network up, and the others find it.
            found = [
                self._boost(each, categorical, given if k else {**given, **network}, None, NoCheckpoints())
                for k, each in enumerate(labels)
            ]
        found[0][0].free_network()
        self._boosters = [_kept(booster) for booster, _ in found]
        self._learned(report, [losses for _, losses in found])

    def validation_rows(self, y: np.ndarray, order: np.ndarray | None) -> np.ndarray:
        """A random share, stratified by class; of a multi-label model one for all labels, by the first."""
        return self._aside(y[:, 0] if y.ndim == 2 else y)

    def _aside(self, y: np.ndarray) -> np.ndarray:
        if not self.parameters["early_stopping_rounds"]:
            return np.zeros(len(y), dtype=bool)
        classes = 2 if self.task == "multilabel" else self.classes
        return validation_rows(y, self.parameters["validation_fraction"], classes=classes, seed=self.seed)

    def _boost(
        self,
        rows: dict[str, Batch],
        categorical: list[bool],
        given: dict[str, Any],
        report: Report | None,
        checkpoints: Checkpoints,
    ) -> tuple[lightgbm.Booster, dict[str, list[float]]]:
        """Boost on some parts of the rows, from the latest checkpoint on if there is one; with the losses by part."""
        data: dict[str, lightgbm.Dataset] = {}
        for part, batch in rows.items():
            data[part] = lightgbm.Dataset(
                batch.X,
                batch.y,
                weight=batch.weight,
                categorical_feature=np.flatnonzero(categorical).tolist(),
                reference=data.get("train"),
                params={"max_bin": self.parameters["max_bin"]},
            )
        found = checkpoints.latest()
        stops = self.parameters["early_stopping_rounds"] if "validation" in data else 0
        rounds = _Rounds(stops, report, checkpoints, json.loads((found / _LOSSES).read_text()) if found else {})
        booster = lightgbm.train(
            given,
            data["train"],
            self.parameters["num_boost_round"] - rounds.done,
            valid_sets=list(data.values()),
            valid_names=list(data),
            init_model=found / _CHECKPOINT if found else None,
            callbacks=[rounds],
        )
        self.curve_metric = next(iter(rounds.losses["train"]))
        return booster, {part: each[self.curve_metric] for part, each in rounds.losses.items()}

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

    def contributions(self, X: np.ndarray, outputs: list[int] | None = None) -> Contributions:
        """Tree SHAP values of the trees' sum and its link to the prediction; see ``Kind.contributions``."""
        link = _LINKS.get(self.parameters["objective"] or _OBJECTIVES[self.task][0])
        if link is None or self.parameters["linear_tree"]:  # LightGBM explains no leaves that hold linear models
            return super().contributions(X, outputs)
        asked = None if link.joint else outputs
        try:
            values, base = explain_outputs(self._ensembles, X, asked)
        except MissingExtra:  # LightGBM's own algorithm gives the same values, more slowly
            values, base = self._own_contributions(X)
            return Contributions(values, base, PATH_DEPENDENT, UNITS[self.task], link).of_outputs(asked)
        return Contributions(values, base, PATH_DEPENDENT, UNITS[self.task], link)

    @cached_property
    def _ensembles(self) -> list[TreeEnsemble]:
        """One ensemble for each output."""
        found = []
        for booster in self._boosters:
            trees, count = read_trees(booster.model_to_string(num_iteration=-1)), booster.num_model_per_iteration()
            found += [TreeEnsemble(trees[k::count]) for k in range(count)]
        return found

    def _own_contributions(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = [np.asarray(b.predict(X, pred_contrib=True, num_threads=1)) for b in self._boosters]
        shares = np.concatenate([each.reshape(len(X), -1, X.shape[1] + 1) for each in found], axis=1)
        return shares[..., :-1], shares[..., -1]

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


def _kept(booster: lightgbm.Booster) -> lightgbm.Booster:
    """The rounds up to the best, as they will be loaded: a model that is not a copy of its file could differ."""
    best = booster.best_iteration if booster.best_iteration > 0 else -1
    return lightgbm.Booster(model_str=booster.model_to_string(num_iteration=best))


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


class _Rounds:
    """LightGBM's callback after each round: records losses, reports, stops early, and writes checkpoints."""

    def __init__(self, stops: int, report: Report | None, checkpoints: Checkpoints, losses: Losses) -> None:
        self.losses = losses
        self.done = max((len(line) for each in losses.values() for line in each.values()), default=0)
        self._report, self._checkpoints = report, checkpoints
        self._stop = lightgbm.early_stopping(stops, first_metric_only=True, verbose=False) if stops else None

    def __call__(self, env: lightgbm.callback.CallbackEnv) -> None:
        results = env.evaluation_result_list or []
        env = replace(env, begin_iteration=0)
        if env.iteration == self.done and self._stop:
            # What early stopping knew when the checkpoint was written.
            for k in range(self.done):
                past = [
                    lightgbm.basic.EvalResult(
                        r.dataset_name, r.metric_name, self.losses[r.dataset_name][r.metric_name][k], r.maximize
                    )
                    for r in results
                ]
                self._stop(replace(env, iteration=k, evaluation_result_list=past))
        for result in results:
            part = self.losses.setdefault(result.dataset_name, {})
            part.setdefault(result.metric_name, []).append(result.metric_value)
        if self._report:
            self._report(env.iteration + 1, {result.dataset_name: result.metric_value for result in results})
        if self._stop:
            self._stop(env)
        last = env.iteration + 1 == env.end_iteration
        if not last and self._checkpoints.due(env.iteration + 1):
            self._checkpoints.save(env.iteration + 1, partial(self._write, env.model))

    def _write(self, model: Any, folder: Path) -> None:
        model.save_model(folder / _CHECKPOINT, num_iteration=-1)
        (folder / _LOSSES).write_text(json.dumps(self.losses))
