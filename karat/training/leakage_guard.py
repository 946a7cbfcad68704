"""A perfect score on rows that lie ahead is no triumph: a feature holds the label."""

from __future__ import annotations

import numpy as np
import polars as pl
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from karat.declare.models import HIGHER_IS_BETTER, ModelSpec
from karat.errors import PerfectScore
from karat.kinds import Encoder
from karat.training.evaluation import evaluate

#: From where on a metric is perfect, but for rounding.
PERFECT = {"roc_auc": 1.0, "average_precision": 1.0, "accuracy": 1.0, "f1": 1.0, "r2": 0.9999, "adjusted_rand": 1.0}
#: On fewer test rows, or with fewer outside of the most frequent class, a good model may be right in each by chance.
ENOUGH, RARER = 50, 20
_ROUNDING = 1e-9
_SHOWN, _ROWS, _DEPTH = 3, 20_000, 8
_Rows = tuple[pl.DataFrame, pl.Series | None]


def perfect(metrics: dict[str, float]) -> list[str]:
    """The metrics that say that nothing was left to be wrong about. A vanishing rmse shows in r2."""
    return [name for name, best in PERFECT.items() if metrics.get(name, 0.0) >= best - _ROUNDING]


def doubt(spec: ModelSpec, metrics: dict[str, float], labels: pl.Series | None) -> list[str]:
    """A warning where ``perfect`` finds something on these test rows; None for labels that were planted."""
    found = perfect(metrics)
    if not found or labels is None:
        return []
    few = "" if _enough(spec, labels) else f", which are too few ({len(labels)}) to say"
    return [f"{', '.join(found)} of the test rows is perfect: does a feature hold the label{few}?"]


def refuse_perfect_score(spec: ModelSpec, metrics: dict[str, float], learned: _Rows, test: _Rows) -> None:
    """Raises PerfectScore with the features that alone foretell the label best; each part is (features, label).

    Not on too few rows, nor of anomalies that were planted, whose label no feature can hold; ``gates.perfect: warn``
    lets pass.
    """
    found = perfect(metrics)
    if not found or spec.gates.perfect == "warn" or test[1] is None or not _enough(spec, test[1]):
        return
    raise PerfectScore(
        f"model {spec.name!r} is perfect on its {test[0].height} test rows "
        f"({', '.join(f'{m} {metrics[m]:.6g}' for m in found)}): that is a leak, not a model",
        where=_where(spec, learned, test),
        remedy="take out of the lookups what is made after the label's time or from it; where nothing leaks and the "
        "label really is certain, write 'gates: {perfect: warn}'",
    )


def _enough(spec: ModelSpec, labels: pl.Series) -> bool:
    if len(labels) < ENOUGH:
        return False
    if spec.task in ("regression", "forecast"):
        return True
    if isinstance(labels.dtype, pl.Struct):
        return any(_rarer(labels.struct.field(name)) >= RARER for name in labels.struct.fields)
    return _rarer(labels) >= RARER


def _rarer(labels: pl.Series) -> int:
    """How many rows are not of the most frequent class."""
    counts = labels.drop_nulls().value_counts()["count"]
    return int(counts.sum() - counts.max()) if len(counts) else 0  # type: ignore[operator]


def _where(spec: ModelSpec, learned: _Rows, test: _Rows) -> str:
    known = [(X.filter(y.is_not_null()), y.drop_nulls()) for X, y in (learned, test) if y is not None]
    if len(known) < 2 or not known[0][0].height:
        return f"model {spec.name!r}, its {test[0].width} features"
    metric, scores = _alone(spec, *known[0], *known[1])
    told = ", ".join(f"{name!r} ({metric} {score:.4g})" for name, score in scores[:_SHOWN])
    return f"features that alone foretell the label best: {told}"


def _alone(
    spec: ModelSpec, X: pl.DataFrame, y: pl.Series, X_test: pl.DataFrame, y_test: pl.Series
) -> tuple[str, list[tuple[str, float]]]:
    """The score on the test rows of a tree on each feature by itself, the best first."""
    X, y, X_test = _newest(X.head(_ROWS)), y.head(_ROWS), _newest(X_test)
    encoder = Encoder.fit(X)
    rows, others = encoder.encode(X), encoder.encode(X_test)
    numeric = spec.task in ("regression", "forecast")
    tree = (DecisionTreeRegressor if numeric else DecisionTreeClassifier)(max_depth=_DEPTH, random_state=spec.seed)
    known, asked = _plain(y), _plain(y_test)
    metric = "r2" if numeric else ("accuracy" if known.ndim == 1 and len(np.unique(known)) > 2 else "roc_auc")
    scores = []
    for index, name in enumerate(X.columns):
        tree.fit(rows[:, index : index + 1], known)
        column = others[:, index : index + 1]
        scores.append((name, _score(metric, asked, tree, column)))
    return metric, sorted(scores, key=lambda s: s[1] if HIGHER_IS_BETTER[metric] else -s[1], reverse=True)


def _newest(X: pl.DataFrame) -> pl.DataFrame:
    """Of sequences the newest value, which is the one that may know too much."""
    return X.with_columns(pl.col(n).arr.last() for n, t in X.schema.items() if isinstance(t, pl.Array))


def _plain(y: pl.Series) -> np.ndarray:
    return y.struct.unnest().to_numpy() if isinstance(y.dtype, pl.Struct) else y.to_numpy()


def _score(metric: str, y: np.ndarray, tree: DecisionTreeClassifier | DecisionTreeRegressor, X: np.ndarray) -> float:
    if metric == "r2":
        return evaluate("regression", y.ravel().astype(float), tree.predict(X).ravel(), only="r2").get("r2", 0.0)
    if metric == "accuracy":
        return float((tree.predict(X) == y).mean())
    chances = tree.predict_proba(X)
    if isinstance(chances, list):  # one a label of several
        each = [evaluate("anomaly", y[:, k], c[:, -1], only=metric).get(metric, 0.5) for k, c in enumerate(chances)]
        return float(np.mean(each))
    return evaluate("anomaly", y == tree.classes_[-1], chances[:, -1], only=metric).get(metric, 0.5)
