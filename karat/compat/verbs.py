"""Verbs as plain functions, on the lake and the projects of the settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from karat.boundary import public_verb
from karat.compat.engineer import Day, Entity, FeatureEngineer, FeatureSet
from karat.compat.pipeline import FeaturePipeline
from karat.compat.registry import ModelRegistry, Version
from karat.compat.served_model import ServedModel
from karat.compat.store import FeatureStore, HistoricalFeatures, OnlineFeatures
from karat.executors import Executor, Progress, silent
from karat.features import MaterializationResult
from karat.registry import ModelVersion
from karat.training_sets.frames import Frame
from karat.training_sets.training_set import TrainingSet


@public_verb
def compute_feature(
    feature_name: str, entity_id: Entity, entity_type: str | None = None, as_of_date: Day | None = None
) -> Any:
    """See ``FeatureEngineer.compute_feature``."""
    return FeatureEngineer().compute_feature(feature_name, entity_id, entity_type, as_of_date)


@public_verb
def compute_feature_set(
    feature_names: str | Sequence[str],
    entity_id: Entity,
    entity_type: str | None = None,
    as_of_date: Day | None = None,
) -> FeatureSet:
    """See ``FeatureEngineer.compute_feature_set``."""
    return FeatureEngineer().compute_feature_set(feature_names, entity_id, entity_type, as_of_date)


@public_verb
def backfill_features(
    feature_names: str | Sequence[str],
    entity_ids: Iterable[Entity] | None,
    start_date: Day,
    end_date: Day,
    *,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> list[MaterializationResult]:
    """See ``FeatureEngineer.backfill_features``."""
    return FeatureEngineer().backfill_features(
        feature_names, entity_ids, start_date, end_date, executor=executor, progress=progress
    )


@public_verb
def validate_features(features: Mapping[str, Any]) -> tuple[bool, list[str]]:
    """See ``FeatureEngineer.validate_features``."""
    return FeatureEngineer().validate_features(features)


@public_verb
def create_training_dataset(
    entity_ids: Iterable[Entity], feature_sets: str | Sequence[str], as_of_date: Day | None = None
) -> Frame:
    """See ``FeaturePipeline.create_training_dataset``."""
    return FeaturePipeline().create_training_dataset(entity_ids, feature_sets, as_of_date)


@public_verb
def create_prediction_features(entity_id: Entity, model_type: str, as_of_date: Day | None = None) -> FeatureSet:
    """See ``FeaturePipeline.create_prediction_features``."""
    return FeaturePipeline().create_prediction_features(entity_id, model_type, as_of_date)


@public_verb
def get_historical_features(
    entity_df: Frame, features: Sequence[str], *, full_feature_names: bool = False
) -> HistoricalFeatures:
    """See ``FeatureStore.get_historical_features``."""
    return FeatureStore().get_historical_features(entity_df, features, full_feature_names=full_feature_names)


@public_verb
def get_online_features(
    entity_rows: Frame | Sequence[Mapping[str, Any]], features: Sequence[str], *, full_feature_names: bool = False
) -> OnlineFeatures:
    """See ``FeatureStore.get_online_features``."""
    return FeatureStore().get_online_features(entity_rows, features, full_feature_names=full_feature_names)


@public_verb
def register_model(
    model: Any,
    model_name: str,
    metrics: Mapping[str, float] | None = None,
    parameters: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    *,
    training_set: TrainingSet | None = None,
) -> ModelVersion:
    """See ``ModelRegistry.register_model``."""
    return ModelRegistry().register_model(model, model_name, metrics, parameters, tags, training_set=training_set)


@public_verb
def load_model(model_name: str, version: Version = None) -> ServedModel:
    """See ``ModelRegistry.load_model``."""
    return ModelRegistry().load_model(model_name, version)


@public_verb
def promote_model(model_name: str, version: Version = None, stage: str = "Production") -> ModelVersion:
    """See ``ModelRegistry.promote_model``."""
    return ModelRegistry().promote_model(model_name, version, stage)


@public_verb
def get_model_metadata(model_name: str, version: Version = None) -> dict[str, Any]:
    """See ``ModelRegistry.get_model_metadata``."""
    return ModelRegistry().get_model_metadata(model_name, version)


@public_verb
def compare_models(
    model_name: str, version1: Version, version2: Version, metrics: Sequence[str] | None = None
) -> dict[str, Any]:
    """See ``ModelRegistry.compare_models``."""
    return ModelRegistry().compare_models(model_name, version1, version2, metrics)
