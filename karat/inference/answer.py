"""Outcome of a prediction request: value, class and confidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NotRequired, TypedDict

import numpy as np

from karat.inference.explanation import Label
from karat.kinds import Model
from karat.registry import Servable


class PredictionInterval(TypedDict):
    """The ends between which the value lies with a probability; of a forecast by step."""

    low: float | dict[str, float]
    high: float | dict[str, float]
    coverage: float


class Outcome(TypedDict):
    """What a model predicts for one row."""

    predicted_value: float | dict[str, float] | None
    predicted_class: Label | list[str] | None
    confidence: float | None
    probabilities: NotRequired[dict[str, float]]
    interval: NotRequired[PredictionInterval]


def outcome(model: Servable, prediction: np.ndarray, threshold: float | None = None) -> Outcome:
    """Give ``predicted_value``, ``predicted_class`` and ``confidence`` of one row.

    The value is the number of a regression, the probability of the positive class, the probability of the predicted
    class (with ``probabilities`` of every class), an anomaly score, or the number of a cluster. A model with several
    outputs has an object for a value: the steps of a forecast, or the probability of each label. ``predicted_class``
    of a multi-label model lists the labels at or above the threshold.

    Args:
        model: The model that predicted.
        prediction: Its raw prediction, one row: ``(1,)`` or ``(1, outputs)``.
        threshold: The row's threshold; the model's own by default.

    Returns:
        The fields of the answer.
    """
    if model.task in ("multilabel", "forecast"):
        return _with_interval(model, prediction, _of_parts(model, prediction))
    columns = {name: values[0].item() for name, values in model.outputs(prediction, threshold).items()}
    if model.task == "regression":
        told: Outcome = {"predicted_value": columns["prediction"], "predicted_class": None, "confidence": None}
        return _with_interval(model, prediction, told)
    if model.task == "clustering":
        cluster = columns["prediction"]
        return {"predicted_value": float(cluster), "predicted_class": str(cluster), "confidence": None}
    if model.task == "anomaly":
        label = "anomaly" if columns["prediction"] else "normal"
        return {"predicted_value": columns["score"], "predicted_class": label, "confidence": None}
    chance = columns["probability"]
    out: Outcome = {"predicted_value": chance, "predicted_class": columns["prediction"], "confidence": chance}
    if model.task == "binary":
        positive = columns["prediction"] == model.classes[1]
        return {**out, "confidence": chance if positive else 1.0 - chance}
    return {**out, "probabilities": {str(c): columns[f"probability_{c}"] for c in model.classes}}


def _of_parts(model: Servable, prediction: np.ndarray) -> Outcome:
    parts = model.parts if isinstance(model, Model) else []
    value = dict(zip(parts, prediction[0].tolist(), strict=True))
    chosen = [name for name, chance in value.items() if chance >= model.threshold]
    return {
        "predicted_value": value,
        "predicted_class": chosen if model.task == "multilabel" else None,
        "confidence": None,
    }


def _with_interval(model: Servable, prediction: np.ndarray, told: Outcome) -> Outcome:
    """Add the interval of a number, if the model has intervals."""
    interval = model.interval if isinstance(model, Model) else None
    if interval is None:
        return told
    parts = model.parts if isinstance(model, Model) else []
    low, high = (_ends(end, parts) for end in interval.ends(prediction))
    return {**told, "interval": {"low": low, "high": high, "coverage": interval.coverage}}


def _ends(end: np.ndarray, parts: Sequence[str]) -> float | dict[str, float]:
    return dict(zip(parts, end[0].tolist(), strict=True)) if parts else float(end[0])
