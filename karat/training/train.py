"""From a training set to a model that is trained and judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import polars as pl

from karat.declare.models import UNSUPERVISED, ModelSpec
from karat.kinds import Model, Report
from karat.training.baseline import BaselineAnswer, baseline_prediction
from karat.training.data_warnings import data_warnings, unseen
from karat.training.evaluation import evaluate
from karat.training.importance import importances
from karat.training.leakage_guard import doubt, refuse_perfect_score
from karat.training.preconditions import check_columns, check_label, known_anomalies, known_groups, usable
from karat.training.reference_models import reference_models
from karat.training.split import TEST, TRAIN
from karat.training.synthetic_anomalies import plant_anomalies

#: Of how many rows that were learned from ``train_metrics`` are at most: a share is known to within a percent then, and
#: predicting all of them would take several times as long as the test rows do.
MOST_LEARNED = 20_000


@dataclass(frozen=True)
class TrainingResult:
    """A trained model and what was found out about it.

    ``metrics`` and ``baseline`` are of the same test rows, ``train_metrics`` of the rows learned from (``MOST_LEARNED``
    of them at most, drawn by the seed). ``test`` holds the features of the test rows and ``test_labels`` their labels,
    as they were judged: of a detector without labels with its planted anomalies, and ``planted`` is True.
    ``test_predictions`` and ``baseline_predictions`` are in their order, and those of the ``reference_models`` of
    sequence kinds; ``test_rows`` are these rows whole, with keys and times, ``learned_labels`` the labels learned from.
    ``curve`` is the loss ``curve_metric`` after each round, by part; empty without rounds.
    """

    spec: ModelSpec
    model: Any
    metrics: dict[str, float]
    train_metrics: dict[str, float]
    baseline: dict[str, float]
    baseline_name: str
    importance: dict[str, float]
    curve: dict[str, list[float]]
    curve_metric: str
    parameters: dict[str, Any]
    rows: dict[str, int]
    test: pl.DataFrame = field(repr=False)
    test_labels: pl.Series = field(repr=False)
    test_predictions: np.ndarray = field(repr=False)
    baseline_predictions: np.ndarray = field(repr=False)
    planted: bool
    test_rows: pl.DataFrame = field(repr=False)
    learned_labels: pl.Series | None = field(repr=False)
    warnings: list[str]
    reference_models: dict[str, BaselineAnswer] = field(default_factory=dict, repr=False)


def train(
    spec: ModelSpec,
    frame: pl.DataFrame,
    *,
    features: Sequence[str],
    label: str | None,
    split: pl.Series,
    evaluation_label: str | None = None,
    report: Report | None = None,
    time: str | None = None,
) -> TrainingResult:
    """Fits ``spec``'s model on the rows that ``split`` marks "train", and judges it on those marked "test".

    ``label`` is what the model learns; rows without one are left out. An anomaly detector and a clustering learn from
    every row without it. A detector is judged by ``evaluation_label`` (or ``label``: 0 or 1, null where not known)
    where the test rows have both, else by anomalies planted into the test rows; a clustering by the groups that the
    label names, where test rows have some, else by its silhouette. ``time`` is the column by which kinds that stop
    early take the latest rows for it.
    Raises, before any fit: FeatureNotFound, LabelNotFound, LabelOverlapsFeatures, EmptyTrainingSet, TooFewRows,
    UnusableLabel; DeclarationError where the kind refuses the task or a parameter. After it: PerfectScore.
    """
    model = Model(
        spec.kind,
        spec.task,
        spec.parameters,
        seed=spec.seed,
        class_weight=spec.class_weight,
        threshold=spec.threshold,
    )
    unsupervised = spec.task in UNSUPERVISED
    known = (unsupervised and evaluation_label) or label
    learned, test, (rows, test_rows), warnings = _parts(spec, frame, features, known, split)
    warnings += [*data_warnings(learned[0]), *unseen(learned[0], test[0])]
    model.fit(*learned, report=report, order=rows[time] if time else None)
    warnings += [*model.encoder.warnings, *_positive_class(model)]
    found = _judge(spec, model, learned, test, test_rows=test_rows, warnings=warnings)
    refuse_perfect_score(spec, found.metrics, learned, test)
    return found


def judge_fitted(
    spec: ModelSpec,
    model: Fitted,
    frame: pl.DataFrame,
    *,
    features: Sequence[str],
    label: str | None,
    split: pl.Series,
) -> TrainingResult:
    """What ``train`` says of its own model, of one that was fitted elsewhere: on the same test rows, against the same
    baseline. Whether it has learned from these rows nobody can tell. Raises as ``train`` does."""
    learned, test, (_, test_rows), warnings = _parts(spec, frame, features, label, split)
    return _judge(spec, model, learned, test, test_rows=test_rows, warnings=warnings)


class Fitted(Protocol):
    """What a model that was fitted elsewhere must be able to do."""

    task: str
    threshold: float
    classes: list[Any]

    @property
    def feature_names(self) -> list[str]: ...
    def predict(self, frame: pl.DataFrame) -> np.ndarray: ...
    def importance(self) -> dict[str, float] | None: ...


_Rows = tuple[pl.DataFrame, pl.Series | None]


def _parts(
    spec: ModelSpec, frame: pl.DataFrame, features: Sequence[str], label: str | None, split: pl.Series
) -> tuple[_Rows, _Rows, tuple[pl.DataFrame, pl.DataFrame], list[str]]:
    """The rows to learn from, those to be judged on, both whole, and what is odd about them. An anomaly detector and a
    clustering learn from every row, whatever its label."""
    target = label
    warnings: list[str] = []
    if spec.task == "anomaly":
        target, warnings = known_anomalies(spec, frame, label, split)
    elif spec.task == "clustering":
        target, warnings = known_groups(spec, frame, label, split)
    check_columns(spec, frame, features, target)
    rows, parts, left_out = usable(spec, frame, target, split)
    learned, test = rows.filter(parts == TRAIN), rows.filter(parts == TEST)
    check_label(spec, learned, test, target)
    both = ((part.select(features), part[target] if target else None) for part in (learned, test))
    return next(both), next(both), (learned, test), warnings + left_out


def _judge(
    spec: ModelSpec, model: Model | Fitted, learned: _Rows, test: _Rows, *, test_rows: pl.DataFrame, warnings: list[str]
) -> TrainingResult:
    X, y = _labelled(test, spec)
    prediction = model.predict(X)
    metrics = _metrics(model, X, y, prediction)
    against = baseline_prediction(
        spec,
        learned[1],
        X,
        y,
        classes=model.classes,
        threshold=model.threshold,
        prediction=prediction,
        space=_space(model, X),
    )
    X_learned, y_learned = _labelled(_some(learned, spec.seed), spec)
    return TrainingResult(
        spec=spec,
        model=model,
        metrics=metrics,
        train_metrics=_metrics(model, X_learned, y_learned, model.predict(X_learned)),
        baseline=against.metrics,
        baseline_name=against.name,
        importance=importances(model, spec, X, y) if isinstance(model, Model) else _own_importance(model),
        curve=model.kind.curve if isinstance(model, Model) else {},
        curve_metric=model.kind.curve_metric if isinstance(model, Model) else "",
        parameters=model.parameters if isinstance(model, Model) else {},
        rows={"train": learned[0].height, "test": X.height},
        test=X,
        test_labels=y,
        test_predictions=prediction,
        baseline_predictions=against.prediction,
        planted=spec.task == "anomaly" and test[1] is None,
        test_rows=test_rows,
        learned_labels=learned[1],
        warnings=warnings + doubt(spec, metrics, test[1]),
        reference_models=reference_models(spec, model, learned, test) if isinstance(model, Model) else {},
    )


def _some(rows: _Rows, seed: int) -> _Rows:
    """All rows, or as many of them, drawn by chance, as say what the model scores on what it has learned."""
    X, y = rows
    if X.height <= MOST_LEARNED:
        return rows
    chosen = np.sort(np.random.default_rng(seed).choice(X.height, MOST_LEARNED, replace=False))
    return X[chosen], None if y is None else y[chosen]


def _labelled(rows: _Rows, spec: ModelSpec) -> tuple[pl.DataFrame, pl.Series]:
    X, y = rows
    if y is not None:
        return X, y
    if spec.task == "clustering":
        return X, pl.Series("group", [None] * X.height, dtype=pl.Int64)
    return plant_anomalies(X, seed=spec.seed)


def _own_importance(model: Fitted) -> dict[str, float]:
    """As the estimator has it; 0 throughout where it has none."""
    return model.importance() or dict.fromkeys(model.feature_names, 0.0)


def _metrics(model: Model | Fitted, X: pl.DataFrame, y: pl.Series, prediction: np.ndarray) -> dict[str, float]:
    return evaluate(
        model.task,
        y,
        prediction,
        threshold=model.threshold,
        classes=model.classes or None,
        space=_space(model, X),
    )


def _space(model: Model | Fitted, X: pl.DataFrame) -> np.ndarray | None:
    return model.space(X) if isinstance(model, Model) else None


def _positive_class(model: Model) -> list[str]:
    if model.task != "binary" or not isinstance(model.classes[1], str):
        return []
    return [
        f"the positive class is {model.classes[1]!r}, the last in order of {model.classes}; write the label as a "
        "condition to choose the other"
    ]
