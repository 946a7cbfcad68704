"""Metrics by hand, and their edges."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from karat.declare import ModelSpec
from karat.declare.models import HIGHER_IS_BETTER, METRICS
from karat.errors import SignatureError
from karat.training.evaluation import beats_baseline, evaluate


def test_regression():
    found = evaluate("regression", [1.0, 2.0, 3.0, 6.0], np.array([1.0, 4.0, 3.0, 6.0]))
    assert found == pytest.approx({"rmse": 1.0, "mae": 0.5, "r2": 1 - 4 / 14, "mape": 0.25})


def test_mape_is_of_the_rows_whose_label_is_not_zero():
    assert evaluate("regression", [0.0, 2.0], np.array([5.0, 3.0]))["mape"] == pytest.approx(0.5)
    assert "mape" not in evaluate("regression", [0.0, 0.0], np.array([5.0, 3.0]))


def test_binary():
    score = np.array([0.9, 0.6, 0.4, 0.1])
    found = evaluate("binary", [True, False, True, False], score, threshold=0.5, classes=[False, True])
    assert found["roc_auc"] == pytest.approx(0.75)
    assert found["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert (found["precision"], found["recall"], found["f1"], found["accuracy"]) == (0.5, 0.5, 0.5, 0.5)
    assert found["log_loss"] == pytest.approx(-(math.log(0.9) + math.log(0.4)) / 2)


def test_the_threshold_belongs_to_the_positive_class():
    found = evaluate("binary", ["Yes", "No"], np.array([0.7, 0.2]), threshold=0.7, classes=["No", "Yes"])
    assert (found["precision"], found["recall"]) == (1, 1)
    assert evaluate("binary", ["Yes", "No"], np.array([0.7, 0.2]), threshold=0.71, classes=["No", "Yes"])["recall"] == 0


def test_a_single_class_has_no_ranking():
    found = evaluate("binary", [0, 0], np.array([0.2, 0.6]))
    assert "roc_auc" not in found
    assert "average_precision" not in found
    assert found["accuracy"] == 0.5


def test_multiclass():
    chances = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
    found = evaluate("multiclass", ["a", "b", "b", "c"], chances, classes=["a", "b", "c"])
    assert found["accuracy"] == 0.75
    assert found["precision"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert found["recall"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert found["log_loss"] == pytest.approx(-np.log([0.7, 0.8, 0.3, 0.8]).mean())
    assert found["roc_auc"] == pytest.approx(1.0)


def test_a_class_that_came_up_after_training_counts_as_missed():
    chances = np.array([[0.9, 0.1], [0.2, 0.8]])
    found = evaluate("multiclass", ["a", "new"], chances, classes=["a", "b"])
    assert found["accuracy"] == 0.5
    assert found["recall"] == pytest.approx(0.5)
    assert found["log_loss"] > 5
    assert "roc_auc" not in found


def test_anomalies():
    found = evaluate("anomaly", pl.Series([0, 0, 1, 0]), np.array([0.4, 0.45, 0.7, 0.55]), threshold=0.5)
    assert found == {"roc_auc": 1.0, "average_precision": 1.0, "precision": 0.5, "recall": 1.0, "f1": 2 / 3}


@pytest.mark.parametrize("task", list(METRICS))
def test_the_names_are_those_that_declarations_know(task):
    several = np.array([[1.0, 0.0], [0.0, 1.0]])
    known = {"regression": [1.0, 2.0], "multiclass": [0, 1], "multilabel": several, "forecast": several}
    y = known.get(task, [False, True])
    prediction = np.array([[0.6, 0.4], [0.3, 0.7]]) if np.ndim(y) == 2 or task == "multiclass" else np.array([0.3, 0.7])
    classes = [False, True] if task == "binary" else None
    space = None
    if task == "clustering":
        y, prediction, space = ["a", "a", "b"], np.array([0.0, 0.0, 1.0]), np.array([[0.0], [0.1], [9.0]])
    found = evaluate(task, y, prediction, classes=classes, space=space)
    assert set(found) == set(METRICS[task]) <= set(HIGHER_IS_BETTER)


def test_several_labels_count_alike():
    y = pl.DataFrame({"a": [1, 0, 1, 0], "b": [1, 0, 0, 0], "never": [0, 0, 0, 0]}).to_struct("y")
    chances = np.array([[0.9, 0.8, 0.1], [0.6, 0.1, 0.1], [0.4, 0.2, 0.9], [0.1, 0.3, 0.1]])
    found = evaluate("multilabel", y, chances)
    assert found["roc_auc"] == pytest.approx((0.75 + 1) / 2)  # of the two that can be ranked
    assert found["average_precision"] == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)
    assert found["f1"] == pytest.approx((0.5 + 1 + 0) / 3)


def test_a_forecasts_steps_are_judged_together():
    y = pl.DataFrame({"step_1": [0.0, 2.0], "step_2": [0.0, 4.0]}).to_struct("y")
    found = evaluate("forecast", y, np.array([[0.0, 0.0], [2.0, 0.0]]))
    assert found == pytest.approx({"rmse": 2.0, "mae": 1.0, "r2": 1 - 16 / (2 + 8)})


def test_clusters_are_judged_by_the_groups_that_are_known():
    clusters, space = np.array([0.0, 0.0, 1.0, 1.0]), np.array([[0.0], [1.0], [10.0], [11.0]])
    found = evaluate("clustering", ["a", "a", "b", None], clusters, space=space)
    assert found["adjusted_rand"] == 1
    inner = [1 - 1 / 10.5, 1 - 1 / 9.5]
    assert found["silhouette"] == pytest.approx(np.mean(inner))
    assert set(evaluate("clustering", None, clusters, space=space)) == {"silhouette"}
    assert evaluate("clustering", None, np.zeros(4), space=space) == {}


def test_no_rows_have_no_metrics_and_unequal_rows_are_refused():
    assert evaluate("regression", [], np.zeros(0)) == {}
    with pytest.raises(SignatureError, match="there are 1 labels for 2 predictions"):
        evaluate("regression", [1.0], np.zeros(2))


def test_beating_a_baseline_is_strict_and_in_the_metrics_direction():
    def spec(metric: str) -> ModelSpec:
        return ModelSpec(
            description="d",
            task="binary",
            kind="xgboost",
            metric=metric,
            label={"source": "g", "expression": "1"},
            lookups=[{"table": "t"}],
        )

    assert beats_baseline(spec("roc_auc"), {"roc_auc": 0.6}, {"roc_auc": 0.5})
    assert not beats_baseline(spec("roc_auc"), {"roc_auc": 0.5}, {"roc_auc": 0.5})
    assert beats_baseline(spec("log_loss"), {"log_loss": 0.4}, {"log_loss": 0.5})
    assert not beats_baseline(spec("log_loss"), {"log_loss": 0.6}, {"log_loss": 0.5})
    assert not beats_baseline(spec("log_loss"), {}, {"log_loss": 0.5})
