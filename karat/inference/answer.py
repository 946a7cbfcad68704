"""What a prediction says: value, class, confidence, and what each feature added to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from karat.kinds import Model
from karat.registry import Servable

#: How many contributions an answer lists; the others are told as one sum.
TOP = 5
_TOO_DEAR = "contributions of this kind of model are not exact or take far longer than the prediction itself"


def outcome(model: Servable, prediction: np.ndarray) -> dict[str, Any]:
    """``predicted_value``, ``predicted_class`` and ``confidence`` of one row.

    The value is the regression's number, the probability of the positive class, the probability of the class foretold
    (with ``probabilities`` of each), the anomaly score, or the cluster's number. A model with several outputs has an
    object with its parts for a value: the steps of a forecast, the probability of each label, whose ``predicted_class``
    lists the labels at or above the threshold.
    """
    if model.task in ("multilabel", "forecast"):
        return _of_parts(model, prediction)
    columns = {name: values[0].item() for name, values in model.outputs(prediction).items()}
    if model.task == "regression":
        return {"predicted_value": columns["prediction"], "predicted_class": None, "confidence": None}
    if model.task == "clustering":
        cluster = columns["prediction"]
        return {"predicted_value": float(cluster), "predicted_class": str(cluster), "confidence": None}
    if model.task == "anomaly":
        label = "anomaly" if columns["prediction"] else "normal"
        return {"predicted_value": columns["score"], "predicted_class": label, "confidence": None}
    chance = columns["probability"]
    out = {"predicted_value": chance, "predicted_class": columns["prediction"], "confidence": chance}
    if model.task == "binary":
        positive = columns["prediction"] == model.classes[1]
        return out | {"confidence": chance if positive else 1.0 - chance}
    return out | {"probabilities": {str(c): columns[f"probability_{c}"] for c in model.classes}}


def _of_parts(model: Servable, prediction: np.ndarray) -> dict[str, Any]:
    parts = model.parts if isinstance(model, Model) else []
    value = dict(zip(parts, prediction[0].tolist(), strict=True))
    chosen = [name for name, chance in value.items() if chance >= model.threshold]
    return {
        "predicted_value": value,
        "predicted_class": chosen if model.task == "multilabel" else None,
        "confidence": None,
    }


def unexplained(reason: str) -> dict[str, Any]:
    """What stands in place of contributions."""
    return {"top_features": None, "explanation": {"reason": reason}}


def explained(model: Servable, values: Sequence[Any], prediction: np.ndarray) -> dict[str, Any]:
    """``top_features``, the greatest contributions first, and ``explanation``: their unit, the base they start from,
    and the sum of the features that are not listed. All of them add up to ``total``, the prediction in that unit."""
    found = None
    if isinstance(model, Model):
        found = model.kind.contributions(model.encoder.encode_row(values))
    if found is None:
        return unexplained(_TOO_DEAR)
    shares, unit = found
    output = 0 if len(shares) == 1 else int(prediction[0].argmax())
    line = shares[output]
    order = np.argsort(-np.abs(line[:-1]), kind="stable")[:TOP]
    listed = [
        {
            "feature_name": model.feature_names[i],
            "contribution": float(line[i]),
            "value": values[i].isoformat() if hasattr(values[i], "isoformat") else values[i],
        }
        for i in order.tolist()
    ]
    told = {
        "unit": unit,
        "of_class": _of_class(model, output, len(shares)),
        "base_value": float(line[-1]),
        "other_features": float(line[:-1].sum() - line[order].sum()),
        "total": float(line.sum()),
    }
    return {"top_features": listed, "explanation": told}


def _of_class(model: Servable, output: int, outputs: int) -> Any:
    """The class or label that a contribution is to."""
    if isinstance(model, Model) and model.parts:
        return model.parts[output]
    if not model.classes:
        return None
    return model.classes[1] if outputs == 1 else model.classes[output]
