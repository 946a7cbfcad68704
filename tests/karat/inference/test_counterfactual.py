"""Counterfactuals: the model decides otherwise, each change is needed, and what is held stays."""

from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from karat.errors import NoCounterfactual, WrongCall
from karat.inference import counterfactual
from karat.inference.counterfactual import Counterfactual, find_counterfactuals
from karat.kinds import Model
from tests.profiles import examples


@cache
def learned() -> tuple[pl.DataFrame, np.ndarray]:
    """Numbers (one with gaps), a text, a flag, an age and a day; and what the labels follow from."""
    random, rows = np.random.default_rng(0), 600
    frame = pl.DataFrame(
        {
            "a": random.normal(size=rows),
            "visits": random.integers(0, 50, rows),
            "plan": random.choice(["tin", "silver", "gold"], rows),
            "holes": np.where(random.random(rows) < 0.3, np.nan, random.normal(size=rows)),
            "flag": random.random(rows) < 0.3,
            "age": random.integers(20, 80, rows),
            "since": pl.Series(random.integers(0, 900, rows), dtype=pl.Int32).cast(pl.Date),
        }
    ).with_columns(pl.col("holes").fill_nan(None))
    value = frame["a"].to_numpy() + 0.05 * frame["visits"].to_numpy() + (frame["plan"] == "gold").to_numpy() * 1.0
    return frame, value + 0.02 * frame["age"].to_numpy() + random.normal(size=rows) * 0.2


@cache
def model_of(task: str) -> Model:
    frame, value = learned()
    if task == "binary":
        return Model("gradient_boosting", task, {"max_iter": 30}, threshold=0.3).fit(frame, pl.Series("y", value > 3))
    if task == "multiclass":
        classes = np.array(["low", "middle", "high"])[np.digitize(value, [2, 3])]
        return Model("logistic_regression", task).fit(frame, pl.Series("y", classes))
    return Model("linear_regression", task).fit(frame, pl.Series("y", value))


def changed(model: Model, row: tuple, made: Counterfactual, without: str = "") -> object:
    """What the model decides with the changes, less one."""
    values = dict(zip(model.feature_names, row, strict=True))
    values |= {c.feature: c.becomes for c in made.changes if c.feature != without}
    return model.outputs(model.predict_row(list(values.values())))["prediction"][0].item()


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@settings(
    max_examples=examples(2),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),  # a search takes half a second: a failing row is shown as it was found
)
@given(number=st.integers(0, 599), held=st.sampled_from([("age",), ("age", "visits"), ("age", "plan", "a")]))
def test_the_model_decides_otherwise_and_no_change_can_be_left_out(task, number, held) -> None:
    model, frame = model_of(task), learned()[0]
    row = frame.row(number)
    before = model.outputs(model.predict_row(row))["prediction"][0].item()
    try:
        found = find_counterfactuals(model, row, frame, held=held)
    except NoCounterfactual:
        return
    assert 1 <= len(found) <= 3
    for made in found:
        assert made.predicted_class != before
        assert changed(model, row, made) == made.predicted_class
        assert 0 <= made.probability <= 1
        names = [c.feature for c in made.changes]
        assert not {*names} & {*held, "since"}, "a date, or what is held"
        for change in made.changes:
            place = frame.columns.index(change.feature)
            assert change.value == row[place] is not None
            assert change.becomes != change.value
            assert changed(model, row, made, without=change.feature) != made.predicted_class
            if isinstance(change.becomes, str):
                assert change.becomes in frame[change.feature].to_list()
            elif not isinstance(change.becomes, bool):
                ends = [*frame[change.feature].drop_nulls().to_list(), change.value]
                assert min(ends) <= change.becomes <= max(ends)
                assert type(change.becomes) is type(change.value)
    assert [len(m.changes) for m in found] == sorted(len(m.changes) for m in found)


def test_rows_have_one_and_the_same_each_time() -> None:
    model, frame = model_of("binary"), learned()[0]
    for number in (0, 120, 300):
        (found,) = find_counterfactuals(model, frame.row(number), frame, count=1)
        assert "in place of" in found.text
    assert find_counterfactuals(model, frame.row(300), frame, count=1) == [found]


def test_a_class_can_be_named() -> None:
    model, frame = model_of("multiclass"), learned()[0]
    row = frame.row(int(np.argmax(model.predict(frame)[:, model.classes.index("low")])))
    (made,) = find_counterfactuals(model, row, frame, target="high", count=1)
    assert changed(model, row, made) == made.predicted_class == "high"
    with pytest.raises(WrongCall, match="decides 'low' already"):
        find_counterfactuals(model, row, frame, target="low")
    with pytest.raises(WrongCall, match="no class 'hihg'"):
        find_counterfactuals(model, row, frame, target="hihg")
    with pytest.raises(WrongCall, match="no feature 'agee'"):
        find_counterfactuals(model, row, frame, held=["agee"])


def test_where_nothing_may_change_or_nothing_is_decided_it_says_so() -> None:
    frame = learned()[0]
    with pytest.raises(NoCounterfactual, match="no feature of this row may change"):
        find_counterfactuals(model_of("binary"), frame.row(0), frame, held=frame.columns)
    with pytest.raises(WrongCall, match="a regression model decides between no classes"):
        find_counterfactuals(model_of("regression"), frame.row(0), frame)


@pytest.mark.parametrize("most", [3, 40])
def test_a_search_that_never_ends_by_itself_asks_no_more_than_its_limit(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row is decided otherwise, for which DiCE's genetic search goes on for ever."""
    frame, _ = learned()
    rows = frame.select("a", "visits")
    model = Model("logistic_regression", "binary", threshold=1.0).fit(rows, pl.Series("y", rows["a"] > 0))
    monkeypatch.setattr(counterfactual, "_MOST_QUESTIONS", most)
    asked: list[int] = []
    predict = counterfactual._Classifier.predict_proba

    def counted(self: object, given: object) -> np.ndarray:
        asked.append(1)
        return predict(self, given)  # type: ignore[arg-type]

    monkeypatch.setattr(counterfactual._Classifier, "predict_proba", counted)
    with pytest.raises(NoCounterfactual):
        find_counterfactuals(model, rows.row(0), rows)
    # One question before the searches, then each of both methods up to its limit, and the one that is refused.
    assert most < len(asked) <= 1 + 2 * (most + 1)
