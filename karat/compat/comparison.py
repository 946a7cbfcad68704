"""Comparison of two versions of a model, metric by metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from karat.client import FeatureEngineeringClient
from karat.declare import ModelSpec, Project
from karat.declare.models import HIGHER_IS_BETTER
from karat.errors import KaratError, WrongCall, did_you_mean
from karat.lifecycle.version_comparison import candidate_test_rows, score
from karat.registry import ModelVersion
from karat.training_sets.functions import FunctionLibrary


def compare_versions(
    client: FeatureEngineeringClient,
    declaration: tuple[Project, ModelSpec] | None,
    one: ModelVersion,
    two: ModelVersion,
    metrics: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Compare two versions; see ``ModelRegistry.compare_models``."""
    first, second, rows = one.metrics, two.metrics, None
    if declaration is not None:
        try:
            first, second, rows = _score_same_rows(client, declaration, one, two)
        except (KaratError, KeyError):  # rows that are gone, or that were never set apart
            rows = None
    both = set(first) & set(second)
    wanted = list(metrics) if metrics is not None else sorted(both)
    for name in wanted:
        if name not in both:
            raise WrongCall(
                f"there is no metric {name!r} of both versions",
                where=f"{one.uri}, {two.uri}",
                remedy=did_you_mean(name, both),
            )
    return {
        "model_name": str(one.name),
        "version1": one.version,
        "version2": two.version,
        "rows": rows,
        "metrics": {
            name: _metric_difference(name, first[name], second[name], (one.version, two.version)) for name in wanted
        },
    }


def _score_same_rows(
    client: FeatureEngineeringClient, declaration: tuple[Project, ModelSpec], one: ModelVersion, two: ModelVersion
) -> tuple[dict[str, float], dict[str, float], int]:
    """Score both versions on the test rows of the second."""
    (project, spec), loaded = declaration, client.registry.load(two, judged=True)
    rows, library = candidate_test_rows(client.registry, two, loaded), FunctionLibrary(given=project.functions.values())
    models = (client.registry.load(one, judged=True), loaded)
    first, second = (score(client.lake, m, rows, spec, library) for m in models)
    return first, second, rows.rows.height


def _metric_difference(name: str, first: float, second: float, versions: tuple[int, int]) -> dict[str, Any]:
    second_wins = (second > first) == HIGHER_IS_BETTER.get(name, True)
    better = None if first == second else versions[second_wins]
    return {"version1": first, "version2": second, "difference": second - first, "better": better}
