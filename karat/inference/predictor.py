"""Online predictor: looks up the features of one key, applies the request's overrides, predicts."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import date
from typing import cast

import numpy as np

from karat.clock import utc_now
from karat.declare.project_catalog import ProjectCatalog
from karat.errors import EntityNotFound, FeaturesMissing, InvalidRequest
from karat.features import MISSING, Status
from karat.inference.answer import outcome
from karat.inference.example_keys import example_keys, plain_key
from karat.inference.explanation import Explanation, explained, unexplained
from karat.inference.feature_reader import FeatureReader, FeatureVector, keys_text
from karat.inference.on_demand_features import OnDemandFeatures
from karat.inference.prediction_log import LoggedPrediction, PredictionAnswer, PredictionLog
from karat.inference.request import PredictionRequest
from karat.inference.risk import risk_of
from karat.inference.value_rules import ValueRules
from karat.lake import Lake
from karat.names import project_of
from karat.online import KeyValue, OnlineStore, Value, Values
from karat.registry import LoadedModel
from karat.training_sets.functions import FunctionLibrary

#: Entity types that any model takes: existing callers send them whatever the prediction is about.
_ANY_ENTITY = ("user", "entity")


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
        """Bind the model to its stores.

        Args:
            loaded: The model version.
            store: The online store.
            lake: The offline store, for past moments.
            library: Where feature functions are found; by default the project of the model's catalog.
            log: Where every prediction goes.
            projects: The declarations of tables with a row per event.

        Raises:
            FunctionNotFound: A feature function is not declared.
            FunctionChanged: Its source is not the one of training.
        """
        self.loaded, self.model = loaded, loaded.model
        self.features = list(self.model.feature_names)
        self.project = project_of(loaded.name.catalog)
        self._computed = OnDemandFeatures(loaded, library)
        self.types = {**self._computed.types, **self.model.feature_types}
        read = list(dict.fromkeys([*self.features, *self._computed.inputs]))
        self._reader = FeatureReader(
            loaded.lookups,
            read,
            store,
            lake,
            projects,
            row_of=loaded.metadata.spine_table,
            row_types=loaded.metadata.spine_types,
        )
        self.types = {**self._reader.own_types, **self.types}
        self._place = {name: i for i, name in enumerate(read)}
        self._rules = ValueRules(loaded.lookups, projects or ProjectCatalog())
        self._declared_missing = loaded.metadata.missing_features
        self._log, self._store = log, store

    def predict(self, request: PredictionRequest) -> PredictionAnswer:
        """Answer one request.

        Returns:
            The fields of the prediction response, ready for JSON, with the status of every feature.

        Raises:
            InvalidRequest: A field is wrong; names it and the reason.
            EntityNotFound: No table knows the key, and the request brings no features.
            FeatureLookupFailed: A store can't be read.
            FeatureFunctionFailed: A feature function raised.
            FeaturesMissing: More features are missing than the model accepts, and it is declared to refuse that.
        """
        began = time.perf_counter()
        request.moment()
        given = request.feature_values(self.types)
        self._rules.check(given)
        self._check_entity_type(request)
        keys, vector = self._vector(request, given)
        values, statuses = vector.values[: len(self.features)], vector.statuses[: len(self.features)]
        missing = [name for name, status in zip(self.features, statuses, strict=True) if status in MISSING]
        degraded = self._is_degraded(keys, missing)
        prediction = self.model.predict_row(values)
        answer: PredictionAnswer = {
            "prediction_id": f"pred_{uuid.uuid4().hex}",
            "entity_id": request.entity_id if request.entity_id is not None else _entity(keys),
            "keys": {name: _plain(value) for name, value in keys.items()},
            "model": f"{self.project}.{self.loaded.name.short}",
            "prediction_type": self.loaded.name.name.upper(),
            **outcome(self.model, prediction, self.model.row_threshold(values)),
            "risk_level": risk_of(self.loaded, prediction)[0],
            **self._explained(request, values, prediction),
            "feature_statuses": dict(zip(self.features, statuses, strict=True)),
            "feature_times": {table: _plain(at) for table, at in vector.times.items()},
            "degraded": degraded,
            "missing_features": missing,
            "model_version": self.loaded.version,
            "run_id": self.loaded.run_id,
            "prediction_date": utc_now().isoformat(timespec="milliseconds"),
            "latency_ms": 0.0,
        }
        answer["latency_ms"] = round((time.perf_counter() - began) * 1000, 3)
        if self._log is not None:
            read = [name for name in self.features if name in self._reader.looked_up and name not in given]
            self._log.add(LoggedPrediction(self.loaded.name, answer, values, read, given, request.as_of_date))
        return answer

    def inputs(self, request: PredictionRequest) -> list[Value]:
        """The model's inputs for a request, in the order of ``features``. Raises as ``predict`` does."""
        given = request.feature_values(self.types)
        self._rules.check(given)
        return list(self._vector(request, given)[1].values[: len(self.features)])

    @property
    def key_columns(self) -> list[str]:
        """The key columns that a request may name."""
        return list(self._reader.key_types)

    @property
    def reads_events(self) -> bool:
        """Whether a table has a row per event: its older events are read from the lake."""
        return self._reader.reads_events

    @property
    def time_columns(self) -> frozenset[str]:
        """Those of them that name a time: with one of them the answer comes from the offline store."""
        return self._reader.time_columns

    def example(self) -> dict[str, Value]:
        """The keys of an entity that the store knows, for an example; a request with them has an answer.

        Raises:
            KaratError: The store can't be read.
        """
        keys = example_keys(self._reader.reads, self._store)
        return {name: plain_key(value) for name, value in keys.items() if name not in self.time_columns}

    def rehearse(self) -> None:
        """Predict without a lookup, with every feature missing; used to time the model."""
        nothing = [None] * len(self.features)
        self._explained(PredictionRequest(), nothing, self.model.predict_row(nothing))

    def _check_entity_type(self, request: PredictionRequest) -> None:
        """Raises InvalidRequest for an entity_type that the model has no key of."""
        kind = request.entity_type
        known = [c for c in self.key_columns if c not in self.time_columns]
        if kind is None or not known or kind.lower() in _ANY_ENTITY:
            return
        if not any(c.lower() in (kind.lower(), f"{kind.lower()}_id") for c in known):
            raise InvalidRequest(
                f"the model has no entity {kind!r}; its rows are by {', '.join(known)}",
                where="entity_type",
                remedy=f"leave it out, or write {known[0].removesuffix('_id')}",
            )

    def _is_degraded(self, keys: Values, missing: list[str]) -> bool:
        """Whether more features are missing than declared. Raises FeaturesMissing where that is to be refused."""
        declared = self._declared_missing
        if len(missing) <= declared.most(len(self.features)):
            return False
        if declared.action == "refuse":
            shown = keys_text(keys)
            raise FeaturesMissing(
                f"{len(missing)} of the model's {len(self.features)} features have no value: {', '.join(missing)}",
                where=f"{self.loaded.name}{f', keys {shown}' if shown else ''}",
                remedy=f"give them under 'features'; the model refuses more than {declared.share:.0%} missing "
                "(missing_features in its YAML)",
            )
        return True

    def _explained(self, request: PredictionRequest, values: Sequence[Value], prediction: np.ndarray) -> Explanation:
        if not request.explain:
            return unexplained("the request asked for none")
        if not self.loaded.explains:
            return unexplained("the model is declared with explain: false")
        return explained(self.loaded, values, prediction)

    def _vector(self, request: PredictionRequest, given: Values) -> tuple[dict[str, KeyValue], FeatureVector]:
        """The typed keys, and every feature's value and status."""
        if self._reader.looked_up <= given.keys():
            # Nothing is to be looked up, so that no store need be there and no key be given.
            vector, keys = FeatureVector.empty(len(self._place)), cast(dict[str, KeyValue], dict(request.keys))
        else:
            keys = request.key_values(self._reader.key_types, self._reader.optional_keys())
            vector = self._reader.read(keys, request.moment(), given)
            if not given and not any(vector.found.values()):
                raise _unknown(keys, vector, self._reader.event_times)
        for name, value in given.items():
            if name in self._place:
                self._put(vector, name, value)
        if self._computed.functions:
            self._compute(vector, request, {**keys, **vector.row, **given})
        return keys, vector

    def _put(self, vector: FeatureVector, name: str, value: Value) -> None:
        place = self._place[name]
        vector.values[place] = value
        vector.statuses[place] = Status.NULL if value is None else Status.PRESENT

    def _compute(self, vector: FeatureVector, request: PredictionRequest, given: Values) -> None:
        known = {**{name: vector.values[self._place[name]] for name in self._reader.looked_up}, **given}
        for name, value in self._computed.of(known, request.moment() or utc_now()).items():
            self._put(vector, name, value)


def _unknown(keys: Mapping[str, KeyValue], vector: FeatureVector, times: Sequence[str]) -> EntityNotFound:
    event = f"; for a new event of a new entity name its time, too ({times[0]})" if times else ""
    return EntityNotFound(
        f"no feature table knows {keys_text(keys)}",
        where=", ".join(vector.times),
        remedy=f"check the key, or give the features in the request{event}",
    )


def _entity(keys: Mapping[str, KeyValue]) -> Value:
    """The entity: a lone key's value, or the list of several."""
    values = [_plain(v) for v in keys.values()]
    return values[0] if len(values) == 1 else values or None


def _plain(value: Value) -> Value:
    return value.isoformat() if isinstance(value, date) else value
