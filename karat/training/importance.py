"""How much a model leans on each feature."""

from __future__ import annotations

import numpy as np
import polars as pl

from karat.declare.models import HIGHER_IS_BETTER, ModelSpec
from karat.kinds import Model
from karat.training.evaluation import evaluate, primary_metric

#: Rows and repeats that a permutation is judged on: enough for an order, a fraction of a second for 30 features.
ROWS, REPEATS = 400, 2


def importances(model: Model, spec: ModelSpec, test: pl.DataFrame, y_test: pl.Series) -> dict[str, float]:
    """Feature -> share, the greatest first: the kind's own importance where it has one (impurity, gain, coefficients);
    else by how much the primary metric falls on test rows when the feature's values are shuffled among them (what
    helps nothing is 0). Shares sum to 1, or are all 0 where nothing helps."""
    shares = model.importance()
    if shares is None:
        shares = _permuted(model, spec, test, y_test)
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def _permuted(model: Model, spec: ModelSpec, test: pl.DataFrame, y_test: pl.Series) -> dict[str, float]:
    rows = _sample(y_test, spec)
    X, y = model.encoder.encode(test[rows]), y_test.gather(rows)
    random = np.random.default_rng(spec.seed)
    whole = _score(model, spec, X, y)
    gain = np.zeros(X.shape[-1])
    for column in range(len(gain)):
        for _ in range(REPEATS):
            moved = X.copy()
            moved[..., column] = X[random.permutation(len(X)), ..., column]  # a sequence stays whole
            gain[column] += (whole - _score(model, spec, moved, y)) / REPEATS
    gain = np.clip(np.nan_to_num(gain), 0, None)
    return dict(zip(model.feature_names, (gain / gain.sum() if gain.sum() else gain).tolist(), strict=True))


def _score(model: Model, spec: ModelSpec, X: np.ndarray, y: pl.Series) -> float:
    """The primary metric, greater is better."""
    metric = primary_metric(spec, [])
    found = evaluate(
        spec.task,
        y,
        model.kind.predict(X),
        threshold=model.threshold,
        classes=model.classes or None,
        only=metric,
        space=model.kind.space(X),
    )
    value = found.get(metric, 0.0)
    return value if HIGHER_IS_BETTER[metric] else -value


def _sample(y: pl.Series, spec: ModelSpec) -> np.ndarray:
    """Row numbers, ascending: all, or ``ROWS`` of them; of a rare class (half of them at most) as many as there are."""
    if len(y) <= ROWS:
        return np.arange(len(y))
    random = np.random.default_rng(spec.seed)
    if spec.task not in ("binary", "anomaly"):
        return np.sort(random.permutation(len(y))[:ROWS])
    rare = (y == y.value_counts(sort=True)[y.name][-1]).to_numpy()
    few, many = (random.permutation(np.flatnonzero(rare == side)) for side in (True, False))
    taken = few[: ROWS // 2]
    return np.sort(np.concatenate([taken, many[: ROWS - len(taken)]]))
