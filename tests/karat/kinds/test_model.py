"""Labels, classes, thresholds and files of a model, whatever its kind."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import xgboost

from karat.errors import DeclarationError, TrainingError, UntrustedModel, UnusableLabel
from karat.kinds import Model, check_declared, load_kind

X = pl.DataFrame({"a": np.linspace(-1, 1, 60), "b": np.arange(60) % 2})


def test_kinds_are_known_without_loading_a_library():
    code = (
        "import sys, karat.kinds as k; k.check_declared('xgboost', 'binary', {'max_depth': 3});"
        "print([m for m in ('sklearn', 'xgboost', 'skops', 'scipy', 'matplotlib') if m in sys.modules]);"
        # skops would import torch, at seconds and hundreds of megabytes for every process that serves a model.
        "k.load_kind('random_forest'); print('skops' in sys.modules);"
        "from karat.kinds._skops import skops_io; skops_io(); print('skops' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:3] == ["[]", "False", "True False"]


def test_an_unknown_kind_names_the_nearest():
    with pytest.raises(DeclarationError, match="there is no kind 'randomforest'") as caught:
        load_kind("randomforest")
    assert "Did you mean 'random_forest'?" in str(caught.value)


def test_all_errors_of_a_declaration_are_told_with_their_field():
    assert check_declared("xgbost", "binary", {}) == [(("kind",), "there is no kind 'xgbost'. Did you mean 'xgboost'?")]
    found = check_declared("xgboost", "anomaly", {"max_dept": 3, "learning_rate": "fast"})
    assert [field for field, _ in found] == [("task",), ("parameters", "max_dept"), ("parameters", "learning_rate")]
    assert "Did you mean 'max_depth'?" in found[1][1]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([False, True], [False, True]),
        ([1, 0], [0, 1]),
        ([1.0, 0.0], [0, 1]),
        (["Yes", "No"], ["No", "Yes"]),
        ([7, -2], [-2, 7]),
    ],
)
def test_classes_are_the_labels_values_in_order(labels, classes, tmp_path):
    y = pl.Series("y", labels * 30)
    model = Model("logistic_regression", "binary").fit(X, y)
    assert model.classes == classes
    model.save(tmp_path)
    loaded = Model.load(tmp_path)
    assert loaded.classes == classes
    assert [type(c) for c in loaded.classes] == [type(c) for c in classes]
    outputs = loaded.outputs(loaded.predict(X))
    # "b" tells the rows apart: the first label is that of b = 0.
    assert outputs["prediction"].tolist() == y.to_list()


@pytest.mark.parametrize(
    ("task", "labels", "says"),
    [
        ("binary", [1] * 60, "has 1 distinct values, but a binary model needs 2"),
        ("binary", [0, 1, 2] * 20, "has 3 distinct values"),
        ("binary", [0, 1, None] * 20, "null or not finite"),
        ("multiclass", [3] * 60, "needs 2 to 200"),
        ("regression", ["a", "b"] * 30, "is String, but a regression needs numbers"),
        ("regression", [1.0, float("inf")] * 30, "null or not finite"),
        ("regression", [1.0, float("nan")] * 30, "null or not finite"),
    ],
)
def test_a_label_that_cannot_be_learned_is_refused(task, labels, says):
    kind = "linear_regression" if task == "regression" else "logistic_regression"
    with pytest.raises(UnusableLabel, match=says):
        Model(kind, task).fit(X, pl.Series("y", labels))


def test_numbers_are_not_taken_for_classes():
    frame = pl.DataFrame({"a": range(500)})
    with pytest.raises(UnusableLabel, match="has 500 distinct values"):
        Model("xgboost", "multiclass").fit(frame, pl.Series("y", range(500)))


def test_the_threshold_decides_the_class():
    y = pl.Series("y", (X["a"] > 0.4).to_list())
    outputs = []
    for threshold in (0.01, 0.99):
        model = Model("logistic_regression", "binary", threshold=threshold).fit(X, y)
        outputs.append(model.outputs(model.predict(X)))
    assert outputs[0]["prediction"].sum() > y.sum() > outputs[1]["prediction"].sum()
    assert np.array_equal(outputs[0]["probability"], outputs[1]["probability"])


def test_contamination_sets_the_threshold_of_an_isolation_forest(tmp_path):
    model = Model("isolation_forest", "anomaly", {"contamination": 0.1}, threshold=0.9).fit(X)
    flagged = model.outputs(model.predict(X))["prediction"]
    assert 0.08 <= flagged.mean() <= 0.12
    model.save(tmp_path)
    assert Model.load(tmp_path).threshold == model.threshold != 0.9


def test_a_multiclass_model_names_a_probability_for_each_class():
    y = pl.Series("y", ["low", "mid", "high"] * 20)
    model = Model("random_forest", "multiclass").fit(X, y)
    outputs = model.outputs(model.predict(X))
    assert list(outputs) == ["prediction", "probability", "probability_high", "probability_low", "probability_mid"]
    assert np.array_equal(outputs["probability"], np.max([outputs[f"probability_{c}"] for c in model.classes], axis=0))


@pytest.mark.parametrize("kind", ["gradient_boosting", "logistic_regression", "random_forest", "xgboost"])
def test_two_classes_can_be_told_by_a_multiclass_model(kind):
    y = pl.Series("y", (X["a"] > 0).to_list())
    prediction = Model(kind, "multiclass").fit(X, y).predict(X)
    assert prediction.shape == (60, 2)
    np.testing.assert_allclose(prediction.sum(axis=1), 1)
    assert (prediction[-10:, 1] > 0.5).all()


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
def test_no_rows_give_no_predictions(task):
    y = {"regression": X["a"], "binary": X["b"], "multiclass": pl.Series("y", [0, 1, 2] * 20)}[task]
    model = Model("xgboost", task).fit(X, y)
    assert model.predict(X[:0]).shape == ((0, 3) if task == "multiclass" else (0,))
    assert len(model.outputs(model.predict(X[:0]))["prediction"]) == 0


def test_what_a_library_says_of_a_parameter_becomes_a_typed_error():
    with pytest.raises(TrainingError, match="learning_rate") as caught:
        Model("gradient_boosting", "regression", {"learning_rate": -1.0}).fit(X, X["a"])
    assert "learning_rate=-1.0" in caught.value.remedy
    with pytest.raises(TrainingError, match="XGBoost could not be trained") as caught:
        Model("xgboost", "regression", {"objective": "reg:nothing"}).fit(X, X["a"])
    assert "Stack trace" not in str(caught.value)


@pytest.mark.parametrize("change", [{"kind": "os"}, {"kind": None}, {"columns": [{"name": "a"}]}, {"classes": ...}])
def test_a_description_that_was_tampered_with_is_refused(change, tmp_path):
    Model("linear_regression", "regression").fit(X, X["a"]).save(tmp_path)
    described = json.loads((tmp_path / "model.json").read_text()) | change
    described = {k: v for k, v in described.items() if v is not ...}
    (tmp_path / "model.json").write_text(json.dumps(described))
    with pytest.raises(UntrustedModel):
        Model.load(tmp_path)


@pytest.mark.parametrize(
    ("tree", "field", "value"),
    [(0, "left_children", 10**8), (0, "left_children", 0), (1, "split_indices", 10**6), (0, "right_children", -5)],
)
def test_xgboost_trees_that_lead_astray_are_refused(tree, field, value, tmp_path):
    model = Model("xgboost", "regression").fit(X, X["a"])
    booster = model.kind._booster
    described = json.loads(booster.save_raw("json"))
    described["learner"]["gradient_booster"]["model"]["trees"][tree][field][0] = value
    astray = xgboost.Booster()
    astray.load_model(bytearray(json.dumps(described).encode()))
    model.kind._booster = astray
    model.save(tmp_path)
    with pytest.raises(UntrustedModel, match="points outside its nodes or features"):
        Model.load(tmp_path)


@pytest.mark.parametrize(("kind", "task"), [("random_forest", "regression"), ("isolation_forest", "anomaly")])
@pytest.mark.parametrize(("field", "value"), [("left_child", 10**6), ("right_child", 0), ("feature", 9)])
def test_forests_whose_trees_lead_astray_are_refused(kind, task, field, value, tmp_path):
    model = Model(kind, task).fit(X, X["a"])
    tree = model.kind._forest.estimators_[3].tree_
    state = tree.__getstate__()
    state["nodes"][field][0] = value
    tree.__setstate__(state)
    model.save(tmp_path)
    with pytest.raises(UntrustedModel, match="points outside its nodes or features"):
        Model.load(tmp_path)


@pytest.mark.parametrize(("field", "value"), [("left", 10**6), ("right", 0), ("feature_idx", 9)])
def test_boosted_trees_that_lead_astray_are_refused(field, value, tmp_path):
    model = Model("gradient_boosting", "regression").fit(X, X["a"])
    model.kind._estimator._predictors[2][0].nodes[field][0] = value
    model.save(tmp_path)
    with pytest.raises(UntrustedModel, match="points outside its nodes or features"):
        Model.load(tmp_path)


@pytest.mark.parametrize("kind", ["gradient_boosting", "linear_regression", "random_forest", "xgboost"])
def test_a_model_can_be_sent_to_another_process(kind):
    model = Model(kind, "regression").fit(X, X["a"])
    before = model.predict_row([0.5, 1])
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict_row([0.5, 1]), before)


def test_linear_kinds_predict_what_their_pipeline_does():
    random = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "far": 1e9 + random.normal(size=200),
            "holes": np.where(random.random(200) < 0.3, np.nan, random.normal(size=200)),
            "place": random.choice(["x", "y", "z"], 200),
        }
    ).with_columns(pl.when(pl.col("holes") > 1).then(None).otherwise("place").alias("place"))
    y = pl.Series("y", np.where(frame["place"].fill_null("x") == "y", 2.0, 0.0) + random.normal(size=200))
    model = Model("linear_regression", "regression").fit(frame, y)
    expected = model.kind._pipeline.predict(model.encoder.encode(frame))
    np.testing.assert_allclose(model.predict(frame), expected, rtol=1e-6)
    for task, label in (("binary", y > 1), ("multiclass", y.cut([0, 2]).cast(pl.String))):
        model = Model("logistic_regression", task).fit(frame, label)
        expected = model.kind._pipeline.predict_proba(model.encoder.encode(frame))
        expected = expected[:, 1] if task == "binary" else expected
        np.testing.assert_allclose(model.predict(frame), expected, rtol=1e-6)


def test_tree_kinds_predict_what_their_library_does():
    random = np.random.default_rng(0)
    frame = pl.DataFrame({"n": random.normal(size=300), "place": random.choice(["x", "y", "z"], 300)})
    frame = frame.with_columns(pl.when(pl.col("n") > 1).then(None).otherwise("place").alias("place"))
    y = pl.Series("y", frame["n"].to_numpy() + (frame["place"].fill_null("x") == "y").to_numpy() * 2)
    classes = y.cut([0, 1]).cast(pl.String)
    for kind, attribute in (("gradient_boosting", "_estimator"), ("random_forest", "_forest")):
        model = Model(kind, "regression").fit(frame, y)
        X = model.encoder.encode(frame)
        assert np.array_equal(model.predict(frame), getattr(model.kind, attribute).predict(X))
        model = Model(kind, "multiclass").fit(frame, classes)
        assert np.array_equal(model.predict(frame), getattr(model.kind, attribute).predict_proba(X))
    model = Model("isolation_forest", "anomaly", {"max_features": 0.5}).fit(frame)
    expected = -model.kind._forest.score_samples(model.kind._numbers(X))
    np.testing.assert_allclose(model.predict(frame), expected, rtol=1e-12)
