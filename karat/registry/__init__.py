"""The MLflow adapter: versions, aliases, tags, the model folder and its loader. No other room talks to MLflow."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from karat.registry.metadata import ModelMetadata
    from karat.registry.open import open_registry, open_server
    from karat.registry.records import LoadedModel, ModelStatus, ModelVersion, Servable
    from karat.registry.store import Registry
    from karat.registry.tags import DecisionStatus, DecisionTag, VersionTags

# MLflow reads it when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

__all__ = [
    "DecisionStatus",
    "DecisionTag",
    "LoadedModel",
    "ModelMetadata",
    "ModelStatus",
    "ModelVersion",
    "Registry",
    "Servable",
    "VersionTags",
    "open_registry",
    "open_server",
]

_HOME = {
    **dict.fromkeys(("DecisionStatus", "DecisionTag", "VersionTags"), "tags"),
    **dict.fromkeys(("LoadedModel", "ModelStatus", "ModelVersion", "Servable"), "records"),
    **dict.fromkeys(("open_registry", "open_server"), "open"),
    "ModelMetadata": "metadata",
    "Registry": "store",
}


def __getattr__(name: str) -> Any:  # PEP 562: what serves a model needs its records, and no MLflow
    if name in _HOME:
        return getattr(import_module(f"karat.registry.{_HOME[name]}"), name)
    raise AttributeError(f"module 'karat.registry' has no attribute {name!r}")
