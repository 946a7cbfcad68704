"""The customers project on its sample."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import date, timedelta

import polars as pl
import pytest

from karat.declare import Project
from karat.features import compute_frame
from karat.quality import check
from tests.projects.conftest import END, Bench


@pytest.fixture(scope="module")
def sample(customers: Project) -> pl.DataFrame:
    assert customers.sample is not None
    return customers.sample(seed=0)["customers"]


def test_the_sample_keeps_its_contract_and_its_seed(customers: Project, sample: pl.DataFrame) -> None:
    assert customers.sample is not None
    assert check(sample, customers.gold["customers"]).reasons == {}
    assert sample.equals(customers.sample(seed=0, end=date(2020, 1, 1))["customers"])
    assert not sample.equals(customers.sample(seed=1)["customers"])
    assert customers.sample(scale=0.1)["customers"].height == 704


def test_the_sample_is_like_the_real_table(sample: pl.DataFrame) -> None:
    assert sample.height == 7043
    assert 0.2 < sample["churned"].mean() < 0.32
    assert {"user_123", "test_user"} <= set(sample["customer_id"])
    new = sample.filter(pl.col("tenure") == 0)
    assert 0 < new.height < 40
    assert new["total_charges"].null_count() == new.height == sample["total_charges"].null_count()
    without = sample.filter(pl.col("internet_service") == "No")
    assert (without["online_security"] == "No internet service").all()
    assert without["phone_service"].all()


def test_features_of_two_customers_by_hand(customers: Project, sample: pl.DataFrame) -> None:
    gold = sample.head(2).with_columns(
        customer_id=pl.Series(["new", "old"]),
        tenure=pl.Series([0, 40]),
        monthly_charges=pl.Series([70.0, 55.0]),
        total_charges=pl.Series([None, 2000.0]),
        contract=pl.Series(["Month-to-month", "Two year"]),
        payment_method=pl.Series(["Electronic check", "Credit card (automatic)"]),
        phone_service=pl.Series([True, True]),
        multiple_lines=pl.Series(["No", "Yes"]),
        internet_service=pl.Series(["Fiber optic", "DSL"]),
        **{c: pl.Series(["No", "Yes"]) for c in ("online_security", "online_backup", "tech_support")},
        **{c: pl.Series(["Yes", "No"]) for c in ("device_protection", "streaming_tv", "streaming_movies")},
    )
    new, old = compute_frame(customers.tables["churn_features"], gold, source=customers.gold["customers"]).rows(
        named=True
    )
    assert (new["average_charges"], new["charges_rise"], new["tenure_bracket"]) == (None, None, "under 6")
    assert (new["is_month_to_month"], new["pays_automatically"], new["unprotected_fiber"]) == (True, False, True)
    assert (new["number_of_services"], new["charges_per_service"]) == (5, 14.0)
    assert (old["average_charges"], old["tenure_bracket"], old["number_of_services"]) == (50.0, "24 to 47", 6)
    assert old["charges_rise"] == pytest.approx(0.1)
    assert (old["is_month_to_month"], old["pays_automatically"], old["unprotected_fiber"]) == (False, True, False)


def test_churn_is_good_and_not_perfect(sampled: Callable[..., Bench]) -> None:
    bench = sampled("customers")
    trained = bench.train("churn")
    assert 0.80 < trained.metrics["roc_auc"] < 0.88
    assert all(trained.metrics[name] >= floor for name, floor in trained.spec.gates.floors.items())
    assert trained.baseline["roc_auc"] == 0.5
    assert not {"gender", "churned"} & set(trained.model.feature_names)


@pytest.fixture(scope="module")
def payments(customers: Project) -> pl.DataFrame:
    """The sample of payments with its planted truth: ``cause`` and ``late``."""
    assert customers.sample is not None
    return sys.modules["karat_projects.customers.gold.transactions"].history(0.3, 0, END)


def test_payments_keep_their_contract_and_their_past(customers: Project, payments: pl.DataFrame) -> None:
    assert customers.sample is not None
    gold = customers.gold["transactions"]
    assert check(payments.select(*gold.columns), gold).reasons == {}
    day = pl.col("tx_time").dt.date()
    assert payments.filter(day == END)["late"].max() == 0
    assert payments["late"].max() == 3
    assert payments.filter(pl.col("is_fraud").is_null()).select(day.min()).item() == END - timedelta(days=6)
    later = customers.sample(scale=0.3, seed=0, end=END + timedelta(days=3))["transactions"]
    both = payments.join(later, on="transaction_id", suffix="_later").filter(pl.col("is_fraud").is_not_null())
    others = [c for c in gold.columns if c not in gold.key]
    assert both.select(others).equals(both.select(pl.col(f"{c}_later").alias(c) for c in others))
    new = later.join(payments, on="transaction_id", how="anti").filter(day <= END)
    assert 0 < new.height < 30  # those that came late


def test_frauds_have_the_causes_that_are_written_down(payments: pl.DataFrame) -> None:
    causes = payments.group_by("cause").agg(pl.len(), pl.col("amount").median())
    found = {cause: (n, amount) for cause, n, amount in causes.rows()}
    assert set(found) == {"", "skimmed", "stolen", "testing"}
    assert 0.01 < 1 - found[""][0] / payments.height < 0.03
    assert found["stolen"][1] > 3 * found[""][1]
    assert found["skimmed"][1] == pytest.approx(found[""][1], rel=0.2)
    known = payments.drop_nulls("is_fraud")
    assert (known["is_fraud"] == (known["cause"] != "")).all()


def test_fraud_is_good_and_not_perfect(sampled: Callable[..., Bench]) -> None:
    bench = sampled("customers")
    trained = bench.train("fraud")
    assert 0.78 < trained.metrics["roc_auc"] < 0.92
    assert trained.metrics["average_precision"] > 8 * trained.baseline["average_precision"]
    assert all(trained.metrics[name] >= floor for name, floor in trained.spec.gates.floors.items())
    assert "terminal_fraud_share_30d" in trained.model.feature_names
    assert not {"terminal_id", "customer_id", "transaction_id", "tx_time", "is_fraud"} & set(
        trained.model.feature_names
    )
