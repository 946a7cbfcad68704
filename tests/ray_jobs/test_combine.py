"""The step that makes a batch table: what it says to the flow. The table itself: tests/karat/inference."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from infra.code import ROOT
from karat.declare import Project, load_project
from karat.features.schema import feature_schema
from karat.lake import Lake
from karat.settings import Settings
from ray_jobs.steps.combine import step

MOMENT = datetime(2026, 3, 1, 5, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """As a worker on the cluster reads them."""
    monkeypatch.setenv("KARAT_HOME", str(tmp_path))
    monkeypatch.setenv("KARAT_PROJECTS", str(ROOT / "projects"))
    return Settings()


def predicted(project: Project, lake: Lake, model: str, **answer: float | bool) -> None:
    key = {"equipment_id": "unit_01", "timestamp_key": MOMENT, "reading_id": 7}
    row = pl.DataFrame(key | answer | {"model_version": 2, "run_id": f"run of {model}", "scored_at": MOMENT})
    row = row.with_columns(pl.col("timestamp_key", "scored_at").dt.cast_time_unit("us"))
    lake.create(
        project.prediction_name(model), row.to_arrow().schema, primary_key=list(key), timeseries="timestamp_key"
    )
    lake.merge(project.prediction_name(model), row)


def test_it_waits_then_writes_then_keeps(settings: Settings) -> None:
    project, lake = load_project("hydroponics", settings), Lake(settings.lake, settings.environment)
    waiting = step("hydroponics", "batch_predictions")
    assert (waiting.state, waiting.error) == ("skipped", None)
    assert waiting.summary == (
        "waits for the predictions of lstm_forecast, gru_forecast, lightgbm_regressor, lightgbm_classifier"
    )
    table = project.tables["sensor_features"]
    schema = feature_schema(table, project.gold[table.source])
    lake.create(project.table_name(table.name), schema, primary_key=table.primary_key, timeseries=table.time)
    for value, model in enumerate(("lstm_forecast", "gru_forecast", "lightgbm_regressor")):
        predicted(project, lake, model, prediction=6.0 + value)
    predicted(project, lake, "lightgbm_classifier", prediction=True, probability=0.8)
    done = step("hydroponics", "batch_predictions")
    assert (done.state, done.rows) == ("done", 1)
    rows = lake.read(project.prediction_name("batch_predictions"))
    assert rows["ensemble_avg"].to_list() == [7.0]
    assert rows["gru_forecast_run_id"].to_list() == ["run of gru_forecast"]
    assert rows["inference_timestamp"].to_list() == [MOMENT]
    assert step("hydroponics", "batch_predictions").state == "kept"
