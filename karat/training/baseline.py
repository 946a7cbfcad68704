"""Baseline: the naive prediction that a model must beat on the same test rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from karat.declare.models import BASELINES, ModelSpec
from karat.errors import DeclarationError
from karat.kinds import parts_of
from karat.training.evaluation import evaluate, primary_metric, ranking_metrics

#: Among a baseline's metrics: the number of test rows that it was judged on, where it has no value in the others.
BASELINE_ROWS = "rows"


@dataclass(frozen=True)
class BaselinePrediction:
    """Predictions of a baseline or a reference model.

    Attributes:
        name: Its name.
        prediction: Predictions on the test rows, ``(rows,)`` or ``(rows, outputs)``.
        metrics: Metrics on the test rows; of a feature, on those with a value, whose number is the metric ``rows``.
        known: Which test rows have a value; None if all have.
    """

    name: str
    prediction: np.ndarray
    metrics: dict[str, float]
    known: np.ndarray | None = None


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
) -> BaselinePrediction:
    """Fit ``spec.baseline`` on the training labels and evaluate it on the test rows.

    - mean, median: of the training labels. prior: the classes' shares of the training labels.
    - random: for a regression a training label drawn for each row; else the same chance for every row, which equals a
      random ranking: roc_auc 0.5 and average_precision the share of positives.
    - random for a clustering: the model's own clusters in random order, in the model's ``space``.
    - feature: its value (of a sequence the mean of its ``newest`` known ones) times ``scale`` (persistence). Rows
      without a value are left out of its metrics. A score may have any range; outside 0 to 1 the metrics that need a
      probability are left out.

    Args:
        spec: The model's declaration.
        y_train: Training labels, ``(rows,)``.
        test: Features of the test rows, ``(rows, features)``.
        y_test: Test labels, ``(rows,)`` or ``(rows, outputs)``.
        classes: The model's classes.
        threshold: The model's threshold.
        prediction: The model's own predictions; a clustering needs them.
        space: Coordinates in which a clustering measures distances.

    Returns:
        The baseline's predictions and metrics.

    Raises:
        DeclarationError: The baseline has no primary metric.
    """
    strategy = spec.baseline.strategy or BASELINES[spec.task][0]
    name, known = strategy, None
    if strategy == "feature":
        known = rows_with_value(str(spec.baseline.feature), test)
        answer = feature_prediction(spec, y_train, test, classes)
        name = str(spec.baseline.feature)
        if spec.baseline.scale != 1:
            name += f" x {spec.baseline.scale:g}"
        if spec.baseline.newest > 1:
            name += f", mean of the newest {spec.baseline.newest}"
    elif spec.task == "regression":
        answer = _regression_baseline(strategy, y_train, test.height, spec.seed)
    elif spec.task == "clustering":
        assert prediction is not None
        answer = np.random.default_rng(spec.seed).permutation(prediction)
    elif spec.task in ("multilabel", "forecast"):
        answer = _multioutput_baseline(strategy, y_train, test.height)
    else:
        answer = _class_baseline(strategy, spec.task, y_train, classes, test.height)
    if spec.task == "clustering":
        metrics = evaluate(spec.task, y_test, answer, space=space)
    else:
        metrics = prediction_metrics(spec, y_test, answer, classes, threshold, known=known)
    if primary_metric(spec, metrics) not in metrics:
        raise DeclarationError(
            f"model {spec.name!r}: the baseline {name!r} has no {spec.primary_metric} to compare with",
            remedy="choose one of its metrics, or a scale that brings the feature between 0 and 1. "
            f"Its metrics: {', '.join(metrics)}",
        )
    return BaselinePrediction(name, answer, metrics, known)


def rows_with_value(feature: str, test: pl.DataFrame) -> np.ndarray | None:
    """Return which rows have a finite value of ``feature``; None if all have, or none has."""
    values = last_known_value(test[feature]).cast(pl.Float64).to_numpy()
    known: np.ndarray = np.isfinite(values)
    return known if known.any() and not known.all() else None


def prediction_metrics(
    spec: ModelSpec,
    y: pl.Series | np.ndarray,
    prediction: np.ndarray,
    classes: list[Any],
    threshold: float,
    *,
    known: np.ndarray | None = None,
) -> dict[str, float]:
    """Evaluate a prediction; a score outside 0 to 1 has ranking metrics alone.

    Where only the rows ``known`` have a prediction, those are evaluated, and ``rows`` is their number.
    """
    if known is not None:
        labels = y.filter(pl.Series(known)) if isinstance(y, pl.Series) else y[known]
        found = prediction_metrics(spec, labels, prediction[known], classes, threshold)
        return {**found, BASELINE_ROWS: float(known.sum())}
    score_only = spec.task == "binary" and (prediction.min() < 0 or prediction.max() > 1)
    if score_only:
        ranking = ranking_metrics(np.asarray(y) == classes[1], prediction)
        return {name: float(compute()) for name, compute in ranking.items()}
    return evaluate(spec.task, y, prediction, threshold=threshold, classes=classes or None)


def feature_prediction(
    spec: ModelSpec, y_train: pl.Series | None, test: pl.DataFrame, classes: list[Any]
) -> np.ndarray:
    """Predict by the baseline's feature (a sequence's newest values) times its scale; by the mean if missing."""
    newest = last_known_value(test[str(spec.baseline.feature)], spec.baseline.newest)
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


def last_known_value(given: pl.Series, newest: int = 1) -> pl.Series:
    """Return the mean of each sequence's ``newest`` values that are neither null nor NaN; other series as they are."""
    if not isinstance(given.dtype, pl.Array):
        return given
    steps = given.cast(pl.Array(pl.Float64, given.dtype.shape[0]))
    known = steps.arr.to_list().list.eval(pl.element().drop_nulls().drop_nans())
    return known.list.last() if newest == 1 else known.list.tail(newest).list.mean()


def _regression_baseline(strategy: str, y_train: pl.Series | None, rows: int, seed: int) -> np.ndarray:
    assert y_train is not None
    known = y_train.cast(pl.Float64).to_numpy()
    if strategy == "random":
        return np.random.default_rng(seed).choice(known, rows)
    return np.full(rows, np.mean(known) if strategy == "mean" else np.median(known))


def _multioutput_baseline(strategy: str, y_train: pl.Series | None, rows: int) -> np.ndarray:
    """Predict each part: mean and prior by the training labels' mean, random by the same chance."""
    assert y_train is not None
    means = parts_of(y_train)[1].mean(axis=0)
    return np.tile(np.full_like(means, 0.5) if strategy == "random" else means, (rows, 1))


def _class_baseline(strategy: str, task: str, y_train: pl.Series | None, classes: list[Any], rows: int) -> np.ndarray:
    if task == "anomaly":
        return np.full(rows, 0.5)
    assert y_train is not None
    if strategy == "prior":
        shares = np.array([float((y_train == c).to_numpy().mean()) for c in classes])
    else:
        shares = np.full(len(classes), 1 / len(classes))
    return np.full(rows, shares[1]) if task == "binary" else np.tile(shares, (rows, 1))
