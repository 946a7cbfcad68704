"""The six cost models on two sample worlds: better than naive, worse than perfect."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest

from karat.declare.models import HIGHER_IS_BETTER
from tests.projects.conftest import END, Bench
from tests.projects.test_declarations import COST_MODELS

WORLDS = [(0, END), (2, date(2026, 12, 24))]
SUPERVISED = sorted(set(COST_MODELS) - {"cost_anomaly_detector"})


@pytest.mark.parametrize(("seed", "end"), WORLDS)
@pytest.mark.parametrize("model", SUPERVISED)
def test_it_beats_its_baseline_and_is_not_perfect(
    model: str, seed: int, end: date, sampled: Callable[..., Bench]
) -> None:
    bench = sampled("health_monitor", seed, end, ("cost_features",))
    spec = bench.project.models[model]
    trained = bench.train(model)
    metric = spec.primary_metric
    gain = trained.metrics[metric] / trained.baseline[metric] - 1
    assert gain > 0.005 if HIGHER_IS_BETTER[metric] else gain < -0.02
    assert trained.baseline_name.startswith(str(spec.baseline.feature))
    assert all(trained.metrics[name] >= floor for name, floor in spec.gates.floors.items())
    assert trained.metrics.get("r2", 0) < 0.95
    assert trained.metrics.get("roc_auc", 0) < 0.99
    assert trained.rows["train"] > 1000
    assert trained.rows["test"] > 400


@pytest.mark.parametrize(("seed", "end"), WORLDS)
def test_incidents_are_found_without_labels(seed: int, end: date, sampled: Callable[..., Bench]) -> None:
    bench = sampled("health_monitor", seed, end, ("cost_features",))
    trained = bench.train("cost_anomaly_detector")
    prevalence = trained.baseline["average_precision"]
    assert not trained.planted
    assert prevalence == pytest.approx(trained.test_labels.mean())
    assert 3 * prevalence < trained.metrics["average_precision"] < 0.95
    assert (
        trained.metrics["average_precision"]
        > bench.project.models["cost_anomaly_detector"].gates.floors["average_precision"]
    )
