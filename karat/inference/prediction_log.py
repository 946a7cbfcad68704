"""Prediction log: every online prediction with its feature values, in ``catalog.monitoring.prediction_log``.

A prediction hands its record over and goes on; a thread writes what has gathered, in one commit a catalog. What can't
be written is kept and tried again, and never fails a prediction.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401  it must have registered its end before the log registers its own
import json
import logging
import os
import socket
import threading
import uuid
from collections import deque
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from karat.errors import KaratError
from karat.features import Status
from karat.inference.answer import Outcome
from karat.inference.explanation import Explanation
from karat.lake import Lake, Work
from karat.names import ModelName, prediction_log_name
from karat.online import Value, Values
from karat.settings import PredictionLogSettings, Settings

log = logging.getLogger("karat.predictions")

_COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "prediction_id": (pa.string(), "Names the prediction, in the answer and in feedback"),
    "model_name": (pa.string(), "The registered model"),
    "model_version": (pa.int64(), "Its version"),
    "run_id": (pa.string(), "The run that trained it"),
    "prediction_type": (pa.string(), "Document 002's name of what is predicted"),
    "predicted_at": (pa.timestamp("us", tz="UTC"), "When"),
    "entity_keys": (pa.string(), "JSON: key column -> value"),
    "features": (pa.string(), "JSON: feature -> the value that the model was given"),
    "statuses": (pa.string(), "JSON: feature -> status"),
    "feature_times": (pa.string(), "JSON: feature table -> the time of the row that was read"),
    "looked_up": (pa.string(), "JSON list: the features that came from a table, not from the request or a function"),
    "given": (pa.string(), "JSON: what the request brought: features, inputs of functions, its own event"),
    "as_of": (pa.timestamp("us", tz="UTC"), "The time that the request asked for; null: what was known when"),
    "predicted_value": (pa.float64(), "The number, the probability or the score; null where there are several"),
    "predicted_values": (pa.string(), "JSON: the named parts of an answer that has several"),
    "predicted_class": (pa.string(), "The class, as text"),
    "confidence": (pa.float64(), "That of the class"),
    "latency_ms": (pa.float64(), "How long the prediction took"),
}
SCHEMA = pa.schema(
    [
        pa.field(n, t, nullable=n not in ("prediction_id", "predicted_at"), metadata={"comment": comment})
        for n, (t, comment) in _COLUMNS.items()
    ]
)
_POLARS = pl.Schema(SCHEMA)


class PredictionAnswer(Outcome, Explanation):
    """The fields of the response to a prediction request."""

    prediction_id: str
    entity_id: Value
    keys: dict[str, Value]
    model: str
    prediction_type: str
    risk_level: str | None
    feature_statuses: dict[str, Status]
    feature_times: dict[str, Value]
    degraded: bool
    missing_features: list[str]
    model_version: int
    run_id: str
    prediction_date: str
    latency_ms: float


class LoggedPrediction(NamedTuple):
    """One prediction as it was answered.

    Attributes:
        model: The registered model.
        answer: The answer's fields.
        values: The model's inputs, in the order of the answer's ``feature_statuses``.
        looked_up: The features that came from a table.
        given: What the request brought.
        as_of: The moment that the request asked for; None for now.
    """

    model: ModelName
    answer: PredictionAnswer
    values: Sequence[Value]
    looked_up: Sequence[str]
    given: Values
    as_of: datetime | None


class PredictionLog:
    """One per process. ``add`` takes a microsecond, whatever the lake does."""

    def __init__(self, lake: Lake, settings: PredictionLogSettings) -> None:
        self._lake, self._settings = lake, settings
        self._waiting: deque[LoggedPrediction] = deque()
        self._writing, self._full, self._closed = threading.Lock(), threading.Event(), threading.Event()
        self._writer = f"predictions.{socket.gethostname()}.{os.getpid()}"
        #: how many were given up, for want of room or because their catalog may not be written here
        self.lost = 0
        threading.Thread(target=self._keep_writing, name="prediction-log", daemon=True).start()

    def add(self, logged: LoggedPrediction) -> None:
        """Takes a prediction over; it is in the lake some seconds later."""
        self._waiting.append(logged)
        if len(self._waiting) >= self._settings.rows:
            self._full.set()

    def flush(self) -> int:
        """Writes what waits, and gives how many rows were written; what could not be waits on."""
        with self._writing:
            taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
            by_catalog: dict[str, list[LoggedPrediction]] = {}
            for one in taken:
                by_catalog.setdefault(one.model.catalog, []).append(one)
            return sum(self._write(catalog, rows) for catalog, rows in by_catalog.items())

    def close(self) -> None:
        """Writes what waits and ends the thread."""
        self._closed.set()
        self._full.set()
        self.flush()

    def _keep_writing(self) -> None:
        while not self._closed.is_set():
            self._full.wait(self._settings.seconds)
            self._full.clear()
            self.flush()

    def _write(self, catalog: str, rows: list[LoggedPrediction]) -> int:
        try:
            frame = pl.DataFrame([_row(r) for r in rows], schema=_POLARS, orient="row")
            append(self._lake, catalog, frame, writer=self._writer)
        except (KaratError, OSError) as error:
            log.warning("%d predictions of %s wait to be logged: %s", len(rows), catalog, error)
            self._keep(rows)
            return 0
        except Exception:  # a log that ends at one bad record would be none
            self.lost += len(rows)
            log.exception("%d predictions of %s could not be logged", len(rows), catalog)
            return 0
        return len(rows)

    def _keep(self, rows: list[LoggedPrediction]) -> None:
        """Back to the front, in their order; the oldest go where there are too many."""
        self._waiting.extendleft(reversed(rows))
        while len(self._waiting) > self._settings.most:
            self._waiting.popleft()
            self.lost += 1


def append(lake: Lake, catalog: str, frame: pl.DataFrame, *, writer: str) -> None:
    """Adds rows of SCHEMA to the catalog's log in one commit, once. Raises what the lake raises."""
    name = prediction_log_name(catalog)
    if not lake.exists(name):
        lake.create(
            name,
            SCHEMA,
            primary_key=["prediction_id"],
            timeseries="predicted_at",
            partition_by=["predicted_at"],
            description="Every prediction that was asked for online, with the feature values it was made from",
        )
    lake.append(name, frame, work=Work(writer, uuid.uuid4().hex))


def _row(logged: LoggedPrediction) -> tuple[object, ...]:
    answer, value = logged.answer, logged.answer["predicted_value"]
    several = isinstance(value, dict)
    found = answer["predicted_class"]
    names = answer["feature_statuses"]
    return (
        answer["prediction_id"],
        str(logged.model),
        answer["model_version"],
        answer["run_id"],
        answer["prediction_type"],
        datetime.fromisoformat(answer["prediction_date"]),
        as_json(answer["keys"]),
        as_json(dict(zip(names, logged.values, strict=True))),
        as_json(names),
        as_json(answer["feature_times"]),
        as_json(list(logged.looked_up)),
        as_json(dict(logged.given)),
        None if logged.as_of is None else logged.as_of.astimezone(UTC),
        None if several else value,
        as_json(value) if several else as_json(answer["probabilities"]) if "probabilities" in answer else None,
        None if found is None else str(found),
        answer["confidence"],
        answer["latency_ms"],
    )


def as_json(value: object) -> str:
    """Encode a value as compact JSON; dates in ISO form, arrays as lists."""
    return json.dumps(value, default=_plain, separators=(",", ":"))


def _plain(value: object) -> object:
    if isinstance(value, date):
        return value.isoformat()
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


_logs: dict[tuple[object, ...], PredictionLog] = {}
_opening = threading.Lock()
# Python ends its thread pools, without which nothing can be written, before it calls what atexit knows.
_at_exit = getattr(threading, "_register_atexit", atexit.register)


def open_log(settings: Settings) -> PredictionLog | None:
    """Open this process' log, which is flushed when the process ends.

    Returns:
        The log; None if it is switched off.
    """
    if not settings.prediction_log.enabled:
        return None
    place = (settings.lake, settings.environment, os.getpid())
    with _opening:
        if not _logs:
            _at_exit(close_logs)
        if place not in _logs:
            _logs[place] = PredictionLog(Lake(settings.lake, settings.environment), settings.prediction_log)
        return _logs[place]


def close_logs() -> None:
    """Writes what waits in every log of this process."""
    with _opening:
        for place in [p for p in _logs if p[-1] == os.getpid()]:
            _logs.pop(place).close()
