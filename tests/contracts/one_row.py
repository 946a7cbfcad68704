"""A model for tests of one row: its prediction tells any two inputs apart, and every way to ask for a row gives it."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import polars as pl

from karat.declare import DeclaredModel, ModelSpec, Project
from karat.declare.project_catalog import ProjectCatalog
from karat.inference.prediction_log import PredictionAnswer
from karat.inference.predictor import Predictor
from karat.inference.request import PredictionRequest
from karat.lake import Lake
from karat.online import OnlineStore
from karat.registry import LoadedModel
from karat.registry.metadata import ModelMetadata
from karat.training_sets.lookups import declared_lookups, pin
from karat.training_sets.training_set import create_training_set


class Summing:
    """The inputs times their places, a null as -1000."""

    task, threshold, classes = "regression", 0.5, ()  # type: ignore[var-annotated]

    def __init__(self, features: list[str]) -> None:
        self.feature_names, self.feature_types = features, dict.fromkeys(features, "float64")

    def predict_row(self, values: list[object]) -> np.ndarray:
        """The prediction of one row."""
        total = 0.0
        for place, value in enumerate(values, 1):
            parts = value if isinstance(value, list) else [value]
            total += sum(place * (i + 1) * (-1000.0 if v is None else float(v)) for i, v in enumerate(parts))
        return np.array([total])

    def predict(self, frame: pl.DataFrame) -> np.ndarray:
        """The predictions of a frame."""
        rows = ([list(v) if isinstance(v, pl.Series | tuple | list) else v for v in row] for row in frame.rows())
        return np.concatenate([self.predict_row(row) for row in rows])

    def thresholds(self, frame: pl.DataFrame) -> float:
        """The threshold of each row."""
        return self.threshold

    def row_threshold(self, values: Any) -> float:
        """The threshold of one row."""
        return self.threshold

    def outputs(self, prediction: np.ndarray, threshold: Any = None) -> dict[str, np.ndarray]:
        """The columns of a prediction."""
        return {"prediction": prediction}


def summing_model(project: Project, spec: ModelSpec, lake: Lake, store: OnlineStore) -> tuple[Predictor, pl.DataFrame]:
    """The predictor of a model of the declaration, and its training data."""
    declared = DeclaredModel(project, spec)
    spine = lake.read(declared.spine_name).select(declared.spine_columns)
    asked = declared_lookups(declared)
    lookups = tuple(pin(lookup, lake, spine) for lookup in asked)
    data = create_training_set(lake, spine, asked, None).data
    features = [out for lookup in lookups for out in lookup.outputs]
    metadata = ModelMetadata(
        task="regression",
        features=tuple(features),
        feature_types={},
        lookups=lookups,
        label=None,
        classes=[],
        threshold=0.5,
        pins={
            "spine": {"digest": "", "rows": 0, "schema": {c: str(t) for c, t in spine.schema.items()}},
            "lookups": [],
            "sources": {},
        },
        digest="",
        declaration=spec.model_dump(mode="json"),
    )
    loaded = LoadedModel(project.model_name(spec.name), 1, "run", Summing(features), metadata)  # type: ignore[arg-type]
    return Predictor(loaded, store, lake, projects=ProjectCatalog(None, project)), data


def ask(predictor: Predictor, **request: object) -> PredictionAnswer:
    """Ask for one prediction."""
    return predictor.predict(PredictionRequest(**request))  # type: ignore[arg-type]


def moment(row: dict[str, object]) -> datetime | None:
    """When the row is the newest one known: an event at once, a day when it is over."""
    day, at = row.get("day"), row.get("at")
    if isinstance(day, date):
        return datetime.combine(day, time(), UTC) + timedelta(days=1)
    assert at is None or isinstance(at, datetime)
    return at
