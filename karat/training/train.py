"""Training of a model on a training set, and its evaluation on the test rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from karat.declare.declared_model import DeclaredModel
from karat.declare.models import UNSUPERVISED, ModelSpec, ThresholdRule
from karat.kinds import Model, Report
from karat.training.cross_validation import cross_validate
from karat.training.data_warnings import data_warnings, unseen_value_warnings
from karat.training.fit import fit_declared
from karat.training.fit_distributor import Distributor
from karat.training.fitted_evaluation import TrainingResult, evaluate_model
from karat.training.leakage_guard import refuse_perfect_score
from karat.training.preconditions import prepare_rows
from karat.training.split import fold_splits
from karat.training_sets.training_set import TrainingSet


def train_declared(
    model: DeclaredModel,
    training_set: TrainingSet,
    rows: pl.DataFrame,
    split: pl.Series,
    distributor: Distributor | None = None,
    *,
    report: Report | None = None,
) -> TrainingResult:
    """Fit and evaluate the declared kind on its training set.

    An unsupervised model is evaluated by its label where some labels are known. With ``split.folds`` the model is also
    cross-validated.

    Args:
        model: The declared model.
        training_set: The declared training set.
        rows: Its rows, with the oracle's predictions if the model has an oracle.
        split: "train", "gap" or "test" for each row, ``(rows,)``.
        distributor: Fits the model by several workers if the declaration asks for it; None fits in this process.
        report: Called after each round.

    Returns:
        The model and its evaluation.

    Raises:
        TrainingError: what ``train`` raises.
    """
    spec, target = model.spec, model.spec.target
    unsupervised = spec.task in UNSUPERVISED
    labelled = target is not None and training_set.data[target].null_count() < training_set.data.height
    time = model.spine.time
    trained = train(
        spec,
        rows,
        features=training_set.features,
        label=None if unsupervised else target,
        split=split,
        evaluation_label=target if unsupervised and labelled else None,
        time=time,
        entity=model.spine.entity,
        distributor=distributor,
        report=report,
    )
    if spec.split.folds is None or target is None:
        return trained
    splits = fold_splits(rows, spec, time=time, entity=model.spine.entity)
    folds = cross_validate(
        spec,
        rows,
        splits,
        unfitted=lambda: unfitted_model(spec),
        features=training_set.features,
        label=target,
        time=time,
        entity=model.spine.entity,
    )
    return replace(trained, folds=folds)


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
    entity: Sequence[str] = (),
    distributor: Distributor | None = None,
) -> TrainingResult:
    """Fit the model of ``spec`` on the training rows and evaluate it on the test rows.

    Rows without a label are left out. Anomaly models and clusterings learn from every row and read no label. An anomaly
    model is evaluated by its label where the test rows have normal and anomalous ones, else by synthetic anomalies. A
    clustering is evaluated by the groups that its label names where test rows have some, else by its silhouette.

    Args:
        spec: The model's declaration.
        frame: The training set, ``(rows, columns)``.
        features: Columns that the model reads, in order.
        label: Column that the model learns.
        split: "train", "gap" or "test" for each row, ``(rows,)``.
        evaluation_label: Label of an anomaly model (0, 1 or null) or a clustering; ``label`` by default.
        report: Called after each round.
        time: Column that orders the rows; kinds that stop early validate on the latest.
        entity: Columns of the entity, whose rows calibration rows are taken by.
        distributor: Fits the model by several workers if the declaration asks for it; None fits in this process.

    Returns:
        The model and its evaluation.

    Raises:
        FeatureNotFound: The training set lacks a feature.
        LabelNotFound: The training set lacks the label.
        LabelOverlapsFeatures: The label is a feature.
        EmptyTrainingSet: No rows to train on.
        TooFewRows: Fewer rows than ``minimum_rows``, or none to test on.
        UnusableLabel: The label can't be learned or evaluated.
        DeclarationError: The kind does not do the task, or has no such parameter.
        PerfectScore: The model is perfect on the test rows, which means leakage.
    """
    model = unfitted_model(spec)
    unsupervised = spec.task in UNSUPERVISED
    known = (unsupervised and evaluation_label) or label
    rows = prepare_rows(spec, frame, features, known, split)
    X, X_test = rows.learned[0], rows.test[0]
    warnings = [*data_warnings(X), *unseen_value_warnings(X, X_test)]
    fit = fit_declared(spec, model, rows, time=time, entity=entity, report=report, distributor=distributor)
    warnings += [*fit.notes, *model.encoder.warnings, *_class_warnings(model)]
    trained = replace(evaluate_model(spec, model, fit.rows, warnings=warnings), time=time, entity=tuple(entity))
    trained = replace(trained, placement=fit.placement)
    if fit.placement is not None and fit.placement.streamed:
        trained = replace(trained, rows={**trained.rows, "train": fit.placement.rows})
    if fit.calibration:
        trained = replace(trained, rows={**trained.rows, "calibration": fit.calibration})
    refuse_perfect_score(spec, trained.metrics, rows.learned, rows.test)
    return trained


def unfitted_model(spec: ModelSpec) -> Model:
    """Make the declared estimator."""
    return Model(
        spec.kind,
        spec.task,
        spec.parameters,
        seed=spec.seed,
        class_weight=spec.class_weight,
        threshold=0.5 if isinstance(spec.threshold, ThresholdRule) else spec.threshold,
        transform=spec.label.transform if spec.label else None,
    )


def _class_warnings(model: Model) -> list[str]:
    if model.task != "binary" or not isinstance(model.classes[1], str):
        return []
    return [
        f"the positive class is {model.classes[1]!r}, the last of {model.classes} in sort order; write the label as a "
        "condition to choose the other"
    ]
