"""Leakage guard: refuses a model with a perfect score on test rows, since a feature then holds the label."""

from __future__ import annotations

import numpy as np
import polars as pl
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from karat.declare.models import HIGHER_IS_BETTER, ModelSpec
from karat.errors import PerfectScore
from karat.kinds import Encoder
from karat.training.evaluation import evaluate

#: Values from which a metric counts as perfect, but for rounding.
PERFECT_SCORES = {
    "roc_auc": 1.0,
    "average_precision": 1.0,
    "accuracy": 1.0,
    "f1": 1.0,
    "r2": 0.9999,
    "adjusted_rand": 1.0,
}
#: From here on a model is so good that one feature which makes it alone is looked at. A series that hardly changes has
#: an r2 near 1 by its last value.
NEARLY_PERFECT = {"roc_auc": 0.95, "r2": 0.995}
LONE_SHARE = 0.9
#: With fewer test rows, or fewer outside the most frequent class, a good model may be perfect by chance.
MIN_ROWS, MIN_MINORITY_ROWS = 50, 20
_ROUNDING = 1e-9
_SHOWN, _ROWS, _DEPTH = 3, 20_000, 8
_Rows = tuple[pl.DataFrame, pl.Series | None]


def perfect_metrics(metrics: dict[str, float]) -> list[str]:
    """Return the metrics with a perfect value. A vanishing rmse shows in r2."""
    return [name for name, best in PERFECT_SCORES.items() if metrics.get(name, 0.0) >= best - _ROUNDING]


def perfect_score_warnings(spec: ModelSpec, metrics: dict[str, float], labels: pl.Series | None) -> list[str]:
    """Warn of a perfect score; ``labels`` is None for synthetic anomalies, which no feature can hold."""
    found = perfect_metrics(metrics)
    if not found or labels is None:
        return []
    few = "" if _has_enough_rows(spec, labels) else f" ({len(labels)} rows are too few to tell)"
    return [f"{', '.join(found)} is perfect on the test rows: check whether a feature holds the label{few}"]


def lone_feature_warnings(metrics: dict[str, float], importance: dict[str, float]) -> list[str]:
    """Warn of a nearly perfect model that one feature makes alone: it may be known only after the label is."""
    name, share = max(importance.items(), key=lambda item: item[1], default=("", 0.0))
    found = [metric for metric, near in NEARLY_PERFECT.items() if metrics.get(metric, 0.0) >= near]
    if not found or share < LONE_SHARE or perfect_metrics(metrics):
        return []
    return [
        f"{name} alone has {share:.0%} of the importance, and {found[0]} is {metrics[found[0]]:.3g}: is it known when "
        "a prediction is asked for? If not, add it to exclude"
    ]


def refuse_perfect_score(spec: ModelSpec, metrics: dict[str, float], learned: _Rows, test: _Rows) -> None:
    """Raise an error if the model is perfect on enough test rows.

    Synthetic anomalies are exempt, and so is a model with ``gates.perfect: warn``.

    Args:
        spec: The model's declaration.
        metrics: Metrics on the test rows.
        learned: Features and label of the training rows.
        test: Features and label of the test rows.

    Raises:
        PerfectScore: The message names the features that predict the label best on their own.
    """
    found = perfect_metrics(metrics)
    if not found or spec.gates.perfect == "warn" or test[1] is None or not _has_enough_rows(spec, test[1]):
        return
    raise PerfectScore(
        f"model {spec.name!r} is perfect on its {test[0].height} test rows "
        f"({', '.join(f'{m} {metrics[m]:.6g}' for m in found)}), which means leakage: a feature holds the label",
        where=_suspect_features(spec, learned, test),
        remedy="remove features that are computed from the label or after its time; if nothing leaks and the label is "
        "certain, write 'gates: {perfect: warn}'",
    )


def _has_enough_rows(spec: ModelSpec, labels: pl.Series) -> bool:
    if len(labels) < MIN_ROWS:
        return False
    if spec.task in ("regression", "forecast"):
        return True
    if isinstance(labels.dtype, pl.Struct):
        return any(_minority_rows(labels.struct.field(name)) >= MIN_MINORITY_ROWS for name in labels.struct.fields)
    return _minority_rows(labels) >= MIN_MINORITY_ROWS


def _minority_rows(labels: pl.Series) -> int:
    """Count the rows outside the most frequent class."""
    counts = labels.drop_nulls().value_counts()["count"]
    return int(counts.sum() - counts.max()) if len(counts) else 0  # type: ignore[operator]


def _suspect_features(spec: ModelSpec, learned: _Rows, test: _Rows) -> str:
    known = [(X.filter(y.is_not_null()), y.drop_nulls()) for X, y in (learned, test) if y is not None]
    if len(known) < 2 or not known[0][0].height:
        return f"model {spec.name!r}, its {test[0].width} features"
    metric, scores = _single_feature_scores(spec, *known[0], *known[1])
    shown = ", ".join(f"{name!r} ({metric} {score:.4g})" for name, score in scores[:_SHOWN])
    return f"features that predict the label best on their own: {shown}"


def _single_feature_scores(
    spec: ModelSpec, X: pl.DataFrame, y: pl.Series, X_test: pl.DataFrame, y_test: pl.Series
) -> tuple[str, list[tuple[str, float]]]:
    """Score a tree on each feature by itself on the test rows, the best first."""
    X, y, X_test = _last_values(X.head(_ROWS)), y.head(_ROWS), _last_values(X_test)
    encoder = Encoder.fit(X)
    rows, others = encoder.encode(X), encoder.encode(X_test)
    numeric = spec.task in ("regression", "forecast")
    tree = (DecisionTreeRegressor if numeric else DecisionTreeClassifier)(max_depth=_DEPTH, random_state=spec.seed)
    known, asked = _label_array(y), _label_array(y_test)
    metric = "r2" if numeric else ("accuracy" if known.ndim == 1 and len(np.unique(known)) > 2 else "roc_auc")
    scores = []
    for index, name in enumerate(X.columns):
        tree.fit(rows[:, index : index + 1], known)
        column = others[:, index : index + 1]
        scores.append((name, _tree_score(metric, asked, tree, column)))
    return metric, sorted(scores, key=lambda s: s[1] if HIGHER_IS_BETTER[metric] else -s[1], reverse=True)


def _last_values(X: pl.DataFrame) -> pl.DataFrame:
    """Keep each sequence's newest value, which is the one that may leak."""
    return X.with_columns(pl.col(n).arr.last() for n, t in X.schema.items() if isinstance(t, pl.Array))


def _label_array(y: pl.Series) -> np.ndarray:
    return y.struct.unnest().to_numpy() if isinstance(y.dtype, pl.Struct) else y.to_numpy()


def _tree_score(
    metric: str, y: np.ndarray, tree: DecisionTreeClassifier | DecisionTreeRegressor, X: np.ndarray
) -> float:
    if metric == "r2":
        return evaluate("regression", y.ravel().astype(float), tree.predict(X).ravel(), only="r2").get("r2", 0.0)
    if metric == "accuracy":
        return float((tree.predict(X) == y).mean())
    chances = tree.predict_proba(X)
    if isinstance(chances, list):  # one array per label
        each = [evaluate("anomaly", y[:, k], c[:, -1], only=metric).get(metric, 0.5) for k, c in enumerate(chances)]
        return float(np.mean(each))
    return evaluate("anomaly", y == tree.classes_[-1], chances[:, -1], only=metric).get(metric, 0.5)
