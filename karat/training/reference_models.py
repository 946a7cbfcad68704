"""What a model that reads sequences is held against besides its baseline: persistence, and a linear model.

A recurrent network that learns nothing of the course of its sequences still looks good beside a mean: the next value
resembles the last. So its test rows are also answered by the last value itself and by a linear model of all steps.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression, Ridge

from karat.declare.models import ModelSpec
from karat.kinds import Model, facts, parts_of
from karat.training.baseline import BaselineAnswer, metrics_of, of_feature
from karat.training.evaluation import primary_metric
from karat.training.gain_report import LINEAR, PERSISTENCE

_ALPHA = 1.0
_ROUNDS = 300
#: A value farther from the mean than so many standard deviations counts as that far, as with the networks.
_FARTHEST = 10.0
_Rows = tuple[pl.DataFrame, pl.Series | None]


def reference_models(spec: ModelSpec, model: Model, learned: _Rows, test: _Rows) -> dict[str, BaselineAnswer]:
    """By name; none for kinds that read one value a row.

    - persistence: the newest known value of the baseline's feature, times its scale; where the baseline names none, of
      that feature whose newest value errs least on the rows learned from. A binary model has it with a named feature
      alone.
    - linear: ridge regression (logistic for a binary model) on every step of every sequence, on the same rows. A
      missing step has the value before it, in front of the first known one that; a column says that it was missing.
    """
    y, y_test = learned[1], test[1]
    if not facts(spec.kind).sequences or y is None or y_test is None:
        return {}
    found = {}
    feature = spec.baseline.feature or _nearest(spec, learned[0], y)
    if feature is not None:
        given = spec if spec.baseline.feature else _persisting(spec, feature)
        answer = of_feature(given, y, test[0], model.classes)
        found[PERSISTENCE] = _named(f"the newest {feature}", spec, model, y_test, answer)
    answer = _linear(spec, model, learned[0], y, test[0])
    found[LINEAR] = _named("linear model of every step", spec, model, y_test, answer)
    return {name: rival for name, rival in found.items() if primary_metric(spec, rival.metrics) in rival.metrics}


def _named(name: str, spec: ModelSpec, model: Model, y: pl.Series, answer: np.ndarray) -> BaselineAnswer:
    return BaselineAnswer(name, answer, metrics_of(spec, y, answer, model.classes, model.threshold))


def _persisting(spec: ModelSpec, feature: str) -> ModelSpec:
    baseline = spec.baseline.model_copy(update={"strategy": "feature", "feature": feature, "scale": 1.0})
    return spec.model_copy(update={"baseline": baseline})


def _nearest(spec: ModelSpec, X: pl.DataFrame, y: pl.Series) -> str | None:
    if spec.task == "binary":
        return None
    errors = {}
    wanted = parts_of(y)[1] if spec.task == "forecast" else y.cast(pl.Float64).to_numpy()
    for name in X.columns:
        inner = X.schema[name].inner if isinstance(X.schema[name], pl.Array) else X.schema[name]  # type: ignore[attr-defined]
        if inner.is_numeric():
            answer = of_feature(_persisting(spec, name), y, X, [])
            errors[name] = float(np.mean((answer - wanted) ** 2))
    return min(errors, key=errors.__getitem__, default=None)


def _linear(spec: ModelSpec, model: Model, X: pl.DataFrame, y: pl.Series, test: pl.DataFrame) -> np.ndarray:
    (rows, gone), (asked, also_gone) = (_flat(model, frame) for frame in (X, test))
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


def _flat(model: Model, frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(n, steps x f) of numbers, their gaps filled, and what was missing; texts, of which a sequence has none, are left
    out."""
    X = model.encoder.encode(frame)[..., ~np.array(model.encoder.categorical)]
    X = X if X.ndim == 3 else X[:, None, :]
    gone = np.isnan(X)
    return _carried(_carried(X)[:, ::-1])[:, ::-1].reshape(len(X), -1), gone.reshape(len(X), -1)


def _carried(X: np.ndarray) -> np.ndarray:
    """(n, steps, f): a missing step has the last known value before it, where there is one."""
    steps = np.arange(X.shape[1])[None, :, None]
    last = np.maximum.accumulate(np.where(np.isnan(X), 0, steps), axis=1)
    return np.take_along_axis(X, last, axis=1)
