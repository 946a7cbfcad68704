"""Reference models for kinds that read sequences: persistence and a linear model.

A recurrent network that learns nothing from its sequences still beats a mean, since the next value resembles the last.
The last value itself and a linear model of all steps therefore predict the same test rows.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression, Ridge

from karat.declare.models import ModelSpec
from karat.kinds import Model, facts, parts_of
from karat.training.baseline import BaselinePrediction, feature_prediction, prediction_metrics, rows_with_value
from karat.training.evaluation import primary_metric
from karat.training.gain_report import LINEAR, PERSISTENCE

_ALPHA = 1.0
_ROUNDS = 300
#: Values are clipped at this many standard deviations from the mean, as for the networks.
_FARTHEST = 10.0
_Rows = tuple[pl.DataFrame, pl.Series | None]


def reference_models(spec: ModelSpec, model: Model, learned: _Rows, test: _Rows) -> dict[str, BaselinePrediction]:
    """Fit the reference models and evaluate them on the test rows.

    - persistence: the newest known values of the baseline's feature, times its scale. If the baseline names no feature,
      the one with the least error on the training rows; a binary model then has no persistence. Rows without a value
      are left out of its metrics.
    - linear: ridge regression (logistic for a binary model) on every step of every sequence. A missing step takes the
      previous value, or the first known one at the start; an extra column marks it.

    Args:
        spec: The model's declaration.
        model: The model.
        learned: Features and label of the training rows.
        test: Features and label of the test rows.

    Returns:
        Predictions by name; none for kinds that read one value per row.
    """
    y, y_test = learned[1], test[1]
    if not facts(spec.kind).sequences or y is None or y_test is None:
        return {}
    found = {}
    feature = spec.baseline.feature or _best_persistence_feature(spec, learned[0], y)
    if feature is not None:
        given = spec if spec.baseline.feature else _persistence_spec(spec, feature)
        answer = feature_prediction(given, y, test[0], model.classes)
        known = rows_with_value(feature, test[0])
        newest = given.baseline.newest
        name = f"the newest {feature}" if newest == 1 else f"the mean of the newest {newest} {feature}"
        found[PERSISTENCE] = _score_prediction(name, spec, model, y_test, answer, known=known)
    answer = _linear_prediction(spec, model, learned[0], y, test[0])
    found[LINEAR] = _score_prediction("linear model of every step", spec, model, y_test, answer)
    return {name: model for name, model in found.items() if primary_metric(spec, model.metrics) in model.metrics}


def _score_prediction(
    name: str, spec: ModelSpec, model: Model, y: pl.Series, answer: np.ndarray, *, known: np.ndarray | None = None
) -> BaselinePrediction:
    metrics = prediction_metrics(spec, y, answer, model.classes, model.threshold, known=known)
    return BaselinePrediction(name, answer, metrics, known)


def _persistence_spec(spec: ModelSpec, feature: str) -> ModelSpec:
    baseline = spec.baseline.model_copy(update={"strategy": "feature", "feature": feature, "scale": 1.0})
    return spec.model_copy(update={"baseline": baseline})


def _best_persistence_feature(spec: ModelSpec, X: pl.DataFrame, y: pl.Series) -> str | None:
    if spec.task == "binary":
        return None
    errors = {}
    wanted = parts_of(y)[1] if spec.task == "forecast" else y.cast(pl.Float64).to_numpy()
    for name in X.columns:
        inner = X.schema[name].inner if isinstance(X.schema[name], pl.Array) else X.schema[name]  # type: ignore[attr-defined]
        if inner.is_numeric():
            answer = feature_prediction(_persistence_spec(spec, name), y, X, [])
            errors[name] = float(np.mean((answer - wanted) ** 2))
    return min(errors, key=errors.__getitem__, default=None)


def _linear_prediction(spec: ModelSpec, model: Model, X: pl.DataFrame, y: pl.Series, test: pl.DataFrame) -> np.ndarray:
    (rows, gone), (asked, also_gone) = (_flatten_sequences(model, frame) for frame in (X, test))
    missing, told = np.isnan(rows), gone.any(axis=0)
    count = np.maximum((~missing).sum(axis=0), 1)
    mean = np.where(missing, 0.0, rows).sum(axis=0) / count
    spread = np.sqrt((np.where(missing, 0.0, rows - mean) ** 2).sum(axis=0) / count)
    scale = np.where(spread > 0, spread, 1.0)

    def columns(values: np.ndarray, gone: np.ndarray) -> np.ndarray:
        scaled = np.clip((values - mean) / scale, -_FARTHEST, _FARTHEST)
        return np.hstack([np.nan_to_num(scaled), gone[:, told]])

    learned, new = columns(rows, gone), columns(asked, also_gone)
    if spec.task == "binary":
        target = (y == model.classes[1]).to_numpy()
        return np.asarray(LogisticRegression(max_iter=_ROUNDS).fit(learned, target).predict_proba(new)[:, 1])
    target = parts_of(y)[1] if spec.task == "forecast" else y.cast(pl.Float64).to_numpy()
    return np.asarray(Ridge(alpha=_ALPHA).fit(learned, target).predict(new))


def _flatten_sequences(model: Model, frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return filled numbers and what was missing, ``(rows, steps * features)``; texts are left out."""
    X = model.encoder.encode(frame)[..., ~np.array(model.encoder.categorical)]
    X = X if X.ndim == 3 else X[:, None, :]
    gone = np.isnan(X)
    return _carry_forward(_carry_forward(X)[:, ::-1])[:, ::-1].reshape(len(X), -1), gone.reshape(len(X), -1)


def _carry_forward(X: np.ndarray) -> np.ndarray:
    """Fill missing steps of ``(rows, steps, features)`` with the last known value before them."""
    steps = np.arange(X.shape[1])[None, :, None]
    last = np.maximum.accumulate(np.where(np.isnan(X), 0, steps), axis=1)
    return np.take_along_axis(X, last, axis=1)
