"""Gradient boosting on histograms (XGBoost), with native splits of texts and early stopping.

A tenth of the training rows is validation. Rounds after the best one are dropped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from sklearn.utils.class_weight import compute_sample_weight

from karat.errors import MissingExtra, UntrustedModel
from karat.kinds._contributions import EXPONENTIAL, IDENTITY, LOGISTIC, PATH_DEPENDENT, SOFTMAX, Contributions
from karat.kinds._kind import UNITS, Kind, Report, State
from karat.kinds._shard import Batch, Checkpoints, NoCheckpoints, Shard
from karat.kinds._tree_shap import Tree, TreeEnsemble, explain_outputs
from karat.kinds._trees import check_nodes
from karat.kinds._validation import validation_rows

#: Part of the rows -> metric -> the loss after each round.
Losses = xgboost.callback.TrainingCallback.EvalsLog

_FILE, _LOSSES = "estimator.ubj", "losses.json"
TRAIN, VALIDATION = "train", "validation"
#: Bytes of a quantised value: its bin, and its share of what the sketch keeps.
_BYTES = 2
#: The share of a worker's memory that its quantised rows may take; gradients, predictions and batches take the rest.
_MEMORY_SHARE = 0.5
_OBJECTIVES = {
    "regression": ("reg:squarederror", "rmse"),
    "binary": ("binary:logistic", "logloss"),
    "multiclass": ("multi:softprob", "mlogloss"),
    "multilabel": ("binary:logistic", "logloss"),
}
#: Objective -> the function from the trees' sum to the prediction.
_LINKS = {
    **dict.fromkeys(("reg:squarederror", "reg:squaredlogerror", "reg:pseudohubererror", "reg:absoluteerror"), IDENTITY),
    **dict.fromkeys(("binary:logistic", "reg:logistic"), LOGISTIC),
    **dict.fromkeys(("count:poisson", "reg:gamma", "reg:tweedie"), EXPONENTIAL),
    "multi:softprob": SOFTMAX,
}


class XGBoost(Kind):
    """An XGBoost booster."""

    tasks = frozenset({"regression", "binary", "multiclass", "multilabel"})
    weighs_rows = True
    rounds_parameter = "n_estimators"
    communicator = "xgboost"
    gpu = True
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
        aside = self.validation_rows(y, None)
        weight = self.row_weights(compute_sample_weight(self.class_weight, y) if self.class_weight else None)
        types = _types(categorical)
        parts = {TRAIN: ~aside} | ({VALIDATION: aside} if aside.any() else {})
        data = {part: self._matrix(X[rows], y[rows], weight, rows, types) for part, rows in parts.items()}
        self._boost(data, self._given(self.parameters["n_jobs"]), report, NoCheckpoints())

    def _fit_shard(
        self,
        shard: Shard,
        *,
        names: list[str],
        categorical: list[bool],
        report: Report | None,
        checkpoints: Checkpoints,
    ) -> None:
        given = self._given(shard.place.cores) | {"device": "cuda" if shard.place.gpu else "cpu"}
        self._boost(self.shard_matrices(shard, categorical), given, report, checkpoints)

    def _is_network_error(self, error: ValueError) -> bool:
        return "/collective/" in str(error)

    def shard_matrices(self, shard: Shard, categorical: list[bool]) -> dict[str, xgboost.DMatrix]:
        """Read a shard into quantised matrices; the bins are those of the rows of all workers.

        Call it in a worker whose communicator stands. A share that is larger than the worker's memory stays on disk.

        Args:
            shard: The worker's rows.
            categorical: Per feature, whether its values are codes.
        """
        parts = [TRAIN] + ([VALIDATION] if shard.labels.validation_rows else [])
        out_of_core = shard.rows * len(categorical) * _BYTES > shard.place.memory * _MEMORY_SHARE
        made: dict[str, xgboost.DMatrix] = {}
        for part in parts:
            prefix = str(shard.place.scratch / part) if out_of_core else None
            kind = xgboost.ExtMemQuantileDMatrix if out_of_core else xgboost.QuantileDMatrix
            made[part] = kind(
                _Batches(shard, part, _types(categorical), prefix),
                max_bin=self.parameters["max_bin"],
                ref=made.get(TRAIN),
                enable_categorical=True,
                nthread=shard.place.cores,
            )
        return made

    def _boost(
        self,
        data: dict[str, xgboost.DMatrix],
        given: dict[str, Any],
        report: Report | None,
        checkpoints: Checkpoints,
    ) -> None:
        """Boost round by round, from the latest checkpoint on if there is one."""
        found = checkpoints.latest()
        booster = xgboost.Booster(given, list(data.values()), None if found is None else found / _FILE)
        losses: Losses = json.loads((found / _LOSSES).read_text()) if found is not None else {}
        stopping = None
        if VALIDATION in data:
            stopping = xgboost.callback.EarlyStopping(rounds=self.parameters["early_stopping_rounds"])
        callbacks = xgboost.callback.CallbackContainer([stopping] if stopping else [])
        callbacks.history = losses
        done = booster.num_boosted_rounds()
        for k in range(done if stopping else 0):
            # What early stopping knew when the checkpoint was written.
            past: Losses = {p: {m: line[: k + 1] for m, line in each.items()} for p, each in losses.items()}
            assert stopping is not None
            stopping.after_iteration(booster, k, past)
        evaluated = [(matrix, part) for part, matrix in data.items()]
        for k in range(done, self.parameters["n_estimators"]):
            booster.update(data[TRAIN], iteration=k)
            stopped = callbacks.after_iteration(booster, k, data[TRAIN], evaluated)
            if report:
                report(k + 1, {part: _line(each)[-1] for part, each in losses.items()})
            if stopped:
                break
            if checkpoints.due(k + 1):
                checkpoints.save(k + 1, partial(_write_checkpoint, booster, losses))
        best = booster[: booster.best_iteration + 1] if stopping else booster
        self._booster = best.reset()
        self._booster.set_param({"nthread": 1, "device": "cpu"})
        self.curve_metric = list(losses[TRAIN])[-1]
        self.curve = {part: _line(each) for part, each in losses.items()}

    def validation_rows(self, y: np.ndarray, order: np.ndarray | None) -> np.ndarray:
        """A random share, stratified by class."""
        if not self.parameters["early_stopping_rounds"]:
            return np.zeros(len(y), dtype=bool)
        return validation_rows(y, self.parameters["validation_fraction"], classes=self.classes, seed=self.seed)

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

    def _given(self, threads: int) -> dict[str, Any]:
        objective, metric = _OBJECTIVES[self.task]
        own = ("n_estimators", "early_stopping_rounds", "validation_fraction", "n_jobs", "objective", "eval_metric")
        return {
            **{k: v for k, v in self.parameters.items() if k not in own and v is not None},
            "objective": self.parameters["objective"] or objective,
            "eval_metric": self.parameters["eval_metric"] or metric,
            **({"num_class": self.classes} if self.task == "multiclass" else {}),
            "tree_method": "hist",
            "nthread": threads,
            "seed": self.seed,
        }

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predict each row; see ``Kind.predict``."""
        return self._booster.inplace_predict(X).astype(np.float64)

    def contributions(self, X: np.ndarray, outputs: list[int] | None = None) -> Contributions:
        """Tree SHAP values of the trees' sum and its link to the prediction; see ``Kind.contributions``."""
        link = _LINKS.get(self.parameters["objective"] or _OBJECTIVES[self.task][0])
        if link is None:
            return super().contributions(X, outputs)
        asked = None if link.joint else outputs
        try:
            values, base = explain_outputs(self._ensembles, X.astype(np.float32), asked)
        except MissingExtra:  # XGBoost's own algorithm gives the same values, more slowly
            values, base = self._own_contributions(X)
            return Contributions(values, base, PATH_DEPENDENT, UNITS[self.task], link).of_outputs(asked)
        return Contributions(values, base, PATH_DEPENDENT, UNITS[self.task], link)

    @cached_property
    def _ensembles(self) -> list[TreeEnsemble]:
        """One ensemble for each output, with the base that XGBoost itself states."""
        model = _trees(self._booster)
        groups = np.array(model["tree_info"])
        trees = [_tree(tree) for tree in model["trees"]]
        _, base = self._own_contributions(np.zeros((1, self._booster.num_features())))
        return [
            TreeEnsemble([trees[i] for i in np.flatnonzero(groups == k)], base=base[:, k]) for k in range(base.shape[1])
        ]

    def _own_contributions(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = xgboost.DMatrix(X, feature_types=self._booster.feature_types, enable_categorical=True, nthread=1)
        shares = self._booster.predict(rows, pred_contribs=True, strict_shape=True).astype(np.float64)
        return shares[..., :-1], shares[..., -1]

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


def _trees(booster: xgboost.Booster) -> State:
    """XGBoost's own description of its trees."""
    model: State = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]["model"]
    return model


def _tree(described: State) -> Tree:
    left, right, feature = (np.array(described[k]) for k in ("left_children", "right_children", "split_indices"))
    condition = np.array(described["split_conditions"], dtype=np.float32)
    nodes, starts, sizes = (described[f"categories_{k}"] for k in ("nodes", "segments", "sizes"))
    category, bitsets = np.full(len(left), -1), np.full((len(nodes), 8), 2**32 - 1, dtype=np.uint32)
    for row, (node, start, size) in enumerate(zip(nodes, starts, sizes, strict=True)):
        category[node] = row
        for code in described["categories"][start : start + size]:  # a chosen category goes right
            bitsets[row, code // 32] &= ~np.uint32(1 << code % 32)
    return Tree(
        feature=np.where(left < 0, 0, feature),
        threshold=np.nextafter(condition, np.float32(-np.inf)),  # XGBoost compares by "less than"
        left=left,
        right=right,
        missing_left=np.array(described["default_left"], dtype=bool),
        cover=np.array(described["sum_hessian"], dtype=float),
        value=condition.astype(float)[:, None],
        category=category,
        bitsets=bitsets,
    )


def _check(booster: xgboost.Booster) -> None:
    """Check the trees: XGBoost follows node numbers from a file without checking them."""
    for tree in _trees(booster)["trees"]:
        left, right, feature = (np.array(tree[k]) for k in ("left_children", "right_children", "split_indices"))
        check_nodes(left, right, left == -1, feature, booster.num_features())
        ends = np.add(tree["categories_segments"], tree["categories_sizes"])
        told = np.array(tree["split_type"])[left != -1].sum()
        if len(ends) != told or (ends > len(tree["categories"])).any():
            raise UntrustedModel("a tree in the model's file tests categories that do not exist")


def _write_checkpoint(booster: xgboost.Booster, losses: Losses, folder: Path) -> None:
    booster.save_model(folder / _FILE)
    (folder / _LOSSES).write_text(json.dumps(losses))


def _line(losses: Mapping[str, Sequence[float | tuple[float, float]]]) -> list[float]:
    """The last metric after each round; it decides when to stop."""
    return [value for value in list(losses.values())[-1] if isinstance(value, float)]


def _types(categorical: list[bool]) -> list[str]:
    return ["c" if c else "q" for c in categorical]


class _Batches(xgboost.DataIter):
    """The batches of one part of a shard, for XGBoost, which reads them several times.

    With a prefix XGBoost keeps its pages in files of that name.
    """

    def __init__(self, shard: Shard, part: str, types: list[str], prefix: str | None) -> None:
        self._shard, self._part, self._types = shard, part, types
        self._left: Iterator[Batch] = iter(())
        super().__init__(cache_prefix=prefix, release_data=True)

    def next(self, input_data: Callable[..., None]) -> bool:
        """Hand the next batch over; False at the end."""
        for whole in self._left:
            batch = whole.part(aside=self._part == VALIDATION)
            if len(batch.y):
                input_data(data=batch.X, label=batch.y, weight=batch.weight, feature_types=self._types)
                return True
        return False

    def reset(self) -> None:
        """Begin anew."""
        self._left = self._shard.batches()
