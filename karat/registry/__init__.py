"""The MLflow adapter: versions, aliases, tags, the model folder and its loader. No other room talks to MLflow."""

from __future__ import annotations

import os

# MLflow reads it when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from karat.registry.open import open_registry
from karat.registry.records import LoadedModel, ModelStatus, ModelVersion, Servable
from karat.registry.store import Registry

__all__ = ["LoadedModel", "ModelStatus", "ModelVersion", "Registry", "Servable", "open_registry"]
