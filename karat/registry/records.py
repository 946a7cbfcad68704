"""Records that the registry returns: versions, their status, loaded models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from karat.names import ModelName
from karat.registry.metadata import ModelMetadata
from karat.registry.tags import VersionTags
from karat.training_sets.functions import PinnedFunction
from karat.training_sets.lookups import PinnedLookup


class Servable(Protocol):
    """What a registered model can do; ``kinds.Model`` and ``estimators.Estimator`` do it."""

    task: str
    threshold: float
    classes: list[Any]

    @property
    def feature_names(self) -> list[str]:
        """The inputs, in order."""

    @property
    def feature_types(self) -> dict[str, str]:
        """Input -> declared type."""

    def predict(self, frame: pl.DataFrame) -> np.ndarray:
        """Predict rows: ``(rows, features)`` -> ``(rows,)`` or ``(rows, parts)``."""

    def predict_row(self, values: Sequence[object]) -> np.ndarray:
        """Predict one row, given as plain values in the order of ``feature_names``."""

    def thresholds(self, frame: pl.DataFrame) -> float | np.ndarray:
        """Return the decision threshold, or that of each row, ``(rows,)``."""

    def row_threshold(self, values: Sequence[object]) -> float:
        """Return the decision threshold of one row, given as ``predict_row`` takes it."""

    def outputs(self, prediction: np.ndarray, threshold: float | np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Return the output columns of a prediction, decided at ``threshold`` or at the model's own."""

    def importance(self) -> dict[str, float] | None:
        """Return feature -> importance; None if unknown."""

    def save(self, folder: Path) -> None:
        """Write the model's files into a folder."""


@dataclass(frozen=True)
class ModelVersion:
    """A registered version.

    Attributes:
        name: Registered name.
        version: Number.
        run_id: MLflow run.
        model_id: MLflow logged model.
        aliases: Its aliases, such as champion.
        created: When it was registered.
        tags: All tags; ``own_tags`` are Karat's.
        metrics: Metrics on the test rows.
        baseline: Metrics of the baseline on the same rows.
        judged: Metrics of the gain report (``GainReport.as_metrics``).
        experiment_id: MLflow experiment of the run.
    """

    name: ModelName
    version: int
    run_id: str
    model_id: str
    aliases: tuple[str, ...]
    created: datetime
    tags: dict[str, str] = field(repr=False)
    metrics: dict[str, float] = field(repr=False)
    baseline: dict[str, float] = field(repr=False)
    judged: dict[str, float] = field(default_factory=dict, repr=False)
    experiment_id: str = field(default="", repr=False)

    @property
    def uri(self) -> str:
        """MLflow's address of the version."""
        return f"models:/{self.name}/{self.version}"

    @cached_property
    def own_tags(self) -> VersionTags:
        """Karat's own tags among ``tags``."""
        return VersionTags.from_mlflow(self.tags)


@dataclass(frozen=True)
class ModelStatus:
    """The champion, challenger and newest version of a registered model; None if there is no such version."""

    model: ModelName
    champion: ModelVersion | None
    challenger: ModelVersion | None
    newest: ModelVersion | None


@dataclass(frozen=True)
class LoadedModel:
    """A version that is ready to predict."""

    name: ModelName
    version: int
    run_id: str
    model: Servable
    metadata: ModelMetadata = field(repr=False)

    @property
    def features(self) -> list[str]:
        """The inputs in their frozen order."""
        return list(self.metadata.features)

    @property
    def lookups(self) -> tuple[PinnedLookup, ...]:
        """The lookups that bring the inputs."""
        return self.metadata.lookups

    @property
    def functions(self) -> tuple[PinnedFunction, ...]:
        """The feature functions by name and source hash; a FunctionLibrary finds their code."""
        return self.metadata.functions

    @property
    def risk_levels(self) -> dict[str, float]:
        """Risk level -> its least prediction, rising, as declared for this version; empty without."""
        return self.metadata.risk_levels

    @property
    def explains(self) -> bool:
        """Whether an answer names the features that made it, unless the request declines."""
        return self.metadata.explains

    @property
    def uri(self) -> str:
        """MLflow's address of the version."""
        return f"models:/{self.name}/{self.version}"
