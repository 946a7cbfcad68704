"""Loaded model version. Heavy to import: only the loading thread imports it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from karat.declare.project_catalog import ProjectCatalog
from karat.errors import EntityNotFound, InvalidRequest, KaratError
from karat.inference.prediction_log import PredictionAnswer, close_logs, open_log
from karat.inference.predictor import Predictor
from karat.inference.request import PredictionRequest
from karat.lake import Lake
from karat.names import ModelName
from karat.online import open_store
from karat.registry.records import LoadedModel, ModelVersion
from karat.registry.staging import load_staged, stage_version
from karat.settings import Environment, Settings
from karat.training_sets.functions import FunctionLibrary

__all__ = ["LoadedVersion", "close_logs", "load"]
log = logging.getLogger("karat.serve")
#: A model whose prediction takes longer is asked in a thread of its own, so that the others need not wait for it.
QUICK_SECONDS = 0.002


@dataclass
class RequestCounts:
    """What one loaded version has answered in this replica."""

    predictions: int = 0
    errors: int = 0
    seconds: float = 0.0
    last: datetime | None = None


@dataclass(frozen=True)
class LoadedVersion:
    """A loaded version: never changed, only replaced by another."""

    registered: ModelVersion
    predictor: Predictor
    quick: bool
    loaded_at: datetime
    counted: RequestCounts = field(default_factory=RequestCounts, compare=False)

    @property
    def name(self) -> ModelName:
        """The registered model."""
        return self.registered.name

    @property
    def version(self) -> int:
        """Its version."""
        return self.registered.version

    def at_once(self, fields: Mapping[str, Any]) -> bool:
        """Whether the answer takes so little that nobody need mind waiting for it: no past date, no slow model."""
        named = fields["keys"].keys()
        past = fields["as_of_date"] is not None or not self.predictor.time_columns.isdisjoint(named)
        stored_event = self.predictor.reads_events and not fields["features"]
        return self.quick and not past and not stored_event

    def answer(self, fields: Mapping[str, Any]) -> PredictionAnswer:
        """``fields`` as PredictionRequest has them -> the prediction. Raises as ``Predictor.predict`` does."""
        counted, began = self.counted, time.perf_counter()
        try:
            answer = self.predictor.predict(PredictionRequest(**fields))
        except (InvalidRequest, EntityNotFound):
            raise
        except Exception:
            counted.errors += 1
            raise
        counted.predictions += 1
        counted.seconds += time.perf_counter() - began
        counted.last = datetime.now(UTC)
        return answer

    def example(self) -> dict[str, object] | None:
        """The body of a prediction that has an answer; None if no entity is online."""
        try:
            keys = self.predictor.example()
        except KaratError:
            return None
        if len(keys) == 1 and isinstance(only := next(iter(keys.values())), str | int):
            return {"entity_id": only}
        return {"keys": keys} if keys else None

    def described(self) -> dict[str, object]:
        """What a list of models says of it."""
        return {
            "run_id": self.registered.run_id,
            "task": self.predictor.model.task,
            "kind": self.registered.own_tags.kind,
            "metrics": self.registered.metrics,
            "baseline": self.registered.baseline,
            "keys": self.predictor.key_columns,
            "features": self.predictor.types,
            "loaded_at": self.loaded_at.isoformat(timespec="seconds"),
        }

    def health(self) -> dict[str, object]:
        """Document 002's health of a model."""
        counted = self.counted
        asked = counted.predictions + counted.errors
        return {
            "model_name": self.name.name,
            "model_version": self.version,
            "status": "DEPLOYED",
            "deployed_at": self.loaded_at.isoformat(timespec="seconds"),
            "prediction_count": counted.predictions,
            "avg_latency_ms": round(counted.seconds / counted.predictions * 1000, 3) if counted.predictions else None,
            "error_rate": counted.errors / asked if asked else None,
            "drift_detected": None,
            "last_prediction_at": counted.last.isoformat(timespec="milliseconds") if counted.last else None,
        }


def load(settings: Settings, name: ModelName, version: int) -> LoadedVersion:
    """Load a version from its copy, which is made if there is none yet.

    Raises:
        KaratError: What the registry and the online store raise.
    """
    registered, loaded = load_staged(settings.staged_models, name, version) or _stage(settings, name, version)
    predictor = Predictor(
        loaded,
        open_store(settings),
        Lake(settings.lake, settings.environment),
        FunctionLibrary(settings),
        log=open_log(settings),
        projects=_declared(settings.projects, settings.environment, _newest_change(settings.projects)),
    )
    return LoadedVersion(registered, predictor, _seconds(predictor) <= QUICK_SECONDS, datetime.now(UTC))


@lru_cache(maxsize=1)
def _declared(projects: Path, environment: Environment, _changed: tuple[int, int]) -> ProjectCatalog:
    """The declarations; models that are loaded together share them, for each project takes a second to read."""
    return ProjectCatalog(Settings(projects=projects, environment=environment))


def _newest_change(projects: Path) -> tuple[int, int]:
    """The number of the declarations' files, and the newest of their times."""
    times = [file.stat().st_mtime_ns for file in projects.rglob("*") if file.suffix in (".py", ".yaml")]
    return len(times), max(times, default=0)


def _stage(settings: Settings, name: ModelName, version: int) -> tuple[ModelVersion, LoadedModel]:
    """From the registry; its copy makes the next start of a replica a quick one, without MLflow."""
    registry = import_module("karat.registry.open").open_registry(settings)
    registered: ModelVersion = registry.version(name, version)
    try:
        stage_version(registry, registered, settings.staged_models)
    except OSError as error:
        log.warning("version %s of %s could not be copied: %s", version, name, error)
    loaded: LoadedModel = registry.load(registered)
    return registered, loaded


def _seconds(predictor: Predictor) -> float:
    """How long a prediction takes without its look-up, the first one left out."""
    taken = []
    for _ in range(4):
        began = time.perf_counter()
        predictor.rehearse()
        taken.append(time.perf_counter() - began)
    return min(taken[1:])
