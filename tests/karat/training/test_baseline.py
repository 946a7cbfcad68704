"""Naive answers, on the rows that the model is judged on."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from karat.declare import ModelSpec
from karat.errors import DeclarationError
from karat.training.baseline import BaselinePrediction, baseline_prediction

TEST = pl.DataFrame({"before": [10.0, None, 30.0], "risk": [0.2, 0.4, 0.9]})


def spec_of(task: str, **more) -> ModelSpec:
    kind = {"regression": "linear_regression", "anomaly": "isolation_forest"}.get(task, "logistic_regression")
    label = {"source": "g", "expression": "1"}
    return ModelSpec(name="m", description="d", task=task, kind=kind, label=label, lookups=[{"table": "t"}], **more)


def regression(strategy: str | None, **more) -> BaselinePrediction:
    spec = spec_of("regression", baseline={"strategy": strategy, **more})
    learned = pl.Series("y", [1.0, 2.0, 9.0])
    return baseline_prediction(spec, learned, TEST, pl.Series("y", [4.0, 5.0, 6.0]), classes=[], threshold=0.5)


def binary(strategy: str | None, classes=(0, 1), metric: str | None = None, **more) -> BaselinePrediction:
    spec = spec_of("binary", metric=metric, baseline={"strategy": strategy, **more})
    off, on = classes
    learned, known = pl.Series("y", [on, off, off, off]), pl.Series("y", [off, off, on])
    return baseline_prediction(spec, learned, TEST, known, classes=list(classes), threshold=0.5)


def test_a_regression_answers_with_the_mean_of_what_was_learned():
    found = regression(None)
    assert found.name == "mean"
    assert found.prediction.tolist() == [4, 4, 4]
    assert found.metrics["mae"] == 1
    assert regression("median").prediction.tolist() == [2, 2, 2]
    drawn = regression("random")
    assert set(drawn.prediction) <= {1, 2, 9}
    assert drawn.prediction.tolist() == regression("random").prediction.tolist()


def test_persistence_answers_with_a_feature_times_its_scale():
    found = regression("feature", feature="before", scale=0.1)
    assert found.name == "before x 0.1"
    assert found.prediction.tolist() == [1, 4, 3]  # the mean of the learned labels where the feature is missing


def test_of_a_sequence_the_mean_of_its_newest_known_values():
    rows = [[1.0, 2.0, 3.0, 5.0], [None, 4.0, None, 6.0], [None, None, None, 7.0]]
    test = pl.DataFrame({"f": rows}, schema={"f": pl.Array(pl.Float64, 4)})
    y = pl.Series("y", [1.0, 2.0, 3.0])
    for newest, expected in ((1, [10, 12, 14]), (2, [8, 10, 14]), (4, [5.5, 10, 14])):
        given = {"strategy": "feature", "feature": "f", "scale": 2.0, "newest": newest}
        found = baseline_prediction(spec_of("regression", baseline=given), y, test, y, classes=[], threshold=0.5)
        assert found.prediction.tolist() == expected


@pytest.mark.parametrize("classes", [(0, 1), (False, True), ("No", "Yes")])
def test_classes_are_answered_with_their_share(classes):
    found = binary(None, classes)
    assert found.name == "prior"
    assert found.prediction.tolist() == [0.25] * 3
    assert found.metrics["roc_auc"] == 0.5
    assert found.metrics["average_precision"] == pytest.approx(1 / 3)
    assert found.metrics["accuracy"] == pytest.approx(2 / 3)
    assert binary("random", classes).prediction.tolist() == [0.5] * 3


def test_a_feature_as_a_score_has_probability_metrics_only_between_0_and_1():
    assert set(binary("feature", feature="risk").metrics) > {"roc_auc", "log_loss"}
    assert binary("feature", feature="risk").metrics["roc_auc"] == 1
    found = binary("feature", feature="before")
    assert set(found.metrics) == {"roc_auc", "average_precision", "rows"}
    assert found.prediction.tolist() == [10, 0.25, 30]
    with pytest.raises(DeclarationError, match="'before' has no log_loss"):
        binary("feature", feature="before", metric="log_loss")


def test_many_classes_are_answered_with_their_shares():
    spec = spec_of("multiclass")
    learned = pl.Series("y", ["a", "a", "b", "c"])
    found = baseline_prediction(
        spec, learned, TEST, pl.Series("y", ["a", "b", "c"]), classes=["a", "b", "c"], threshold=0.5
    )
    assert found.prediction.tolist() == [[0.5, 0.25, 0.25]] * 3
    assert found.metrics["log_loss"] == pytest.approx(-np.log([0.5, 0.25, 0.25]).mean())


def test_anomalies_are_ranked_at_random():
    found = baseline_prediction(spec_of("anomaly"), None, TEST, pl.Series([0, 1, 0]), classes=[], threshold=0.5)
    assert (found.name, found.metrics["roc_auc"]) == ("random", 0.5)
    assert found.metrics["average_precision"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("task", "more", "says"),
    [
        ("binary", {"baseline": {"strategy": "mean"}}, "a binary model has no baseline 'mean'; it has prior, random"),
        ("multiclass", {"baseline": {"strategy": "feature", "feature": "f"}}, "has no baseline 'feature'"),
        ("binary", {"metric": "rmse"}, "a binary model has no 'rmse'; it has roc_auc"),
        ("anomaly", {"gates": {"floors": {"r2": 0.5}}}, "an? anomaly model has no 'r2'"),
        ("regression", {"class_weight": "balanced"}, "class_weight is for classes"),
    ],
)
def test_what_a_task_has_not_is_refused_in_the_declaration(task, more, says):
    with pytest.raises(ValidationError, match=says):
        spec_of(task, **more)
