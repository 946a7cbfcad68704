"""The threshold of a rare class is chosen from training rows; a baseline without a value leaves rows out."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from karat.declare.models import DecisionCosts, ModelSpec, ThresholdRule
from karat.errors import DeclarationError
from karat.training.baseline import baseline_prediction
from karat.training.decision_threshold import best_threshold
from karat.training.train import train
from tests.profiles import examples

LABEL = {"source": "g", "expression": "y"}
LOOKUP = {"table": "t", "features": ["x"]}


def spec(**more: object) -> ModelSpec:
    given = {"name": "rare", "description": "d", "task": "binary", "kind": "logistic_regression", "label": LABEL}
    return ModelSpec.model_validate({**given, "lookups": [LOOKUP], "minimum_rows": 10, **more})


def rare(rows: int = 4000) -> tuple[pl.DataFrame, pl.Series]:
    """Three positives in a hundred, which x ranks and no probability of one half reaches."""
    draw = np.random.default_rng(3)
    x = draw.normal(size=rows)
    frame = pl.DataFrame({"x": x, "label": (draw.random(rows) < 1 / (1 + np.exp(4.5 - 1.2 * x))).astype(int)})
    return frame, pl.Series(["train"] * (rows // 2) + ["test"] * (rows // 2))


def trained(**more: object):
    frame, split = rare()
    return train(spec(**more), frame, features=["x"], label="label", split=split)


def test_a_declared_rule_finds_positives_that_one_half_does_not_and_the_warning_says_so():
    half, chosen = trained(), trained(threshold={"maximize": "f1"})
    assert half.metrics["recall"] < 0.05
    assert any("threshold: {maximize: f1}" in line for line in half.warnings)
    assert chosen.metrics["recall"] > 0.2
    assert chosen.model.threshold < 0.5
    assert any(
        "chosen for the best f1 on out-of-fold predictions of 2000 training rows" in line for line in chosen.warnings
    )
    same = {"roc_auc", "average_precision", "log_loss"}
    assert {m: half.metrics[m] for m in same} == {m: chosen.metrics[m] for m in same}


@settings(max_examples=examples(30), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=2, max_size=40), st.floats(0.1, 50))
def test_no_other_threshold_does_better(rows: list[tuple[int, bool]], ratio: float):
    score, positive = np.array([s for s, _ in rows]) / 20, np.array([p for _, p in rows])
    tried = np.append(np.unique(score), 1.01)
    f1 = ThresholdRule(maximize="f1")
    best = f1_score(positive, score >= best_threshold(positive, score, f1), zero_division=0)
    assert best == pytest.approx(max(f1_score(positive, score >= t, zero_division=0) for t in tried))

    def cost(threshold: float) -> float:
        told = score >= threshold
        return float((told & ~positive).sum() + ratio * (~told & positive).sum())

    costs = ThresholdRule(costs=DecisionCosts(false_positive=1, false_negative=ratio))
    found = best_threshold(positive, score, costs)
    assert cost(found) == pytest.approx(min(cost(t) for t in tried))


@pytest.mark.parametrize("threshold", [{}, {"maximize": "f1", "costs": {"false_positive": 1, "false_negative": 1}}, 2])
def test_a_threshold_is_a_number_or_one_rule(threshold: object):
    with pytest.raises(ValueError, match="threshold"):
        spec(threshold=threshold)


def test_a_rule_is_for_binary_models():
    with pytest.raises((ValueError, DeclarationError), match="takes a number"):
        spec(task="multiclass", threshold={"maximize": "f1"})


def test_a_feature_as_baseline_leaves_out_the_rows_without_a_value():
    test = pl.DataFrame({"x": [1.0, None, 3.0, float("nan")]})
    y = pl.Series([1.0, 100.0, 3.5, 100.0])
    found = baseline_prediction(
        spec(task="regression", baseline={"strategy": "feature", "feature": "x"}),
        pl.Series([0.0, 200.0]),
        test,
        y,
        classes=[],
        threshold=0.5,
    )
    assert found.metrics["mae"] == 0.25
    assert found.metrics["rows"] == 2
    assert found.known is not None
    assert found.known.tolist() == [True, False, True, False]
