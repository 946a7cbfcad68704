"""From a training set to a model that is trained and judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from karat.declare.models import ModelSpec
from karat.errors import (
    EmptyTrainingSet,
    FeatureNotFound,
    LabelNotFound,
    LabelOverlapsFeatures,
    TooFewRows,
    UnusableLabel,
    did_you_mean,
)
from karat.kinds import Model, Report
from karat.training.baseline import naive
from karat.training.evaluate import evaluate
from karat.training.importance import importances
from karat.training.planted import knows_both, plant
from karat.training.split import TEST, TRAIN, describe


@dataclass(frozen=True)
class Trained:
    """A trained model and what was found out about it.

    ``metrics`` and ``baseline`` are of the same test rows, ``train_metrics`` of the rows learned from. ``test`` holds
    the features of the test rows and ``test_labels`` their labels, as they were judged: of a detector without labels
    with its planted anomalies, and ``planted`` is True. ``test_predictions`` and ``baseline_predictions`` are in
    their order. ``curve`` is the loss ``curve_metric`` after each round, by part; empty without rounds.
    """

    spec: ModelSpec
    model: Model
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
    warnings: list[str]


def train(
    spec: ModelSpec,
    frame: pl.DataFrame,
    *,
    features: Sequence[str],
    label: str | None,
    split: pl.Series,
    evaluation_label: str | None = None,
    report: Report | None = None,
) -> Trained:
    """Fits ``spec``'s model on the rows that ``split`` marks "train", and judges it on those marked "test".

    ``label`` is what the model learns; rows without one are left out. An anomaly detector learns from every row
    without it, and is judged by ``evaluation_label`` (or ``label``: 0 or 1, null where not known) where the test rows
    have both; else by anomalies planted into the test rows.
    Raises, before any fit: FeatureNotFound, LabelNotFound, LabelOverlapsFeatures, EmptyTrainingSet, TooFewRows,
    UnusableLabel; DeclarationError where the kind refuses the task or a parameter.
    """
    model = Model(
        spec.kind,
        spec.task,
        spec.parameters,
        seed=spec.seed,
        class_weight=spec.class_weight,
        threshold=spec.threshold,
    )
    target = label
    warnings: list[str] = []
    if spec.task == "anomaly":
        target, warnings = _known_anomalies(spec, frame, evaluation_label or label, split)
    _check_columns(spec, frame, features, target)
    rows, parts, left_out = _usable(spec, frame, target, split)
    warnings += left_out
    learned, test = rows.filter(parts == TRAIN), rows.filter(parts == TEST)
    _check_label(spec, learned, test, target)
    X, y = learned.select(features), learned[target] if target else None
    warnings += _oddities(X)
    model.fit(X, y, report=report)
    warnings += [*model.encoder.warnings, *_positive_class(model)]
    return _judge(spec, model, (X, y), (test.select(features), test[target] if target else None), warnings)


_Rows = tuple[pl.DataFrame, pl.Series | None]


def _judge(spec: ModelSpec, model: Model, learned: _Rows, test: _Rows, warnings: list[str]) -> Trained:
    X, y = _labelled(test, spec.seed)
    prediction = model.predict(X)
    metrics = _metrics(model, y, prediction)
    against = naive(spec, learned[1], X, y, classes=model.classes, threshold=model.threshold)
    X_learned, y_learned = _labelled(learned, spec.seed)
    return Trained(
        spec=spec,
        model=model,
        metrics=metrics,
        train_metrics=_metrics(model, y_learned, model.predict(X_learned)),
        baseline=against.metrics,
        baseline_name=against.name,
        importance=importances(model, spec, X, y),
        curve=model.kind.curve,
        curve_metric=model.kind.curve_metric,
        parameters=model.parameters,
        rows={"train": X_learned.height, "test": X.height},
        test=X,
        test_labels=y,
        test_predictions=prediction,
        baseline_predictions=against.prediction,
        planted=test[1] is None,
        warnings=warnings + _too_good(spec, metrics),
    )


def _labelled(rows: _Rows, seed: int) -> tuple[pl.DataFrame, pl.Series]:
    X, y = rows
    return (X, y) if y is not None else plant(X, seed=seed)


def _metrics(model: Model, y: pl.Series, prediction: np.ndarray) -> dict[str, float]:
    return evaluate(model.task, y, prediction, threshold=model.threshold, classes=model.classes or None)


def _check_columns(spec: ModelSpec, frame: pl.DataFrame, features: Sequence[str], target: str | None) -> None:
    if not features:
        raise FeatureNotFound(f"model {spec.name!r} has no features", remedy="name some in its lookups")
    for name in features:
        if name not in frame.columns:
            raise FeatureNotFound(f"the training set has no feature {name!r}", remedy=did_you_mean(name, frame.columns))
    if target is None and spec.task != "anomaly":
        raise LabelNotFound(f"model {spec.name!r} is a {spec.task} model, and no label was given")
    if target is not None and target not in frame.columns:
        raise LabelNotFound(f"the training set has no label {target!r}", remedy=did_you_mean(target, frame.columns))
    if target in features:
        raise LabelOverlapsFeatures(
            f"{target!r} is the label of {spec.name!r} and one of its features",
            remedy="take it out of the lookup's features with 'exclude'",
        )


def _known_anomalies(
    spec: ModelSpec, frame: pl.DataFrame, target: str | None, split: pl.Series
) -> tuple[str | None, list[str]]:
    """The label to judge by, or None where the test rows don't tell normal from anomalous; with a warning."""
    if target is None or target not in frame.columns:
        return target, []
    known = frame[target].drop_nulls()
    if (
        not (known.dtype.is_numeric() or known.dtype == pl.Boolean)
        or not known.cast(pl.Float64).is_in([0.0, 1.0]).all()
    ):
        raise UnusableLabel(
            f"the label of {spec.name!r} must be 1 for an anomaly and 0 for a normal row; it is {known.dtype}, with "
            f"values such as {', '.join(map(repr, known.unique().sort().head(3).to_list()))}",
            remedy="write it as a condition, as in max(incident::int)",
        )
    if knows_both(frame.filter(split == TEST)[target]):
        return target, []
    return None, [
        f"the label {target!r} knows no anomaly (or no normal row) among the test rows; the model was judged by "
        "anomalies planted into them"
    ]


def _usable(
    spec: ModelSpec, frame: pl.DataFrame, target: str | None, split: pl.Series
) -> tuple[pl.DataFrame, pl.Series, list[str]]:
    """The rows that have a label, and their parts. Raises where too few are left."""
    warnings: list[str] = []
    if frame.is_empty():
        raise EmptyTrainingSet(
            f"the training set of {spec.name!r} has no rows",
            remedy="look at its label's expression and horizon, and at the spine table's rows",
        )
    if target:
        # A detector learns without labels; only where it is judged does it need them.
        needed = split == TEST if spec.task == "anomaly" else pl.repeat(True, frame.height, eager=True)
        labelled = ~needed | frame[target].is_not_null()
        if frame[target].dtype.is_float():
            labelled &= ~needed | frame[target].is_not_nan().fill_null(False)
            if frame[target].is_infinite().any():
                raise UnusableLabel(
                    f"the label of {spec.name!r} is infinite in {int(frame[target].is_infinite().sum())} rows",
                    remedy="guard the divisions in its expression, as in x / nullif(y, 0)",
                )
        if not (labelled & needed).any():
            raise UnusableLabel(
                f"the label of {spec.name!r} is null in all {frame.height} rows",
                remedy="look at its expression, and whether its horizon is over for any row",
            )
        if not labelled.all():
            warnings.append(f"{int((~labelled).sum())} of {frame.height} rows have no label and were left out")
        frame, split = frame.filter(labelled), split.filter(labelled)
    if frame.height < spec.minimum_rows:
        raise TooFewRows(
            f"model {spec.name!r} has {frame.height} rows with a label, fewer than its minimum of {spec.minimum_rows}",
            remedy="gather more rows, or lower 'minimum_rows' in its declaration",
        )
    if not (split == TRAIN).any():
        raise EmptyTrainingSet(
            f"the split of {spec.name!r} leaves no rows to learn from: {describe(split, spec)}",
            remedy="shorten the label's horizon, take a smaller 'split.test', or gather more days",
        )
    if not (split == TEST).any():
        raise TooFewRows(
            f"the split of {spec.name!r} leaves no rows for the test: {describe(split, spec)}",
            remedy="take a larger 'split.test', or gather more rows",
        )
    return frame, split, warnings


def _check_label(spec: ModelSpec, learned: pl.DataFrame, test: pl.DataFrame, target: str | None) -> None:
    """What can be learned from, and what the primary metric can be computed on."""
    if target is None or spec.task == "anomaly":
        return
    parts = [("rows to learn from", learned)]
    if spec.task == "binary" and spec.primary_metric in ("roc_auc", "average_precision"):
        parts.append(("test rows", test))
    for what, rows in parts:
        if rows[target].n_unique() == 1:
            raise UnusableLabel(
                f"the label of {spec.name!r} has a single value, {rows[target][0]!r}, in all {rows.height} {what}",
                remedy="look at its expression; or gather more rows, or split them otherwise ('split: {by: entity}')",
            )


def _oddities(X: pl.DataFrame) -> list[str]:
    """Columns that can teach nothing, and values that are taken as missing."""
    found = []
    for series in X:
        if series.dtype.is_float() and (infinite := int(series.is_infinite().sum())):
            found.append(f"feature {series.name!r} is infinite in {infinite} rows, which count as missing")
        known = series.drop_nulls()
        if series.dtype.is_float():
            known = known.drop_nans()
        if not len(known):
            found.append(f"feature {series.name!r} is missing in every row")
        elif len(known) == X.height and known.n_unique() == 1:
            found.append(f"feature {series.name!r} is constant: {known[0]!r} in every row")
    return found


def _positive_class(model: Model) -> list[str]:
    if model.task != "binary" or not isinstance(model.classes[1], str):
        return []
    return [
        f"the positive class is {model.classes[1]!r}, the last in order of {model.classes}; write the label as a "
        "condition to choose the other"
    ]


def _too_good(spec: ModelSpec, metrics: dict[str, float]) -> list[str]:
    perfect = {"roc_auc": 1.0, "average_precision": 1.0, "accuracy": 1.0, "r2": 1.0}
    found = [name for name, best in perfect.items() if metrics.get(name, 0.0) >= best - 1e-9]
    return [f"{', '.join(found)} of the test rows is perfect: does a feature hold the label?"] if found else []
