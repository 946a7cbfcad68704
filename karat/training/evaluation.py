"""Metrics of a model on labelled rows, by scikit-learn and under its names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from sklearn import metrics as sk

from karat.declare.models import HIGHER_IS_BETTER, ModelSpec
from karat.errors import SignatureError
from karat.kinds import parts_of

Labels = np.ndarray | pl.Series | Sequence[Any]
#: Rows that a silhouette is computed on: it compares every pair.
SILHOUETTE_ROWS = 2000
#: Metrics, each computed on demand: scikit-learn takes milliseconds for every one.
_Metrics = dict[str, Callable[[], float]]


def evaluate(
    task: str,
    y_true: Labels | None,
    prediction: np.ndarray,
    *,
    threshold: float | np.ndarray = 0.5,
    classes: Sequence[Any] | None = None,
    only: str | None = None,
    space: np.ndarray | None = None,
) -> dict[str, float]:
    """Compute the metrics of ``task`` that these rows allow; others are left out.

    - regression: rmse, mae, r2 (two rows or more), mape as a fraction over the rows whose label is not 0.
    - binary: roc_auc and average_precision (both classes present), log_loss; precision, recall, f1 and accuracy at
      ``threshold``.
    - multiclass: accuracy, log_loss; precision, recall and f1 as the mean over the classes present; roc_auc as the mean
      of one class against the rest (every class present).
    - multilabel: roc_auc and average_precision as the mean over the labels with both classes present, f1 over all
    labels
      at ``threshold``.
    - forecast: rmse, mae and r2 (steps weighted by their variance) over all steps.
    - clustering: adjusted_rand against the known groups, silhouette (two clusters or more; of many rows a fixed
    sample).
    - anomaly: as binary without log_loss and accuracy: a score is no probability, and nearly all rows are normal.

    Args:
        task: The model's task.
        y_true: Numbers for a regression; labels as in ``classes`` (0 and 1 if None) for a classification; 0 and 1 or
            booleans for an anomaly model; a struct or ``(rows, parts)`` for a multi-label model and a forecast; groups,
            null
            where unknown, for a clustering.
        prediction: Output of ``Model.predict``, ``(rows,)`` or ``(rows, outputs)``.
        threshold: Probability or score from which a row counts as positive, or that of each row, ``(rows,)``.
        classes: The model's classes.
        only: Computes this metric alone.
        space: Coordinates in which a clustering measures distances, ``(rows, dimensions)``.

    Returns:
        Metric values by name.

    Raises:
        SignatureError: Labels are missing, or as many as predictions are not given.
    """
    if task == "clustering":
        return _compute_metrics(_clustering_metrics(y_true, prediction, space), only)
    y = _label_array(y_true)
    if len(y) != len(prediction):
        raise SignatureError(f"there are {len(y)} labels for {len(prediction)} predictions")
    if not len(y):
        return {}
    if task == "regression":
        found = _regression_metrics(y.astype(float), prediction)
    elif task == "forecast":
        found = _forecast_metrics(y, prediction)
    elif task == "multilabel":
        found = _multilabel_metrics(y == 1, prediction, threshold)
    elif task == "multiclass":
        found = _multiclass_metrics(y, prediction, list(classes or range(prediction.shape[1])))
    else:
        positive = y == classes[1] if classes else y.astype(float) == 1
        found = _binary_metrics(positive, prediction, threshold, anomaly=task == "anomaly")
    return _compute_metrics(found, only)


def _compute_metrics(found: _Metrics, only: str | None) -> dict[str, float]:
    return {name: float(compute()) for name, compute in found.items() if only in (None, name)}


def _label_array(y: Labels | None) -> np.ndarray:
    if y is None:
        raise SignatureError("there are no labels", remedy="give labels; only a clustering is evaluated without them")
    if isinstance(y, pl.Series) and isinstance(y.dtype, pl.Struct):
        return parts_of(y)[1]
    return y.to_numpy() if isinstance(y, pl.Series) else np.asarray(y)


def _regression_metrics(y: np.ndarray, prediction: np.ndarray) -> _Metrics:
    found: _Metrics = {
        "rmse": partial(sk.root_mean_squared_error, y, prediction),
        "mae": partial(sk.mean_absolute_error, y, prediction),
    }
    if len(y) > 1:
        found["r2"] = partial(sk.r2_score, y, prediction)
    told = y != 0
    if told.any():
        found["mape"] = partial(sk.mean_absolute_percentage_error, y[told], prediction[told])
    return found


def _forecast_metrics(y: np.ndarray, prediction: np.ndarray) -> _Metrics:
    found: _Metrics = {
        "rmse": partial(sk.root_mean_squared_error, y.ravel(), prediction.ravel()),
        "mae": partial(sk.mean_absolute_error, y, prediction),
    }
    if len(y) > 1:
        found["r2"] = partial(sk.r2_score, y, prediction, multioutput="variance_weighted")
    return found


def _multilabel_metrics(positive: np.ndarray, chances: np.ndarray, threshold: float | np.ndarray) -> _Metrics:
    found: _Metrics = {"f1": partial(sk.f1_score, positive, chances >= threshold, average="macro", zero_division=0)}
    both = [k for k in range(positive.shape[1]) if 0 < positive[:, k].sum() < len(positive)]
    if both:
        macro = {"average": "macro", "y_true": positive[:, both], "y_score": chances[:, both]}
        found |= {
            "roc_auc": partial(sk.roc_auc_score, **macro),
            "average_precision": partial(sk.average_precision_score, **macro),
        }
    return found


def _clustering_metrics(y: Labels | None, clusters: np.ndarray, space: np.ndarray | None) -> _Metrics:
    found: _Metrics = {}
    groups = pl.Series("group", y if y is not None else [None] * len(clusters))
    known = groups.is_not_null().to_numpy()
    if known.any():
        codes = groups.drop_nulls().rank("dense").cast(pl.Int64).to_numpy()
        found["adjusted_rand"] = partial(sk.adjusted_rand_score, codes, clusters[known].astype(int))
    if space is not None:
        rows = silhouette_rows(len(clusters))
        if 1 < len(np.unique(clusters[rows])) < len(rows):
            found["silhouette"] = partial(sk.silhouette_score, space[rows], clusters[rows])
    return found


def silhouette_rows(number: int) -> np.ndarray:
    """Return the rows that a silhouette is computed on: a fixed sample of ``number`` rows."""
    return np.random.default_rng(0).permutation(number)[:SILHOUETTE_ROWS]


def _binary_metrics(
    positive: np.ndarray, score: np.ndarray, threshold: float | np.ndarray, *, anomaly: bool
) -> _Metrics:
    decided = score >= threshold
    found: _Metrics = {
        **ranking_metrics(positive, score),
        "precision": partial(sk.precision_score, positive, decided, zero_division=0),
        "recall": partial(sk.recall_score, positive, decided, zero_division=0),
        "f1": partial(sk.f1_score, positive, decided, zero_division=0),
    }
    if not anomaly:
        found["accuracy"] = partial(sk.accuracy_score, positive, decided)
        chances = np.column_stack([1 - score, score])
        found["log_loss"] = partial(sk.log_loss, positive, chances, labels=[False, True])
    return found


def ranking_metrics(positive: np.ndarray, score: np.ndarray) -> _Metrics:
    """Return the metrics that read a score's order alone; none if a class is missing."""
    if positive.all() or not positive.any():
        return {}
    return {
        "roc_auc": partial(sk.roc_auc_score, positive, score),
        "average_precision": partial(sk.average_precision_score, positive, score),
    }


def _multiclass_metrics(y: np.ndarray, chances: np.ndarray, classes: list[Any]) -> _Metrics:
    # A class that appeared after training has probability 0.
    unseen = [c for c in dict.fromkeys(y.tolist()) if c not in classes]
    classes = [*classes, *unseen]
    # float32 probabilities sum to 1 but for the last digits, which scikit-learn would warn about.
    shares = np.hstack([chances, np.zeros((len(chances), len(unseen)))]) / chances.sum(axis=1, keepdims=True)
    place = {c: i for i, c in enumerate(classes)}
    codes = np.array([place[v] for v in y.tolist()])
    decided, present = shares.argmax(axis=1), sorted(set(codes.tolist()))
    mean = {"labels": present, "average": "macro", "zero_division": 0}
    found: _Metrics = {
        "accuracy": partial(sk.accuracy_score, codes, decided),
        "precision": partial(sk.precision_score, codes, decided, **mean),
        "recall": partial(sk.recall_score, codes, decided, **mean),
        "f1": partial(sk.f1_score, codes, decided, **mean),
        "log_loss": partial(sk.log_loss, codes, shares, labels=list(range(len(classes)))),
    }
    if len(present) == len(classes):
        found["roc_auc"] = lambda: float(np.mean([sk.roc_auc_score(codes == c, shares[:, c]) for c in present]))
    return found


def is_better(metric: str, value: float, than: float) -> bool:
    """Whether ``value`` is strictly better in the metric's direction."""
    return value > than if HIGHER_IS_BETTER[metric] else value < than


def primary_metric(spec: ModelSpec, metrics: Collection[str]) -> str:
    """Return the primary metric.

    A clustering without known groups (real data have none) uses the silhouette, unless it declares a metric.
    """
    if spec.task == "clustering" and spec.metric is None and spec.primary_metric not in metrics:
        return "silhouette"
    return spec.primary_metric


def beats_baseline(spec: ModelSpec, metrics: dict[str, float], baseline: dict[str, float]) -> bool:
    """Whether the primary metric is strictly better than the baseline's; False if either lacks it."""
    name = primary_metric(spec, metrics)
    return name in metrics and name in baseline and is_better(name, metrics[name], baseline[name])
