"""What each feature adds: all parts and the base sum to the prediction, in the unit that is said."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.special import expit, softmax

from karat.kinds import Model

ROWS = 400


def frame(seed: int = 0) -> tuple[pl.DataFrame, np.ndarray]:
    """Two numbers (one with gaps), a text, and what follows from them."""
    random = np.random.default_rng(seed)
    a, b, text = random.normal(size=ROWS), random.normal(size=ROWS), random.integers(0, 3, ROWS)
    signal = 2 * a - b + text
    b[random.random(ROWS) < 0.2] = np.nan
    return pl.DataFrame({"a": a, "b": b, "c": [f"t{t}" for t in text]}).fill_nan(None), signal


@pytest.mark.parametrize("kind", ["xgboost", "linear_regression"])
def test_of_a_regression_they_sum_to_the_value(kind: str) -> None:
    X, signal = frame()
    model = Model(kind, "regression").fit(X, pl.Series("y", signal))
    for row in X.head(20).rows():
        shares, unit = model.kind.contributions(model.encoder.encode_row(row))
        assert unit == "value"
        assert shares.shape == (1, 4)
        assert shares[0].sum() == pytest.approx(model.predict_row(row)[0], abs=1e-5)


@pytest.mark.parametrize("kind", ["xgboost", "logistic_regression"])
def test_of_two_classes_they_sum_to_the_log_odds(kind: str) -> None:
    X, signal = frame()
    model = Model(kind, "binary").fit(X, pl.Series("y", signal > 0.5))
    for row in X.head(20).rows():
        shares, unit = model.kind.contributions(model.encoder.encode_row(row))
        assert unit == "log-odds"
        assert expit(shares[0].sum()) == pytest.approx(model.predict_row(row)[0], abs=1e-5)


@pytest.mark.parametrize("kind", ["xgboost", "logistic_regression"])
def test_of_several_classes_each_sums_to_its_log_odds(kind: str) -> None:
    X, signal = frame()
    model = Model(kind, "multiclass").fit(X, pl.Series("y", np.digitize(signal, [0, 2])))
    for row in X.head(20).rows():
        shares, _ = model.kind.contributions(model.encoder.encode_row(row))
        assert shares.shape == (3, 4)
        assert softmax(shares.sum(axis=1)) == pytest.approx(model.predict_row(row)[0], abs=1e-5)


@pytest.mark.parametrize("kind", ["random_forest", "gradient_boosting"])
def test_where_they_would_be_dear_there_are_none(kind: str) -> None:
    X, signal = frame()
    model = Model(kind, "regression", {"n_estimators": 5} if kind == "random_forest" else {}).fit(
        X, pl.Series("y", signal)
    )
    assert model.kind.contributions(model.encoder.encode_row(X.row(0))) is None
