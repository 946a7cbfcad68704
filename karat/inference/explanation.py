"""Explanation of a prediction: each feature's contribution in the prediction's own unit, in numbers and words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TypedDict

import numpy as np

from karat.errors import ExplanationFailed, MissingExtra
from karat.kinds import Contributions, Model
from karat.online import Value
from karat.registry import LoadedModel

#: How many contributions an answer lists; the others are told as one sum.
TOP = 5
Label = str | int | float | bool
#: Names of a positive class that say nothing of their own: the label's name says more.
_PLAIN_POSITIVES = ("true", "1", "yes", "y")


class Contribution(TypedDict):
    """One feature's contribution to a prediction."""

    feature_name: str
    contribution: float
    value: Value
    text: str


class Explanation(TypedDict):
    """The contributions of a prediction and their unit, or the reason for none."""

    top_features: list[Contribution] | None
    explanation: dict[str, Label | None]


def unexplained(reason: str) -> Explanation:
    """Give the fields of an answer without contributions, with the reason."""
    return {"top_features": None, "explanation": {"reason": reason}}


def explained(loaded: LoadedModel, values: Sequence[Value], prediction: np.ndarray) -> Explanation:
    """Give ``top_features``, largest contribution first, and ``explanation``.

    The base value, the listed contributions and ``other_features`` add up to ``total``: the prediction in ``unit``. Of
    several classes or labels the likeliest is explained, of a forecast its first step.

    Args:
        loaded: The model that predicted.
        values: Its inputs, one per feature.
        prediction: Its raw prediction, one row.

    Returns:
        The fields of the answer.
    """
    model = loaded.model
    if not isinstance(model, Model):
        return unexplained("the model is an estimator of your own, of which Karat knows the predictions alone")
    output = int(prediction[0].argmax()) if model.task in ("multiclass", "multilabel") else 0
    try:
        found = model.contributions(model.encoder.encode_row(values), [output], prediction=prediction)
    except (ExplanationFailed, MissingExtra) as error:
        return unexplained(f"{error.what}; {error.remedy}")
    line = found.values[0, 0]
    order = np.argsort(-np.abs(line), kind="stable")[:TOP]
    words = _Words.of(loaded, found, output, prediction)
    listed: list[Contribution] = [
        {
            "feature_name": model.feature_names[i],
            "contribution": float(line[i]),
            "value": _plain(values[i]),
            "text": words.of_feature(model.feature_names[i], values[i], float(line[i])),
        }
        for i in order.tolist()
    ]
    base, total = float(found.base[0, 0]), float(found.total[0, 0])
    told: dict[str, Label | None] = {
        "unit": found.unit,
        "of_class": _of_class(model, output, prediction),
        "base_value": base,
        "other_features": float(line.sum() - line[order].sum()),
        "total": total,
        "method": found.method,
        "text": words.of_total(base, total),
    }
    return {"top_features": listed, "explanation": told}


class _Words:
    """The sentences of one explanation.

    Attributes:
        subject: What the contributions change, such as "the risk".
        verbs: What a positive and what a negative contribution does.
    """

    def __init__(self, subject: str, verbs: tuple[str, str], *, whole: str) -> None:
        self.subject, self.verbs, self._whole = subject, verbs, whole

    @classmethod
    def of(cls, loaded: LoadedModel, found: Contributions, output: int, prediction: np.ndarray) -> _Words:
        """The words of a model's task."""
        model, label = loaded.model, loaded.metadata.label
        assert isinstance(model, Model)
        if model.task == "clustering":
            cluster = int(prediction[0])
            verbs = (f"moves the row towards cluster {cluster}, by", f"moves the row away from cluster {cluster}, by")
            whole = f"The row is nearer to the center of cluster {cluster} than to the next by {{total}} ({found.unit})"
            return cls("", verbs, whole=f"{whole}; a row at the mean would be so by {{base}}.")
        subject = _subject(loaded, model, label, output)
        start = subject[0].upper() + subject[1:]
        whole = f"{start} is {{total}}; without knowing the row it would be {{base}}."
        return cls(subject, (f"raises {subject} by", f"lowers {subject} by"), whole=whole)

    def of_feature(self, name: str, value: Value, contribution: float) -> str:
        """One feature in words: ``cholesterol 280 raises the risk by 0.18``."""
        shown = f"{name} {_shown(value)}"
        if contribution == 0:
            return f"{shown} changes nothing"
        return f"{shown} {self.verbs[contribution < 0]} {_amount(abs(contribution))}"

    def of_total(self, base: float, total: float) -> str:
        """The prediction and its base in words."""
        return self._whole.format(total=_amount(total), base=_amount(base))


def _subject(loaded: LoadedModel, model: Model, label: str | None, output: int) -> str:
    if model.task == "anomaly":
        return "the anomaly score"
    if model.task == "binary" and loaded.risk_levels:
        return "the risk"
    if model.task == "binary":
        positive = str(model.classes[1])
        plain = label is not None and positive.lower() in _PLAIN_POSITIVES
        return f"the probability of {label if plain else positive}"
    if model.task == "multiclass":
        return f"the probability of {model.classes[output]}"
    if model.task == "multilabel":
        return f"the probability of {model.parts[output]}"
    several = f" ({model.parts[output]})" if len(model.parts) > 1 else ""
    return f"{label or 'the value'}{several}"


def _of_class(model: Model, output: int, prediction: np.ndarray) -> Label | None:
    """The class, label, step or cluster that the contributions explain."""
    if model.task == "clustering":
        return int(prediction[0])
    if model.parts:
        return model.parts[output]
    if not model.classes:
        return None
    label: Label = model.classes[1] if model.task == "binary" else model.classes[output]
    return label


def _shown(value: Value) -> str:
    if value is None:
        return "(missing)"
    if isinstance(value, list):
        return f"({len(value)} steps, the last {_shown(value[-1]) if value else '(missing)'})"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return str(value.isoformat() if isinstance(value, date) else value)


def _amount(value: float) -> str:
    """A number with two or three digits that matter, and no exponent where it can be helped."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if size >= 1 else f"{value:.2g}"


def _plain(value: Value) -> Value:
    return value.isoformat() if isinstance(value, date) else value
