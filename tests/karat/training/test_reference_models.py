"""Kinds that read sequences, on series with gaps and changes of regime: held against persistence and a linear model on
the same rows."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import root_mean_squared_error

from karat import FeatureLookup
from karat.declare import ModelSpec
from karat.declare.models import Baseline
from karat.kinds import Model
from karat.lake import Lake
from karat.names import TableName
from karat.training.fitted_evaluation import TrainingResult
from karat.training.oracle import ORACLE_COLUMN
from karat.training.reference_models import reference_models
from karat.training.significance import gain_significance
from karat.training.train import train
from karat.training_sets.training_set import create_training_set

TABLE = TableName("demo_dev", "features", "readings")
FEATURES = ["value", "phase", "readings__mask"]
UNITS, DAYS, STEPS, AHEAD = 40, 90, 8, 2
SMALL = {"hidden_size": 16, "num_layers": 1, "dropout": 0.0, "learning_rate": 0.01, "batch_size": 64, "epochs": 8}


def series(lake: Lake, *, walk: bool = False, seed: int = 0) -> pl.DataFrame:
    """Per unit and measured day the last ``STEPS`` values as the lake gives them (a day that was never measured ends
    the sequence, in front of it all is null), and what follows.

    A level that jumps now and then (a change of regime), a weekly course and noise; or (``walk``) a random walk, of
    which nothing is known but where it is. One day in fifteen was never measured, and of one value in twenty only that
    there was one. The truth knows the level of the last day and the weekly course, but no jump that is to come.
    """
    random, shape = np.random.default_rng(seed), (UNITS, DAYS)
    moves = random.normal(size=shape) if walk else 4 * random.normal(size=shape) * (random.random(shape) < 0.01)
    level = 3 * random.normal(size=(UNITS, 1)) + np.cumsum(moves, axis=1)
    weekly = np.zeros(DAYS) if walk else 2 * np.sin(2 * np.pi * np.arange(DAYS) / 7)
    values = level + weekly + (0 if walk else 0.4) * random.normal(size=shape)
    unit, day = np.nonzero(random.random(shape) > 1 / 15)
    dates = pl.Series("day", [date(2026, 1, 1) + timedelta(days=int(d)) for d in day])
    seen = pl.Series("value", values[unit, day]).set(pl.Series(random.random(len(unit)) < 0.05), None)
    measured = pl.DataFrame([pl.Series("unit", unit), dates, seen]).with_columns(phase=np.sin(2 * np.pi * day / 7))
    fields = [pa.field("unit", pa.int64(), nullable=False), pa.field("day", pa.date32(), nullable=False)]
    fields += [("value", pa.float64()), ("phase", pa.float64())]
    lake.create(TABLE, pa.schema(fields), primary_key=["unit", "day"], timeseries="day", lag=timedelta(0))
    lake.overwrite(TABLE, measured)
    after = np.minimum(day[:, None] + np.arange(1, AHEAD + 1), DAYS - 1)
    ahead = pl.DataFrame(values[unit[:, None], after], schema=[f"step_{k + 1}" for k in range(AHEAD)])
    spine = measured.select("unit", "day").with_columns(
        *ahead, ahead.to_struct("ahead"), pl.Series(ORACLE_COLUMN, (level[unit, day][:, None] + weekly[after]).tolist())
    )
    lookup = FeatureLookup(str(TABLE), None, "unit", "day", sequence_length=STEPS, step=timedelta(days=1))
    return create_training_set(lake, spine.filter(day < DAYS - AHEAD), [lookup], "ahead").data


def spec_of(kind: str, task: str = "forecast", **more) -> ModelSpec:
    label = {"name": "ahead", "source": "g", "expression": "1", "horizon": "1d"}
    label |= {"steps": AHEAD} if task == "forecast" else {}
    fields = {"name": "m", "description": "d", "task": task, "kind": kind, "label": label, "minimum_rows": 50}
    return ModelSpec(**fields | {"lookups": [{"table": "t", "sequence_length": STEPS}], "parameters": SMALL} | more)


def split_of(frame: pl.DataFrame) -> pl.Series:
    return pl.Series("split", ["test" if d > date(2026, 3, 12) else "train" for d in frame["day"]])


def assert_same_persistence(trained: TrainingResult) -> None:
    """Persistence and the baseline of the same feature are judged on the rows that have a value, and say how many."""
    persistence, known = trained.reference_models["persistence"], trained.baseline_known
    assert known is not None
    assert 0 < known.sum() < len(known)
    assert trained.baseline["rows"] == known.sum()
    np.testing.assert_array_equal(persistence.prediction, trained.baseline_predictions)
    assert persistence.metrics == trained.baseline
    np.testing.assert_array_equal(persistence.known, known)
    assert any(f"has no value in {(~known).sum()} of {len(known)} test rows" in line for line in trained.warnings)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_network_is_held_against_persistence_and_a_linear_model(kind, lake):
    frame = series(lake)
    assert 0.2 < frame["value"].arr.to_list().list.drop_nulls().list.len().lt(STEPS).mean() < 0.8
    truth = {"source": "g", "expressions": {"step_1": "1", "step_2": "1"}}
    spec = spec_of(kind, baseline={"strategy": "feature", "feature": "value"}, truth=truth)
    trained = train(spec, frame, features=FEATURES, label="ahead", split=split_of(frame), time="day")
    assert set(trained.reference_models) == {"persistence", "linear"}
    found = gain_significance(trained, entity=["unit"], time="day")
    assert found is not None
    assert_same_persistence(trained)
    assert found.reference_models["persistence"].value == pytest.approx(found.gain.value)
    assert found.gain.is_positive
    assert found.reference_models["linear"].value < found.gain.value  # which is the harder rival
    assert found.attained is not None
    assert 0.3 < found.attained.value < 1
    assert {"persistence_gain_low", "linear_gain_low"} <= set(found.as_metrics())
    lost = found.reference_models["linear"].value <= 0
    assert any("no better than a linear model of the same values" in why for why in found.shortfall) is lost


def test_the_linear_model_is_a_regression_on_every_step(lake):
    """Where the last step before is carried on into a gap, and a column says that it was one."""
    frame = series(lake)
    spec, cut = spec_of("gru", task="regression"), len(frame) // 2
    X, y = frame.select("value"), frame["step_1"]
    model = Model("gru", "regression", {**SMALL, "epochs": 1}).fit(X[:cut], y[:cut])
    found = reference_models(spec, model, (X[:cut], y[:cut]), (X[cut:], y[cut:]))
    steps = pd.DataFrame(frame["value"].to_numpy())
    columns = np.hstack([steps.ffill(axis=1).bfill(axis=1).fillna(0), steps.isna()])
    known = ~np.isnan(columns).any(axis=1)
    answer = Ridge(alpha=1e-3).fit(columns[:cut][known[:cut]], y.to_numpy()[:cut][known[:cut]]).predict(columns[cut:])
    assert found["linear"].metrics["rmse"] == pytest.approx(root_mean_squared_error(y[cut:], answer), rel=0.01)
    last = steps.ffill(axis=1).iloc[cut:, -1].to_numpy()
    assert found["persistence"].prediction[~np.isnan(last)] == pytest.approx(last[~np.isnan(last)])
    assert found["persistence"].name == "the newest value"


def test_persistence_is_of_the_feature_that_stays_nearest_to_the_label(lake):
    frame = series(lake).with_columns(far=pl.col("value").arr.eval(pl.element() * 9), text=pl.lit("a"))
    spec, cut = spec_of("gru"), len(frame) // 2
    features = ["far", *FEATURES, "text"]
    learned, test = ((part.select(features), part["ahead"]) for part in (frame[:cut], frame[cut:]))
    model = Model("gru", "forecast", {**SMALL, "epochs": 1}).fit(*learned)
    found = reference_models(spec, model, learned, test)
    assert found["persistence"].name == "the newest value"
    assert np.isfinite(found["linear"].prediction).all()
    assert reference_models(spec.model_copy(update={"kind": "lightgbm"}), model, learned, test) == {}


def test_a_binary_model_has_a_linear_rival_and_persistence_where_it_is_named(lake):
    frame = series(lake)
    frame = frame.with_columns(rises=pl.col("step_1") > pl.col("value").arr.last().fill_null(0.0))
    parameters = {**SMALL, "epochs": 1}
    spec = spec_of("lstm", task="binary", parameters=parameters)
    trained = train(spec, frame, features=FEATURES, label="rises", split=split_of(frame), time="day")
    assert set(trained.reference_models) == {"linear"}
    assert 0.5 < trained.reference_models["linear"].metrics["roc_auc"] < 1
    named = spec.model_copy(update={"baseline": Baseline(strategy="feature", feature="value", scale=-1)})
    trained = train(named, frame, features=FEATURES, label="rises", split=split_of(frame), time="day")
    assert_same_persistence(trained)


def test_of_a_random_walk_nothing_beats_its_last_value(lake):
    """A network without its linear start that saw its rows once beats the mean by far, and loses to persistence."""
    frame = series(lake, walk=True)
    spec = spec_of("gru", parameters={**SMALL, "skip": False, "epochs": 1}, baseline={"strategy": "mean"})
    trained = train(spec, frame, features=["value"], label="ahead", split=split_of(frame), time="day")
    found = gain_significance(trained, entity=["unit"], time="day")
    assert found is not None
    assert found.gain.is_positive
    assert found.reference_models["persistence"].high < 0
    assert not found.meets_targets
    assert "It is no better than persistence on the same rows: its gain in rmse is -" in " ".join(found.shortfall)
