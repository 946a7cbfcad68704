"""Levels of risk, as the answering version was declared with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from karat.inference.risk import risk_of
from karat.names import ModelName
from karat.registry import LoadedModel
from karat.registry.metadata import ModelMetadata

LEVELS = {"low": 0.0, "medium": 0.3, "high": 0.7}


def loaded(declaration: dict[str, Any] | None) -> LoadedModel:
    metadata = ModelMetadata(
        task="binary",
        features=(),
        feature_types={},
        lookups=(),
        label=None,
        classes=[],
        threshold=0.5,
        pins={"spine": {"digest": "", "rows": 0, "schema": {}}, "lookups": [], "sources": {}},
        digest="",
        declaration=declaration,
    )
    return LoadedModel(ModelName("shop_dev", "churn"), 1, "run", model=None, metadata=metadata)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prediction", "level"),
    [(0.0, "low"), (0.29, "low"), (0.3, "medium"), (0.71, "high"), (1.0, "high"), (float("nan"), None)],
)
def test_a_prediction_has_the_level_that_it_reaches(prediction: float, level: str | None):
    assert risk_of(loaded({"risk_levels": LEVELS}), np.array([prediction, 0.5])) == [level, "medium"]


def test_of_several_labels_the_likeliest_counts():
    assert risk_of(loaded({"risk_levels": LEVELS}), np.array([[0.1, 0.8], [0.1, 0.2]])) == ["high", "low"]


@pytest.mark.parametrize("declaration", [None, {}, {"risk_levels": {}}])
def test_a_model_without_levels_has_none(declaration: dict[str, Any] | None):
    assert risk_of(loaded(declaration), np.array([0.1, 0.9])) == [None, None]
