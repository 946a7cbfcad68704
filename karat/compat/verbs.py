"""The documents' verbs as plain functions, on the lake and the projects that the settings name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from karat.compat.engineer import Day, Entity, FeatureEngineer, FeatureSet
from karat.compat.pipeline import FeaturePipeline
from karat.executors import Progress, silent
from karat.features import FeatureResult
from karat.training.frames import Frame


def compute_feature(
    feature_name: str, entity_id: Entity, entity_type: str | None = None, as_of_date: Day | None = None
) -> Any:
    """See ``FeatureEngineer.compute_feature``."""
    return FeatureEngineer().compute_feature(feature_name, entity_id, entity_type, as_of_date)


def compute_feature_set(
    feature_names: str | Sequence[str],
    entity_id: Entity,
    entity_type: str | None = None,
    as_of_date: Day | None = None,
) -> FeatureSet:
    """See ``FeatureEngineer.compute_feature_set``."""
    return FeatureEngineer().compute_feature_set(feature_names, entity_id, entity_type, as_of_date)


def backfill_features(
    feature_names: str | Sequence[str],
    entity_ids: Iterable[Entity] | None,
    start_date: Day,
    end_date: Day,
    *,
    progress: Progress = silent,
) -> list[FeatureResult]:
    """See ``FeatureEngineer.backfill_features``."""
    return FeatureEngineer().backfill_features(feature_names, entity_ids, start_date, end_date, progress=progress)


def validate_features(features: Mapping[str, Any]) -> tuple[bool, list[str]]:
    """See ``FeatureEngineer.validate_features``."""
    return FeatureEngineer().validate_features(features)


def create_training_dataset(
    entity_ids: Iterable[Entity], feature_sets: str | Sequence[str], as_of_date: Day | None = None
) -> Frame:
    """See ``FeaturePipeline.create_training_dataset``."""
    return FeaturePipeline().create_training_dataset(entity_ids, feature_sets, as_of_date)


def create_prediction_features(entity_id: Entity, model_type: str, as_of_date: Day | None = None) -> FeatureSet:
    """See ``FeaturePipeline.create_prediction_features``."""
    return FeaturePipeline().create_prediction_features(entity_id, model_type, as_of_date)
