"""The hydroponics project on its sample: the planted truth, features by hand, sequences, models that gain."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from karat.declare import Project
from karat.declare.declared_model import DeclaredModel
from karat.features import compute_frame
from karat.quality import check
from karat.training.oracle import oracle_predictions
from karat.training.split import split_rows
from karat.training_sets.labels import label_spine
from karat.training_sets.lookups import declared_lookups
from karat.training_sets.training_set import create_training_set
from tests.projects.conftest import END, Bench

SCALE, HOUR = 0.22, timedelta(hours=1)
#: A network that is fitted in a second.
SMALL = {"hidden_size": 8, "num_layers": 1, "epochs": 1, "batch_size": 128, "learning_rate": 0.004}


@pytest.fixture(scope="module")
def rows(hydroponics: Project) -> pl.DataFrame:
    """Readings of four units with their hidden states: ``late`` and what the truth knows."""
    return sys.modules["karat_projects.hydroponics.gold._readings"].history(SCALE, 0, END)


@pytest.fixture(scope="module")
def bench(sampled: Callable[..., Bench]) -> Bench:
    return sampled("hydroponics", scale=SCALE)


def test_the_sample_keeps_its_contract_and_its_past(bench: Bench, hydroponics: Project, rows: pl.DataFrame) -> None:
    assert hydroponics.sample is not None
    assert bench.gold("iot_data").sort("reading_id").equals(rows.select(*hydroponics.gold["iot_data"].columns))
    later = hydroponics.sample(scale=SCALE, seed=0, end=END + timedelta(days=3))
    assert set(later) == set(hydroponics.gold)
    for name, frame in later.items():
        assert check(frame, hydroponics.gold[name]).reasons == {}, name
    for name in ("iot_data", "sensor_truth"):
        before = rows.select(later[name].columns)
        both = before.join(later[name], on="reading_id", suffix="_later")
        first = later[name]["timestamp_key"].min()
        assert both.height == before.filter(pl.col("timestamp_key") >= first).height
        values = [c for c in before.columns if c not in ("reading_id", "is_env_optimal")]
        assert both.select(values).equals(both.select(pl.col(f"{c}_later").alias(c) for c in values))
    verdicts = rows.drop_nulls("is_env_optimal").join(later["iot_data"], on="reading_id", suffix="_later")
    assert (verdicts["is_env_optimal"] == verdicts["is_env_optimal_later"]).all()


def test_readings_are_as_real_ones_are(rows: pl.DataFrame) -> None:
    day = pl.col("timestamp_key").dt.date()
    assert rows.filter(day == END)["late"].max() == 0
    assert 1 <= rows["late"].max() <= 2
    assert rows.filter(day == END)["is_env_optimal"].is_null().all()
    assert rows.filter(day < END)["is_env_optimal"].null_count() == 0
    assert 0 < rows["ph_level"].null_count() < 0.01 * rows.height
    apart = rows.sort("timestamp_key").select(pl.col("timestamp_key").diff().over("equipment_id")).to_series()
    assert (apart > HOUR).sum() > 20  # stations offline, fallow weeks
    assert apart.max() > timedelta(days=1)


def test_the_truth_is_what_is_to_be_expected(rows: pl.DataFrame) -> None:
    ahead = rows.select("equipment_id", pl.col("timestamp_key"), pl.col("ph_level").alias("then"))
    for hours in (1, 6):
        at = rows.with_columns(pl.col("timestamp_key") + hours * HOUR, now="ph_level")
        both = at.join(ahead, on=["equipment_id", "timestamp_key"]).drop_nulls(["then", "now"])
        off = both["then"] - both[f"ph_{hours}h"]
        assert abs(off.mean()) < 0.01
        assert off.std() < 0.75 * (both["then"] - both["now"]).std()
    told = rows.drop_nulls("is_env_optimal").with_columns(tenth=(pl.col("optimal_probability") * 10).floor())
    shares = told.group_by("tenth").agg(pl.len(), pl.col("optimal_probability", "is_env_optimal").mean())
    for _, number, expected, found in shares.filter(pl.col("len") > 150).iter_rows():
        assert found == pytest.approx(expected, abs=4 * np.sqrt(0.25 / number))


def test_the_doser_keeps_ph_down_and_without_acid_it_climbs(rows: pl.DataFrame) -> None:
    usual, empty = (rows.filter(pl.col("acid_empty") == e)["ph"] for e in (False, True))
    assert 5.5 < usual.median() < 6.5
    assert empty.quantile(0.9) > usual.quantile(0.9) + 0.3


def test_features_of_a_unit_by_hand(hydroponics: Project) -> None:
    """Ten readings an hour apart, but for the sixth hour, in which there was none."""
    begin = datetime(2026, 3, 1, 20, tzinfo=UTC)
    hours = [h for h in range(10) if h != 5]
    names = hydroponics.gold["iot_data"].columns
    gold = pl.DataFrame(
        {
            "reading_id": hours,
            "timestamp_key": [begin + h * HOUR for h in hours],
            "equipment_id": ["unit_01"] * 9,
            "ph_level": [6.0, 6.1, 6.3, 6.2, None, 5.9, 6.0, 6.4, 6.5],
            "tds_level": [900.0 + h for h in hours],
            "water_temperature": [20.0] * 9,
            "air_temperature": [22.5] * 9,
        }
    ).with_columns(pl.lit(None).cast(pl.Boolean if c == "is_env_optimal" else pl.Float64).alias(c) for c in
                   ("water_level", "humidity", "is_env_optimal"))  # fmt: skip
    table = hydroponics.tables["sensor_features"]
    found = compute_frame(table, gold.select(*names), source=hydroponics.gold["iot_data"]).sort("timestamp_key")
    of = dict(zip(hours, found.rows(named=True), strict=True))
    assert [of[h]["ph_level_lag_1h"] for h in hours] == [None, 6.0, 6.1, 6.3, 6.2, None, 5.9, 6.0, 6.4]
    assert (of[6]["ph_level_lag_4h"], of[9]["ph_level_lag_6h"], of[9]["ph_level_lag_4h"]) == (6.3, 6.2, None)
    assert of[3]["ph_level_change_1h"] == pytest.approx(-0.1)
    # As six hours before: 6.2 became nothing that is known; five hours before that, 6.1 became 6.3.
    assert of[7]["ph_level_as_6h_ago"] == pytest.approx(6.0 + 6.3 - 6.1)
    assert of[9]["ph_level_mean_6h"] == pytest.approx((5.9 + 6.0 + 6.4 + 6.5) / 4)
    assert (of[9]["readings_24h"], of[9]["ph_level_min_24h"], of[9]["ph_level_max_24h"]) == (9, 5.9, 6.5)
    assert of[9]["temperature_difference"] == 2.5
    assert [of[h]["hour"] for h in (0, 3, 4, 9)] == [20, 23, 0, 5]
    assert of[4]["hour_sin"] == pytest.approx(0)
    assert of[4]["hour_cos"] == pytest.approx(1)


def test_sequences_cross_neither_units_nor_gaps(bench: Bench) -> None:
    project, spec = bench.project, bench.project.models["lstm_forecast"]
    spine = label_spine(DeclaredModel(project, spec), bench.lake).filter(pl.col("timestamp_key").dt.day() == 7)
    made = create_training_set(
        bench.lake,
        spine,
        declared_lookups(DeclaredModel(project, spec)),
        "ph_level_ahead",
        exclude_columns=["reading_id"],
    ).data
    readings = {
        (unit, at): ph
        for unit, at, ph in bench.gold("iot_data").select("equipment_id", "timestamp_key", "ph_level").iter_rows()
    }
    short = 0
    columns = ("equipment_id", "timestamp_key", "ph_level", "sensor_features__mask", "ph_level_ahead")
    for unit, at, values, mask, ahead in made.select(*columns).iter_rows():
        wanted: list[float | None] = []
        while len(wanted) < 24 and (unit, at - len(wanted) * HOUR) in readings:
            wanted.append(readings[unit, at - len(wanted) * HOUR])
        short += len(wanted) < 24
        assert list(mask) == [False] * (24 - len(wanted)) + [True] * len(wanted)
        assert list(values) == [None] * (24 - len(wanted)) + wanted[::-1]
        assert list(ahead.values()) == [readings[unit, at + h * HOUR] for h in range(1, 7)]
    assert 0 < short < made.height / 2


def test_the_forecasts_do_not_see_what_they_foretell(bench: Bench) -> None:
    """The gap between what is learned from and the test is as long as a forecast."""
    spec = bench.project.models["gru_forecast"]
    spine = label_spine(DeclaredModel(bench.project, spec), bench.lake)
    part = split_rows(spine, spec, time="timestamp_key", entity=["equipment_id"])
    learned, test = (spine.filter(part == p)["timestamp_key"] for p in ("train", "test"))
    assert learned.max() + 6 * HOUR <= test.min()
    assert (part == "gap").any()


@pytest.mark.parametrize(("model", "better"), [("lightgbm_regressor", -1), ("lightgbm_classifier", 1)])
def test_trees_gain_and_are_not_perfect(bench: Bench, model: str, better: int) -> None:
    trained = bench.train(model)
    metric = trained.spec.primary_metric
    assert better * (trained.metrics[metric] - trained.baseline[metric]) > 0.1 * trained.baseline[metric]
    assert trained.metrics.get("roc_auc", 0) < 0.97
    assert trained.metrics.get("r2", 0) < 0.99
    assert not {"is_env_optimal", "ph_level_next", "reading_id", "timestamp_key"} & set(trained.model.feature_names)


def test_a_small_network_beats_persistence_and_the_truth_stands_beside_it(bench: Bench) -> None:
    """Of one narrow layer and one pass, so that the test is quick."""
    spec = bench.project.models["lstm_forecast"]
    small = spec.model_copy(update={"parameters": spec.parameters | SMALL})
    trained = Bench(replace(bench.project, models={small.name: small}), bench.lake).train(small.name)
    assert trained.baseline_name == "ph_level"
    assert trained.test_predictions.shape[1] == 6
    assert trained.metrics["rmse"] < 0.9 * trained.baseline["rmse"]
    assert trained.metrics["r2"] < 0.99


def test_the_truth_of_an_event_is_that_of_its_own_row(bench: Bench) -> None:
    project, spec = bench.project, bench.project.models["gru_forecast"]
    spine = label_spine(DeclaredModel(project, spec), bench.lake).head(500)
    found = oracle_predictions(DeclaredModel(project, spec), bench.lake, spine)
    steps = [f"ph_{h}h" for h in range(1, 7)]
    own = spine.join(bench.gold("sensor_truth"), on="reading_id", how="left", maintain_order="left").select(steps)
    assert found is not None
    assert found.to_list() == [list(row) for row in own.iter_rows()]


def test_document_001_finds_its_names(hydroponics: Project) -> None:
    assert set(hydroponics.models) == {"lstm_forecast", "gru_forecast", "lightgbm_classifier", "lightgbm_regressor"}
    table = hydroponics.spec.batch_tables["batch_predictions"]
    assert {"lstm_prediction", "gru_prediction", "lightgbm_prediction", "ensemble_avg"} <= set(table.own_columns)
    assert table.timestamp == "inference_timestamp"
    assert table.features == "sensor_features"
    assert table.averages["ensemble_avg"] == ("lstm_prediction", "gru_prediction", "lightgbm_prediction")
    labels = {m.name: m.labelled for m in hydroponics.models.values()}
    # What is averaged answers the same question.
    assert labels["lightgbm_regressor"].expression == labels["lstm_forecast"].expression == "avg(ph_level)"
    assert labels["lightgbm_regressor"].horizon == labels["gru_forecast"].horizon == HOUR
