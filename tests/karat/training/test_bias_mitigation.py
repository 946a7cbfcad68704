"""Mitigation of bias: reweighed rows are independent of their group, and groups with thresholds have like rates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karat.errors import TrainingError
from karat.kinds import Model, names
from karat.kinds import facts as kind_facts
from karat.registry.loader import PyFunc
from karat.training.bias_mitigation import group_thresholds, reweighing
from tests.profiles import examples


@settings(max_examples=examples(30), deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_reweighed_rows_are_independent_of_their_group(found: list[tuple[str | None, bool, bool]]) -> None:
    rows = pl.DataFrame(found, schema={"one": pl.String, "two": pl.Boolean, "y": pl.Boolean}, orient="row")
    weight = reweighing(rows.select("one", "two"), rows["y"])
    n = len(found)
    for row, w in zip(found, weight, strict=True):
        group, label = row[:2], row[2]
        members = sum(other[:2] == group for other in found)
        labelled = sum(other[2] == label for other in found)
        both = sum(other == row for other in found)
        assert w == pytest.approx(members * labelled / (both * n))


@pytest.mark.parametrize("kind", [k for k in names() if kind_facts(k).weighs_rows and "binary" in kind_facts(k).tasks])
def test_a_weight_counts_as_often_as_it_says(kind: str) -> None:
    """Rows of weight 3 move the prediction towards their label."""
    random = np.random.default_rng(0)
    frame = pl.DataFrame({"x": random.random(400)})
    y = pl.Series("y", random.random(400) < 0.4)
    weight = np.where(y.to_numpy(), 3.0, 1.0)
    plain = Model(kind, "binary").fit(frame, y).predict(frame).mean()
    heavy = Model(kind, "binary").fit(frame, y, weight=weight).predict(frame).mean()
    assert 0.3 < plain < 0.5
    assert heavy > plain + 0.15


def biased(n: int = 4000) -> tuple[pl.DataFrame, pl.Series, np.ndarray]:
    """Scores that are lower for the positives of group 1 than for those of group 0."""
    random = np.random.default_rng(1)
    group = random.integers(0, 2, n)
    y = random.random(n) < 0.5
    score = np.clip(random.normal(0.35 + 0.3 * y - 0.15 * group, 0.15), 0, 1)
    return pl.DataFrame({"score": score, "group": group}), pl.Series("y", y), score


@pytest.fixture(scope="module")
def model() -> Model:
    frame, y, score = biased()
    model = Model("logistic_regression", "binary").fit(frame, y)
    model.group_thresholds = group_thresholds(
        model, "group", "equal_opportunity", X=frame, positive=y.to_numpy(), score=score
    )
    return model


def test_groups_with_thresholds_of_their_own_are_found_alike(model: Model) -> None:
    frame, y, score = biased()
    positive, group = y.to_numpy(), frame["group"].to_numpy()

    def gap(threshold: float | np.ndarray) -> float:
        found = score >= threshold
        return abs(found[positive & (group == 0)].mean() - found[positive & (group == 1)].mean())

    assert gap(0.5) > 0.2
    assert gap(model.thresholds(frame)) < 0.01


def test_one_row_a_frame_and_mlflow_decide_alike(model: Model, tmp_path: Path) -> None:
    frame = biased(200)[0].with_columns(group=pl.when(pl.int_range(pl.len()) > 5).then(pl.col("group")))
    many = model.outputs(model.predict(frame), model.thresholds(frame))["prediction"].tolist()
    rows = frame.rows()
    assert [model.row_threshold(row) for row in rows] == model.thresholds(frame).tolist()
    assert len({model.row_threshold(row) for row in rows}) == 3  # the two groups', and the model's own where unknown
    model.save(tmp_path)
    again = Model.load(tmp_path)
    assert again.group_thresholds == model.group_thresholds
    inputs = frame.to_pandas().astype(float)
    assert PyFunc(again).predict(inputs)["prediction"].tolist() == many


def test_a_small_group_keeps_the_models_threshold(model: Model) -> None:
    frame, y, score = biased(80)
    frame = frame.with_columns(group=pl.Series([1] * 5 + [0] * 75))
    made = group_thresholds(model, "group", "equalized_odds", X=frame, positive=y.to_numpy(), score=score)
    assert made.codes == [0.0]


def test_the_group_must_be_a_feature() -> None:
    frame, y, score = biased(400)
    model = Model("logistic_regression", "binary").fit(frame.select("score"), y)
    with pytest.raises(TrainingError, match="as a feature of the model"):
        group_thresholds(model, "group", "equalized_odds", X=frame, positive=y.to_numpy(), score=score)
