"""Document 003's checks of data and of drift, and its typed configuration."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats

from karat.compat import DataQualityChecker, DriftDetector, load_model_config
from karat.errors import ColumnMissing, TooFewRows, UnknownModel, WrongCall
from karat.settings import Settings

RANDOM = np.random.default_rng(0)
INF = float("inf")
BEFORE = pl.DataFrame(
    {
        "age": RANDOM.normal(55, 10, 2000),
        "spent": RANDOM.exponential(10, 2000),
        "plan": RANDOM.choice(["gold", "tin", None], 2000, p=[0.5, 0.4, 0.1]),
        "active": RANDOM.random(2000) < 0.5,
    }
)
AFTER = pl.DataFrame(
    {
        "age": RANDOM.normal(62, 10, 1500),
        "spent": RANDOM.exponential(10, 1500),
        "plan": RANDOM.choice(["gold", "tin", "new"], 1500, p=[0.3, 0.4, 0.3]),
        "active": RANDOM.random(1500) < 0.5,
    }
)


def test_each_column_by_the_test_of_its_kind():
    report = DriftDetector(BEFORE).detect(AFTER)
    assert {c: (f.method, f.drifted) for c, f in report.items()} == {
        "age": ("ks", True),
        "spent": ("ks", False),
        "plan": ("chi_square", True),
        "active": ("chi_square", False),
    }
    assert (report.drifted, report.dataset_drift) == (["age", "plan"], True)
    wanted = stats.ks_2samp(BEFORE["age"].to_numpy(), AFTER["age"].to_numpy())
    assert (report["age"].statistic, report["age"].p_value) == (wanted.statistic, wanted.pvalue)
    assert report.to_dict()["age"]["threshold"] == 0.05
    assert not DriftDetector(BEFORE).detect(BEFORE).dataset_drift


def test_psi_is_the_sum_over_the_references_deciles():
    report = DriftDetector(BEFORE.to_pandas(), methods={"age": "psi", "plan": "psi"}).detect(AFTER.to_pandas())
    edges = np.quantile(BEFORE["age"].to_numpy(), np.linspace(0, 1, 11)[1:-1])
    p, q = (np.bincount(np.searchsorted(edges, f["age"].to_numpy()), minlength=10) / len(f) for f in (BEFORE, AFTER))
    assert report["age"].statistic == pytest.approx(float(((q - p) * np.log(q / p)).sum()))
    assert report["age"].p_value is None
    assert report["age"].drifted
    assert report["plan"].drifted
    assert DriftDetector(BEFORE, methods={"age": "psi"}, psi=100).detect(AFTER)["age"].drifted is False


@pytest.mark.parametrize(
    ("reference", "current"),
    [
        ([5.0] * 1000, [3.0] * 200),
        ([5.0] * 1000, [7.0] * 200),
        ([5.0] * 950 + [4.0, 6.0] * 25, [4.9] * 200),
        ([-INF, INF] * 500, [0.0] * 200),
        ([1.0, 2.0, INF, INF] * 250, [1.5] * 200),
    ],
)
def test_psi_sees_a_frequent_or_infinite_value_that_moves(reference: list[float], current: list[float]):
    frames = [pl.DataFrame({"x": side}) for side in (reference, current)]
    assert DriftDetector(frames[0], methods={"x": "psi"}).detect(frames[1])["x"].drifted
    assert not DriftDetector(frames[0], methods={"x": "psi"}).detect(frames[0])["x"].drifted


def test_chi_square_is_that_of_the_table_of_counts():
    found = DriftDetector(BEFORE).detect(AFTER, ["active"])["active"]
    table = [[int((~f["active"]).sum()), int(f["active"].sum())] for f in (BEFORE, AFTER)]
    assert found.statistic == pytest.approx(stats.chi2_contingency(table, correction=False).statistic)


def test_constant_columns_nulls_and_nan():
    one = pl.DataFrame({"c": ["a"] * 5, "n": [1.0, None, float("nan"), 2.0, 3.0], "d": [date(2024, 1, 1)] * 5})
    report = DriftDetector(one, methods={"n": "psi"}).detect(one)
    assert not report.dataset_drift
    assert report["n"].statistic == 0
    assert DriftDetector(one).detect(one)["n"].current_rows == 3


def test_what_can_not_be_compared():
    with pytest.raises(ColumnMissing, match="age"):
        DriftDetector(BEFORE).detect(AFTER.rename({"age": "aged"}), ["age"])
    with pytest.raises(WrongCall, match="chi_square"):
        DriftDetector(BEFORE, methods={"plan": "chi"})
    with pytest.raises(WrongCall, match="can't compare"):
        DriftDetector(BEFORE).detect(AFTER.with_columns(age=pl.lit("old")))
    with pytest.raises(TooFewRows, match="current"):
        DriftDetector(BEFORE).detect(AFTER.clear())


FRAME = pl.DataFrame({"id": ["a", "b", "b", None], "age": [10, None, 200, -1], "ok": [1.0, 2.0, 3.0, 4.0]})


def test_nulls_duplicates_and_ranges():
    checker = DataQualityChecker()
    report = checker.run_all(FRAME, keys=["id"], ranges={"age": (0, 120), "ok": (None, 4)})
    assert not report.passed
    assert report.errors == [
        "id is not null: 1 of 4 rows",
        "age is not null: 1 of 4 rows",
        "id is unique: 2 of 4 rows",
        "age is between 0 and 120: 2 of 4 rows",
    ]
    (ranges,) = checker.check_ranges(FRAME, {"age": (0, 120)}).results
    assert "200" in "".join(ranges.examples)
    assert DataQualityChecker(max_null_rate=0.25).check_nulls(FRAME).passed
    assert not DataQualityChecker(max_null_rate=0.2).check_nulls(FRAME.to_pandas(), ["id"]).passed
    assert checker.check_duplicates(FRAME).passed
    assert checker.run_all(pd.DataFrame({"id": [1, 2]}), keys=["id"]).passed


def test_checks_that_can_not_be_asked():
    with pytest.raises(ColumnMissing, match="age"):
        DataQualityChecker().check_ranges(FRAME, {"agee": (0, 1)})
    with pytest.raises(WrongCall, match="range is of numbers"):
        DataQualityChecker().check_ranges(FRAME, {"id": (0, 1)})


def test_a_models_declaration_as_document_003_has_it(monkeypatch):
    monkeypatch.setenv("KARAT_ENVIRONMENT", "uat")
    config = load_model_config("churn")
    assert config.data.features_table == "customers_uat.features.churn_features"
    assert config["data"]["features_table"] == config.data.features_table
    assert config.data.label == "churned"
    assert "gender" not in config.data.features
    assert "tenure" in config.data.features
    assert config.model.kind == "xgboost"
    assert config.validation.thresholds["roc_auc"] == config.spec.gates.floors["roc_auc"]
    assert config.registered_name == "customers_uat.models.churn"
    with pytest.raises(KeyError):
        config["spark"]
    with pytest.raises(UnknownModel, match="churn"):
        load_model_config("chrun")
    assert Settings().environment == "uat"
