"""SQL views over the lake and the registry: features, models, experiments, predictions and monitoring."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl

from karat.catalogue.features import CatalogueRow, Importance, catalogue_rows, champion_importance
from karat.catalogue.tables import freshness, statistics_by_day
from karat.declare import Project
from karat.errors import PlatformError, StoreError
from karat.lake import Lake
from karat.monitoring import drift_name
from karat.names import ModelName, TableName, prediction_log_name

if TYPE_CHECKING:  # MLflow takes seconds to import
    from karat.registry import ModelVersion, Registry

_Schema = dict[str, type[pl.DataType] | pl.DataType]
_MOMENT = pl.Datetime("us", "UTC")
_NULL_NUMBER, _NULL_TEXT = pl.lit(None, dtype=pl.Float64), pl.lit(None, dtype=pl.String)
_FEATURES: _Schema = {
    "feature_name": pl.String,
    "table_name": pl.String,
    "project": pl.String,
    "description": pl.String,
    "data_type": pl.String,
    "source": pl.String,
    "computation_logic": pl.String,
    "window": pl.String,
    "owner": pl.String,
    "version": pl.String,
    "is_deprecated": pl.Boolean,
    "deprecation": pl.String,
    "null_rate": pl.Float64,
    "mean_value": pl.Float64,
    "std_dev": pl.Float64,
    "min_value": pl.Float64,
    "max_value": pl.Float64,
    "importance": pl.String,
    "table_version": pl.Int64,
    "last_updated": _MOMENT,
}
_VALUES: _Schema = {
    "table_name": pl.String,
    "entity_id": pl.String,
    "feature_name": pl.String,
    "value": pl.String,
    "event_time": _MOMENT,
}
_SCORES = ("accuracy", "precision", "recall", "f1", "roc_auc", "average_precision", "rmse", "mae", "r2")
_MODELS: _Schema = {
    "model_id": pl.String,
    "model_name": pl.String,
    "project": pl.String,
    "version": pl.Int64,
    "status": pl.String,
    "model_type": pl.String,
    "task": pl.String,
    **dict.fromkeys(_SCORES, pl.Float64),
    "metrics": pl.String,
    "baseline": pl.String,
    "owner": pl.String,
    "run_id": pl.String,
    "created_at": _MOMENT,
}
_EXPERIMENTS: _Schema = {
    "experiment_name": pl.String,
    "run_id": pl.String,
    "model_name": pl.String,
    "version": pl.Int64,
    "parameters": pl.String,
    "metrics": pl.String,
    "started_at": _MOMENT,
}
_PREDICTIONS: _Schema = {
    "model_id": pl.String,
    "model_name": pl.String,
    "version": pl.Int64,
    "run_id": pl.String,
    "channel": pl.String,
    "prediction_id": pl.String,
    "entity_id": pl.String,
    "predicted_value": pl.Float64,
    "predicted_class": pl.String,
    "confidence": pl.Float64,
    "latency_ms": pl.Float64,
    "predicted_at": _MOMENT,
    "prediction_count": pl.Int64,
}
_MONITORING: _Schema = {
    "model_id": pl.String,
    "model_name": pl.String,
    "version": pl.Int64,
    "period_start": _MOMENT,
    "prediction_count": pl.Int64,
    "avg_confidence": pl.Float64,
    "avg_latency_ms": pl.Float64,
    "drift_detected": pl.Boolean,
    "feature_drift": pl.String,
}


@dataclass(frozen=True)
class Views:
    """SQL views, each computed when a query names it.

    Attributes:
        lake: The lake.
        projects: The projects.
        registry: Opens the registry for views that need it; returns None if no model can be registered.
    """

    lake: Lake
    projects: Sequence[Project]
    registry: Callable[[], Registry | None]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the views."""
        return tuple(n for n in dir(type(self)) if n.startswith("ml_"))

    @cached_property
    def _registry(self) -> Registry | None:
        return self.registry()

    @cached_property
    def _catalogs(self) -> list[str]:
        return [p.catalog for p in self.projects]

    def ml_features(self) -> pl.LazyFrame:
        """Every declared feature with its statistics."""
        shares = self._importance()
        rows = [r for p in self.projects for t in p.tables.values() for r in catalogue_rows(p, t, self.lake, shares)]
        return pl.LazyFrame([_feature_row(r) for r in rows], schema=_FEATURES, orient="row")

    def ml_feature_statistics(self) -> pl.LazyFrame:
        """Statistics of every feature by day."""
        return statistics_by_day(self.lake, self._catalogs)

    def ml_feature_freshness(self) -> pl.LazyFrame:
        """Every declared feature table: whether it is up to date with gold, and what it was computed from."""
        return freshness(self.lake, self.projects)

    def ml_feature_values(self) -> pl.LazyFrame:
        """Every value of every feature table as text, with its entity and time."""
        tables = [
            t
            for p in self.projects
            for t in (p.table_name(n) for n in p.tables)
            if self.lake.exists(t)  # it may not be computed yet
        ]
        return pl.concat([pl.LazyFrame(schema=_VALUES), *(_feature_values(self.lake, t) for t in tables)])

    def ml_models(self) -> pl.LazyFrame:
        """Every registered version with its status."""
        return pl.LazyFrame([_model_row(v) for v in self._versions()], schema=_MODELS, orient="row")

    def ml_experiments(self) -> pl.LazyFrame:
        """The run of every registered version with its parameters and metrics."""
        rows = []
        for version in self._versions():
            name = version.name
            usual = "/".join(filter(None, (name.catalog, version.own_tags.domain, name.short)))
            experiment = version.tags.get("experiment_name", usual)
            parameters = self._registry.parameters(version) if self._registry else {}
            known = json.dumps(parameters), json.dumps(version.metrics)
            rows.append((experiment, version.run_id, name.short, version.version, *known, version.created))
        return pl.LazyFrame(rows, schema=_EXPERIMENTS, orient="row")

    def ml_predictions(self) -> pl.LazyFrame:
        """Every prediction: batch predictions from their tables, and online ones from the prediction log."""
        tables = [t for c in self._catalogs for t in self.lake.tables(c, "predictions")]
        # Leave out tables of several models: they repeat the rows of single models' tables.
        frames = [_batch_predictions(self.lake, t) for t in tables if "karat.model" in self.lake.info(t).properties]
        frames += [
            _online_predictions(self.lake, prediction_log_name(c))
            for c in self._catalogs
            if self.lake.exists(prediction_log_name(c))
        ]
        rows = pl.concat([pl.LazyFrame(schema=_PREDICTIONS).drop("prediction_count"), *frames])
        counted = pl.len().over("model_id", "version").cast(pl.Int64).alias("prediction_count")
        return rows.with_columns(counted)

    def ml_monitoring(self) -> pl.LazyFrame:
        """By model version and day: number of predictions, confidence and latency, and drift reported on that day."""
        day = pl.col("predicted_at").dt.truncate("1d").alias("period_start")
        rows = self.ml_predictions().group_by("model_id", "model_name", "version", day)
        measured = rows.agg(
            pl.len().cast(pl.Int64).alias("prediction_count"),
            pl.col("confidence").mean().alias("avg_confidence"),
            pl.col("latency_ms").mean().alias("avg_latency_ms"),
        )
        on = ["model_id", "version", "period_start"]
        joined = measured.join(self._drift(), on=on, how="full", coalesce=True)
        name = pl.coalesce("model_name", pl.col("model_id").str.split(".").list.last())
        return joined.with_columns(name.alias("model_name")).select(list(_MONITORING))

    def _drift(self) -> pl.LazyFrame:
        """Return drift by version and day: whether a column drifted, and each one's statistic as JSON."""
        names = ("model_id", "version", "period_start", "drift_detected", "feature_drift")
        schema = pl.Schema({n: _MONITORING[n] for n in names})
        tables = [drift_name(c) for c in self._catalogs]
        found = [_drift_by_day(self.lake.scan(t)) for t in tables if self.lake.exists(t)]
        return pl.concat([pl.LazyFrame(schema=schema), *(f.cast(schema) for f in found)])

    def _versions(self) -> list[ModelVersion]:
        registry = self._registry
        if registry is None:
            return []
        return [v for c in self._catalogs for m in registry.models(c) for v in registry.versions(m)]

    def _importance(self) -> Importance:
        """Return importance; empty without the registry, so that features show all the same."""
        try:
            return champion_importance(self._registry, self._catalogs) if self._registry else {}
        except (PlatformError, StoreError):
            return {}


def _drift_by_day(rows: pl.LazyFrame) -> pl.LazyFrame:
    far = pl.format('"{}": {}', "column_name", pl.col("statistic").round(4)).filter("drifted").str.join(", ")
    report = rows.sort("column_name").group_by(
        pl.col("model_name").alias("model_id"),
        pl.col("model_version").alias("version"),
        pl.col("day").cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias("period_start"),
    )
    found = report.agg(pl.col("drifted").any().alias("drift_detected"), far.alias("feature_drift"))
    return found.with_columns(pl.concat_str(pl.lit("{"), "feature_drift", pl.lit("}")).alias("feature_drift"))


def _feature_row(row: CatalogueRow) -> tuple[object, ...]:
    figures = row["statistics"] or {}
    return (
        row["feature"],
        row["table"],
        row["project"],
        row["description"],
        row["type"],
        row["source"],
        row["definition"],
        row["window"],
        row["owner"],
        row["version"],
        row["deprecated"] is not None,
        row["deprecated"],
        *(figures.get(f) for f in ("null_rate", "mean", "std", "min", "max")),
        json.dumps(row["importance"]),
        row["table_version"],
        row["updated_at"],
    )


def _feature_values(lake: Lake, name: TableName) -> pl.LazyFrame:
    info, rows = lake.info(name), lake.scan(name)
    time = info.timeseries
    keys = [k for k in info.primary_key if k != time]
    moment = pl.col(time).cast(_MOMENT) if time else pl.lit(None, dtype=_MOMENT)
    features = [f.name for f in info.schema if f.name not in info.primary_key]
    entity = pl.concat_str([pl.col(k).cast(pl.String) for k in keys], separator="|")
    texts = rows.select(entity.alias("entity_id"), moment.alias("event_time"), pl.col(features).cast(pl.String))
    long = texts.unpivot(features, index=["entity_id", "event_time"], variable_name="feature_name")
    return long.with_columns(table_name=pl.lit(str(name))).select(list(_VALUES))


def _model_row(version: ModelVersion) -> tuple[object, ...]:
    tags = version.own_tags
    return (
        str(version.name),
        version.name.short,
        tags.project,
        version.version,
        ", ".join(version.aliases) or "candidate",
        tags.kind,
        tags.task,
        *(version.metrics.get(s) for s in _SCORES),
        json.dumps(version.metrics),
        json.dumps(version.baseline),
        tags.owner,
        version.run_id,
        version.created,
    )


def _online_predictions(lake: Lake, name: TableName) -> pl.LazyFrame:
    return lake.scan(name).select(
        pl.col("model_name").alias("model_id"),
        pl.col("model_name").str.split(".").list.last().alias("model_name"),
        pl.col("model_version").alias("version"),
        "run_id",
        pl.lit("online").alias("channel"),
        "prediction_id",
        pl.col("entity_keys").alias("entity_id"),
        "predicted_value",
        "predicted_class",
        "confidence",
        "latency_ms",
        "predicted_at",
    )


def _batch_predictions(lake: Lake, name: TableName) -> pl.LazyFrame:
    """Select the columns that a prediction table has for its task."""
    rows = lake.scan(name)
    there = rows.collect_schema()
    keys = [pl.col(k).cast(pl.String) for k in lake.info(name).primary_key if k in there]
    value = next(c for c in ("score", "probability", "prediction") if c in there)
    classified = value != "prediction"
    return rows.select(
        pl.lit(str(ModelName(name.catalog, name.table))).alias("model_id"),
        pl.lit(name.table).alias("model_name"),
        pl.col("model_version").cast(pl.Int64).alias("version"),
        "run_id",
        pl.lit("batch").alias("channel"),
        pl.lit(None, dtype=pl.String).alias("prediction_id"),
        pl.concat_str(keys, separator="|").alias("entity_id"),
        pl.col(value).cast(pl.Float64).alias("predicted_value"),
        (pl.col("prediction").cast(pl.String) if classified else _NULL_TEXT).alias("predicted_class"),
        _confidence(there.names()).alias("confidence"),
        _NULL_NUMBER.alias("latency_ms"),
        pl.col("scored_at").cast(_MOMENT).alias("predicted_at"),
    )


def _confidence(columns: Sequence[str]) -> pl.Expr:
    """Return the probability of the predicted class."""
    probability = pl.col("probability")
    if "probability" not in columns:
        return _NULL_NUMBER
    if any(c.startswith("probability_") for c in columns):
        return probability.cast(pl.Float64)
    return pl.max_horizontal(probability, 1 - probability).cast(pl.Float64)
