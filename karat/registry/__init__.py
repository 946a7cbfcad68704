"""The MLflow adapter: versions, aliases, tags, the model folder and its loader. No other room talks to MLflow."""

from __future__ import annotations

import os

# MLflow reads it when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from karat.registry.metadata import ModelMetadata
from karat.registry.open import open_registry, open_server
from karat.registry.records import LoadedModel, ModelStatus, ModelVersion, Servable
from karat.registry.store import Registry
from karat.registry.tags import DecisionStatus, DecisionTag, VersionTags

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
