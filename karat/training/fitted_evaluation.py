"""Evaluation of a fitted model on the test rows: metrics, baseline, importance and reference models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import polars as pl

from karat.declare.models import ModelSpec
from karat.kinds import Model
from karat.training.baseline import BaselinePrediction, baseline_prediction
from karat.training.calibration import CalibrationReport, IntervalReport, calibration_report, interval_report
from karat.training.contribution_sample import ContributionSample
from karat.training.decision_threshold import threshold_warnings
from karat.training.evaluation import evaluate
from karat.training.fit_placement import FitPlacement
from karat.training.importance import feature_importance
from karat.training.leakage_guard import lone_feature_warnings, perfect_score_warnings
from karat.training.preconditions import LabelledRows, PreparedRows, prepare_rows
from karat.training.reference_models import reference_models
from karat.training.synthetic_anomalies import plant_anomalies

#: ``train_metrics`` use at most this many rows: enough to know a share to within a percent, while predicting all rows
#: would take several times as long as the test rows do.
MAX_TRAIN_METRIC_ROWS = 20_000


@dataclass(frozen=True)
class TrainingResult:
    """A trained model with its evaluation.

    Attributes:
        spec: The model's declaration.
        model: The fitted model.
        metrics: Metrics on the test rows.
        train_metrics: Metrics on the training rows, or on a sample of ``MAX_TRAIN_METRIC_ROWS``.
        baseline: The baseline's metrics on the test rows.
        baseline_name: The baseline's name.
        importance: Each feature's share, the greatest first.
        curve: The loss after each round, by part of the data; empty for kinds without rounds.
        curve_metric: The loss in ``curve``.
        parameters: The kind's parameters.
        rows: Number of rows by part.
        test: Features of the test rows, ``(rows, features)``; with synthetic anomalies if ``planted``.
        test_labels: Labels of the test rows, ``(rows,)``.
        test_predictions: Predictions on the test rows, ``(rows,)`` or ``(rows, outputs)``.
        baseline_predictions: The baseline's predictions on the same rows.
        baseline_known: Which of them are the baseline's own; None if all are. The gain is measured on these rows.
        planted: Whether the labels are synthetic anomalies.
        test_rows: The test rows with keys and times, ``(rows, columns)``.
        learned_labels: Labels of the training rows.
        warnings: Messages about the data and the model.
        reference_models: Predictions of the reference models, by name; only for kinds that read sequences.
        folds: Metrics of each fold of the cross-validation; empty without one.
        test_thresholds: The decision threshold, or that of each test row, ``(rows,)``.
        calibration: How well the probabilities of a binary model agree with the test rows.
        intervals: How many test labels the prediction intervals hold.
        refitted: The same model fitted again on all rows, which is registered in its place; None without.
        placement: Where the model was fitted, and why there; None if nobody chose.
        time: The time column of the test rows; None without.
        entity: The entity's columns of the test rows; empty if they are not known.
        contributions: Contributions of a sample of the test rows; None before the model is registered.
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
    reference_models: dict[str, BaselinePrediction] = field(default_factory=dict, repr=False)
    folds: list[dict[str, float]] = field(default_factory=list)
    baseline_known: np.ndarray | None = field(default=None, repr=False)
    test_thresholds: float | np.ndarray = field(default=0.5, repr=False)
    calibration: CalibrationReport | None = None
    intervals: IntervalReport | None = None
    refitted: Model | None = field(default=None, repr=False)
    placement: FitPlacement | None = None
    time: str | None = None
    entity: tuple[str, ...] = ()
    contributions: ContributionSample | None = field(default=None, repr=False)

    @property
    def distributed(self) -> bool:
        """Whether several workers fitted the model."""
        return self.placement is not None and self.placement.plan is not None


class FittedModel(Protocol):
    """Interface of a model that was fitted elsewhere."""

    task: str
    threshold: float
    classes: list[Any]

    @property
    def feature_names(self) -> list[str]:
        """Columns that the model reads, in order."""

    def predict(self, frame: pl.DataFrame) -> np.ndarray:
        """Return predictions, ``(rows,)`` or ``(rows, outputs)``."""

    def thresholds(self, frame: pl.DataFrame) -> float | np.ndarray:
        """Return the decision threshold, or that of each row, ``(rows,)``."""

    def importance(self) -> dict[str, float] | None:
        """Return each feature's share, or None if the estimator has none."""


def evaluate_fitted(
    spec: ModelSpec,
    model: FittedModel,
    frame: pl.DataFrame,
    *,
    features: Sequence[str],
    label: str | None,
    split: pl.Series,
) -> TrainingResult:
    """Evaluate a model that was fitted elsewhere as ``train`` evaluates its own: same test rows, same baseline.

    Nobody can tell whether it has learned from the test rows. Arguments and errors are those of ``train``.
    """
    return evaluate_model(spec, model, prepare_rows(spec, frame, features, label, split))


def evaluate_model(
    spec: ModelSpec, model: Model | FittedModel, rows: PreparedRows, *, warnings: Sequence[str] = ()
) -> TrainingResult:
    """Evaluate a fitted model against its baseline and reference models.

    Args:
        spec: The model's declaration.
        model: The fitted model.
        rows: Training and test rows.
        warnings: Further warnings to report.

    Returns:
        The model and its evaluation.
    """
    learned, test = rows.learned, rows.test
    X, y = _evaluation_rows(test, spec)
    prediction = model.predict(X)
    metrics = _model_metrics(model, X, y, prediction)
    against = baseline_prediction(
        spec,
        learned[1],
        X,
        y,
        classes=model.classes,
        threshold=model.threshold,
        prediction=prediction,
        space=_cluster_space(model, X),
    )
    X_learned, y_learned = _evaluation_rows(_sample_rows(learned, spec.seed), spec)
    importance = feature_importance(model, spec, X, y) if isinstance(model, Model) else _fitted_importance(model)
    return TrainingResult(
        spec=spec,
        model=model,
        metrics=metrics,
        train_metrics=_model_metrics(model, X_learned, y_learned, model.predict(X_learned)),
        baseline=against.metrics,
        baseline_name=against.name,
        importance=importance,
        curve=model.kind.curve if isinstance(model, Model) else {},
        curve_metric=model.kind.curve_metric if isinstance(model, Model) else "",
        parameters=model.parameters if isinstance(model, Model) else {},
        rows={"train": learned[0].height, "test": X.height},
        test=X,
        test_labels=y,
        test_predictions=prediction,
        baseline_predictions=against.prediction,
        planted=spec.task == "anomaly" and test[1] is None,
        test_rows=rows.test_rows,
        learned_labels=learned[1],
        baseline_known=against.known,
        test_thresholds=model.thresholds(X),
        calibration=calibration_report(model, X, y, prediction) if isinstance(model, Model) else None,
        intervals=interval_report(model, y, prediction) if isinstance(model, Model) else None,
        warnings=[
            *rows.warnings,
            *warnings,
            *_baseline_warnings(against),
            *threshold_warnings(model, metrics),
            *perfect_score_warnings(spec, metrics, test[1]),
            *lone_feature_warnings(metrics, importance),
        ],
        reference_models=reference_models(spec, model, learned, test) if isinstance(model, Model) else {},
    )


def _baseline_warnings(against: BaselinePrediction) -> list[str]:
    if against.known is None:
        return []
    known, rows = int(against.known.sum()), len(against.known)
    return [
        f"the baseline {against.name!r} has no value in {rows - known} of {rows} test rows: its metrics, and "
        f"the gain over it, are those of the other {known}"
    ]


def _sample_rows(rows: LabelledRows, seed: int) -> LabelledRows:
    """Return all rows, or a seeded sample of ``MAX_TRAIN_METRIC_ROWS``."""
    X, y = rows
    if X.height <= MAX_TRAIN_METRIC_ROWS:
        return rows
    chosen = np.sort(np.random.default_rng(seed).choice(X.height, MAX_TRAIN_METRIC_ROWS, replace=False))
    return X[chosen], None if y is None else y[chosen]


def _evaluation_rows(rows: LabelledRows, spec: ModelSpec) -> tuple[pl.DataFrame, pl.Series]:
    X, y = rows
    if y is not None:
        return X, y
    if spec.task == "clustering":
        return X, pl.Series("group", [None] * X.height, dtype=pl.Int64)
    return plant_anomalies(X, seed=spec.seed)


def _fitted_importance(model: FittedModel) -> dict[str, float]:
    """Return the estimator's importance; 0 for every feature if it has none."""
    return model.importance() or dict.fromkeys(model.feature_names, 0.0)


def _model_metrics(
    model: Model | FittedModel, X: pl.DataFrame, y: pl.Series, prediction: np.ndarray
) -> dict[str, float]:
    return evaluate(
        model.task,
        y,
        prediction,
        threshold=model.thresholds(X),
        classes=model.classes or None,
        space=_cluster_space(model, X),
    )


def _cluster_space(model: Model | FittedModel, X: pl.DataFrame) -> np.ndarray | None:
    return model.space(X) if isinstance(model, Model) else None
