"""The projects on data that nobody of this project made."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from karat.errors import TrainingError
from karat.quality import ingest
from tests.projects.conftest import Bench
from tests.projects.test_declarations import COST_MODELS

pytestmark = pytest.mark.shared_data
FOCUS, CUR = "cloud_billing/focus_sample.csv", "cloud_billing/aws_cur_sample.csv"


def _ingest(bench: Bench, table: str, path: Path, name: str) -> tuple[int, int]:
    done = ingest(bench.project, table, [path], bench.lake, map_path=Path(name))
    return done.rows, done.set_aside


def test_telco_churn(empty: Callable[[str], Bench], shared_data: Path) -> None:
    bench = empty("customers")
    path = shared_data / "telco_churn" / "Telco-Customer-Churn.csv"
    assert _ingest(bench, "customers", path, "telco") == (7043, 0)
    gold = bench.gold("customers")
    assert (gold["total_charges"].null_count(), gold["churned"].sum(), gold["senior_citizen"].sum()) == (11, 1869, 1142)
    bench.features(("churn_features",))  # what else the project has gold for, the file does not bring
    trained = bench.train("churn")
    assert 0.82 < trained.metrics["roc_auc"] < 0.87
    assert trained.metrics["recall"] > 0.6
    assert trained.metrics["average_precision"] > 0.6


@pytest.fixture(scope="module")
def billing(empty: Callable[[str], Bench], shared_data: Path) -> Bench:
    """fact_usage from two real billing formats, and its features; read only."""
    bench = empty("health_monitor")
    assert _ingest(bench, "fact_usage", shared_data / FOCUS, "focus") == (1000, 0)
    assert _ingest(bench, "fact_usage", shared_data / CUR, "aws_cur") == (1281, 0)
    bench.features(("cost_features",))
    return bench


def test_both_billing_formats_fill_fact_usage(billing: Bench) -> None:
    gold = billing.gold("fact_usage")
    assert gold["usage_id"].n_unique() == 2281
    sources = gold.group_by(pl.col("usage_id").str.split(":").list.first().alias("source"))
    days = sources.agg(pl.struct("workspace_id", "usage_date").n_unique().alias("n"), pl.col("usage_date").min())
    assert sorted(days.rows()) == [("aws-cur", 14, date(2023, 11, 1)), ("focus", 477, date(2024, 9, 1))]
    assert gold.filter(pl.col("effective_cost") < 0).height == 13
    assert gold["charge_category"].value_counts().sort("count").rows() == [
        ("Credit", 1),
        ("Adjustment", 2),
        ("Tax", 12),
        ("Usage", 2266),
    ]
    assert gold["environment"].value_counts().drop_nulls().sort("count").rows() == [("prod", 276), ("dev", 426)]
    assert gold.filter(pl.col("cost_center") == "1234").height == 36
    cost = gold.filter(pl.col("usage_id").str.starts_with("aws-cur"))["effective_cost"].sum()
    assert cost == pytest.approx(1.682309, abs=1e-5)


def test_cost_features_of_sparse_bills(billing: Bench) -> None:
    table = billing.table("cost_features")
    assert table.filter(pl.col("lines_1d") > 0).height == 477 + 14
    assert table["workspace_id"].n_unique() == 74
    assert table.select(pl.col(pl.Float64).is_infinite().any()).sum_horizontal().item() == 0
    first = table.filter((pl.col("workspace_id") == "123412340534") & (pl.col("usage_date") == date(2023, 11, 4)))
    assert first["lines_1d"].item() == 226
    assert first["active_days_7d"].item() == 4


def test_models_are_trained_or_refused_with_a_reason(billing: Bench) -> None:
    """One account in one November and 73 in one September, of cents: enough to detect, too little to learn from."""
    found: dict[str, str] = {}
    for model in COST_MODELS:
        try:
            found[model] = next(iter(billing.train(model).metrics))
        except TrainingError as error:
            found[model] = str(error)
    refused = {model: told for model, told in found.items() if "rows" in told}
    assert all(model in told for model, told in refused.items())
    assert "cost_anomaly_detector" not in refused
    assert {"chargeback_allocator", "commitment_analyzer", "resource_optimizer"} <= set(refused)


def test_anomalies_in_bills_without_labels_are_judged_by_planted_ones(billing: Bench) -> None:
    trained = billing.train("cost_anomaly_detector")
    assert trained.planted
    assert trained.metrics["average_precision"] > 2 * trained.baseline["average_precision"]
