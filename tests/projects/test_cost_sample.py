"""The sample of the health monitor: the same world whatever its end, with the rows that real systems have."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from karat.declare import Project
from karat.quality import check
from tests.projects.conftest import END

Sample = dict[str, pl.DataFrame]
COST = ("fact_usage", "cost_truth")


@pytest.fixture(scope="module")
def world(health_monitor: Project) -> Sample:
    assert health_monitor.sample is not None
    return health_monitor.sample(tables=COST, scale=1.0, seed=0, end=END)


@pytest.fixture(scope="module")
def usage(world: Sample) -> pl.DataFrame:
    return world["fact_usage"]


def test_it_keeps_its_contracts(health_monitor: Project, world: Sample) -> None:
    for name, frame in world.items():
        checked = check(frame, health_monitor.gold[name])
        assert checked.reasons == {}
        assert checked.good.height == frame.height


def test_the_same_seed_gives_the_same_rows_another_others(health_monitor: Project, world: Sample) -> None:
    assert health_monitor.sample is not None
    again = health_monitor.sample(tables=COST, seed=0, end=END)
    assert all(again[name].equals(frame) for name, frame in world.items())
    assert not health_monitor.sample(tables=COST, seed=1, end=END)["fact_usage"].equals(world["fact_usage"])


def test_a_later_end_adds_days_and_late_rows_and_changes_nothing(health_monitor: Project, usage: pl.DataFrame) -> None:
    assert health_monitor.sample is not None
    later = health_monitor.sample(tables=COST, seed=0, end=END + timedelta(days=3))["fact_usage"]
    kept = usage.filter(pl.col("usage_date") >= later["usage_date"].min())
    assert kept.join(later, on=usage.columns, how="anti", nulls_equal=True).is_empty()
    new = later.join(usage, on="usage_id", how="anti")
    late = new.filter(pl.col("usage_date") <= END)
    assert late.height > 10
    assert (late["ingestion_date"] > END).all()
    assert (usage["ingestion_date"] <= END).all()


def test_it_ends_yesterday_by_default(health_monitor: Project) -> None:
    assert health_monitor.sample is not None
    before = datetime.now(UTC).date()
    last = health_monitor.sample(tables=COST, scale=0.1)["fact_usage"]["usage_date"].max()
    after = datetime.now(UTC).date()
    assert before - timedelta(days=1) <= last <= after - timedelta(days=1)


def test_it_grows_with_its_scale(health_monitor: Project, usage: pl.DataFrame) -> None:
    assert health_monitor.sample is not None
    triple = health_monitor.sample(tables=COST, scale=3, end=END)["fact_usage"]
    assert 2.5 < triple.height / usage.height < 3.5


def test_it_has_the_rows_that_real_systems_have(usage: pl.DataFrame) -> None:
    credits = usage.filter(pl.col("charge_category") == "Credit")
    corrections = usage.filter(pl.col("charge_class") == "Correction")
    assert credits.height > 5
    assert (credits["effective_cost"] < 0).all()
    assert corrections.height > 50
    assert (corrections["dbus"] < 0).all()
    for tag in ("environment", "cost_center", "owner", "project"):
        assert 0.01 < usage[tag].null_count() / usage.height < 0.7, tag
    assert usage.filter(pl.col("ingestion_date") > pl.col("usage_date")).height > 500


def test_workspaces_come_go_and_miss_days(usage: pl.DataFrame) -> None:
    first, last = usage["usage_date"].min(), usage["usage_date"].max()
    lives = usage.group_by("workspace_id").agg(
        pl.col("usage_date").min().alias("first"),
        pl.col("usage_date").max().alias("last"),
        pl.col("usage_date").n_unique().alias("days"),
    )
    assert lives.filter(pl.col("first") > first + timedelta(days=7)).height >= 3
    assert lives.filter(pl.col("last") < last - timedelta(days=7)).height >= 3
    whole = lives.filter((pl.col("first") == first) & (pl.col("last") == last))
    assert (whole["days"] < (last - first).days + 1).any()
    assert "ws_001" in whole["workspace_id"]


def test_the_truth_is_seen_in_the_rows(world: Sample) -> None:
    daily = world["fact_usage"].group_by("workspace_id", "usage_date").agg(pl.col("dbus").sum())
    both = world["cost_truth"].join(daily, on=["workspace_id", "usage_date"])
    ratio = both.with_columns(ratio=pl.col("dbus") / pl.col("expected_dbu"))
    of = dict(ratio.group_by("incident_kind").agg(pl.col("ratio").median()).iter_rows())
    assert 0.95 < of[None] < 1.05
    assert of["runaway"] > 1.3
    assert of["outage"] < 0.5
    assert 0.02 < both["incident"].mean() < 0.06


@pytest.mark.parametrize("end", [date(2024, 2, 29), date(2026, 1, 1), date(2027, 8, 3)])
def test_any_end_will_do(health_monitor: Project, end: date) -> None:
    assert health_monitor.sample is not None
    made = health_monitor.sample(tables=COST, scale=0.2, end=end)
    assert made["fact_usage"]["usage_date"].max() == end
    assert made["fact_usage"]["usage_id"].n_unique() == made["fact_usage"].height
