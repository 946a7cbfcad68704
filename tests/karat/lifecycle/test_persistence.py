"""A kind that reads sequences and loses to persistence never becomes champion, first or later."""

from __future__ import annotations

import pytest

from karat.declare import ModelSpec, Project
from karat.lake import Lake
from karat.lifecycle import make_candidate, promote
from karat.lifecycle.model_context import ModelContext
from karat.registry import Registry

NETWORK = {"hidden_size": 4, "num_layers": 1, "dropout": 0.0, "epochs": 1, "batch_size": 64}


@pytest.fixture
def spec(shop_features: Project) -> ModelSpec:
    """Next week's spending from the last three rows: a network that has learned nothing but the mean, which four
    fifths of the last week beat."""
    return ModelSpec.model_validate(
        shop_features.models["next_week"].model_dump()
        | {"kind": "gru", "parameters": {**NETWORK, "skip": False, "learning_rate": 1e-6}, "gates": {"margin": 0.0}}
        | {"baseline": {"strategy": "feature", "feature": "spent_7d", "scale": 0.8}}
        | {"lookups": [{"table": "spend_features", "features": ["spent_7d", "orders_7d"], "sequence_length": 3}]}
    )


def test_it_never_becomes_champion(shop_features: Project, lake: Lake, registry: Registry, spec: ModelSpec) -> None:
    first = make_candidate(ModelContext(shop_features, spec, lake, registry)).version
    assert {"persistence_rmse", "persistence_gain", "linear_rmse", "linear_gain"} <= set(first.judged)
    assert not {m for m in first.metrics if m.startswith(("persistence", "linear"))}
    assert first.metrics["rmse"] > first.judged["persistence_rmse"]
    decision = promote(ModelContext(shop_features, spec, lake, registry))
    assert not decision.promoted
    assert "does not beat persistence, which has" in decision.reason
    assert "**Gain** over persistence (the newest spent_7d)" in registry.card(first)
    # With its linear start it learns at once what the last week says.
    better = spec.model_copy(update={"parameters": {**NETWORK, "epochs": 2}})
    made = make_candidate(ModelContext(shop_features, better, lake, registry)).version
    assert made.metrics["rmse"] < made.judged["persistence_rmse"]
    assert promote(ModelContext(shop_features, better, lake, registry)).promoted
    # And a later one that loses to persistence is refused for that, too.
    again = spec.model_copy(update={"seed": 1})
    late = make_candidate(ModelContext(shop_features, again, lake, registry)).version
    decision = promote(ModelContext(shop_features, again, lake, registry), late)
    assert not decision.promoted
    assert "does not beat persistence" in decision.reason
