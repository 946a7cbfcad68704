"""A model's life: candidate, champion against challenger, promotion, provenance, retention, erasure."""

from __future__ import annotations

from karat.lifecycle.candidate import definition_of, make_candidate
from karat.lifecycle.erasure import ErasureResult, erase
from karat.lifecycle.external_models import register_fitted
from karat.lifecycle.impact import BrokenFeature, breaks, refuse
from karat.lifecycle.promotion import gates_of, promote, valid_champion
from karat.lifecycle.provenance import origins, void_reason
from karat.lifecycle.records import Candidate, Decision
from karat.lifecycle.reproduce import rebuild
from karat.lifecycle.retention import RetentionResult, pins_of, retain
from karat.lifecycle.user_models import log_user_model

__all__ = [
    "BrokenFeature",
    "Candidate",
    "Decision",
    "ErasureResult",
    "RetentionResult",
    "breaks",
    "definition_of",
    "erase",
    "gates_of",
    "log_user_model",
    "make_candidate",
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
