"""Verbs of other feature stores and registries, thin over the client and the rooms below it.

Each loads on first use (PEP 562), so that ``import karat.compat`` is cheap. docs/compat.md maps every verb to Karat's.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "aliases": ("MlflowClient",),
    "config": ("ModelConfig", "load_model_config"),
    "drift": ("DriftDetector", "DriftReport"),
    "engineer": ("FeatureEngineer", "FeatureSet"),
    "exports": ("export",),
    "pipeline": ("FeaturePipeline",),
    "quality": ("DataQualityChecker", "QualityReport"),
    "registry": ("ModelRegistry",),
    "store": (
        *("Bool", "Float32", "Float64", "Int32", "Int64", "String", "UnixTimestamp"),
        *("Feature", "FeatureStore", "HistoricalFeatures", "OnlineFeatures"),
    ),
    "verbs": (
        *("backfill_features", "compute_feature", "compute_feature_set", "validate_features"),
        *("create_prediction_features", "create_training_dataset"),
        *("get_historical_features", "get_online_features"),
        *("compare_models", "get_model_metadata", "load_model", "promote_model", "register_model"),
    ),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}
__all__ = sorted(_MODULE)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name in _MODULE:
        return getattr(import_module(f"karat.compat.{_MODULE[name]}"), name)
    raise AttributeError(f"module 'karat.compat' has no attribute {name!r}")
