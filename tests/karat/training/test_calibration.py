"""Calibration and prediction intervals: fitted on rows apart, stored as plain numbers, applied alike everywhere."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from karat.declare import ModelSpec
from karat.errors import TooFewRows
from karat.inference.answer import outcome
from karat.kinds import Calibrator, ConformalInterval, Model
from karat.training.fitted_evaluation import TrainingResult
from karat.training.plots import save_plots
from karat.training.train import train
from tests.profiles import examples

DAY = date(2026, 1, 1)


def spec_of(task: str, kind: str, **more: object) -> ModelSpec:
    label = {"source": "g", "expression": "y", "name": "y"} | more.pop("label", {})  # type: ignore[operator]
    fields = {"name": "m", "description": "d", "task": task, "kind": kind, "label": label, "minimum_rows": 10}
    return ModelSpec(**fields | {"lookups": [{"table": "t"}]} | more)


def rows(n: int = 3000) -> pl.DataFrame:
    """A binary label, and a number whose scatter grows with it."""
    random = np.random.default_rng(0)
    x, z = random.random(n), random.random(n)
    yes = random.random(n) < 1 / (1 + np.exp(-(3 * x - 1.5)))
    value = 10 * x + random.normal(0, 0.2 + 2 * x)
    day = [DAY + timedelta(days=int(i * 100 / n)) for i in range(n)]
    return pl.DataFrame({"id": np.arange(n), "day": day, "x": x, "z": z, "yes": yes.astype(int), "value": value})


def trained(spec: ModelSpec, frame: pl.DataFrame, label: str) -> TrainingResult:
    split = pl.Series(["train" if i < 0.8 * frame.height else "test" for i in range(frame.height)])
    return train(spec, frame, features=["x", "z"], label=label, split=split, time="day", entity=("id",))


@pytest.fixture(scope="module")
def overfitted() -> dict[str, TrainingResult]:
    """A forest of deep trees says 0 and 1 far too often."""
    parameters = {"n_estimators": 20, "min_samples_leaf": 1}
    made = {}
    for how in ("none", "isotonic", "platt"):
        spec = spec_of("binary", "random_forest", parameters=parameters, calibration=how, label={"expression": "yes"})
        made[how] = trained(spec, rows(), "yes")
    return made


@pytest.mark.parametrize("how", ["isotonic", "platt"])
def test_calibrated_probabilities_come_true_more_often(overfitted: dict[str, TrainingResult], how: str) -> None:
    plain, calibrated = overfitted["none"].calibration, overfitted[how].calibration
    assert plain is not None
    assert calibrated is not None
    assert calibrated.before is not None
    assert calibrated.brier < 0.95 * calibrated.before
    assert calibrated.expected_error < plain.expected_error / 2
    # The last fifth of the training days calibrates, and no row is used twice.
    counts = overfitted[how].rows
    assert (counts["train"], counts["calibration"], counts["test"]) == (1920, 480, 600)
    assert calibrated.as_metrics().keys() > plain.as_metrics().keys()


@pytest.mark.parametrize("how", ["isotonic", "platt"])
def test_a_saved_calibration_is_plain_json_and_applies_to_rows_and_frames_alike(
    overfitted: dict[str, TrainingResult], how: str, tmp_path: Path
) -> None:
    model = overfitted[how].model
    model.save(tmp_path)
    again, frame = Model.load(tmp_path), rows(40).select("x", "z")
    many = model.predict(frame)
    assert again.predict(frame).tolist() == many.tolist()
    assert [again.predict_row(row).item() for row in frame.rows()] == many.tolist()
    described = json.loads((tmp_path / "model.json").read_text())["calibrator"]
    assert described["method"] == how
    assert not list(tmp_path.glob("*.pkl"))


def test_isotonic_is_scikit_learns() -> None:
    random = np.random.default_rng(1)
    score = random.random(500)
    positive = random.random(500) < score**2
    made = Calibrator.fit("isotonic", score, positive)
    told = IsotonicRegression(out_of_bounds="clip").fit(score, positive.astype(float))
    new = random.random(200)
    assert np.allclose(made.apply(new), told.predict(new))
    assert Calibrator.from_json(made.to_json()).apply(new).tolist() == made.apply(new).tolist()


def test_calibrated_classes_sum_to_one_even_where_all_are_denied() -> None:
    random = np.random.default_rng(2)
    chances = random.dirichlet([1, 1, 1], 300)
    truth = np.eye(3)[[random.choice(3, p=p) for p in chances]]
    for method in ("isotonic", "platt"):
        made = Calibrator.fit(method, chances, truth, sums_to_one=True).apply(random.dirichlet([1, 1, 1], 50))
        assert np.allclose(made.sum(axis=1), 1)
    denied = Calibrator.fit("isotonic", np.array([[0.9, 0.1], [0.1, 0.9]]), np.zeros((2, 2)), sums_to_one=True)
    assert denied.apply(np.array([[0.5, 0.5]])).tolist() == [[0.5, 0.5]]


@settings(max_examples=examples(20), deadline=None)
@given(st.integers(20, 200), st.sampled_from([0.5, 0.8, 0.9]), st.integers(0, 1000))
def test_intervals_hold_at_least_the_declared_share_of_their_own_rows(n: int, coverage: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    prediction = random.normal(0, 1, n)
    y = prediction + random.standard_t(2, n)
    made = ConformalInterval.fit(coverage, prediction, y)
    assert made is not None
    low, high = made.ends(prediction)
    assert ((low <= y) & (y <= high)).mean() >= coverage
    assert ConformalInterval.from_json(made.to_json()) == made


def test_intervals_hold_new_rows_and_grow_where_the_scatter_does() -> None:
    spec = spec_of("regression", "xgboost", intervals={"coverage": 0.8}, parameters={"n_estimators": 30})
    result = trained(spec, rows(), "value")
    held = result.intervals
    assert held is not None
    assert abs(held.coverage - 0.8) < 0.05
    assert held.width < 0.8 * held.baseline_width
    outputs = result.model.outputs(result.test_predictions)
    assert list(outputs) == ["prediction", "prediction_low", "prediction_high"]
    width = outputs["prediction_high"] - outputs["prediction_low"]
    small, large = result.test["x"].to_numpy() < 0.2, result.test["x"].to_numpy() > 0.8
    assert width[large].mean() > 2 * width[small].mean()
    answer = outcome(result.model, result.test_predictions[:1])
    assert answer["interval"] == {
        "low": outputs["prediction_low"][0],
        "high": outputs["prediction_high"][0],
        "coverage": 0.8,
    }


def test_intervals_of_a_logarithm_are_in_its_unit_and_stay_above_its_least() -> None:
    random = np.random.default_rng(3)
    prediction = random.lognormal(0, 1, 300)
    y = prediction * random.lognormal(0, 0.3, 300)
    made = ConformalInterval.fit(0.9, prediction, y, transform="log")
    assert made is not None
    low, high = made.ends(np.array([1.0, 100.0, 0.0]))
    assert (low >= 0).all()
    assert high[1] / low[1] == pytest.approx(high[0] / low[0], rel=0.8)


def test_each_step_of_a_forecast_has_an_interval_of_its_own() -> None:
    random = np.random.default_rng(4)
    prediction = random.normal(0, 1, (200, 2))
    y = prediction + random.normal(0, [0.1, 5.0], (200, 2))
    made = ConformalInterval.fit(0.9, prediction, y)
    assert made is not None
    low, high = made.ends(prediction)
    near, far = (high - low).mean(axis=0)
    assert far > 20 * near


def test_too_few_rows_give_no_interval_and_say_so() -> None:
    assert ConformalInterval.fit(0.9, np.zeros(8), np.ones(8)) is None
    spec = spec_of("regression", "linear_regression", intervals={"coverage": 0.99}, calibration_share=0.1)
    result = trained(spec, rows(500), "value")
    assert result.intervals is None
    assert any("too few for intervals of 99%" in line for line in result.warnings)


def test_rows_that_cannot_be_divided_are_an_error() -> None:
    frame = rows(60).with_columns(day=pl.lit(DAY))
    with pytest.raises(TooFewRows, match="leave no rows to fit on"):
        trained(spec_of("binary", "logistic_regression", calibration="platt"), frame, "yes")


@pytest.mark.parametrize(
    ("task", "kind", "field"),
    [("regression", "xgboost", {"calibration": "platt"}), ("binary", "xgboost", {"intervals": {}})],
)
def test_each_is_for_its_own_tasks(task: str, kind: str, field: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"probabilities|numbers"):
        spec_of(task, kind, **field)


def test_intervals_are_drawn_over_time_and_bins_of_probabilities_against_what_came(
    overfitted: dict[str, TrainingResult], tmp_path: Path, pictures: None
) -> None:
    spec = spec_of("regression", "linear_regression", intervals={})
    frame = rows(600).with_columns(id=pl.int_range(pl.len()) % 7)
    numbers = {p.stem for p in save_plots(trained(spec, frame, "value"), tmp_path / "numbers")}
    assert {"predictions", "series"} <= numbers
    assert "calibration" in {p.stem for p in save_plots(overfitted["isotonic"], tmp_path / "chances")}
    assert all(p.stat().st_size > 5000 for p in tmp_path.rglob("*.png"))
