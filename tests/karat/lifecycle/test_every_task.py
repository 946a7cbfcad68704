"""The first and a later version of the tasks that no other test promotes: several labels, clusters, anomalies."""

from __future__ import annotations

import pytest

from karat.declare import ModelSpec, Project
from karat.lake import Lake
from karat.lifecycle import make_candidate, promote
from karat.lifecycle.model_context import ModelContext
from karat.registry import Registry

OLD = {"source": "members", "expression": "(age > 48)::int"}
CHANGES = {
    "multilabel": {
        "kind": "random_forest",
        "parameters": {"n_estimators": 10, "min_samples_leaf": 20},
        "label": {"name": "said", "source": "members", "expressions": {"left": "(\"left\" = 'Yes')::int",
                                                                       "bern": "(city = 'Bern')::int"}, "default": 0},
        "lookups": [{"table": "people_features", "features": ["age"]}],
    },
    "clustering": {"kind": "kmeans", "parameters": {"n_clusters": 2, "n_init": 1},
                   "label": OLD | {"name": "grown"}, "lookups": [{"table": "people_features", "features": ["age"]}]},
    "anomaly": {"kind": "isolation_forest", "parameters": {"n_estimators": 20},
                "label": {"name": "odd", "source": "members", "expression": "null::int"}},
}  # fmt: skip


@pytest.mark.parametrize("task", list(CHANGES))
def test_it_is_judged_promoted_and_held_against(
    task: str, shop_features: Project, lake: Lake, registry: Registry
) -> None:
    fields = shop_features.models["leaver"].model_dump() | {"task": task, "gates": {"margin": 0.0, "perfect": "warn"}}
    spec = ModelSpec.model_validate(fields | {"metric": None} | CHANGES[task])
    made = make_candidate(ModelContext(shop_features, spec, lake, registry)).version
    metric = made.tags["karat.metric"]
    assert {f"{metric}_gain", f"{metric}_gain_low", f"{metric}_gain_high"} <= set(made.judged)
    first = promote(ModelContext(shop_features, spec, lake, registry))
    assert first.promoted is (made.judged[f"{metric}_gain_low"] > 0)
    assert f"| {metric} | {made.metrics[metric]:.4g} | {made.judged[f'{metric}_low']:.4g} to" in registry.card(made)
    if not first.promoted:
        assert "is not clear of 0" in first.reason
        return
    other = spec.model_copy(update={"seed": 1})
    later = make_candidate(ModelContext(shop_features, other, lake, registry)).version
    decision = promote(ModelContext(shop_features, other, lake, registry), later)
    assert f"against champion 1's {decision.champion_metrics[metric]:.4g} on the same" in decision.reason
    better = decision.candidate_metrics[metric] > decision.champion_metrics[metric]
    assert decision.promoted is better


def test_a_champion_that_has_no_metric_on_the_candidates_rows_stands_in_nobodys_way(
    shop_features: Project, lake: Lake, registry: Registry
) -> None:
    """The champion knows a class that these rows lack, so that it has no roc_auc there; or puts them all into one
    cluster, so that it has no silhouette."""
    people = {"lookups": [{"table": "people_features", "features": ["age"]}], "gates": {"perfect": "warn"}}
    of_age = "CASE WHEN age > 60 THEN 'old' WHEN age > 40 THEN 'middle' ELSE 'young' END"
    aged = {"task": "multiclass", "kind": "random_forest", "metric": "roc_auc", "parameters": {"n_estimators": 10}}
    grouped = {"task": "clustering", "kind": "kmeans", "metric": "silhouette"}
    for first, later in (
        (
            aged | {"label": {"source": "members", "name": "aged", "expression": of_age}},
            aged | {"label": {"source": "members", "name": "aged", "expression": of_age.replace("'old'", "'middle'")}},
        ),
        (
            grouped | {"name": "groups", "label": None, "parameters": {"n_clusters": 2}},
            grouped
            | {"name": "groups", "parameters": {"n_clusters": 4}}
            | {"label": {"source": "members", "name": "aged", "expression": "1", "where": "age > 60"}},
        ),
    ):
        base = shop_features.models["leaver"].model_dump() | people
        old, new = (ModelSpec.model_validate(base | change) for change in (first, later))
        make_candidate(ModelContext(shop_features, old, lake, registry))
        assert promote(ModelContext(shop_features, old, lake, registry)).promoted
        make_candidate(ModelContext(shop_features, new, lake, registry))
        decision = promote(ModelContext(shop_features, new, lake, registry))
        assert decision.promoted, decision.reason
        metric = new.metric
        assert f"champion 1 can no longer be scored (it has no {metric} on the same " in decision.reason
        assert metric in decision.candidate_metrics
        assert metric not in decision.champion_metrics
