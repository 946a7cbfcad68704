"""Feature importance: the share of each feature in a model's predictions."""

from __future__ import annotations

import numpy as np
import polars as pl

from karat.declare.models import HIGHER_IS_BETTER, ModelSpec
from karat.kinds import Model
from karat.training.evaluation import evaluate, primary_metric

#: Rows and repeats of a permutation: enough to order the features, a fraction of a second for 30 of them.
ROWS, REPEATS = 400, 2


def feature_importance(model: Model, spec: ModelSpec, test: pl.DataFrame, y_test: pl.Series) -> dict[str, float]:
    """Compute each feature's share, the greatest first.

    A kind's own importance (impurity, gain, coefficients) is used if it has one. Else the share is permutation
    importance
    (Breiman, Random Forests, 2001): the loss in the primary metric when the feature's values are shuffled among test
    rows.

    Args:
        model: The model.
        spec: Its declaration.
        test: Features of the test rows, ``(rows, features)``.
        y_test: Their labels, ``(rows,)``.

    Returns:
        Shares by feature. They sum to 1, or are all 0 if no feature helps.
    """
    shares = model.importance()
    if shares is None:
        shares = _permutation_importance(model, spec, test, y_test)
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def _permutation_importance(model: Model, spec: ModelSpec, test: pl.DataFrame, y_test: pl.Series) -> dict[str, float]:
    rows = _sample_rows(y_test, spec)
    X, y = model.encoder.encode(test[rows]), y_test.gather(rows)
    random = np.random.default_rng(spec.seed)
    whole = _metric_score(model, spec, X, y)
    gain = np.zeros(X.shape[-1])
    for column in range(len(gain)):
        for _ in range(REPEATS):
            moved = X.copy()
            moved[..., column] = X[random.permutation(len(X)), ..., column]  # a sequence stays whole
            gain[column] += (whole - _metric_score(model, spec, moved, y)) / REPEATS
    gain = np.clip(np.nan_to_num(gain), 0, None)
    return dict(zip(model.feature_names, (gain / gain.sum() if gain.sum() else gain).tolist(), strict=True))


def _metric_score(model: Model, spec: ModelSpec, X: np.ndarray, y: pl.Series) -> float:
    """Return the primary metric, signed so that greater is better."""
    metric = primary_metric(spec, [])
    found = evaluate(
        spec.task,
        y,
        model.predict_encoded(X),
        threshold=model.threshold,
        classes=model.classes or None,
        only=metric,
        space=model.kind.space(X),
    )
    value = found.get(metric, 0.0)
    return value if HIGHER_IS_BETTER[metric] else -value


def _sample_rows(y: pl.Series, spec: ModelSpec) -> np.ndarray:
    """Return row numbers, ascending: all, or ``ROWS`` of them with up to half from the rarer class."""
    if len(y) <= ROWS:
        return np.arange(len(y))
    random = np.random.default_rng(spec.seed)
    if spec.task not in ("binary", "anomaly"):
        return np.sort(random.permutation(len(y))[:ROWS])
    rare = (y == y.value_counts(sort=True)[y.name][-1]).to_numpy()
    few, many = (random.permutation(np.flatnonzero(rare == side)) for side in (True, False))
    taken = few[: ROWS // 2]
    return np.sort(np.concatenate([taken, many[: ROWS - len(taken)]]))
