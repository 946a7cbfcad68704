"""Calibration of a fitted model, and its prediction intervals, on rows that are neither training nor test rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from sklearn.calibration import calibration_curve

from karat.declare.models import CALIBRATED, ModelSpec
from karat.errors import TooFewRows, TrainingError
from karat.kinds import Calibrator, ConformalInterval, Model, parts_of
from karat.training.preconditions import LabelledRows, PreparedRows
from karat.training.row_stream import RowFilter, RowSource
from karat.training.split import TEST, TRAIN, SplitRule, rule_of_rows

#: Bins of the reliability diagram, of as many rows each.
BINS = 10


@dataclass(frozen=True)
class HeldOut:
    """Training rows that are divided once more.

    Attributes:
        rows: The rows, those that are held out taken out of the training rows.
        aside: Features and label of the rows that are held out; None if there are none.
        rule: By which they are divided; None if all are left.
    """

    rows: PreparedRows
    aside: LabelledRows | None
    rule: SplitRule | None = None

    @property
    def used(self) -> RowFilter | None:
        """Whether a fit uses rows of the same training set; None if it uses all."""
        rule = self.rule
        return None if rule is None else lambda rows: rule.parts(rows) == TRAIN


def set_calibration_rows_aside(
    spec: ModelSpec, rows: PreparedRows, *, time: str | None, entity: Sequence[str], source: RowSource | None = None
) -> HeldOut:
    """Take the calibration rows out of the training rows, for a model that declares calibration or intervals.

    Of a ``source``, ``rows`` are a sample: the days are those of all its training rows. Other arguments and errors are
    those of ``hold_rows_out``.
    """
    if spec.calibration == "none" and spec.intervals is None:
        return HeldOut(rows, None)
    # Another draw of entities than those of the test and of a search.
    days = source.days("train") if source is not None else None
    return hold_rows_out(spec, rows, spec.calibration_share, draw=2, time=time, entity=entity, days=days)


def hold_rows_out(
    spec: ModelSpec,
    rows: PreparedRows,
    share: float,
    *,
    draw: int,
    time: str | None,
    entity: Sequence[str],
    days: pl.Series | None = None,
) -> HeldOut:
    """Divide the training rows once more, as the model's own split takes the test rows.

    By time the last days are held out, and rows whose label overlaps with them are left out; by entity the rows of some
    entities are. Rows without known entities are drawn one by one.

    Args:
        spec: The model's declaration.
        rows: Training and test rows.
        share: Share of the days or entities.
        draw: Number of the draw of entities, from 1.
        time: The time column.
        entity: The entity's columns; none if they are not known.
        days: The days of all rows, where ``rows`` are a sample.

    Returns:
        The rows that are left, and those that are held out.

    Raises:
        TooFewRows: The training rows are too few to be divided.
    """
    frame = rows.learned_rows
    split = spec.split.model_copy(update={"test": share, "test_from": None})
    inner = spec.model_copy(update={"seed": spec.seed + draw, "split": split})
    if not entity and (spec.split.by == "entity" or time is None):
        inner = inner.model_copy(update={"split": split.model_copy(update={"by": "entity"})})
        frame, entity = frame.with_row_index("karat_row"), ("karat_row",)
    rule = rule_of_rows(frame, inner, time=time, entity=entity, days=days)
    parts = rule.parts(frame)
    if not {TRAIN, TEST} <= set(parts.unique()):
        raise TooFewRows(
            f"the {frame.height} training rows of {spec.name!r} leave no rows to "
            f"{'fit on' if TEST in parts else 'hold out'}",
            where=f"model {spec.name!r}",
            remedy=f"give more days or entities, a smaller share than {share:g} (calibration_share), or leave "
            "calibration, intervals and feature_selection out",
        )
    fit, held = parts == TRAIN, parts == TEST
    X, y = rows.learned
    learned, aside = ((X.filter(mask), None if y is None else y.filter(mask)) for mask in (fit, held))
    kept = replace(rows, learned=learned, learned_rows=rows.learned_rows.filter(fit))
    return HeldOut(kept, aside, rule)


def calibrate(spec: ModelSpec, model: Model, rows: LabelledRows | None) -> list[str]:
    """Fit the declared calibration and the prediction intervals of a fitted model.

    Args:
        spec: The model's declaration.
        model: The fitted model.
        rows: The calibration rows; None for a model that declares neither.

    Returns:
        What is to be said of it, in words.

    Raises:
        TrainingError: The label of the calibration rows has a single class.
    """
    X, y = rows or (None, None)
    if X is None or y is None:
        return []
    prediction = model.predict(X)
    if spec.calibration != "none" and spec.task in CALIBRATED:
        positive = _positive(model, y)
        if (spec.task == "binary" and positive.all()) or not positive.any():
            raise TrainingError(
                f"the {X.height} calibration rows of {spec.name!r} have a single class",
                where=f"model {spec.name!r}, calibration_share",
                remedy="give more rows, or a larger share",
            )
        classes = spec.task == "multiclass"
        model.calibrator = Calibrator.fit(spec.calibration, prediction, positive, sums_to_one=classes)
        return [f"the probabilities were calibrated ({spec.calibration}) on {X.height} rows that it was not fitted on"]
    if spec.intervals is not None:
        labels = parts_of(y)[1] if isinstance(y.dtype, pl.Struct) else y.cast(pl.Float64).to_numpy()
        coverage = spec.intervals.coverage
        model.interval = ConformalInterval.fit(coverage, prediction, labels, transform=model.transform)
        if model.interval is None:
            return [f"{X.height} calibration rows are too few for intervals of {coverage:.0%}: there are none"]
        return [f"intervals of {coverage:.0%} were taken from {X.height} rows that it was not fitted on"]
    return []


def _positive(model: Model, y: pl.Series) -> np.ndarray:
    """Which class or label is so in each row: ``(rows,)`` for a binary model, else ``(rows, outputs)``."""
    if model.task == "multilabel":
        return np.asarray(parts_of(y)[1] == 1)
    if model.task == "binary":
        return np.asarray(y == model.classes[1])
    return np.column_stack([(y == value).to_numpy() for value in model.classes])


@dataclass(frozen=True)
class CalibrationReport:
    """How well a binary model's probabilities agree with how often they are so, on the test rows.

    Attributes:
        brier: Mean squared difference of probability and label.
        before: The same without the calibration; None for a model without one.
        expected_error: Expected calibration error: mean absolute difference over the bins, weighed by their rows.
        predicted: Mean probability of each bin.
        observed: Share of positive rows in each bin.
    """

    brier: float
    before: float | None
    expected_error: float
    predicted: tuple[float, ...]
    observed: tuple[float, ...]

    def as_metrics(self) -> dict[str, float]:
        """Return the figures under the names that are logged."""
        before = {} if self.before is None else {"calibration_brier_before": self.before}
        return {"calibration_brier": self.brier, "calibration_error": self.expected_error} | before


def calibration_report(model: Model, X: pl.DataFrame, y: pl.Series, prediction: np.ndarray) -> CalibrationReport | None:
    """Measure the calibration of a binary model; None for other tasks, and for test rows of a single class.

    Args:
        model: The fitted model.
        X: Features of the test rows, ``(rows, features)``.
        y: Their labels, ``(rows,)``.
        prediction: Their probabilities, ``(rows,)``.
    """
    if model.task != "binary":
        return None
    positive = (y == model.classes[1]).to_numpy()
    if positive.all() or not positive.any():
        return None
    observed, predicted = calibration_curve(positive, prediction, n_bins=BINS, strategy="quantile")
    # calibration_curve leaves the sizes of its bins out; bins of equal size are the quantiles of the same edges
    edges = np.quantile(prediction, np.linspace(0, 1, BINS + 1))
    sizes = np.bincount(np.searchsorted(edges[1:-1], prediction), minlength=BINS)
    error = float(np.average(np.abs(observed - predicted), weights=sizes[sizes > 0]))
    before = None
    if model.calibrator is not None:
        raw = model.kind.predict(model.encoder.encode(X))
        before = float(np.mean((raw - positive) ** 2))
    return CalibrationReport(
        brier=float(np.mean((prediction - positive) ** 2)),
        before=before,
        expected_error=error,
        predicted=tuple(predicted.tolist()),
        observed=tuple(observed.tolist()),
    )


@dataclass(frozen=True)
class IntervalReport:
    """Prediction intervals on the test rows.

    Attributes:
        declared: Share of labels that they are to hold.
        coverage: Share of test labels that they hold.
        width: Their mean width, in the label's unit.
        baseline_width: Width of one interval that holds as many of the test labels whatever is predicted.
    """

    declared: float
    coverage: float
    width: float
    baseline_width: float

    def as_metrics(self) -> dict[str, float]:
        """Return the figures under the names that are logged."""
        return {"interval_coverage": self.coverage, "interval_width": self.width}


def interval_report(model: Model, y: pl.Series, prediction: np.ndarray) -> IntervalReport | None:
    """Measure the intervals of a regression or a forecast; None without intervals.

    Args:
        model: The fitted model.
        y: Labels of the test rows, ``(rows,)``.
        prediction: Their predictions, ``(rows,)`` or ``(rows, steps)``.
    """
    if model.interval is None:
        return None
    labels = parts_of(y)[1] if isinstance(y.dtype, pl.Struct) else y.cast(pl.Float64).to_numpy()
    low, high = model.interval.ends(prediction)
    held = (labels >= low) & (labels <= high)
    outside = (1 - model.interval.coverage) / 2
    ends = np.quantile(labels, [outside, 1 - outside])
    return IntervalReport(
        declared=model.interval.coverage,
        coverage=float(held.mean()),
        width=float((high - low).mean()),
        baseline_width=float(ends[1] - ends[0]),
    )
