"""The customers project on its sample."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from karat.declare import Project
from karat.features import compute_frame
from karat.quality import check
from tests.projects.conftest import END, Bench


@pytest.fixture(scope="module")
def sample(customers: Project) -> pl.DataFrame:
    assert customers.sample is not None
    return customers.sample(seed=0, tables=["customers"])["customers"]


def test_the_sample_keeps_its_contract_and_its_seed(customers: Project, sample: pl.DataFrame) -> None:
    assert customers.sample is not None
    assert check(sample, customers.gold["customers"]).reasons == {}
    only = {"tables": ["customers"]}
    assert sample.equals(customers.sample(seed=0, end=date(2020, 1, 1), **only)["customers"])
    assert not sample.equals(customers.sample(seed=1, **only)["customers"])
    assert customers.sample(scale=0.1, **only)["customers"].height == 704


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


def test_churn_is_good_and_not_perfect(customers: Project, empty: Callable[[str], Bench]) -> None:
    assert customers.sample is not None
    bench = empty("customers")
    frames = customers.sample(seed=0, tables=["customers", "customers_truth"])
    bench.write_whole(frames, ["churn_features"])
    trained = bench.train("churn")
    assert 0.80 < trained.metrics["roc_auc"] < 0.88
    assert all(trained.metrics[name] >= floor for name, floor in trained.spec.gates.floors.items())
    assert trained.baseline["roc_auc"] == 0.5
    assert not {"gender", "churned"} & set(trained.model.feature_names)


@pytest.fixture(scope="module")
def payments(customers: Project) -> pl.DataFrame:
    """The sample of payments with its planted truth: ``cause`` and ``late``."""
    assert customers.sample is not None
    return sys.modules["karat_projects.customers.gold.transactions"].history(0.2, 0, END)


def test_payments_keep_their_contract_and_their_past(customers: Project, payments: pl.DataFrame) -> None:
    assert customers.sample is not None
    gold = customers.gold["transactions"]
    assert check(payments.select(*gold.columns), gold).reasons == {}
    day = pl.col("tx_time").dt.date()
    assert payments.filter(day == END)["late"].max() == 0
    assert payments["late"].max() == 3
    assert payments.filter(pl.col("is_fraud").is_null()).select(day.min()).item() == END - timedelta(days=6)
    later = customers.sample(scale=0.2, seed=0, end=END + timedelta(days=3), tables=["transactions"])["transactions"]
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


def test_the_truth_of_payments_is_a_probability(payments: pl.DataFrame) -> None:
    told = payments.select(pl.col("chance"), fraud=pl.col("cause") != "")
    assert told["chance"].is_between(0, 1).all()
    assert told["chance"].mean() == pytest.approx(told["fraud"].mean(), rel=0.1)
    # Of payments of which one in three or so should be a fraud, one in three or so is.
    some = told.filter(pl.col("chance").is_between(0.2, 0.5))
    assert some.height > 150
    assert some["fraud"].mean() == pytest.approx(some["chance"].mean(), abs=0.08)


def test_subscriptions_are_those_that_customers_have(customers: Project) -> None:
    assert customers.sample is not None
    made = customers.sample(scale=0.3, tables=["customers", "customers_truth", "subscriptions"])
    assert all(check(frame, customers.gold[name]).reasons == {} for name, frame in made.items())
    runs = made["subscriptions"].filter(pl.col("ended_months_ago").is_null())
    features = compute_frame(
        customers.tables["churn_features"], made["customers"], source=customers.gold["customers"]
    ).select("customer_id", "number_of_services", "monthly_charges")
    both = features.join(
        runs.group_by("customer_id").agg(pl.len(), pl.col("monthly_price").sum()), on="customer_id", how="left"
    )
    assert (both["len"] == both["number_of_services"]).all()
    assert (both["monthly_price"] - both["monthly_charges"]).abs().max() < 4  # prices have changed a little since
    # What was given up hints at the discontent.
    gone = made["subscriptions"].filter(pl.col("ended_months_ago").is_not_null())["customer_id"].unique()
    truth = made["customers_truth"].with_columns(gone=pl.col("customer_id").is_in(gone.implode()))
    left, stayed = (truth.filter(pl.col("gone") == g)["discontent"].mean() for g in (True, False))
    assert left - stayed > 0.3


def test_unattended_terminals_are_tampered_with_more_often(customers: Project, payments: pl.DataFrame) -> None:
    assert customers.sample is not None
    terminals = customers.sample(scale=0.2, seed=0, tables=["terminals"])["terminals"]
    assert set(payments["terminal_id"]) <= set(terminals["terminal_id"])
    skimmed = payments.filter(pl.col("cause") == "skimmed")["terminal_id"].unique()
    share = dict(
        terminals.with_columns(hit=pl.col("terminal_id").is_in(skimmed.implode()))
        .group_by("unattended")
        .agg(pl.col("hit").mean())
        .iter_rows()
    )
    assert share[True] > 1.5 * share[False]


def test_habits_of_one_customer_by_hand(customers: Project) -> None:
    days = [0, 10, 40, 42, 43]
    gold = pl.DataFrame(
        {
            "transaction_id": [1, 2, 3, 4, 5],
            "tx_time": [datetime(2026, 1, 1, 6, 30, tzinfo=UTC) + timedelta(days=d) for d in days],
            "customer_id": [7] * 5,
            "terminal_id": [1, 1, 1, 2, 1],
            "amount": [10.0, 20.0, 30.0, 120.0, 15.0],
            "is_fraud": [False, True, False, None, None],
        }
    )
    source = customers.gold["transactions"]
    habits = compute_frame(customers.tables["payment_habits"], gold, source=source).sort("tx_time")
    assert habits["hour"].to_list() == [6.5] * 5
    # A window of 30 days that ends just before the payment: of the third it begins with the second.
    assert habits["amount_over_mean_30d"].to_list() == [None, 2.0, 1.5, 4.0, 0.2]
    assert habits["recent_over_mean_30d"].to_list() == [None, None, None, 1.0, 120 / 75]
    assert habits["new_terminals_3d"].to_list() == [0, 0, 0, 0, 1]
    assert habits["customer_fraud_share_30d"].to_list() == [None, 0.0, 1.0, 1.0, 1.0]  # those of 37 to 7 days ago
    visits = compute_frame(customers.tables["terminal_visits"], gold, source=source).sort("tx_time")
    assert visits["visits_60d"].to_list() == [0, 1, 2, 0, 3]
    assert visits["visits_7d"].to_list() == [0, 0, 0, 0, 1]


def test_fraud_is_good_and_not_perfect(
    customers: Project, payments: pl.DataFrame, empty: Callable[[str], Bench]
) -> None:
    bench = empty("customers")
    gold = payments.select(*customers.gold["transactions"].columns)
    bench.write_whole({"transactions": gold}, [lookup.table for lookup in customers.models["fraud"].lookups])
    trained = bench.train("fraud")
    assert 0.78 < trained.metrics["roc_auc"] < 0.98
    assert trained.metrics["average_precision"] > 8 * trained.baseline["average_precision"]
    assert all(trained.metrics[name] >= floor for name, floor in trained.spec.gates.floors.items())
    assert {"terminal_fraud_share_30d", "visits_60d"} <= set(trained.model.feature_names)
    assert not {"terminal_id", "customer_id", "transaction_id", "tx_time", "is_fraud"} & set(
        trained.model.feature_names
    )
