"""The log of predictions: what was served is in the lake, once, and no trouble of the log reaches a prediction."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from karat.inference.prediction_log import LoggedPrediction, PredictionLog, close_logs, open_log
from karat.inference.predictor import Predictor
from karat.inference.request import PredictionRequest
from karat.lake import Lake
from karat.names import ModelName, prediction_log_name
from karat.settings import PredictionLogSettings, Settings
from tests import warm

TABLE = prediction_log_name("shop_dev")
MODEL = ModelName("shop_dev", "churn")
SLOW = PredictionLogSettings(seconds=3600)


def logged(number: int, **more: Any) -> LoggedPrediction:
    answer = {
        "prediction_id": f"pred_{number}",
        "keys": {"customer": "c1"},
        "prediction_type": "CHURN",
        "predicted_value": 0.5,
        "predicted_class": True,
        "confidence": 0.5,
        "feature_statuses": {"calls": "PRESENT"},
        "feature_times": {},
        "model_version": 3,
        "run_id": "run7",
        "prediction_date": "2026-11-21T03:00:00.123+00:00",
        "latency_ms": 1.0,
    }
    return LoggedPrediction(MODEL, answer | more, [3], ["calls"], {}, None)


def test_what_was_served_is_logged(predictor: Callable[..., Predictor], tables: Lake) -> None:
    one = predictor()
    log = PredictionLog(tables, SLOW)
    served = Predictor(one.loaded, one._reader._store, tables, log=log)
    at = datetime.now(UTC)
    answers = [
        served.predict(PredictionRequest(entity_id="c7", features={"spent": None})),
        served.predict(PredictionRequest(entity_id="c45", as_of_date=at)),
    ]
    assert log.flush() == 2
    rows = tables.read(TABLE).sort("predicted_at")
    assert rows["prediction_id"].to_list() == [a["prediction_id"] for a in answers]
    first, second = rows.to_dicts()
    assert json.loads(first["features"]) == {"calls": 8, "spent": None, "plan": "tin"}
    assert json.loads(first["statuses"]) == answers[0]["feature_statuses"]
    assert sorted(json.loads(first["looked_up"])) == ["calls", "plan"]
    assert (json.loads(first["given"]), json.loads(second["given"])) == ({"spent": None}, {})
    assert json.loads(first["entity_keys"]) == {"customer": "c7"}
    assert (first["predicted_value"], first["predicted_class"]) == (
        answers[0]["predicted_value"],
        str(answers[0]["predicted_class"]),
    )
    assert (first["as_of"], second["as_of"]) == (None, at)
    assert (first["model_name"], first["model_version"], first["run_id"]) == ("shop_dev.models.churn", 3, "run7")
    assert log.flush() == 0, "each once"
    assert tables.read(TABLE).height == 2


def test_several_values_are_named_and_one_is_a_number(lake: Lake) -> None:
    log = PredictionLog(lake, SLOW)
    log.add(logged(1, predicted_value={"day_1": 1.5, "day_2": 2.5}, predicted_class=None, confidence=None))
    log.add(logged(2, probabilities={"a": 0.25, "b": 0.75}, predicted_value=0.75, predicted_class="b"))
    log.flush()
    several, one = lake.read(TABLE).sort("prediction_id").to_dicts()
    assert (several["predicted_value"], several["predicted_class"]) == (None, None)
    assert json.loads(several["predicted_values"]) == {"day_1": 1.5, "day_2": 2.5}
    assert (one["predicted_value"], json.loads(one["predicted_values"])) == (0.75, {"a": 0.25, "b": 0.75})


def test_enough_rows_or_seconds_write_by_themselves(lake: Lake) -> None:
    log = PredictionLog(lake, PredictionLogSettings(seconds=3600, rows=3))
    for number in range(3):
        log.add(logged(number))
    until(lambda: lake.exists(TABLE) and lake.read(TABLE).height == 3)
    quick = PredictionLog(lake, PredictionLogSettings(seconds=0.05))
    quick.add(logged(10))
    until(lambda: lake.read(TABLE).height == 4)
    quick.close()
    log.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.02)


def test_a_lake_that_is_away_costs_a_prediction_nothing(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    lake.root.parent.mkdir(parents=True, exist_ok=True)
    lake.root.write_text("no folder")
    log = PredictionLog(lake, PredictionLogSettings(seconds=3600, most=5))
    began = time.perf_counter()
    for number in range(8):
        log.add(logged(number))
    assert time.perf_counter() - began < 0.1
    assert log.flush() == 0
    assert "wait to be logged" in caplog.text
    assert log.lost == 3, "the oldest go where there is no more room"
    lake.root.unlink()
    assert log.flush() == 5
    assert sorted(lake.read(TABLE)["prediction_id"]) == [f"pred_{n}" for n in range(3, 8)]


def test_threads_and_writers_lose_nothing_and_write_nothing_twice(lake: Lake) -> None:
    logs = [PredictionLog(lake, PredictionLogSettings(seconds=0.02, rows=20)) for _ in range(2)]

    def ask(log: PredictionLog, start: int) -> None:
        for number in range(start, start + 150):
            log.add(logged(number))
            time.sleep(0.0005)

    threads = [threading.Thread(target=ask, args=(logs[i % 2], i * 150)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for log in logs:
        log.close()
    rows = lake.read(TABLE)
    assert sorted(rows["prediction_id"]) == sorted(f"pred_{n}" for n in range(600))


def test_many_small_commits_leave_few_files(lake: Lake) -> None:
    log = PredictionLog(lake, SLOW)
    for number in range(40):
        log.add(logged(number))
        log.flush()
    files = lake._open(TABLE).file_uris()
    assert len(files) <= 17
    assert lake.read(TABLE).height == 40


ENDING = """
from karat.inference.prediction_log import open_log
from karat.settings import Settings
import sys
sys.path.insert(0, {folder!r})
from test_prediction_log import logged
log = open_log(Settings())
for number in range(10):
    log.add(logged(number))
"""


def test_what_waits_is_written_when_the_process_ends(settings: Settings, lake: Lake) -> None:
    code = ENDING.format(folder=os.path.dirname(__file__))
    environment = {**os.environ, **settings.as_environment(), "PYTHONPATH": os.getcwd()}
    warm.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
    assert lake.read(TABLE).height == 10


def test_it_can_be_switched_off_and_is_one_per_process(settings: Settings, monkeypatch) -> None:
    assert open_log(settings) is open_log(settings)
    close_logs()
    monkeypatch.setenv("KARAT_PREDICTION_LOG__ENABLED", "false")
    assert open_log(Settings(home=settings.home)) is None


def test_the_table_is_described(lake: Lake) -> None:
    log = PredictionLog(lake, SLOW)
    log.add(logged(1))
    log.flush()
    info = lake.info(TABLE)
    assert info.primary_key == ("prediction_id",)
    assert info.partition_by == ("_day",)
    assert all(info.comments.values())
    assert lake.read(TABLE).schema["predicted_at"] == pl.Datetime("us", "UTC")
