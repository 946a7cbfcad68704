"""The thing that is trained, saved, loaded and served: an encoder, a kind, classes and a threshold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from karat.errors import SignatureError, UntrustedModel, UnusableLabel
from karat.kinds._encoder import Encoder
from karat.kinds._find import load_kind, names
from karat.kinds._kind import Kind, Report, read_json

CLASSIFICATION = ("binary", "multiclass")
UNSUPERVISED = ("anomaly", "clustering")
#: The tasks whose labels have several parts, a struct of numbers.
SEVERAL = ("multilabel", "forecast")
#: More classes than this are numbers taken for classes.
MAX_CLASSES = 200


class Model:
    """Rows of features in, predictions out.

    ``threshold`` decides between the classes of a binary model (probability >= threshold is ``classes[1]``) and between
    normal and anomalous rows (score >= threshold); a kind that learns its own replaces it. ``classes`` are the label's
    values in ascending order: in a binary model the second is the positive class.
    """

    def __init__(
        self,
        kind: str,
        task: str,
        parameters: dict[str, Any] | None = None,
        *,
        seed: int = 0,
        class_weight: str | None = None,
        threshold: float = 0.5,
    ) -> None:
        """Raises DeclarationError for an unknown kind, a task it does not do, or an unknown parameter."""
        self.kind_name, self.task, self.threshold = kind, task, threshold
        self.kind: Kind = load_kind(kind)(task, parameters, seed=seed, class_weight=class_weight)
        self.encoder = Encoder(())
        self.classes: list[Any] = []
        self.parts: list[str] = []

    def fit(
        self,
        frame: pl.DataFrame,
        y: pl.Series | None = None,
        *,
        report: Report | None = None,
        order: pl.Series | None = None,
    ) -> Model:
        """Learns from ``frame`` (features only, in the order that stays) and its labels; ``order`` is the time of each
        row, for kinds that stop by the latest of them.

        Raises UnusableLabel for a label that is null, infinite, or of too few or too many classes.
        """
        self.encoder = Encoder.fit(frame, sequences=self.kind.sequences)
        target = None if y is None or self.task in UNSUPERVISED else self._target(y)
        self.kind.fit(
            self.encoder.encode(frame),
            target,
            names=self.encoder.names,
            categorical=self.encoder.categorical,
            report=report,
            order=None if order is None else order.to_physical().to_numpy(),
        )
        if self.kind.threshold is not None:
            self.threshold = self.kind.threshold
        return self

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
                f"label {y.name!r} has {len(self.classes)} different values, but a {self.task} model needs "
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
        return self.encoder.names

    @property
    def feature_types(self) -> dict[str, str]:
        """Feature -> string, int64, float64, bool, date or timestamp; float64[24] is a sequence of so many."""
        return {c.name: c.type_name for c in self.encoder.columns}

    @property
    def parameters(self) -> dict[str, Any]:
        """The kind's parameters, defaults included."""
        return self.kind.parameters

    def predict(self, frame: pl.DataFrame) -> np.ndarray:
        """(n,) values, probabilities of ``classes[1]``, anomaly scores or clusters' numbers; (n, k) class probabilities
        of a multiclass model; (n, parts) of one with several. Other columns of ``frame`` are ignored.
        Raises SignatureError."""
        X = self.encoder.encode(frame)
        if not len(X):
            several = self.parts or (self.classes if self.task == "multiclass" else [])
            return np.empty((0, len(several)) if several else 0)
        return self.kind.predict(X)

    def predict_row(self, values: Sequence[Any]) -> np.ndarray:
        """What ``predict`` gives for a frame of this one row, to the bit, without making a frame.

        ``values``: plain Python values in the order of ``feature_names``; None where missing.
        """
        return self.kind.predict(self.encoder.encode_row(values))

    def space(self, frame: pl.DataFrame) -> np.ndarray | None:
        """(n, d): where a clustering measures its distances, for the silhouette; None for other tasks."""
        return self.kind.space(self.encoder.encode(frame))

    def outputs(self, prediction: np.ndarray) -> dict[str, np.ndarray]:
        """The named columns of a batch or of an answer, from what ``predict`` gave.

        regression: ``prediction``. binary: ``prediction`` (a class) and ``probability`` (of ``classes[1]``).
        multiclass: ``prediction``, ``probability`` (of that class), and ``probability_CLASS`` for each class.
        anomaly: ``prediction`` (whether it is anomalous) and ``score``. clustering: ``prediction`` (a number).
        multilabel: ``prediction`` (the names of the labels at or above the threshold, with commas), and
        ``probability_NAME`` for each. forecast: ``prediction`` (the first step), and ``prediction_step_1`` and so on
        where there are several.
        """
        if self.task == "regression":
            return {"prediction": prediction}
        if self.task == "anomaly":
            return {"prediction": prediction >= self.threshold, "score": prediction}
        if self.task == "clustering":
            return {"prediction": prediction.astype(np.int64)}
        if self.task == "forecast":
            steps = {f"prediction_{name}": prediction[:, i] for i, name in enumerate(self.parts)}
            return {"prediction": prediction[:, 0]} | (steps if len(steps) > 1 else {})
        if self.task == "multilabel":
            chances = {f"probability_{name}": prediction[:, i] for i, name in enumerate(self.parts)}
            return {"prediction": self._chosen(prediction)} | chances
        classes = np.array(self.classes)
        if self.task == "binary":
            return {"prediction": classes[(prediction >= self.threshold).astype(int)], "probability": prediction}
        best = prediction.argmax(axis=1)
        out = {"prediction": classes[best], "probability": prediction[np.arange(len(best)), best]}
        return out | {f"probability_{c}": prediction[:, i] for i, c in enumerate(self.classes)}

    def _chosen(self, prediction: np.ndarray) -> np.ndarray:
        lines = (prediction >= self.threshold).tolist()
        return np.array([", ".join(n for n, yes in zip(self.parts, line, strict=True) if yes) for line in lines])

    def importance(self) -> dict[str, float] | None:
        """Feature -> share, where the kind has an importance of its own."""
        shares = self.kind.importance()
        return None if shares is None else dict(zip(self.feature_names, shares.tolist(), strict=True))

    def save(self, folder: Path) -> None:
        """Writes the model into ``folder``; ``model.json`` comes last, so a folder without it is not whole."""
        self.kind.save(folder)
        described = {
            "format": 1,
            "kind": self.kind_name,
            "task": self.task,
            "threshold": self.threshold,
            "classes": self.classes,
            "parts": self.parts,
            "columns": self.encoder.to_json(),
        }
        (folder / "model.json").write_text(json.dumps(described, indent=1))

    @classmethod
    def load(cls, folder: Path) -> Model:
        """Runs no foreign code. Raises UntrustedModel where a file names types that the kind does not use."""
        described = read_json(folder / "model.json")
        name = described.get("kind")
        if name not in names():
            raise UntrustedModel(f"model.json names the kind {name!r}, which is none of Karat's", where=str(folder))
        try:
            model = cls.__new__(cls)
            model.kind_name, model.task = name, described["task"]
            model.threshold, model.classes = described["threshold"], described["classes"]
            model.parts = described.get("parts", [])  # models of before had none
            model.encoder = Encoder.from_json(described["columns"])
        except (KeyError, TypeError) as error:
            raise UntrustedModel(f"model.json is not whole: {error!r}", where=str(folder)) from error
        model.kind = load_kind(name).load(folder)
        return model


def parts_of(y: pl.Series) -> tuple[list[str], np.ndarray]:
    """A label of several parts (a struct) -> their names, and their values as (n, parts) float64, NaN where missing.
    Raises UnusableLabel."""
    fields = y.dtype.to_schema() if isinstance(y.dtype, pl.Struct) else {}
    if not fields or not all(t.is_numeric() or t in (pl.Boolean, pl.Null) for t in fields.values()):
        raise UnusableLabel(
            f"label {y.name!r} is {y.dtype}, but a label of several parts is a struct of numbers",
            remedy="label.expressions of a multi-label model are conditions, label.expression of a forecast a number",
        )
    columns = [y.struct.field(name).cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in fields]
    return list(fields), np.column_stack(columns)


def classes_of(y: pl.Series) -> list[Any]:
    """The values of a label in ascending order, as plain values; whole floats become integers."""
    if y.dtype.is_float() and (y == y.round(0)).all():
        y = y.cast(pl.Int64)
    if y.dtype in (pl.Categorical, pl.Enum):
        y = y.cast(pl.String)
    if not (y.dtype.is_numeric() or y.dtype in (pl.Boolean, pl.String)):
        raise UnusableLabel(f"label {y.name!r} is {y.dtype}; classes are texts, numbers or switches")
    return y.unique().sort().to_list()


def codes_of(y: pl.Series, classes: list[Any]) -> np.ndarray:
    """Labels -> positions in ``classes``. Raises SignatureError for a value that is not one of them."""
    codes = {value: code for code, value in enumerate(classes)}
    try:
        return np.array([codes[value] for value in y.to_list()], dtype=np.int64)
    except KeyError as error:
        raise SignatureError(f"the label {error.args[0]!r} is none of the model's classes {classes}") from error
