"""One prediction from keys alone: features are looked up, what the request brings overrides them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from karat.clock import utc_now
from karat.declare.project_catalog import ProjectCatalog
from karat.errors import EntityNotFound
from karat.features import Status
from karat.inference.answer import explained, outcome, unexplained
from karat.inference.feature_reader import FeatureReader, FeatureVector
from karat.inference.on_demand_features import OnDemandFeatures
from karat.inference.prediction_log import LoggedPrediction, PredictionLog
from karat.inference.request import PredictionRequest
from karat.inference.risk import risk_of
from karat.lake import Lake
from karat.names import project_of
from karat.online import OnlineStore
from karat.registry import LoadedModel
from karat.training_sets.functions import FunctionLibrary


class Predictor:
    """One immutable version of a model with the stores that it reads. Safe to use from several threads."""

    def __init__(
        self,
        loaded: LoadedModel,
        store: OnlineStore,
        lake: Lake,
        library: FunctionLibrary | None = None,
        *,
        log: PredictionLog | None = None,
        projects: ProjectCatalog | None = None,
    ) -> None:
        """``library`` is where feature functions are found, by default in the project of the model's catalog. Every
        prediction goes into ``log``. ``projects`` declare the tables with a row per event, whose features are finished
        at the request: it may bring the values of its own event among its features.

        Raises FunctionNotFound, FunctionChanged.
        """
        self.loaded, self.model = loaded, loaded.model
        self.features = list(self.model.feature_names)
        self.project = project_of(loaded.name.catalog)
        self._computed = OnDemandFeatures(loaded, library)
        self.types = {**self._computed.types, **self.model.feature_types}
        read = list(dict.fromkeys([*self.features, *self._computed.inputs]))
        self._reader = FeatureReader(loaded.lookups, read, store, lake, projects)
        self.types = {**self._reader.own_types, **self.types}
        self._place = {name: i for i, name in enumerate(read)}
        self._log = log

    def predict(self, request: PredictionRequest) -> dict[str, Any]:
        """The answer, JSON-able: document 002's response with the status of every feature.

        Raises InvalidRequest (which field, and why), EntityNotFound, FeatureLookupFailed, FeatureFunctionFailed.
        """
        began = time.perf_counter()
        given = request.feature_values(self.types)
        keys, vector = self._vector(request, given)
        values, statuses = vector.values[: len(self.features)], vector.statuses[: len(self.features)]
        prediction = self.model.predict_row(values)
        answer = {
            "prediction_id": f"pred_{uuid.uuid4().hex}",
            "entity_id": request.entity_id if request.entity_id is not None else _entity(keys),
            "keys": {name: _plain(value) for name, value in keys.items()},
            "model": f"{self.project}.{self.loaded.name.name}",
            "prediction_type": self.loaded.name.name.upper(),
            **outcome(self.model, prediction),
            "risk_level": risk_of(self.loaded, prediction)[0],
            **self._explained(request, values, prediction),
            "feature_statuses": dict(zip(self.features, statuses, strict=True)),
            "feature_times": {table: _plain(at) for table, at in vector.times.items()},
            "model_version": self.loaded.version,
            "run_id": self.loaded.run_id,
            "prediction_date": utc_now().isoformat(timespec="milliseconds"),
        }
        answer["latency_ms"] = round((time.perf_counter() - began) * 1000, 3)
        if self._log is not None:
            read = [name for name in self.features if name in self._reader.looked_up and name not in given]
            self._log.add(LoggedPrediction(self.loaded.name, answer, values, read, given, request.as_of_date))
        return answer

    @property
    def key_columns(self) -> list[str]:
        """The key columns that a request may name."""
        return list(self._reader.key_types)

    @property
    def time_columns(self) -> frozenset[str]:
        """Those of them that name a time: with one of them the answer comes from the offline store."""
        return self._reader.time_columns

    def rehearse(self) -> None:
        """A prediction without its look-up: every feature is missing."""
        nothing = [None] * len(self.features)
        self._explained(PredictionRequest(), nothing, self.model.predict_row(nothing))

    def _explained(self, request: PredictionRequest, values: Sequence[Any], prediction: np.ndarray) -> dict[str, Any]:
        if not request.explain:
            return unexplained("the request asked for none")
        if not self.loaded.explains:
            return unexplained("the model is declared with explain: false")
        return explained(self.model, values, prediction)

    def _vector(self, request: PredictionRequest, given: Mapping[str, Any]) -> tuple[dict[str, Any], FeatureVector]:
        """The typed keys, and every feature's value and status."""
        if self._reader.looked_up <= given.keys():
            # Nothing is to be looked up, so that no store need be there and no key be given.
            vector, keys = FeatureVector.empty(len(self._place)), dict(request.keys)
        else:
            keys = request.key_values(self._reader.key_types, self._reader.optional_keys())
            vector = self._reader.read(keys, request.moment(), given)
            if not given and not any(vector.found.values()):
                raise _unknown(keys, vector)
        for name, value in given.items():
            if name in self._place:
                self._put(vector, name, value)
        if self._computed.functions:
            self._compute(vector, request, {**keys, **given})
        return keys, vector

    def _put(self, vector: FeatureVector, name: str, value: Any) -> None:
        place = self._place[name]
        vector.values[place] = value
        vector.statuses[place] = Status.NULL if value is None else Status.PRESENT

    def _compute(self, vector: FeatureVector, request: PredictionRequest, given: dict[str, Any]) -> None:
        known = {name: vector.values[self._place[name]] for name in self._reader.looked_up} | given
        for name, value in self._computed.of(known, request.moment() or utc_now()).items():
            self._put(vector, name, value)


def _unknown(keys: Mapping[str, Any], vector: FeatureVector) -> EntityNotFound:
    shown = ", ".join(f"{name}={value!r}" for name, value in keys.items())
    return EntityNotFound(
        f"no feature table knows {shown}",
        where=", ".join(vector.times),
        remedy="check the key, or give the features in the request",
    )


def _entity(keys: Mapping[str, Any]) -> Any:
    """A lone key is the entity; several are told as they are."""
    values = [_plain(v) for v in keys.values()]
    return values[0] if len(values) == 1 else values or None


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
