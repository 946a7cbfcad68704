"""A model's life: candidate, champion against challenger, promotion, provenance, retention, erasure."""

from __future__ import annotations

from karat.lifecycle.candidate import make_candidate
from karat.lifecycle.erasure import ErasureResult, erase
from karat.lifecycle.external_models import log_external_model, register_fitted
from karat.lifecycle.impact import BrokenFeature, breaking_changes, refuse_breaking_changes
from karat.lifecycle.model_context import ModelContext
from karat.lifecycle.promotion import promote, valid_champion
from karat.lifecycle.provenance import origins, void_reason
from karat.lifecycle.records import Candidate, Decision
from karat.lifecycle.retention import RetentionResult, pins_of, retain
from karat.lifecycle.version_training_set import rebuild

__all__ = [
    "BrokenFeature",
    "Candidate",
    "Decision",
    "ErasureResult",
    "ModelContext",
    "RetentionResult",
    "breaking_changes",
    "erase",
    "log_external_model",
    "make_candidate",
    "origins",
    "pins_of",
    "promote",
    "rebuild",
    "refuse_breaking_changes",
    "register_fitted",
    "retain",
    "valid_champion",
    "void_reason",
]
