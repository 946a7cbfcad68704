"""A trainable and servable model: an encoder, an estimator kind, classes and a decision threshold."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from karat.errors import SignatureError, UntrustedModel, UnusableLabel
from karat.kinds._calibration import Calibrator
from karat.kinds._contributions import NORMALIZATION, Contributions, Link
from karat.kinds._encoder import Encoder
from karat.kinds._find import load_kind, names
from karat.kinds._group_thresholds import GroupThresholds
from karat.kinds._kind import Kind, Parameters, Report, read_json
from karat.kinds._label_transform import restore_label, transform_label
from karat.kinds._prediction_interval import ConformalInterval

CLASSIFICATION = ("binary", "multiclass")
UNSUPERVISED = ("anomaly", "clustering")
#: Tasks whose labels have several parts, a struct of numbers.
SEVERAL = ("multilabel", "forecast")
#: A label with more distinct values than this holds numbers, not classes.
MAX_CLASSES = 200


@dataclass(frozen=True)
class EncodedRows:
    """Rows to learn from, as arrays.

    Attributes:
        X: Features, ``(rows, features)`` or ``(rows, steps, features)``.
        target: What the kind learns, ``(rows,)`` or ``(rows, parts)``; None for a task without labels.
        order: The time of each row, ``(rows,)``; None if the rows are in the order of time.
        weight: How much each row counts, ``(rows,)``; None if all count the same.
    """

    X: np.ndarray
    target: np.ndarray | None
    order: np.ndarray | None
    weight: np.ndarray | None = None


class Model:
    """Rows of features in, predictions out.

    Attributes:
        threshold: The decision threshold. A binary model answers ``classes[1]`` from this probability on; an anomaly
            detector calls a row anomalous from this score on. A kind that learns a threshold replaces it.
        classes: The label's values in ascending order. The second class of a binary model is the positive one.
        parts: The names of the label's parts (multi-label and forecast); else empty.
        transform: The transform of the label that the kind learns; None if it learns the label itself.
        group_thresholds: Thresholds of a binary model by the groups of a feature; None without.
        calibrator: Maps the kind's probabilities to calibrated ones; None without.
        interval: Prediction intervals of a regression or a forecast; None without.
    """

    def __init__(
        self,
        kind: str,
        task: str,
        parameters: Parameters | None = None,
        *,
        seed: int = 0,
        class_weight: str | None = None,
        threshold: float = 0.5,
        transform: str | None = None,
    ) -> None:
        """Make an unfitted model.

        Args:
            kind: The kind's name.
            task: The task to learn.
            parameters: The kind's parameters that differ from its defaults.
            seed: Seed of every random draw.
            class_weight: ``"balanced"`` to weigh classes by their inverse frequency.
            threshold: Decision threshold; see the class.
            transform: Transform of a number label (``log1p``, ``log``); predictions are in the label's own unit.

        Raises:
            DeclarationError: There is no such kind, it cannot learn the task, or it takes no such parameter.
        """
        self.kind_name, self.task, self.threshold, self.transform = kind, task, threshold, transform
        self.kind: Kind = load_kind(kind)(task, parameters, seed=seed, class_weight=class_weight)
        self.encoder = Encoder(())
        self.classes: list[Any] = []
        self.parts: list[str] = []
        self.group_thresholds: GroupThresholds | None = None
        self.calibrator: Calibrator | None = None
        self.interval: ConformalInterval | None = None

    def fit(
        self,
        frame: pl.DataFrame,
        y: pl.Series | None = None,
        *,
        report: Report | None = None,
        order: pl.Series | None = None,
        weight: np.ndarray | None = None,
    ) -> Model:
        """Fit the encoder and the estimator.

        Args:
            frame: The features alone; the model keeps their order.
            y: The labels, one per row of ``frame``; None for a task without labels.
            report: Called after each round by kinds that learn in rounds.
            order: The time of each row. Kinds that stop early validate on the latest rows.
            weight: How much each row counts, ``(rows,)``; all the same if None.

        Returns:
            The model itself.

        Raises:
            UnusableLabel: The label is null or infinite, or has too few or too many classes.
            SchemaMismatch: A feature has a type that no model takes.
            TrainingError: The library refuses a parameter's value or the data.
        """
        return self.fit_encoded(replace(self.encode_rows(frame, y, order=order), weight=weight), report=report)

    def encode_rows(
        self, frame: pl.DataFrame, y: pl.Series | None = None, *, order: pl.Series | None = None
    ) -> EncodedRows:
        """Fit the encoder and the classes, and encode the rows to learn from; ``fit`` without the estimator.

        Args:
            frame: The features alone; the model keeps their order.
            y: The labels, one per row of ``frame``; None for a task without labels.
            order: The time of each row.

        Returns:
            What ``fit_encoded`` takes.

        Raises:
            UnusableLabel: The label is null or infinite, or has too few or too many classes.
            SchemaMismatch: A feature has a type that no model takes.
        """
        target = self.fit_encoder(frame, y)
        return EncodedRows(
            self.encoder.encode(frame), target, None if order is None else order.to_physical().to_numpy()
        )

    def fit_encoder(self, frame: pl.DataFrame, y: pl.Series | None) -> np.ndarray | None:
        """Fit the encoder and the classes alone.

        Args:
            frame: The features alone; the model keeps their order.
            y: The labels, one per row of ``frame``; None for a task without labels.

        Returns:
            What the kind learns, ``(rows,)`` or ``(rows, parts)``; None for a task without labels.

        Raises:
            UnusableLabel: The label is null or infinite, or has too few or too many classes.
            SchemaMismatch: A feature has a type that no model takes.
        """
        return self.set_encoder(Encoder.fit(frame, sequences=self.kind.sequences), y)

    def set_encoder(self, encoder: Encoder, y: pl.Series | None) -> np.ndarray | None:
        """Take an encoder that was fitted elsewhere, and fit the classes; see ``fit_encoder``."""
        self.encoder = encoder
        if y is None or self.task in UNSUPERVISED:
            return None
        return self._transformed(self._target(y))

    def encode_batch(self, frame: pl.DataFrame, y: pl.Series) -> tuple[np.ndarray, np.ndarray]:
        """Encode rows by the fitted encoder and classes.

        Args:
            frame: Rows with at least the model's features.
            y: Their labels, of classes that are known.

        Returns:
            The features, ``(rows, features)`` or ``(rows, steps, features)``, and what the kind learns, ``(rows,)`` or
            ``(rows, parts)``.
        """
        return self.encoder.encode(frame), self.known_target(y)

    def known_target(self, y: pl.Series) -> np.ndarray:
        """Return what the kind learns of labels of known classes, ``(rows,)`` or ``(rows, parts)``.

        Raises:
            SignatureError: A label is none of the classes.
        """
        if self.task in SEVERAL:
            target = parts_of(y)[1]
        elif self.task in CLASSIFICATION:
            target = codes_of(y, self.classes)
        else:
            target = y.cast(pl.Float64).to_numpy()
        return self._transformed(target)

    def _transformed(self, target: np.ndarray) -> np.ndarray:
        return target if self.transform is None else transform_label(self.transform, target)

    def fit_encoded(self, rows: EncodedRows, *, report: Report | None = None) -> Model:
        """Fit the estimator on rows that this model, or the one that it is a copy of, has encoded; see ``fit``.

        Raises:
            TrainingError: The library refuses a parameter's value or the data.
        """
        self.kind.fit(
            rows.X,
            rows.target,
            names=self.encoder.names,
            categorical=self.encoder.categorical,
            report=report,
            order=rows.order,
            weight=rows.weight,
        )
        if self.kind.threshold is not None:
            self.threshold = self.kind.threshold
        return self

    def with_parameters(self, parameters: Parameters) -> Model:
        """Return an unfitted copy with other parameters, which shares the fitted encoder and the classes.

        Args:
            parameters: The kind's parameters that differ from its defaults.

        Raises:
            DeclarationError: The kind takes no such parameter.
        """
        copied = copy.copy(self)
        kind = self.kind
        copied.kind = type(kind)(kind.task, parameters, seed=kind.seed, class_weight=kind.class_weight)
        return copied

    def refit(
        self,
        frame: pl.DataFrame,
        y: pl.Series | None,
        *,
        parameters: Parameters,
        order: pl.Series | None = None,
        weight: np.ndarray | None = None,
    ) -> Model:
        """Return a model fitted on other rows that keeps encoder, classes, thresholds, calibration and intervals.

        Args:
            frame: Rows with at least the model's features.
            y: The labels, of the model's classes; None for a task without labels.
            parameters: The kind's parameters that differ from its defaults.
            order: The time of each row.
            weight: How much each row counts, ``(rows,)``; all the same if None.

        Raises:
            SignatureError: A feature is missing or has another type, or a label is none of the classes.
            TrainingError: The library refuses the data.
        """
        target = None
        if y is not None and self.task not in UNSUPERVISED:
            target = codes_of(y, self.classes) if self.classes else self._target(y)
        if target is not None and self.transform is not None:
            target = transform_label(self.transform, target)
        times = None if order is None else order.to_physical().to_numpy()
        rows = EncodedRows(self.encoder.encode(frame), target, times, weight)
        return self.with_parameters(parameters).fit_encoded(rows)

    def _target(self, y: pl.Series) -> np.ndarray:
        if self.task in SEVERAL:
            return self._several(y)
        if y.null_count() or (y.dtype.is_float() and not y.is_finite().all()):
            raise UnusableLabel(
                f"label {y.name!r} has values that are null or not finite", remedy="leave these rows out"
            )
        if self.task == "regression":
            if not (y.dtype.is_numeric() or y.dtype == pl.Boolean):
                raise UnusableLabel(f"label {y.name!r} is {y.dtype}, but a regression needs numbers")
            return y.cast(pl.Float64).to_numpy()
        self.classes = classes_of(y)
        most = 2 if self.task == "binary" else MAX_CLASSES
        if not 2 <= len(self.classes) <= most:
            raise UnusableLabel(
                f"label {y.name!r} has {len(self.classes)} distinct values, but a {self.task} model needs "
                f"{'2' if most == 2 else f'2 to {most}'}",
                remedy="look at the label's expression and at the rows it is computed from",
            )
        return codes_of(y, self.classes)

    def _several(self, y: pl.Series) -> np.ndarray:
        self.parts, values = parts_of(y)
        if not np.isfinite(values).all():
            raise UnusableLabel(
                f"label {y.name!r} has values that are null or not finite", remedy="leave these rows out"
            )
        if self.task == "forecast":
            return values
        for name, column in zip(self.parts, values.T, strict=True):
            found = np.unique(column)
            if set(found.tolist()) != {0.0, 1.0}:
                shown = ", ".join(f"{v:g}" for v in found[:3])
                raise UnusableLabel(
                    f"{name!r} of the label {y.name!r} must have rows of 0 and rows of 1; it has {shown}",
                    remedy="look at its expression; write it as a condition",
                )
        return values

    @property
    def feature_names(self) -> list[str]:
        """The features in the order that ``predict_row`` takes."""
        return self.encoder.names

    @property
    def feature_types(self) -> dict[str, str]:
        """Feature -> declared type, such as ``float64``; ``float64[24]`` is a sequence of 24 values."""
        return {c.name: c.type_name for c in self.encoder.columns}

    @property
    def parameters(self) -> dict[str, Any]:
        """The kind's parameters, defaults included."""
        return self.kind.parameters

    def predict(self, frame: pl.DataFrame) -> np.ndarray:
        """Predict every row.

        Args:
            frame: Rows with at least the model's features. Other columns are ignored.

        Returns:
            ``(rows,)`` values, probabilities of ``classes[1]``, anomaly scores or cluster numbers; ``(rows, classes)``
            probabilities of a multiclass model; ``(rows, parts)`` of a multi-label model or a forecast.

        Raises:
            SignatureError: A feature is missing or has another type.
        """
        X = self.encoder.encode(frame)
        if not len(X):
            several = self.parts or (self.classes if self.task == "multiclass" else [])
            return np.empty((0, len(several)) if several else 0)
        return self.predict_encoded(X)

    def predict_encoded(self, X: np.ndarray) -> np.ndarray:
        """Predict encoded rows, ``(rows, features)``, in the label's own unit and calibrated; see ``predict``."""
        raw = self.kind.predict(X)
        if self.calibrator is not None:
            return self.calibrator.apply(raw)
        return raw if self.transform is None else restore_label(self.transform, raw)

    def contributions(
        self, X: np.ndarray, outputs: list[int] | None = None, *, prediction: np.ndarray | None = None
    ) -> Contributions:
        """Explain encoded rows: contributions that add up to the prediction, in the prediction's own unit.

        A margin's contributions are taken through the link to the prediction, and through the label's transform or the
        calibration. Those of a clustering add up to how much nearer a row is to its center than to the next.

        Args:
            X: Encoded rows, ``(rows, features)`` or ``(rows, steps, features)``.
            outputs: The outputs to explain, such as classes or steps; None for all.
            prediction: What ``predict`` returned for these rows, if it is known already.

        Returns:
            The contributions, closed to the last bit: what rounding leaves is part of the base.

        Raises:
            ExplanationFailed: The contributions do not add up to the prediction.
            MissingExtra: A library is not installed.
        """
        found = self.kind.contributions(X, None if self.calibrator else outputs)
        whole = found.link.joint or self.calibrator is not None
        found = found.through_link()
        if self.transform is not None:
            found = found.through(Link(f"the inverse of {self.transform}", partial(restore_label, self.transform)))
        if self.calibrator is not None:
            # An isotonic calibration has steep steps: what rounding leaves must not lie on the other side of one.
            found = found.closed(self.kind.predict(X).reshape(len(X), -1))
            found = found.through(Link("the calibration", self.calibrator.map_each, near=0.0))
            found = found.through(NORMALIZATION) if self.calibrator.sums_to_one else found
        if self.task == "clustering":
            expected = self.kind.explained_output(X)
        else:
            expected = (self.predict_encoded(X) if prediction is None else prediction).reshape(len(X), -1)
        expected = expected if outputs is None else expected[:, outputs]
        return (found.of_outputs(outputs) if whole else found).closed(expected)

    def predict_row(self, values: Sequence[Any]) -> np.ndarray:
        """Predict one row; equal to ``predict`` on a frame of this row, to the bit, without making a frame.

        Args:
            values: Plain Python values in the order of ``feature_names``; None where missing.

        Returns:
            The prediction, with one row.
        """
        return self.predict_encoded(self.encoder.encode_row(values))

    def space(self, frame: pl.DataFrame) -> np.ndarray | None:
        """The space in which a clustering measures its distances, ``(rows, dimensions)``; None for other tasks."""
        return self.kind.space(self.encoder.encode(frame)) if self.task == "clustering" else None

    def thresholds(self, frame: pl.DataFrame) -> float | np.ndarray:
        """The threshold, or that of each row, ``(rows,)``, if groups have thresholds of their own."""
        grouped = self.group_thresholds
        if grouped is None:
            return self.threshold
        (column,) = (c for c in self.encoder.columns if c.name == grouped.column)
        return grouped.of_codes(Encoder((column,)).encode(frame)[:, 0], self.threshold)

    def row_threshold(self, values: Sequence[Any]) -> float:
        """The threshold of one row, given as ``predict_row`` takes it."""
        grouped = self.group_thresholds
        if grouped is None:
            return self.threshold
        place = self.feature_names.index(grouped.column)
        return float(grouped.of_codes(self.encoder.encode_row(values)[:, place], self.threshold)[0])

    def outputs(self, prediction: np.ndarray, threshold: float | np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Name the columns of a batch or of an answer.

        Args:
            prediction: What ``predict`` returned.
            threshold: What ``thresholds`` or ``row_threshold`` returned; the model's own threshold by default.

        Returns:
            Column -> values, ``(rows,)``. Every task has ``prediction``; besides:

            - binary: ``probability`` of ``classes[1]``
            - multiclass: ``probability`` of the predicted class, ``probability_CLASS`` for each class
            - anomaly: ``score``; ``prediction`` says whether the row is anomalous
            - multilabel: ``probability_NAME`` for each label; ``prediction`` joins the names of those at or above the
              threshold with commas
            - forecast: ``prediction_step_1`` and so on if there are several steps; ``prediction`` is the first
            - regression and forecast with intervals: ``_low`` and ``_high`` of each of these columns
        """
        if self.task in ("regression", "forecast"):
            # A user's estimator, which is named by this method too, has no intervals.
            parts = self.parts if self.task == "forecast" else []
            return _number_columns(prediction, parts, getattr(self, "interval", None))
        if self.task == "anomaly":
            return {"prediction": prediction >= self.threshold, "score": prediction}
        if self.task == "clustering":
            return {"prediction": prediction.astype(np.int64)}
        if self.task == "multilabel":
            chances = {f"probability_{name}": prediction[:, i] for i, name in enumerate(self.parts)}
            return {"prediction": self._chosen(prediction)} | chances
        classes = np.array(self.classes)
        if self.task == "binary":
            least = self.threshold if threshold is None else threshold
            return {"prediction": classes[(prediction >= least).astype(int)], "probability": prediction}
        best = prediction.argmax(axis=1)
        out = {"prediction": classes[best], "probability": prediction[np.arange(len(best)), best]}
        return out | {f"probability_{c}": prediction[:, i] for i, c in enumerate(self.classes)}

    def _chosen(self, prediction: np.ndarray) -> np.ndarray:
        lines = (prediction >= self.threshold).tolist()
        return np.array([", ".join(n for n, yes in zip(self.parts, line, strict=True) if yes) for line in lines])

    def importance(self) -> dict[str, float] | None:
        """Feature -> share of the importance; None if the kind has none of its own."""
        shares = self.kind.importance()
        return None if shares is None else dict(zip(self.feature_names, shares.tolist(), strict=True))

    def save(self, folder: Path) -> None:
        """Write the model into ``folder``. ``model.json`` comes last: a folder without it is incomplete."""
        self.kind.save(folder)
        described = {
            "format": 1,
            "kind": self.kind_name,
            "task": self.task,
            "threshold": self.threshold,
            "classes": self.classes,
            "parts": self.parts,
            "transform": self.transform,
            "calibrator": self.calibrator and self.calibrator.to_json(),
            "interval": self.interval and self.interval.to_json(),
            "group_thresholds": self.group_thresholds and self.group_thresholds.to_json(),
            "columns": self.encoder.to_json(),
        }
        (folder / "model.json").write_text(json.dumps(described, indent=1))

    @classmethod
    def load(cls, folder: Path) -> Model:
        """Read a model that ``save`` wrote. Runs no foreign code.

        Raises:
            UntrustedModel: A file is not what ``save`` writes, or names types that the kind does not use.
        """
        described = read_json(folder / "model.json")
        name = described.get("kind")
        if name not in names():
            raise UntrustedModel(f"model.json names an unknown kind, {name!r}", where=str(folder))
        try:
            model = cls.__new__(cls)
            model.kind_name, model.task = name, described["task"]
            model.threshold, model.classes = described["threshold"], described["classes"]
            model.parts, model.transform = described["parts"], described.get("transform")
            model.encoder = Encoder.from_json(described["columns"])
            grouped = described.get("group_thresholds")
            calibrated, interval = described.get("calibrator"), described.get("interval")
            model.calibrator = Calibrator.from_json(calibrated) if calibrated else None
            model.interval = ConformalInterval.from_json(interval) if interval else None
            model.group_thresholds = GroupThresholds.from_json(grouped) if grouped else None
        except (KeyError, TypeError) as error:
            raise UntrustedModel(f"model.json is incomplete: {error!r}", where=str(folder)) from error
        model.kind = load_kind(name).load(folder)
        return model


def _number_columns(
    prediction: np.ndarray, parts: Sequence[str], interval: ConformalInterval | None
) -> dict[str, np.ndarray]:
    """The columns of a regression or a forecast, with the ends of their intervals."""
    named = [("", prediction)]
    if interval is not None:
        named += zip(("_low", "_high"), interval.ends(prediction), strict=True)
    if not parts:
        return {f"prediction{end}": values for end, values in named}
    first = {f"prediction{end}": values[:, 0] for end, values in named}
    if len(parts) < 2:
        return first
    steps = [(f"prediction_{name}", i) for i, name in enumerate(parts)]
    return first | {f"{step}{end}": values[:, i] for step, i in steps for end, values in named}


def parts_of(y: pl.Series) -> tuple[list[str], np.ndarray]:
    """Split a label of several parts.

    Args:
        y: The label, a struct of numbers.

    Returns:
        The parts' names, and their values, ``(rows, parts)`` float64, NaN where missing.

    Raises:
        UnusableLabel: The label is no struct of numbers.
    """
    fields = y.dtype.to_schema() if isinstance(y.dtype, pl.Struct) else {}
    if not fields or not all(t.is_numeric() or t in (pl.Boolean, pl.Null) for t in fields.values()):
        raise UnusableLabel(
            f"label {y.name!r} is {y.dtype}, but a label of several parts is a struct of numbers",
            remedy="label.expressions of a multi-label model are conditions, label.expression of a forecast a number",
        )
    columns = [y.struct.field(name).cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in fields]
    return list(fields), np.column_stack(columns)


def classes_of(y: pl.Series) -> list[Any]:
    """The distinct values of a label in ascending order, as plain values; whole floats become integers."""
    if y.dtype.is_float() and (y == y.round(0)).all():
        y = y.cast(pl.Int64)
    if y.dtype in (pl.Categorical, pl.Enum):
        y = y.cast(pl.String)
    if not (y.dtype.is_numeric() or y.dtype in (pl.Boolean, pl.String)):
        raise UnusableLabel(f"label {y.name!r} is {y.dtype}; classes are texts, numbers or booleans")
    return y.unique().sort().to_list()


def codes_of(y: pl.Series, classes: list[Any]) -> np.ndarray:
    """The position of each label in ``classes``, ``(rows,)``.

    Raises:
        SignatureError: A label is none of ``classes``.
    """
    codes = {value: code for code, value in enumerate(classes)}
    values = y.cast(pl.String) if y.dtype in (pl.Categorical, pl.Enum) else y
    different = values.unique()
    try:
        known = [codes[value] for value in different.to_list()]
    except KeyError as error:
        raise SignatureError(f"the label {error.args[0]!r} is none of the model's classes {classes}") from error
    found: np.ndarray = values.replace_strict(different, known, return_dtype=pl.Int64).to_numpy()
    return found
