"""Karat: from gold tables to champion models in production."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from karat.client import FeatureEngineeringClient
    from karat.training_sets.functions import FeatureFunction
    from karat.training_sets.lookups import FeatureLookup

__all__ = ["FeatureEngineeringClient", "FeatureFunction", "FeatureLookup"]

_HOME = {
    "FeatureEngineeringClient": "karat.client",
    "FeatureFunction": "karat.training_sets.functions",
    "FeatureLookup": "karat.training_sets.lookups",
}


def __getattr__(name: str) -> Any:  # PEP 562: `import karat` stays cheap; the client's libraries load on first use
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'karat' has no attribute {name!r}")
