"""One suite over every kind and task: contributions add up to the prediction; trees' equal those of brute force."""

from __future__ import annotations

import pickle
import sys
from itertools import combinations
from math import comb

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax

from karat.errors import ExplanationFailed, MissingExtra
from karat.kinds import Calibrator, Contributions, Model, facts, names
from karat.kinds._contributions import LOGISTIC, PATH_DEPENDENT, SOFTMAX
from tests.contracts.tree_oracle import trees_of
from tests.profiles import examples

CASES = [(kind, task) for kind in names() for task in sorted(facts(kind).tasks)]
EVERY = pytest.mark.parametrize(("kind", "task"), CASES, ids=[f"{k}-{t}" for k, t in CASES])
TREES = [case for case in CASES if "forest" in case[0] or "boost" in case[0] or case[0] == "lightgbm"]
SLOW = settings(max_examples=examples(4), deadline=None, suppress_health_check=list(HealthCheck))
UNITS = {"regression": "value", "forecast": "value", "anomaly": "score", "clustering": "squared distance"}
SMALL = {
    "lstm": {"hidden_size": 4, "num_layers": 2, "epochs": 1, "sequence_length": 3},
    "gru": {"hidden_size": 4, "num_layers": 1, "epochs": 1},
    "kmeans": {"n_clusters": 3, "n_init": 1},
    "random_forest": {"n_estimators": 6},
    "isolation_forest": {"n_estimators": 6, "max_features": 0.7},
    "xgboost": {"n_estimators": 8, "max_depth": 4},
    "lightgbm": {"num_boost_round": 8, "min_data_in_leaf": 3},
    "gradient_boosting": {"max_iter": 8, "min_samples_leaf": 3},
}


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    """A small random table: numbers with missing values, texts with missing ones, an empty and a constant column."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, numbers = draw(st.integers(30, 70)), draw(st.integers(1, 4))
    missing, categories = draw(st.sampled_from([0.0, 0.2, 0.6])), draw(st.integers(1, 6))
    columns: dict[str, object] = {}
    for i in range(numbers):
        values = random.normal(size=rows) * 10.0 ** draw(st.integers(-3, 3))
        columns[f"n{i}"] = [None if gone else v for gone, v in zip(random.random(rows) < missing, values, strict=True)]
    texts = random.integers(0, categories, rows)
    columns["text"] = [None if gone else f"t{t}" for gone, t in zip(random.random(rows) < missing, texts, strict=True)]
    columns["empty"] = pl.Series([None] * rows, dtype=pl.Float64)
    columns["constant"] = [1.5] * rows
    return pl.DataFrame(columns)


def label(task: str, frame: pl.DataFrame) -> pl.Series | None:
    """A label that follows from the first number and the text, with some noise."""
    random = np.random.default_rng(1)
    first = frame["n0"].fill_null(0).to_numpy()
    value = first / max(first.std(), 1e-9) + (frame["text"] == "t1").fill_null(False).to_numpy() * 1.0
    value = value + random.normal(size=len(value)) * 0.3
    rank = value.argsort().argsort()
    if task == "regression":
        return pl.Series("y", value * 100)
    if task == "binary":
        return pl.Series("y", rank >= len(rank) // 2)
    if task == "multiclass":
        return pl.Series("y", np.array(["low", "middle", "high"])[rank * 3 // len(rank)])
    if task == "multilabel":
        return pl.DataFrame({"high": rank >= len(rank) // 2, "low": rank < len(rank) // 3}).to_struct("y")
    if task == "forecast":
        return pl.DataFrame({f"step_{i + 1}": value * (1 - i / 4) for i in range(3)}).to_struct("y")
    return None


def fitted(kind: str, task: str, frame: pl.DataFrame, **more: object) -> Model:
    return Model(kind, task, SMALL.get(kind), **more).fit(frame, label(task, frame))


def with_unseen(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows of the table, one without any value, one with an unseen text and numbers beyond those learned from."""
    nothing = frame.clear(1)
    strange = frame.head(1).with_columns(
        pl.lit("unseen").alias("text"), *[pl.lit(1e4).alias(c) for c in frame.columns if c.startswith("n")]
    )
    return pl.concat([frame.head(6), nothing, strange])


@EVERY
@SLOW
@given(frame=frames())
def test_contributions_add_up_to_the_prediction_in_its_unit(kind, task, frame):
    model, rows = fitted(kind, task, frame), with_unseen(frame)
    X = model.encoder.encode(rows)
    found = model.contributions(X)
    prediction = model.predict(rows).reshape(len(rows), -1)
    assert found.values.shape == (*prediction.shape, len(rows.columns))
    assert found.unit == UNITS.get(task, "probability")
    assert found.method
    assert np.isfinite(found.values).all()
    expected = model.kind.explained_output(X)
    if task != "clustering":
        np.testing.assert_array_equal(expected, prediction)
    np.testing.assert_allclose(found.base + found.values.sum(-1), expected, rtol=1e-6, atol=1e-12)
    # Before the last bits were closed: no larger gap hides in the base.
    raw = model.kind.contributions(X).through_link()
    scale = np.abs(raw.values).sum(-1) + np.abs(raw.base)
    assert (np.abs(raw.total - expected) <= 2e-6 * scale + 1e-12).all()


@EVERY
def test_a_row_is_explained_as_among_others_and_an_output_as_among_all(kind, task):
    frame = example_frame()
    model = fitted(kind, task, frame)
    X = model.encoder.encode(frame[:5])
    together = model.contributions(X)
    for i in range(5):
        alone = model.contributions(model.encoder.encode_row(frame.row(i)))
        np.testing.assert_allclose(alone.values[0], together.values[i], rtol=1e-6, atol=1e-9)
    last = together.values.shape[1] - 1
    np.testing.assert_allclose(
        model.contributions(X, outputs=[last]).values[:, 0], together.values[:, last], rtol=1e-6, atol=1e-9
    )


@EVERY
def test_what_says_nothing_contributes_nothing(kind, task):
    frame = example_frame()
    model = fitted(kind, task, frame)
    found = model.contributions(model.encoder.encode(frame[:5]))
    # To a recurrent network whether a number is missing is an input of its own.
    silent = ["constant"] if facts(kind).sequences else ["empty", "constant"]
    columns = [frame.columns.index(c) for c in silent]
    assert np.abs(found.values[..., columns]).max() <= 1e-7 * np.abs(found.values).max()


@pytest.mark.parametrize("reach", [1e-9, 0.5, 40.0, 3e3, 1e7])
def test_through_softmax_they_add_up_however_long_the_line(reach):
    random = np.random.default_rng(3)
    values = random.normal(size=(20, 5, 3)) * reach
    found = Contributions(values, random.normal(size=(20, 5)) * min(reach, 10), "some", "probability", SOFTMAX)
    made = found.through_link()
    rounding = 1e-9 + 1e-14 * reach
    np.testing.assert_allclose(made.total, softmax(found.total, axis=1), atol=rounding)
    np.testing.assert_allclose(made.values.sum(axis=1), 0, atol=rounding)  # probabilities add up to 1


def test_through_the_logistic_function_order_and_ratios_stay():
    found = Contributions(np.array([[[2.0, -1.0, 0.5]]]), np.array([[-0.5]]), "some", "probability", LOGISTIC)
    made = found.through_link()
    assert made.total[0, 0] == pytest.approx(expit(1.0), rel=1e-12)
    np.testing.assert_allclose(made.values[0, 0] / made.values[0, 0, 0], [1, -0.5, 0.25])
    still = Contributions(np.array([[[2.0, -2.0]]]), np.array([[0.3]]), "some", "probability", LOGISTIC).through_link()
    slope = expit(0.3) * (1 - expit(0.3))
    np.testing.assert_allclose(still.values[0, 0], [2 * slope, -2 * slope], rtol=1e-6)


def test_contributions_that_do_not_add_up_are_refused():
    found = Contributions(np.array([[[2.0, -1.0]]]), np.array([[0.5]]), "some", "value")
    assert found.closed(np.array([[1.5 + 1e-9]])).total[0, 0] == 1.5 + 1e-9
    with pytest.raises(ExplanationFailed, match="another value than the prediction"):
        found.closed(np.array([[1.6]]))


@EVERY
def test_a_loaded_model_explains_the_same(kind, task, tmp_path):
    frame = example_frame()
    model = fitted(kind, task, frame)
    model.save(tmp_path)
    X = model.encoder.encode(frame[:5])
    first, second = model.contributions(X), Model.load(tmp_path).contributions(X)
    np.testing.assert_allclose(second.values, first.values, rtol=1e-6, atol=1e-9)
    assert (second.unit, second.method) == (first.unit, first.method)


@pytest.mark.parametrize("method", ["isotonic", "platt"])
@pytest.mark.parametrize(("kind", "task"), [c for c in CASES if c[1] in ("binary", "multiclass", "multilabel")])
def test_of_a_calibrated_model_they_add_up_to_the_calibrated_probability(kind, task, method):
    frame = example_frame()
    model, y = fitted(kind, task, frame), label(task, frame)
    if task == "binary":
        positive = y.to_numpy()
    elif task == "multiclass":
        positive = y.to_numpy()[:, None] == np.array(["high", "low", "middle"])
    else:
        positive = y.struct.unnest().to_numpy()
    model.calibrator = Calibrator.fit(method, model.predict(frame), positive, sums_to_one=task == "multiclass")
    found = model.contributions(model.encoder.encode(frame))
    np.testing.assert_allclose(found.total, model.predict(frame).reshape(len(frame), -1), rtol=1e-6, atol=1e-12)
    assert "the calibration" in found.method
    last = model.contributions(model.encoder.encode(frame[:3]), outputs=[found.values.shape[1] - 1])
    np.testing.assert_allclose(last.values[:, 0], found.values[:3, -1], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("kind", "task"), TREES, ids=[f"{k}-{t}" for k, t in TREES])
def test_without_numba_a_library_explains_its_own_trees_alike_or_the_extra_is_named(kind, task, monkeypatch):
    frame = example_frame()
    model = fitted(kind, task, frame)
    X = model.encoder.encode(frame[:5])
    compiled = model.contributions(X)
    without = fitted(kind, task, frame)
    monkeypatch.delitem(sys.modules, "karat.kinds._tree_shap_kernel")
    monkeypatch.delattr("karat.kinds._tree_shap_kernel")
    monkeypatch.setitem(sys.modules, "numba", None)
    if kind in ("xgboost", "lightgbm"):
        np.testing.assert_allclose(without.contributions(X).values, compiled.values, rtol=1e-4, atol=1e-6)
    else:
        with pytest.raises(MissingExtra, match="optional extra 'explain'"):
            without.contributions(X)


def test_a_model_that_was_fitted_again_is_explained_anew():
    frame = example_frame()
    model = fitted("xgboost", "regression", frame)
    X = model.encoder.encode(frame[:5])
    first = model.contributions(X)
    model.fit(frame, label("regression", frame) * 3)
    assert np.abs(model.contributions(X).values).sum() > 2 * np.abs(first.values).sum()
    sent = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(sent.contributions(X).values, model.contributions(X).values)


@pytest.mark.parametrize("transform", ["log1p", "log"])
@pytest.mark.parametrize("kind", [k for k, t in CASES if t == "regression"])
def test_of_a_transformed_label_they_are_in_its_own_unit(kind, transform):
    frame = example_frame()
    y = pl.Series("y", np.exp(label("regression", frame).to_numpy() / 100))
    model = Model(kind, "regression", SMALL.get(kind), transform=transform).fit(frame, y)
    found = model.contributions(model.encoder.encode(frame))
    assert found.unit == "value"
    np.testing.assert_allclose(found.total[:, 0], model.predict(frame), rtol=1e-6)


def example_frame() -> pl.DataFrame:
    random = np.random.default_rng(4)
    n0, n1, text = random.normal(size=80), random.normal(size=80), random.integers(0, 4, 80)
    n1[random.random(80) < 0.3] = np.nan
    return pl.DataFrame(
        {
            "n0": n0,
            "n1": n1,
            "text": [None if t == 3 else f"t{t}" for t in text],
            "empty": pl.Series([None] * 80, dtype=pl.Float64),
            "constant": [1.5] * 80,
        }
    ).fill_nan(None)


def shapley(worth: dict[frozenset[int], np.ndarray], players: int) -> np.ndarray:
    """Shapley values from the value of every subset, by their definition: ``(outputs, players)``."""
    out = []
    for player in range(players):
        others = [p for p in range(players) if p != player]
        total = 0.0
        for size in range(players):
            for subset in map(frozenset, combinations(others, size)):
                gain = worth[subset | {player}] - worth[subset]
                total = total + gain / (players * comb(players - 1, size))
        out.append(total)
    return np.array(out).T


@pytest.mark.parametrize(("kind", "task"), TREES, ids=[f"{k}-{t}" for k, t in TREES])
@SLOW
@given(frame=frames())
def test_of_trees_they_are_the_shapley_values_by_brute_force(kind, task, frame):
    """Over all subsets of features, with the value function that Karat states, on trees read by another way."""
    model, rows = fitted(kind, task, frame), with_unseen(frame)[-4:]
    X = model.encoder.encode(rows)
    found = model.kind.contributions(X)
    assert found.method == PATH_DEPENDENT
    players = X.shape[1]
    subsets = [frozenset(s) for size in range(players + 1) for s in combinations(range(players), size)]
    value = trees_of(model.kind)
    for row in range(len(X)):
        worth = {subset: value(X[row], subset) for subset in subsets}
        expected = shapley(worth, players)
        scale = max(np.abs(v).max() for v in worth.values())
        np.testing.assert_allclose(found.values[row], expected, atol=5e-6 * scale)
        np.testing.assert_allclose(found.base[row], worth[frozenset()], atol=5e-6 * scale)
