"""Champion against challenger on the same rows: the challenger's test rows, each model with its own lookups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from karat.declare.models import HIGHER_IS_BETTER, ModelSpec
from karat.errors import KaratError
from karat.kinds import Model
from karat.lake import Lake
from karat.lifecycle.model_context import ModelContext
from karat.names import TableName
from karat.registry.records import LoadedModel, ModelVersion
from karat.registry.store import Registry
from karat.training.evaluation import evaluate, primary_metric
from karat.training.preconditions import label_mask
from karat.training.split import SPLIT, TEST
from karat.training.synthetic_anomalies import has_both_classes, plant_anomalies
from karat.training_sets.feature_join import join_features
from karat.training_sets.functions import FunctionLibrary
from karat.training_sets.spine import ROW_NUMBER


@dataclass(frozen=True)
class TestRows:
    """The test rows of a candidate.

    Attributes:
        rows: Keys and label.
        label: Column of the label; None without.
        versions: Table -> Delta version that the candidate pins.
    """

    rows: pl.DataFrame
    label: str | None
    versions: Mapping[TableName, int]


def candidate_test_rows(registry: Registry, version: ModelVersion, model: LoadedModel) -> TestRows:
    """Return the test rows from the candidate's own stored spine, so that any process can compare it later."""
    spine = registry.spine(version).sort(ROW_NUMBER)
    label = model.metadata.label
    rows = spine.filter(pl.col(SPLIT) == TEST).drop(ROW_NUMBER, SPLIT)
    if label is not None:
        known = label_mask(rows[label])  # a training set that was given may hold NaN
        rows = rows.filter(known) if known.any() else rows
    return TestRows(rows, label, {p.table: p.version for p in model.lookups})


@dataclass(frozen=True)
class TestPredictions:
    """A model's predictions for test rows, ``(rows,)`` or ``(rows, outputs)``, and the features that it read."""

    features: pl.DataFrame
    prediction: np.ndarray


def candidate_features(lake: Lake, model: LoadedModel, test: TestRows, library: FunctionLibrary) -> pl.DataFrame:
    """Return the features that a model reads for these rows; tables that the candidate pins are read at its versions.

    Raises:
        KaratError: a table or feature of the model is gone, or the code of a function changed.
    """
    lookups = [replace(p, version=test.versions.get(p.table) or lake.version(p.table)) for p in model.lookups]
    given = [c for c in model.features if c in test.rows.columns]
    functions = [library.bind(f) for f in model.functions]
    filled = join_features(lake, test.rows, lookups, pinned=True, given=given, functions=functions)
    return pl.concat([test.rows, filled.values], how="horizontal").select(model.features)


def test_predictions(lake: Lake, model: LoadedModel, test: TestRows, library: FunctionLibrary) -> TestPredictions:
    """Return a model's predictions for these rows; arguments and errors are those of ``candidate_features``."""
    frame = candidate_features(lake, model, test, library)
    return TestPredictions(frame, model.model.predict(frame))


def score(
    lake: Lake, model: LoadedModel, test: TestRows, spec: ModelSpec, library: FunctionLibrary
) -> dict[str, float]:
    """Return the metrics of a model on these rows; tables that the candidate pins are read at its versions.

    Raises:
        KaratError: a table or feature of the model is gone, or the code of a function changed.
    """
    frame = candidate_features(lake, model, test, library)
    labels = None if test.label is None else test.rows[test.label]
    if spec.task == "anomaly" and (labels is None or not has_both_classes(labels)):
        frame, labels = plant_anomalies(frame, seed=spec.seed)
    return evaluate(
        spec.task,
        labels,
        model.model.predict(frame),
        threshold=model.model.thresholds(frame),
        classes=model.model.classes or None,
        space=model.model.space(frame) if isinstance(model.model, Model) else None,
    )


def relative_gain(metric: str, value: float, than: float) -> float:
    """Return the gain of ``value`` as a share of ``than``; negative if it is worse in the metric's direction."""
    better = value - than if HIGHER_IS_BETTER[metric] else than - value
    if than == 0:
        return float("inf") if better > 0 else (0.0 if better == 0 else float("-inf"))
    return better / abs(than)


@dataclass(frozen=True)
class Comparison:
    """A candidate against the champion on the candidate's test rows.

    Attributes:
        summary: The comparison in words, with figures.
        passes: Whether the candidate wins by the declared margin, or the champion can no longer be scored.
        candidate_metrics: Metrics of the candidate.
        champion_metrics: Metrics of the champion; None if it can no longer be scored.
    """

    summary: str
    passes: bool
    candidate_metrics: dict[str, float]
    champion_metrics: dict[str, float] | None


def compare(context: ModelContext, candidate: ModelVersion, champion: ModelVersion) -> Comparison:
    """Score a candidate and the champion on the candidate's test rows, and compare their primary metric.

    Rows may allow a metric for one model alone: roc_auc needs every class that the model knows among them, a
    silhouette two clusters of the model's own.

    Args:
        context: The declared model with its lake and registry.
        candidate: The candidate.
        champion: The champion.
    """
    spec, lake, registry = context.spec, context.lake, context.registry
    loaded = registry.load(candidate, judged=True)
    rows = candidate_test_rows(registry, candidate, loaded)
    own = score(lake, loaded, rows, spec, context.functions)
    try:
        others = score(lake, registry.load(champion, judged=True), rows, spec, context.functions)
    except KaratError as error:
        return Comparison(f"champion {champion.version} can no longer be scored ({error.what})", True, own, None)
    metric, count = primary_metric(spec, candidate.metrics), rows.rows.height
    if metric not in own:
        return Comparison(f"its test rows as they stand now allow no {metric}", False, own, others)
    if metric not in others:
        gone = f"champion {champion.version} can no longer be scored (it has no {metric} on the same {count} rows)"
        return Comparison(gone, True, own, others)
    better = relative_gain(metric, own[metric], others[metric])
    summary = (
        f"{metric} {own[metric]:.4g} against champion {champion.version}'s {others[metric]:.4g} on the same "
        f"{count} rows: {better:+.2%}, margin {spec.gates.margin:.2%}"
    )
    return Comparison(summary, better >= spec.gates.margin and better > 0, own, others)
