"""Signatures with inputs and outputs; numbers are float64, so that a whole number never refuses a fraction later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import Array

from karat.errors import SignatureError, did_you_mean

__all__ = ["ModelSignature", "check_given", "sign"]

_INPUT = {"string": DataType.string, "date": DataType.datetime, "timestamp": DataType.datetime}


def sign(feature_types: Mapping[str, str], outputs: Mapping[str, np.ndarray]) -> ModelSignature:
    """Return a signature: inputs from the features' types, outputs from a prediction.

    Args:
        feature_types: Input -> declared type.
        outputs: Output column -> values for the input example.
    """
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(_input(dtype), name, required=False) for name, dtype in feature_types.items()
    ]
    named: list[ColSpec | TensorSpec] = [ColSpec(_output(values), name) for name, values in outputs.items()]
    return ModelSignature(Schema(inputs), Schema(named))


def _input(dtype: str) -> DataType | Array:
    """MLflow's type of an input; a sequence, such as float64[24], is a list of numbers."""
    return Array(DataType.double) if dtype.endswith("]") else _INPUT.get(dtype, DataType.double)


def _output(values: np.ndarray) -> DataType:
    if values.dtype == np.bool_:
        return DataType.boolean
    if np.issubdtype(values.dtype, np.integer):
        return DataType.long
    return DataType.double if np.issubdtype(values.dtype, np.number) else DataType.string


def check_given(signature: ModelSignature, features: Sequence[str]) -> None:
    """Check a user's own signature.

    Raises:
        SignatureError: a side is missing, or the inputs are not the training set's features.
    """
    if not isinstance(signature, ModelSignature):
        raise SignatureError(
            f"the signature is a {type(signature).__name__}",
            remedy="give mlflow.models.infer_signature(X, model.predict(X)), or leave it out",
        )
    missing = [side for side in ("inputs", "outputs") if getattr(signature, side) is None]
    if missing:
        raise SignatureError(
            f"the signature has no {' and no '.join(missing)}",
            where="log_model(signature=...)",
            remedy="make it of both sides: mlflow.models.infer_signature(X, model.predict(X)), or leave it out",
        )
    named = signature.inputs.input_names() if signature.inputs.has_input_names() else list(features)
    unknown = [name for name in named if name not in features]
    absent = [name for name in features if name not in named]
    if unknown or absent:
        nearest = did_you_mean(unknown[0], features) if unknown else ""
        raise SignatureError(
            "the signature's inputs are not the training set's features"
            + (f"; not a feature: {', '.join(unknown)}" if unknown else "")
            + (f"; missing: {', '.join(absent)}" if absent else ""),
            where="log_model(signature=...)",
            remedy=nearest or "infer it from the frame that load_df() gave, without the label",
        )
