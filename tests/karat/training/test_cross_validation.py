"""Cross-validation, and labels that are learned under a transform."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from karat.declare import ModelSpec
from karat.errors import UnusableLabel
from karat.kinds import Model
from karat.training.cross_validation import cross_validate, fold_statistics
from karat.training.split import fold_splits
from karat.training.train import train, unfitted_model


def spec_of(**more: object) -> ModelSpec:
    label = {"source": "g", "expression": "y", "name": "y"} | more.pop("label", {})  # type: ignore[operator]
    return ModelSpec(
        **{"name": "m", "description": "d", "task": "regression", "kind": "linear_regression", "label": label}
        | {"lookups": [{"table": "t"}], "minimum_rows": 10}
        | more
    )


def prices(rows: int = 400) -> pl.DataFrame:
    """Prices that a factor of rooms multiplies: linear in their logarithm alone."""
    draw = np.random.default_rng(0)
    rooms = draw.integers(1, 9, rows).astype(float)
    price = np.expm1(3 + 0.8 * rooms + draw.normal(0, 0.1, rows))
    return pl.DataFrame({"id": np.arange(rows), "rooms": rooms, "y": price})


def trained(transform: str | None) -> dict[str, float]:
    frame = prices()
    split = pl.Series(["train"] * 300 + ["test"] * 100)
    spec = spec_of(label={"transform": transform})
    return train(spec, frame, features=["rooms"], label="y", split=split).metrics


def test_a_label_is_learned_as_its_logarithm_and_measured_in_its_own_unit():
    plain, logged = trained(None), trained("log1p")
    frame = prices()
    assert logged["rmse"] < 0.5 * plain["rmse"]
    # In the price's unit: a tenth of a typical price, where the logarithm's own error is about 0.1.
    assert logged["mae"] > 0.02 * frame["y"].mean()
    assert logged["mape"] == pytest.approx(0.08, abs=0.03)


@pytest.mark.parametrize("transform", ["log1p", "log"])
def test_a_saved_model_predicts_in_the_labels_unit(tmp_path: Path, transform: str):
    frame = prices()
    model = Model("linear_regression", "regression", transform=transform).fit(frame.select("rooms"), frame["y"])
    model.save(tmp_path)
    loaded = Model.load(tmp_path)
    answer = loaded.predict(frame.select("rooms"))
    assert np.array_equal(answer, model.predict(frame.select("rooms")))
    assert answer[0] == loaded.predict_row([frame["rooms"][0]])[0]
    found = loaded.contributions(loaded.encoder.encode_row([frame["rooms"][0]]))
    assert found.unit == "value"
    assert found.total[0, 0] == pytest.approx(answer[0])


def test_a_label_without_a_logarithm_is_refused_with_the_remedy():
    frame = pl.DataFrame({"rooms": [1.0, 2.0], "y": [0.0, -3.0]})
    with pytest.raises(UnusableLabel, match="1 of 2 values are -1 or less, such as -3"):
        Model("linear_regression", "regression", transform="log1p").fit(frame.select("rooms"), frame["y"])
    with pytest.raises(UnusableLabel, match="log1p takes 0"):
        Model("linear_regression", "regression", transform="log").fit(frame.select("rooms"), frame["y"])


def test_a_transform_is_for_numbers():
    with pytest.raises(ValueError, match=r"label\.transform is for numbers"):
        spec_of(task="binary", kind="logistic_regression", label={"transform": "log1p"})


def test_each_fold_is_measured_on_rows_that_its_model_has_not_seen():
    frame, spec = prices(), spec_of(split={"folds": 4}, label={"transform": "log1p"})
    splits = fold_splits(frame, spec, time=None, entity=["id"])
    folds = cross_validate(spec, frame, splits, unfitted=lambda: unfitted_model(spec), features=["rooms"], label="y")
    alone = train(spec, frame, features=["rooms"], label="y", split=splits[2])
    assert len(folds) == 4
    assert folds[2] == pytest.approx(alone.metrics)
    mean, deviation = fold_statistics(folds)["mape"]
    assert mean == pytest.approx(np.mean([f["mape"] for f in folds]))
    assert 0 < deviation < mean


def test_a_threshold_rule_chooses_the_threshold_of_each_fold():
    """At 0.5 a rare class is never found."""
    random = np.random.default_rng(0)
    x = random.normal(size=900)
    frame = pl.DataFrame({"id": range(900), "x": x, "y": random.random(900) < 1 / (1 + np.exp(3 - x))})
    spec = spec_of(
        task="binary",
        kind="logistic_regression",
        split={"folds": 3},
        threshold={"maximize": "f1"},
        label={"expression": "y"},
        baseline={},
    )
    splits = fold_splits(frame, spec, time=None, entity=["id"])
    folds = cross_validate(spec, frame, splits, unfitted=lambda: unfitted_model(spec), features=["x"], label="y")
    for fold, split in zip(folds, splits, strict=True):
        alone = train(spec, frame, features=["x"], label="y", split=split)
        assert fold == pytest.approx(alone.metrics)
        assert fold["recall"] > 0


def test_a_detector_is_not_cross_validated():
    with pytest.raises(ValueError, match="is not cross-validated"):
        spec_of(task="anomaly", kind="isolation_forest", split={"folds": 3})
