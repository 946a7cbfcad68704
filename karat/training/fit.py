"""Fit of a declared model: feature selection, mitigation of bias, the estimator, its calibration and thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from karat.declare.fairness import Fairness
from karat.declare.models import ModelSpec, ThresholdRule
from karat.kinds import Model, Report
from karat.training.bias_mitigation import group_thresholds, reweighed
from karat.training.calibration import calibrate, hold_rows_out, set_calibration_rows_aside
from karat.training.decision_threshold import choose_threshold, out_of_fold_scores
from karat.training.feature_selection import select_features
from karat.training.fit_distributor import Distributor
from karat.training.fit_placement import FitPlacement
from karat.training.preconditions import PreparedRows

#: Share of the training rows on which features are selected.
VALIDATION_SHARE = 0.2


@dataclass(frozen=True)
class Fit:
    """What a fit used, and what is to be said of it.

    Attributes:
        rows: The rows, calibration rows taken out of the training rows.
        calibration: Number of calibration rows.
        notes: Lines for the user.
        placement: Where the model was fitted; None if nobody chose.
    """

    rows: PreparedRows = field(repr=False)
    calibration: int = 0
    notes: tuple[str, ...] = ()
    placement: FitPlacement | None = None


def fit_declared(
    spec: ModelSpec,
    model: Model,
    rows: PreparedRows,
    *,
    time: str | None = None,
    entity: Sequence[str] = (),
    report: Report | None = None,
    distributor: Distributor | None = None,
) -> Fit:
    """Fit the declared model on its training rows, calibrate it, and choose its features and thresholds.

    Args:
        spec: The model's declaration.
        model: The unfitted model.
        rows: Training and test rows; the test rows have no part in it.
        time: Column that orders the rows.
        entity: Columns of the entity.
        report: Called after each round.
        distributor: Fits the model by several workers if the declaration asks for it; None fits in this process.

    Returns:
        The rows that were used, and what is to be said.

    Raises:
        TrainingError: The library refuses a parameter's value or the data, or the rows lack what the mitigation needs.
    """
    source = None if distributor is None else distributor.source
    held = set_calibration_rows_aside(spec, rows, time=time, entity=entity, source=source)
    weight = reweighed(spec.fairness, spec.protected, held.rows.learned_rows, held.rows.learned[1])
    notes: list[str] = []
    X, y = held.rows.learned
    order = held.rows.learned_rows[time] if time else None
    if spec.feature_selection != "none":
        inner = hold_rows_out(spec, held.rows, VALIDATION_SHARE, draw=3, time=time, entity=entity)
        assert inner.aside is not None
        inner_X, inner_y = inner.rows.learned
        inner_order = inner.rows.learned_rows[time] if time else None

        def fit(names: Sequence[str]) -> Model:
            unfitted = model.with_parameters(spec.parameters)
            return unfitted.fit(inner_X.select(names), inner_y, order=inner_order)

        chosen = select_features(fit, inner.aside, spec.primary_metric, seed=spec.seed)
        X = X.select(chosen.kept)
        notes.append(str(chosen))
    placement = None
    if distributor is not None:
        placement = distributor.fit(spec, model, (X, y), order=order, weight=weight, used=held.used)
    if placement is None or placement.plan is None:
        model.fit(X, y, report=report, order=order, weight=weight)
    notes += calibrate(spec, model, held.aside)
    if isinstance(spec.threshold, ThresholdRule):
        model.threshold, told = choose_threshold(
            spec, spec.threshold, X, y, order, weight=weight, calibrator=model.calibrator
        )
        notes.append(told)
    if spec.fairness is not None and spec.fairness.mitigation == "thresholds" and y is not None:
        (column,) = spec.fairness.mitigated_columns(spec.protected)
        score = out_of_fold_scores(spec, X, y, order)
        notes.append(_choose_group_thresholds(model, spec.fairness, column, X, y=y, score=score))
    return Fit(held.rows, 0 if held.aside is None else held.aside[0].height, tuple(notes), placement)


def _choose_group_thresholds(
    model: Model, fairness: Fairness, column: str, X: pl.DataFrame, *, y: pl.Series, score: np.ndarray
) -> str:
    """Set the thresholds of the groups, and say so; ``score`` is out-of-fold."""
    if np.isnan(score).any():
        return "groups have no thresholds of their own: a fold of the training rows has a single class"
    model.group_thresholds = group_thresholds(
        model,
        column,
        fairness.metric,
        X=X,
        positive=(y == model.classes[1]).to_numpy(),
        score=score if model.calibrator is None else model.calibrator.apply(score),
    )
    groups = len(model.group_thresholds.thresholds)
    return (
        f"{groups} groups of {column} have thresholds of their own, chosen on out-of-fold predictions of {len(y)} "
        "training rows"
    )
