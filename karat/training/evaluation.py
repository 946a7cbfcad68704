"""A model's metrics on rows with labels, by scikit-learn and under its names."""

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
#: Rows that a silhouette is computed on: it compares each with each.
SILHOUETTE_ROWS = 2000
#: What can be computed, each when it is asked for: scikit-learn takes milliseconds for every one.
_Metrics = dict[str, Callable[[], float]]


def evaluate(
    task: str,
    y_true: Labels | None,
    prediction: np.ndarray,
    *,
    threshold: float = 0.5,
    classes: Sequence[Any] | None = None,
    only: str | None = None,
    space: np.ndarray | None = None,
) -> dict[str, float]:
    """The metrics of ``task`` that these rows allow (of them ``only`` one); those that they don't are left out.

    ``y_true``: numbers for a regression; labels as in ``classes`` (0 and 1 where None) for a classification; 0 and 1,
    or False and True, for an anomaly detector; a struct, or (n, parts), for a multi-label model and a forecast; groups
    for a clustering, None (or null) where they are not known. ``prediction``: what ``Model.predict`` gives.
    ``space``: where a clustering measures its distances.

    - regression: rmse, mae, r2 (two rows and more), mape as a fraction over the rows whose label is not 0.
    - binary: roc_auc and average_precision (both classes present), log_loss; precision, recall, f1 and accuracy at
      ``threshold``.
    - multiclass: accuracy, log_loss; precision, recall and f1 as the mean over the classes present; roc_auc as the mean
      of one class against the rest (every class present).
    - multilabel: roc_auc and average_precision as the mean over the labels of which both classes are present, f1 over
      all of them at ``threshold``.
    - forecast: rmse, mae and r2 (its steps weighted by their variance) over all steps.
    - clustering: adjusted_rand against the groups that are known, silhouette (two clusters and more; of many rows a
      fixed sample).
    - anomaly: as binary without log_loss and accuracy: a score is no probability, and nearly all rows are normal.
    """
    if task == "clustering":
        return _named(_clustering(y_true, prediction, space), only)
    y = _plain(y_true)
    if len(y) != len(prediction):
        raise SignatureError(f"{len(y)} labels were given for {len(prediction)} predictions")
    if not len(y):
        return {}
    if task == "regression":
        found = _regression(y.astype(float), prediction)
    elif task == "forecast":
        found = _forecast(y, prediction)
    elif task == "multilabel":
        found = _multilabel(y == 1, prediction, threshold)
    elif task == "multiclass":
        found = _multiclass(y, prediction, list(classes or range(prediction.shape[1])))
    else:
        positive = y == classes[1] if classes else y.astype(float) == 1
        found = _two_classes(positive, prediction, threshold, anomaly=task == "anomaly")
    return _named(found, only)


def _named(found: _Metrics, only: str | None) -> dict[str, float]:
    return {name: float(compute()) for name, compute in found.items() if only in (None, name)}


def _plain(y: Labels | None) -> np.ndarray:
    if y is None:
        raise SignatureError("no labels were given", remedy="only a clustering can be judged without")
    if isinstance(y, pl.Series) and isinstance(y.dtype, pl.Struct):
        return parts_of(y)[1]
    return y.to_numpy() if isinstance(y, pl.Series) else np.asarray(y)


def _regression(y: np.ndarray, prediction: np.ndarray) -> _Metrics:
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


def _forecast(y: np.ndarray, prediction: np.ndarray) -> _Metrics:
    found: _Metrics = {
        "rmse": partial(sk.root_mean_squared_error, y.ravel(), prediction.ravel()),
        "mae": partial(sk.mean_absolute_error, y, prediction),
    }
    if len(y) > 1:
        found["r2"] = partial(sk.r2_score, y, prediction, multioutput="variance_weighted")
    return found


def _multilabel(positive: np.ndarray, chances: np.ndarray, threshold: float) -> _Metrics:
    found: _Metrics = {"f1": partial(sk.f1_score, positive, chances >= threshold, average="macro", zero_division=0)}
    both = [k for k in range(positive.shape[1]) if 0 < positive[:, k].sum() < len(positive)]
    if both:
        macro = {"average": "macro", "y_true": positive[:, both], "y_score": chances[:, both]}
        found |= {
            "roc_auc": partial(sk.roc_auc_score, **macro),
            "average_precision": partial(sk.average_precision_score, **macro),
        }
    return found


def _clustering(y: Labels | None, clusters: np.ndarray, space: np.ndarray | None) -> _Metrics:
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
    """Which of ``number`` rows a silhouette is computed on: a fixed sample."""
    return np.random.default_rng(0).permutation(number)[:SILHOUETTE_ROWS]


def _two_classes(positive: np.ndarray, score: np.ndarray, threshold: float, *, anomaly: bool) -> _Metrics:
    decided = score >= threshold
    found: _Metrics = {
        **ranking(positive, score),
        "precision": partial(sk.precision_score, positive, decided, zero_division=0),
        "recall": partial(sk.recall_score, positive, decided, zero_division=0),
        "f1": partial(sk.f1_score, positive, decided, zero_division=0),
    }
    if not anomaly:
        found["accuracy"] = partial(sk.accuracy_score, positive, decided)
        chances = np.column_stack([1 - score, score])
        found["log_loss"] = partial(sk.log_loss, positive, chances, labels=[False, True])
    return found


def ranking(positive: np.ndarray, score: np.ndarray) -> _Metrics:
    """The metrics that read a score's order alone; none where a class is missing."""
    if positive.all() or not positive.any():
        return {}
    return {
        "roc_auc": partial(sk.roc_auc_score, positive, score),
        "average_precision": partial(sk.average_precision_score, positive, score),
    }


def _multiclass(y: np.ndarray, chances: np.ndarray, classes: list[Any]) -> _Metrics:
    # A class that came up after training was given no chance at all.
    unseen = [c for c in dict.fromkeys(y.tolist()) if c not in classes]
    classes = [*classes, *unseen]
    # Shares of 32 bits sum to 1 but for the last digits, which scikit-learn would remark on.
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
    """Strictly, in the metric's better direction."""
    return value > than if HIGHER_IS_BETTER[metric] else value < than


def primary_metric(spec: ModelSpec, metrics: Collection[str]) -> str:
    """The primary metric; of a clustering whose groups are not known (real data have no planted ones) the silhouette,
    unless another metric is declared."""
    if spec.task == "clustering" and spec.metric is None and spec.primary_metric not in metrics:
        return "silhouette"
    return spec.primary_metric


def beats_baseline(spec: ModelSpec, metrics: dict[str, float], baseline: dict[str, float]) -> bool:
    """Whether the primary metric is strictly better than the baseline's; not where one of them lacks it."""
    name = primary_metric(spec, metrics)
    return name in metrics and name in baseline and is_better(name, metrics[name], baseline[name])
