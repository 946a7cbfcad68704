"""Inference: batch scoring and the online predictor, through the same lookups and the same model."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from karat.inference.batch import inputs_of, predict, score_batch
    from karat.inference.predictions import ScoringResult, score_model

__all__ = ["ScoringResult", "inputs_of", "predict", "score_batch", "score_model"]

_HOME = {
    **dict.fromkeys(("inputs_of", "predict", "score_batch"), "batch"),
    **dict.fromkeys(("ScoringResult", "score_model"), "predictions"),
}


def __getattr__(name: str) -> Any:  # PEP 562: the online predictor needs neither the registry nor the lifecycle
    if name in _HOME:
        return getattr(import_module(f"karat.inference.{_HOME[name]}"), name)
    raise AttributeError(f"module 'karat.inference' has no attribute {name!r}")
