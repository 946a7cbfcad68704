"""The verbs of the documents that Karat replaces, thin over the client and the rooms below it.

Each is found on first use (PEP 562), so that ``import karat.compat`` is cheap. docs/compat.md maps every old verb to
Karat's own.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "engineer": ("FeatureEngineer", "FeatureSet"),
    "exports": ("export",),
    "pipeline": ("FeaturePipeline",),
    "verbs": (
        "backfill_features",
        "compute_feature",
        "compute_feature_set",
        "create_prediction_features",
        "create_training_dataset",
        "validate_features",
    ),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}
__all__ = sorted(_MODULE)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name in _MODULE:
        return getattr(import_module(f"karat.compat.{_MODULE[name]}"), name)
    raise AttributeError(f"module 'karat.compat' has no attribute {name!r}")
