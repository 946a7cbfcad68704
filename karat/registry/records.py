"""What the registry gives back: versions, loaded models, decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from karat.names import ModelName
from karat.training_sets.functions import PinnedFunction
from karat.training_sets.lookups import PinnedLookup


class Servable(Protocol):
    """What a registered model can do; ``kinds.Model`` and ``estimators.Estimator`` do."""

    task: str
    threshold: float
    classes: list[Any]

    @property
    def feature_names(self) -> list[str]: ...
    @property
    def feature_types(self) -> dict[str, str]: ...
    def predict(self, frame: pl.DataFrame) -> np.ndarray: ...
    def predict_row(self, values: Sequence[Any]) -> np.ndarray: ...
    def outputs(self, prediction: np.ndarray) -> dict[str, np.ndarray]: ...
    def importance(self) -> dict[str, float] | None: ...
    def save(self, folder: Path) -> None: ...


@dataclass(frozen=True)
class ModelVersion:
    """A registered version. ``metrics`` and ``baseline`` are of the test split; ``judged`` says how sure the gain is
    and how far the truth is away (``Judgement.as_metrics``); ``tags`` say the rest. ``experiment_id`` is its run's."""

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
        return f"models:/{self.name}/{self.version}"

    @property
    def origin(self) -> str:
        """ "sample" where any gold table behind it was sample data, else "ingest" or ""."""
        return self.tags.get("karat.origin", "")


@dataclass(frozen=True)
class ModelStatus:
    """Where a registered model stands; None where there is no such version."""

    model: ModelName
    champion: ModelVersion | None
    challenger: ModelVersion | None
    newest: ModelVersion | None


@dataclass(frozen=True)
class LoadedModel:
    """A version, ready to predict. ``metadata`` is the content of its ``karat.json``."""

    name: ModelName
    version: int
    run_id: str
    model: Servable
    metadata: dict[str, Any] = field(repr=False)

    @property
    def features(self) -> list[str]:
        """The inputs in their frozen order."""
        return list(self.metadata["features"])

    @property
    def lookups(self) -> tuple[PinnedLookup, ...]:
        return tuple(PinnedLookup.from_json(record) for record in self.metadata["lookups"])

    @property
    def functions(self) -> tuple[PinnedFunction, ...]:
        """The feature functions by name and source hash; their code is found by a FunctionLibrary."""
        return tuple(PinnedFunction.from_json(record) for record in self.metadata.get("functions", []))

    @property
    def risk_levels(self) -> dict[str, float]:
        """Level -> the least prediction that belongs to it, rising, as this version was declared; empty without."""
        return dict(self.metadata.get("declaration", {}).get("risk_levels", {}))

    @property
    def explains(self) -> bool:
        """Whether an answer says which features made it, where a request does not decline."""
        return bool(self.metadata.get("declaration", {}).get("explain", True))

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"
