"""The registry on MLflow: log, compare, gate, promote, archive, load. The only room that talks to MLflow."""

from __future__ import annotations

import os

# MLflow reads it when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from karat.registry.candidate import definition_of, make_candidate
from karat.registry.erasure import Erased, erase
from karat.registry.given import register_fitted
from karat.registry.impact import Break, breaks, refuse
from karat.registry.open import open_registry
from karat.registry.origin import origins, void_reason
from karat.registry.promotion import gates_of, promote, valid_champion
from karat.registry.rebuild import rebuild
from karat.registry.records import Candidate, Decision, LoadedModel, ModelVersion, Servable, Standing
from karat.registry.retention import Retained, pins_of, retain
from karat.registry.store import Registry
from karat.registry.user_models import log_user_model

__all__ = [
    "Break",
    "Candidate",
    "Decision",
    "Erased",
    "LoadedModel",
    "ModelVersion",
    "Registry",
    "Retained",
    "Servable",
    "Standing",
    "breaks",
    "definition_of",
    "erase",
    "gates_of",
    "log_user_model",
    "make_candidate",
    "open_registry",
    "origins",
    "pins_of",
    "promote",
    "rebuild",
    "refuse",
    "register_fitted",
    "retain",
    "valid_champion",
    "void_reason",
]
