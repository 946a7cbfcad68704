"""A model's metrics on rows with labels, by scikit-learn and under its names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from sklearn import metrics as sk

from karat.declare.models import HIGHER_IS_BETTER, ModelSpec
from karat.errors import SignatureError

Labels = np.ndarray | pl.Series | Sequence[Any]


def evaluate(
    task: str,
    y_true: Labels,
    prediction: np.ndarray,
    *,
    threshold: float = 0.5,
    classes: Sequence[Any] | None = None,
) -> dict[str, float]:
    """The metrics of ``task`` that these rows allow; those that they don't are left out.

    ``y_true``: numbers for a regression; labels as in ``classes`` (0 and 1 where None) for a classification; 0 and 1,
    or False and True, for an anomaly detector. ``prediction``: what ``Model.predict`` gives.

    - regression: rmse, mae, r2 (two rows and more), mape as a fraction over the rows whose label is not 0.
    - binary: roc_auc and average_precision (both classes present), log_loss; precision, recall, f1 and accuracy at
      ``threshold``.
    - multiclass: accuracy, log_loss; precision, recall and f1 as the mean over the classes present; roc_auc as the mean
      of one class against the rest (every class present).
    - anomaly: as binary without log_loss and accuracy: a score is no probability, and nearly all rows are normal.
    """
    y = _plain(y_true)
    if len(y) != len(prediction):
        raise SignatureError(f"{len(y)} labels were given for {len(prediction)} predictions")
    if not len(y):
        return {}
    if task == "regression":
        return _regression(y.astype(float), prediction)
    if task == "multiclass":
        return _multiclass(y, prediction, list(classes or range(prediction.shape[1])))
    positive = y == classes[1] if classes else y.astype(float) == 1
    return _two_classes(positive, prediction, threshold, anomaly=task == "anomaly")


def _plain(y: Labels) -> np.ndarray:
    return y.to_numpy() if isinstance(y, pl.Series) else np.asarray(y)


def _regression(y: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    out = {
        "rmse": float(sk.root_mean_squared_error(y, prediction)),
        "mae": float(sk.mean_absolute_error(y, prediction)),
    }
    if len(y) > 1:
        out["r2"] = float(sk.r2_score(y, prediction))
    told = y != 0
    if told.any():
        out["mape"] = float(sk.mean_absolute_percentage_error(y[told], prediction[told]))
    return out


def _two_classes(positive: np.ndarray, score: np.ndarray, threshold: float, *, anomaly: bool) -> dict[str, float]:
    out: dict[str, float] = {}
    if positive.any() and not positive.all():
        out |= ranking(positive, score)
    decided = score >= threshold
    for name, metric in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
        out[name] = float(metric(positive, decided, zero_division=0))
    if not anomaly:
        out["accuracy"] = float(sk.accuracy_score(positive, decided))
        out["log_loss"] = float(sk.log_loss(positive, np.column_stack([1 - score, score]), labels=[False, True]))
    return out


def ranking(positive: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """The metrics that read a score's order alone."""
    return {
        "roc_auc": float(sk.roc_auc_score(positive, score)),
        "average_precision": float(sk.average_precision_score(positive, score)),
    }


def _multiclass(y: np.ndarray, chances: np.ndarray, classes: list[Any]) -> dict[str, float]:
    # A class that came up after training was given no chance at all.
    unseen = [c for c in dict.fromkeys(y.tolist()) if c not in classes]
    classes = [*classes, *unseen]
    chances = np.hstack([chances, np.zeros((len(chances), len(unseen)))])
    place = {c: i for i, c in enumerate(classes)}
    codes = np.array([place[v] for v in y.tolist()])
    decided = chances.argmax(axis=1)
    present = sorted(set(codes.tolist()))
    out = {"accuracy": float(sk.accuracy_score(codes, decided))}
    for name, metric in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
        out[name] = float(metric(codes, decided, labels=present, average="macro", zero_division=0))
    # Shares of 32 bits sum to 1 but for the last digits, which scikit-learn would remark on.
    shares = chances / chances.sum(axis=1, keepdims=True)
    out["log_loss"] = float(sk.log_loss(codes, shares, labels=list(range(len(classes)))))
    if len(present) == len(classes):
        out["roc_auc"] = float(np.mean([sk.roc_auc_score(codes == c, chances[:, c]) for c in present]))
    return out


def is_better(metric: str, value: float, than: float) -> bool:
    """Strictly, in the metric's better direction."""
    return value > than if HIGHER_IS_BETTER[metric] else value < than


def beats_baseline(spec: ModelSpec, metrics: dict[str, float], baseline: dict[str, float]) -> bool:
    """Whether the primary metric is strictly better than the baseline's; not where one of them lacks it."""
    name = spec.primary_metric
    return name in metrics and name in baseline and is_better(name, metrics[name], baseline[name])
