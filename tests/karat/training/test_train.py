"""From rows to a judged model: what is learned, what is refused, what is told."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from matplotlib import pyplot

from karat.declare import ModelSpec
from karat.errors import (
    DeclarationError,
    EmptyTrainingSet,
    FeatureNotFound,
    LabelNotFound,
    LabelOverlapsFeatures,
    PerfectScore,
    TooFewRows,
    UnusableLabel,
)
from karat.training.evaluation import beats_baseline
from karat.training.fitted_evaluation import TrainingResult
from karat.training.plots import save_plots
from karat.training.synthetic_anomalies import plant_anomalies
from karat.training.train import train

ROWS = 600
FEATURES = ["signal", "noise", "place"]
KINDS = {
    "regression": "gradient_boosting",
    "binary": "logistic_regression",
    "multiclass": "xgboost",
    "anomaly": "isolation_forest",
}


def spec_of(task: str, **more) -> ModelSpec:
    label = {"source": "g", "expression": "1"}
    return ModelSpec(
        **{"name": "m", "description": "d", "task": task, "kind": KINDS[task], "label": label}
        | {"lookups": [{"table": "t"}], "minimum_rows": 100}
        | more
    )


def rows(seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    signal, place = random.normal(size=ROWS), random.choice(["north", "south"], ROWS)
    value = 2 * signal + (place == "south") + random.normal(size=ROWS) * 0.5
    return pl.DataFrame(
        {
            "signal": signal,
            "noise": random.normal(size=ROWS),
            "place": place,
            "regression": value,
            "binary": value > 1,
            "multiclass": np.array(["low", "mid", "high"])[np.digitize(value, [-1, 1])],
            "anomaly": (random.random(ROWS) < 0.05).astype(int),
        }
    )


def split_of(frame: pl.DataFrame) -> pl.Series:
    return pl.Series("split", ["test" if i % 4 == 0 else "train" for i in range(len(frame))])


def trained(task: str, frame: pl.DataFrame | None = None, *, label: str | None = "", **more) -> TrainingResult:
    frame = rows() if frame is None else frame
    label = (None if task == "anomaly" else task) if label == "" else label
    return train(spec_of(task, **more), frame, features=FEATURES, label=label, split=split_of(frame))


@pytest.mark.parametrize("task", list(KINDS))
def test_a_model_beats_its_baseline_on_the_same_rows(task):
    found = trained(task)
    assert beats_baseline(found.spec, found.metrics, found.baseline)
    assert found.rows == {"train": 450, "test": 150}
    assert len(found.test_predictions) == len(found.test_labels) == len(found.baseline_predictions) == 150
    assert set(found.metrics) == set(found.train_metrics) == set(found.baseline)
    assert list(found.test.columns) == found.model.feature_names == FEATURES
    assert np.array_equal(found.model.predict(found.test), found.test_predictions)
    assert list(found.importance.values()) == sorted(found.importance.values(), reverse=True)
    assert found.parameters["n_jobs"] == 1
    if task != "anomaly":
        assert next(iter(found.importance)) == "signal"
        assert sum(found.importance.values()) == pytest.approx(1)


@pytest.mark.parametrize("task", list(KINDS))
def test_of_very_many_rows_some_say_what_was_learned(task, monkeypatch):
    whole = trained(task)
    monkeypatch.setattr("karat.training.fitted_evaluation.MAX_TRAIN_METRIC_ROWS", 200)
    found = trained(task)
    assert found.rows == whole.rows
    assert (found.metrics, found.baseline) == (whole.metrics, whole.baseline)
    assert found.train_metrics != whole.train_metrics
    assert found.train_metrics == trained(task).train_metrics
    assert beats_baseline(found.spec, found.train_metrics, found.baseline)  # each row with its own label


@pytest.mark.parametrize("task", list(KINDS))
def test_nothing_of_the_test_rows_is_learned(task):
    frame = rows()
    test = split_of(frame) == "test"
    other = frame.with_columns(
        signal=pl.when(test).then(pl.col("signal") * 1e6).otherwise("signal"),
        noise=pl.when(test).then(None).otherwise("noise"),
        place=pl.when(test).then(pl.lit("elsewhere")).otherwise("place"),
    )
    assert np.array_equal(trained(task, other).model.predict(frame), trained(task).model.predict(frame))
    assert trained(task, other).model.encoder == trained(task).model.encoder


def test_a_detector_is_judged_by_labels_where_there_are_some():
    frame = rows().with_columns(pl.when(pl.col("anomaly") == 1).then(9.0).otherwise("signal").alias("signal"))
    found = trained("anomaly", frame, label="anomaly")
    assert not found.planted
    assert found.test_labels.to_list() == frame.filter(split_of(frame) == "test")["anomaly"].to_list()
    assert found.metrics["average_precision"] > 0.8
    assert found.baseline["average_precision"] == pytest.approx(found.test_labels.mean())


def test_a_detector_learns_from_rows_without_labels():
    known = pl.when(pl.int_range(pl.len()) % 8 == 0).then("anomaly")
    found = trained("anomaly", rows().with_columns(known.alias("anomaly")), label="anomaly")
    assert found.rows == {"train": 450, "test": 75}


def test_a_detector_without_labels_is_judged_by_planted_anomalies():
    found = trained("anomaly")
    assert found.planted
    expected, planted = plant_anomalies(rows().filter(split_of(rows()) == "test").select(FEATURES), seed=0)
    assert found.test.equals(expected)
    assert found.test_labels.to_list() == planted.to_list()
    assert found.baseline["average_precision"] == pytest.approx(planted.mean())


def test_labels_that_know_no_anomaly_are_replaced_by_planted_ones_with_a_warning():
    found = trained("anomaly", rows().with_columns(anomaly=pl.lit(0)), label="anomaly")
    assert found.planted
    assert "marks no anomaly" in found.warnings[0]


@pytest.mark.parametrize(
    ("values", "says"), [(["bad"] * ROWS, "it is String"), ([0, 1, 2] * (ROWS // 3), "such as 0, 1, 2")]
)
def test_a_detectors_label_is_0_or_1(values, says):
    with pytest.raises(UnusableLabel, match=says):
        trained("anomaly", rows().with_columns(anomaly=pl.Series(values)), label="anomaly")


def test_rows_without_a_label_are_left_out_and_counted():
    frame = rows().with_columns(pl.when(pl.int_range(pl.len()) % 3 > 0).then("regression").alias("regression"))
    found = trained("regression", frame)
    assert sum(found.rows.values()) == 400
    assert "200 of 600 rows have no label and were left out" in found.warnings


def test_odd_columns_are_told():
    frame = rows().with_columns(
        signal=pl.when(pl.int_range(pl.len()) % 30 == 1).then(float("inf")).otherwise("signal"),
        noise=pl.lit(3),
        place=pl.lit(None, dtype=pl.String),
    )
    found = trained("regression", frame)
    assert "feature 'signal' is infinite in 20 rows: they count as missing" in found.warnings
    assert "feature 'noise' is constant: 3 in every row" in found.warnings
    assert "feature 'place' is missing in every row" in found.warnings
    assert np.isfinite(found.test_predictions).all()


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_a_perfect_score_is_a_leak_and_names_the_feature(task):
    frame = rows().with_columns(noise=pl.col(task).rank("dense").cast(pl.Float64))
    with pytest.raises(PerfectScore, match=r"predict the label best on their own: 'noise' \(\w+ 1\)"):
        trained(task, frame, kind="random_forest")
    allowed = trained(task, frame, kind="random_forest", gates={"perfect": "warn"})
    assert "check whether a feature holds the label" in allowed.warnings[-1]
    assert not trained(task).warnings


def test_a_feature_that_makes_a_nearly_perfect_model_alone_is_told():
    """As a delay of a parcel does that is known once the parcel is late: now and then it says nothing."""
    random = np.random.default_rng(5)
    frame = rows().with_columns(binary=pl.Series(random.random(ROWS) + rows()["signal"].to_numpy() * 0.05 > 0.6))
    late = pl.col("binary") & pl.Series(random.random(ROWS) > 0.08)
    found = trained(
        "binary", frame.with_columns(noise=pl.when(late).then(9.0).otherwise(0.0)), kind="gradient_boosting"
    )
    assert 0.95 < found.metrics["roc_auc"] < 1
    (told,) = [w for w in found.warnings if "of the importance" in w]
    assert told.startswith("noise alone has ")
    assert "is it known when a prediction is asked for?" in told
    assert not [w for w in trained("binary", frame).warnings if "of the importance" in w]


def test_a_number_that_is_foretold_to_the_last_digits_is_a_leak():
    frame = rows().with_columns(noise=pl.col("regression") * 2 + 1)
    with pytest.raises(PerfectScore, match=r"\(r2 0.9999\d*\), which means leakage.*\n.*own: 'noise' \(r2 0.99"):
        trained("regression", frame, kind="linear_regression")


def test_a_text_label_says_which_class_is_positive():
    frame = rows().with_columns(binary=pl.when("binary").then(pl.lit("fraud")).otherwise(pl.lit("legit")))
    found = trained("binary", frame)
    assert found.model.classes == ["fraud", "legit"]
    assert "the positive class is 'legit'" in found.warnings[0]
    assert beats_baseline(found.spec, found.metrics, found.baseline)


def test_a_seed_gives_the_same_model_and_another_another():
    one, two, other = (trained("anomaly", seed=s).model.predict(rows()) for s in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_class_weights_and_threshold_reach_the_model():
    balanced = trained("binary", class_weight="balanced", threshold=0.3)
    assert balanced.model.kind.class_weight == "balanced"
    assert balanced.model.threshold == 0.3
    assert balanced.metrics["recall"] > trained("binary").metrics["recall"]


INFINITE = rows().with_columns(regression=pl.lit(float("inf")))


@pytest.mark.parametrize(
    ("task", "change", "error", "says"),
    [
        ("regression", {"regression": pl.lit(None, dtype=pl.Float64)}, UnusableLabel, "null in all 600 rows"),
        ("regression", {"regression": pl.lit(float("nan"))}, UnusableLabel, "null in all 600 rows"),
        ("regression", {"regression": pl.lit(float("inf"))}, UnusableLabel, "infinite in 600 rows"),
        ("regression", {"regression": pl.lit(4.0)}, UnusableLabel, "single value, 4.0, in all 450 training rows"),
        ("binary", {"binary": pl.lit(False)}, UnusableLabel, "single value, False, in all 450 training rows"),
        ("binary", {"binary": pl.int_range(pl.len()) % 4 == 0}, UnusableLabel, "False, in all 450 training rows"),
        ("binary", {"binary": pl.int_range(pl.len()) % 4 == 1}, UnusableLabel, "False, in all 150 test rows"),
    ],
)
def test_a_label_that_teaches_nothing_is_refused(task, change, error, says):
    with pytest.raises(error, match=says):
        trained(task, rows().with_columns(**change))


def test_a_class_that_no_test_row_has_is_named_where_the_metric_needs_it():
    """roc_auc holds each class against the rest; the others of a multi-class model do without."""
    rare = pl.when(pl.int_range(pl.len()) % 40 == 1).then(pl.lit("rare")).otherwise("multiclass")
    frame = rows().with_columns(multiclass=rare)
    with pytest.raises(UnusableLabel) as refused:
        trained("multiclass", frame, metric="roc_auc")
    assert "the class 'rare' of the training rows has none of the 150 test rows" in refused.value.what
    assert "metric: log_loss" in refused.value.remedy
    assert "roc_auc" not in trained("multiclass", frame).metrics
    assert trained("multiclass", metric="roc_auc").metrics["roc_auc"] > 0.8


def test_too_few_rows_are_refused_unless_allowed():
    with pytest.raises(TooFewRows, match="has 90 training and test rows, fewer than its minimum of 100"):
        trained("regression", rows()[:90])
    assert trained("regression", rows()[:90], minimum_rows=50).rows == {"train": 67, "test": 23}


@pytest.mark.parametrize(
    ("part", "error", "says"),
    [
        ("test", EmptyTrainingSet, "no training rows: 0 training rows, 0 in the gap, 600 test rows"),
        ("gap", EmptyTrainingSet, "600 in the gap"),
        ("train", TooFewRows, "no test rows"),
    ],
)
def test_a_split_that_leaves_nothing_is_refused(part, error, says):
    with pytest.raises(error, match=says):
        train(
            spec_of("regression"),
            rows(),
            features=FEATURES,
            label="regression",
            split=pl.Series("split", [part] * ROWS),
        )


def test_no_rows_at_all_are_refused():
    with pytest.raises(EmptyTrainingSet, match="has no rows"):
        trained("regression", rows()[:0])


def test_names_that_are_not_there_are_refused_with_the_nearest():
    frame, split = rows(), split_of(rows())
    with pytest.raises(FeatureNotFound, match="Did you mean 'signal'"):
        train(spec_of("binary"), frame, features=["singal"], label="binary", split=split)
    with pytest.raises(LabelNotFound, match="Did you mean 'binary'"):
        train(spec_of("binary"), frame, features=FEATURES, label="binray", split=split)
    with pytest.raises(LabelNotFound, match="has no label"):
        train(spec_of("binary"), frame, features=FEATURES, label=None, split=split)
    with pytest.raises(LabelOverlapsFeatures, match="'binary' is both the label"):
        train(spec_of("binary"), frame, features=[*FEATURES, "binary"], label="binary", split=split)
    with pytest.raises(FeatureNotFound, match="has no features"):
        train(spec_of("binary"), frame, features=[], label="binary", split=split)
    with pytest.raises(DeclarationError, match=r"no parameter 'max_dpeth'. Did you mean 'max_depth'"):
        trained("multiclass", parameters={"max_dpeth": 3})


PICTURES = {
    "regression": {"predictions", "feature_importance", "learning_curve"},
    "binary": {"roc_pr", "confusion_matrix", "calibration", "feature_importance"},
    "multiclass": {"confusion_matrix", "feature_importance", "learning_curve"},
    "anomaly": {"roc_pr", "scores", "feature_importance"},
}


@pytest.mark.parametrize("task", list(KINDS))
def test_pictures_of_each_task(task, tmp_path, pictures):
    paths = save_plots(trained(task), tmp_path / "plots")
    assert {p.stem for p in paths} == PICTURES[task]
    assert all(p.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for p in paths)
    assert all(p.stat().st_size > 5000 for p in paths)


def test_pictures_of_odd_results(tmp_path, pictures):
    wide = rows().with_columns(regression=(pl.col("regression") * 4).exp())
    assert save_plots(trained("regression", wide), tmp_path / "wide")
    frame = rows().with_columns(multiclass=pl.concat_str(pl.lit("a long name "), (pl.int_range(pl.len()) // 40)))
    assert save_plots(trained("multiclass", frame), tmp_path / "many")
    late = rows().with_columns(
        multiclass=pl.when(pl.int_range(pl.len()) == 0).then(pl.lit("new")).otherwise("multiclass")
    )
    assert save_plots(trained("multiclass", late), tmp_path / "late")


def test_drawing_leaves_no_figure_open(tmp_path):
    save_plots(trained("binary"), tmp_path)
    assert pyplot.get_fignums() == []
