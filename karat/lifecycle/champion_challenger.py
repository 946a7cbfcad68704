"""Two models on the same rows: the test rows of the candidate, each with its own lookups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import polars as pl

from karat.declare.models import HIGHER_IS_BETTER, ModelSpec
from karat.kinds import Model
from karat.lake import Lake
from karat.lifecycle.candidate import SPLIT
from karat.names import TableName
from karat.registry.records import LoadedModel, ModelVersion
from karat.registry.store import Registry
from karat.training.evaluation import evaluate
from karat.training.preconditions import label_mask
from karat.training.split import TEST
from karat.training.synthetic_anomalies import has_both_classes, plant_anomalies
from karat.training_sets.feature_join import join_features
from karat.training_sets.functions import FunctionLibrary
from karat.training_sets.spine import ROW_NUMBER


@dataclass(frozen=True)
class TestRows:
    """The rows that a candidate was tested on, and the Delta versions that it read."""

    rows: pl.DataFrame
    label: str | None
    versions: Mapping[TableName, int]


def judged_rows(registry: Registry, version: ModelVersion, model: LoadedModel) -> TestRows:
    """From the candidate's own stored spine, so that any process can judge it later."""
    spine = registry.spine(version).sort(ROW_NUMBER)
    label = model.metadata["label"]
    rows = spine.filter(pl.col(SPLIT) == TEST).drop(ROW_NUMBER, SPLIT)
    if label is not None:
        known = label_mask(rows[label])  # a training set that was given may hold NaN
        rows = rows.filter(known) if known.any() else rows
    return TestRows(rows, label, {p.table: p.version for p in model.lookups})


def score(
    lake: Lake, model: LoadedModel, test: TestRows, spec: ModelSpec, library: FunctionLibrary
) -> dict[str, float]:
    """The metrics of ``model`` on these rows; tables that the candidate pins are read at its versions.

    Raises what lookups raise where a table or feature of the model is gone, and FunctionChanged.
    """
    lookups = [replace(p, version=test.versions.get(p.table) or lake.version(p.table)) for p in model.lookups]
    given = [c for c in model.features if c in test.rows.columns]
    functions = [library.bind(f) for f in model.functions]
    filled = join_features(lake, test.rows, lookups, pinned=True, given=given, functions=functions)
    frame = pl.concat([test.rows, filled.values], how="horizontal").select(model.features)
    labels = None if test.label is None else test.rows[test.label]
    if spec.task == "anomaly" and (labels is None or not has_both_classes(labels)):
        frame, labels = plant_anomalies(frame, seed=spec.seed)
    return evaluate(
        spec.task,
        labels,
        model.model.predict(frame),
        threshold=model.model.threshold,
        classes=model.model.classes or None,
        space=model.model.space(frame) if isinstance(model.model, Model) else None,
    )


def gain(metric: str, value: float, than: float) -> float:
    """By which share of ``than`` the value is better, in the metric's better direction; negative where it is worse."""
    better = value - than if HIGHER_IS_BETTER[metric] else than - value
    if than == 0:
        return float("inf") if better > 0 else (0.0 if better == 0 else float("-inf"))
    return better / abs(than)


def missed_floors(spec: ModelSpec, metrics: Mapping[str, float]) -> list[str]:
    """The floors (of metrics where less is better: ceilings) that these metrics do not reach, in words."""
    missed = []
    for metric, limit in spec.gates.floors.items():
        value, higher = metrics.get(metric), HIGHER_IS_BETTER[metric]
        if value is None:
            missed.append(f"{metric} could not be computed, and has a limit of {limit:g}")
        elif (value < limit) if higher else (value > limit):
            missed.append(f"{metric} {value:.4g} is {'under its floor' if higher else 'over its ceiling'} of {limit:g}")
    return missed
