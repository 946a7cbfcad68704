"""The registry on MLflow: log, compare, gate, promote, archive, load. The only room that talks to MLflow."""

from __future__ import annotations

import os

# MLflow reads it when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from karat.registry.candidate import definition_of, make_candidate
from karat.registry.origin import origins, void_reason
from karat.registry.promotion import promote, valid_champion
from karat.registry.records import Candidate, Decision, LoadedModel, ModelVersion, Servable
from karat.registry.store import Registry

__all__ = [
    "Candidate",
    "Decision",
    "LoadedModel",
    "ModelVersion",
    "Registry",
    "Servable",
    "definition_of",
    "make_candidate",
    "origins",
    "promote",
    "valid_champion",
    "void_reason",
]
