"""The naive answer that a model must beat, on the same test rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from karat.declare.models import BASELINES, ModelSpec
from karat.errors import DeclarationError
from karat.kinds import parts_of
from karat.training.evaluation import evaluate, primary_metric, ranking


@dataclass(frozen=True)
class BaselineAnswer:
    """The baseline's ``name``, its ``prediction`` for each test row and its ``metrics``."""

    name: str
    prediction: np.ndarray
    metrics: dict[str, float]


def baseline_prediction(
    spec: ModelSpec,
    y_train: pl.Series | None,
    test: pl.DataFrame,
    y_test: pl.Series | np.ndarray,
    *,
    classes: list[Any],
    threshold: float,
    prediction: np.ndarray | None = None,
    space: np.ndarray | None = None,
) -> BaselineAnswer:
    """``spec.baseline`` fitted on ``y_train``, on the test rows.

    - mean, median: of the training labels. prior: the classes' shares of the training labels.
    - random: for a regression a training label drawn for each row; else every row the same chance, which is what
      ranking at random comes to: roc_auc 0.5 and average_precision the share of positives.
    - random of a clustering: the model's own ``prediction`` in a random order, so that the clusters are as large;
      judged in the model's ``space``.
    - feature: its value (of a sequence the newest that is known) times ``scale`` (persistence), the training rows' mean
      where it is missing. As a score it may have any range; the metrics that need a probability are left out where it
      leaves 0 to 1.

    Raises DeclarationError where the baseline has no primary metric.
    """
    strategy = spec.baseline.strategy or BASELINES[spec.task][0]
    name = strategy
    if strategy == "feature":
        answer = of_feature(spec, y_train, test, classes)
        name = str(spec.baseline.feature)
        if spec.baseline.scale != 1:
            name += f" x {spec.baseline.scale:g}"
    elif spec.task == "regression":
        answer = _of_numbers(strategy, y_train, test.height, spec.seed)
    elif spec.task == "clustering":
        assert prediction is not None
        answer = np.random.default_rng(spec.seed).permutation(prediction)
    elif spec.task in ("multilabel", "forecast"):
        answer = _of_parts(strategy, y_train, test.height)
    else:
        answer = _of_classes(strategy, spec.task, y_train, classes, test.height)
    if spec.task == "clustering":
        metrics = evaluate(spec.task, y_test, answer, space=space)
    else:
        metrics = metrics_of(spec, y_test, answer, classes, threshold)
    if primary_metric(spec, metrics) not in metrics:
        raise DeclarationError(
            f"model {spec.name!r}: the baseline {name!r} has no {spec.primary_metric}, so nothing could be compared",
            remedy="choose a metric that it has, or a scale that brings the feature between 0 and 1. "
            f"It has: {', '.join(metrics)}",
        )
    return BaselineAnswer(name, answer, metrics)


def metrics_of(
    spec: ModelSpec, y: pl.Series | np.ndarray, prediction: np.ndarray, classes: list[Any], threshold: float
) -> dict[str, float]:
    """Of a score that leaves 0 to 1 those that read its order alone."""
    score_only = spec.task == "binary" and (prediction.min() < 0 or prediction.max() > 1)
    if score_only:
        found = ranking(np.asarray(y) == classes[1], prediction)
        return {name: float(compute()) for name, compute in found.items()}
    return evaluate(spec.task, y, prediction, threshold=threshold, classes=classes or None)


def of_feature(spec: ModelSpec, y_train: pl.Series | None, test: pl.DataFrame, classes: list[Any]) -> np.ndarray:
    """The baseline's feature, of a sequence the newest value that is known, times its scale; what is usual where there
    is none."""
    newest = newest_known(test[str(spec.baseline.feature)])
    values = newest.cast(pl.Float64).to_numpy() * spec.baseline.scale
    if spec.task == "forecast":
        assert y_train is not None
        means = parts_of(y_train)[1].mean(axis=0)
        return np.where(np.isfinite(values)[:, None], values[:, None], means)
    usual = float(np.nanmean(values)) if np.isfinite(values).any() else 0.0
    if spec.task == "regression" and y_train is not None:
        usual = float(y_train.cast(pl.Float64).to_numpy().mean())
    if spec.task == "binary" and y_train is not None:
        usual = float((y_train == classes[1]).to_numpy().mean())
    return np.where(np.isfinite(values), values, usual)


def newest_known(given: pl.Series) -> pl.Series:
    """Of a sequence its last value that is neither null nor NaN; any other series as it is."""
    if not isinstance(given.dtype, pl.Array):
        return given
    steps = given.cast(pl.Array(pl.Float64, given.dtype.shape[0]))
    return steps.arr.to_list().list.eval(pl.element().drop_nulls().drop_nans()).list.last()


def _of_numbers(strategy: str, y_train: pl.Series | None, rows: int, seed: int) -> np.ndarray:
    assert y_train is not None
    known = y_train.cast(pl.Float64).to_numpy()
    if strategy == "random":
        return np.random.default_rng(seed).choice(known, rows)
    return np.full(rows, np.mean(known) if strategy == "mean" else np.median(known))


def _of_parts(strategy: str, y_train: pl.Series | None, rows: int) -> np.ndarray:
    """mean and prior: of the training labels, part by part; random: every part the same chance."""
    assert y_train is not None
    means = parts_of(y_train)[1].mean(axis=0)
    return np.tile(np.full_like(means, 0.5) if strategy == "random" else means, (rows, 1))


def _of_classes(strategy: str, task: str, y_train: pl.Series | None, classes: list[Any], rows: int) -> np.ndarray:
    if task == "anomaly":
        return np.full(rows, 0.5)
    assert y_train is not None
    if strategy == "prior":
        shares = np.array([float((y_train == c).to_numpy().mean()) for c in classes])
    else:
        shares = np.full(len(classes), 1 / len(classes))
    return np.full(rows, shares[1]) if task == "binary" else np.tile(shares, (rows, 1))
