"""The customers project on its sample."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import polars as pl
import pytest

from karat.declare import Project
from karat.features import compute_frame
from karat.quality import check
from tests.projects.conftest import Bench


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
