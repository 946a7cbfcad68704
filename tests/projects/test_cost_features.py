"""cost_features against sums written out in plain Python, on rows picked from the sample."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from tests.projects.conftest import END, Bench

Row = dict[str, Any]


@pytest.fixture(scope="module")
def bench(sampled: Callable[..., Bench]) -> Bench:
    return sampled("health_monitor", tables=("cost_features",))


@pytest.fixture(scope="module")
def table(bench: Bench) -> pl.DataFrame:
    return bench.table("cost_features")


@pytest.fixture(scope="module")
def picked(bench: Bench, table: pl.DataFrame) -> list[tuple[Row, list[Row]]]:
    """Feature rows, among them some of idle days, each with all gold rows of its workspace."""
    gold = bench.gold("fact_usage")
    idle = table.filter(pl.col("lines_1d") == 0)
    draw = random.Random(0)
    rows = draw.sample(table.rows(named=True), 25) + draw.sample(idle.rows(named=True), 10)
    return [(r, gold.filter(pl.col("workspace_id") == r["workspace_id"]).rows(named=True)) for r in rows]


def within(lines: list[Row], day: date, days: int) -> list[Row]:
    return [r for r in lines if day - timedelta(days=days) < r["usage_date"] <= day]


def total(lines: list[Row], column: str) -> float:
    return math.fsum(r[column] for r in lines)


def close(found: float | None, expected: float | None) -> bool:
    if found is None or expected is None:
        return found is expected
    return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-7)


def ratio(part: float, whole: float) -> float | None:
    return part / whole if abs(whole) > 1e-9 else None


def test_the_table_has_its_documented_size_and_no_day_is_missing(table: pl.DataFrame) -> None:
    assert 5300 < table.height < 5800
    gaps = table.group_by("workspace_id").agg(
        pl.len().alias("rows"), (pl.col("usage_date").max() - pl.col("usage_date").min()).dt.total_days().alias("span")
    )
    assert (gaps["rows"] == gaps["span"] + 1).all()
    assert table["usage_date"].max() == END


def test_consumption(picked: list[tuple[Row, list[Row]]]) -> None:
    for row, lines in picked:
        day = row["usage_date"]
        daily = [total(within(lines, day - timedelta(days=i), 1), "dbus") for i in range(30)]
        assert close(row["daily_dbu"], daily[0])
        assert close(row["dbu_7d"], math.fsum(daily[:7]))
        assert close(row["avg_dbu_30d"], math.fsum(daily) / 30)
        assert close(row["std_dbu_7d"], statistics.stdev(daily[:7]))
        assert close(row["dbu_last_week"], daily[7])
        assert close(row["dbu_usual"], statistics.median([daily[7], daily[14], daily[21]]))
        if row["z_score_7d"] is not None:
            spread = statistics.stdev(daily[:7])
            assert close(row["z_score_7d"], (daily[0] - statistics.mean(daily[:7])) / spread)
        else:
            assert max(daily[:7]) - min(daily[:7]) < 1e-3
        assert row["active_days_7d"] == len({r["usage_date"] for r in within(lines, day, 7)})
        if row["log_ratio_usual"] is not None:
            assert close(row["log_ratio_usual"], math.log((max(daily[0], 0) + 1) / (max(row["dbu_usual"], 0) + 1)))


def test_spend_and_tags(picked: list[tuple[Row, list[Row]]]) -> None:
    for row, lines in picked:
        day = row["usage_date"]
        month, week = within(lines, day, 30), within(lines, day, 7)
        cost, listed = total(month, "effective_cost"), total(month, "list_cost")
        assert close(row["cost_30d"], cost)
        assert close(row["discount_rate_30d"], 1 - cost / listed if listed > 1e-9 else None)
        assert row["lines_7d"] == len(week)
        assert close(row["max_line_cost_7d"], max((r["effective_cost"] for r in week), default=None))
        assert close(row["min_line_cost_30d"], min((r["effective_cost"] for r in month), default=None))
        assert close(
            row["credits_30d"], total([r for r in month if r["charge_category"] == "Credit"], "effective_cost")
        )
        corrected = [r for r in month if r["charge_class"] == "Correction"]
        assert close(row["correction_share_30d"], ratio(len(corrected), len(month)))
        tagged = [r for r in month if r["cost_center"] is not None]
        assert close(row["tagged_share_30d"], ratio(total(tagged, "effective_cost"), cost))
        assert close(row["tagged_line_share_30d"], ratio(len(tagged), len(month)))
        assert row["distinct_skus_30d"] == len({r["sku"] for r in month})


def test_commitments_and_waste(picked: list[tuple[Row, list[Row]]]) -> None:
    for row, lines in picked:
        day = row["usage_date"]
        fortnight = within(lines, day, 14)
        compute = [r for r in fortnight if r["service_category"] == "Compute"]
        bought = [r for r in compute if r["pricing_category"] == "Standard" and r["charge_category"] == "Usage"]
        assert row["on_demand_days_14d"] == len({r["usage_date"] for r in bought})
        assert close(row["on_demand_share_14d"], ratio(total(bought, "list_cost"), total(compute, "list_cost")))
        unused = [r for r in fortnight if r["commitment_status"] == "Unused"]
        assert close(row["unused_commitment_14d"], total(unused, "effective_cost"))
        assert close(row["avoidable_cost_14d"], math.fsum(_avoidable(r) for r in fortnight))
        running = [r for r in within(lines, day, 7) if _left_running(r)]
        assert close(row["left_running_7d"], total(running, "effective_cost"))


def _left_running(line: Row) -> bool:
    dev = line["environment"] is not None and line["environment"] != "prod"
    return line["service_category"] == "Compute" and dev and line["usage_date"].isoweekday() >= 6


def _avoidable(line: Row) -> float:
    if line["commitment_status"] == "Unused" or _left_running(line):
        return line["effective_cost"]
    compute = line["service_category"] == "Compute" and line["charge_category"] == "Usage"
    return 0.25 * line["effective_cost"] if compute and line["pricing_category"] == "Standard" else 0.0


def test_mix(picked: list[tuple[Row, list[Row]]]) -> None:
    names = ("Compute", "Databases", "Analytics", "AI and Machine Learning", "Storage", "Networking")
    for row, lines in picked:
        costs = {
            days: [
                max(
                    total(
                        [r for r in within(lines, row["usage_date"], days) if r["service_category"] == n], "list_cost"
                    ),
                    0,
                )
                for n in names
            ]
            for days in (1, 30)
        }
        now, usual = ([c / sum(costs[d]) for c in costs[d]] if sum(costs[d]) > 0 else None for d in (1, 30))
        entropy = None if usual is None else -math.fsum(s * math.log(s) for s in usual if s > 0)
        assert close(row["mix_entropy_30d"], entropy)
        shift = None if now is None or usual is None else sum(abs(a - b) for a, b in zip(now, usual, strict=True)) / 2
        assert close(row["mix_shift_1d"], shift)


def test_closing_days_are_working_days(table: pl.DataFrame) -> None:
    """October 2026 ends on a Saturday: Thursday, Friday and Monday the 2nd. November's closing begins on the 27th."""
    closing = {date(2026, 10, 29), date(2026, 10, 30), date(2026, 11, 2), date(2026, 11, 27)}
    days = table.select("usage_date", "closing_days_next_7d", "closing_days_last_7d").unique()
    for day, ahead, behind in days.filter(pl.col("usage_date").is_between(date(2026, 10, 15), END)).iter_rows():
        assert ahead == len(closing & {day + timedelta(days=i) for i in range(1, 8)})
        assert behind == len(closing & {day - timedelta(days=i) for i in range(7)})


def test_an_idle_workspace_goes_down_and_ends_after_thirty_days(bench: Bench, table: pl.DataFrame) -> None:
    last = bench.gold("fact_usage").group_by("workspace_id").agg(pl.col("usage_date").max().alias("last"))
    gone = last.filter(pl.col("last") < END - timedelta(days=31))
    assert not gone.is_empty()
    for workspace, day in gone.iter_rows():
        rows = table.filter((pl.col("workspace_id") == workspace) & (pl.col("usage_date") >= day)).sort("usage_date")
        assert rows.height == 30
        assert rows["active_days_30d"].is_sorted(descending=True)
        assert rows["active_days_30d"][-1] == 1


def test_values_are_finite(table: pl.DataFrame) -> None:
    floats = table.select(pl.col(pl.Float64))
    assert floats.select(pl.all().is_infinite().any() | pl.all().is_nan().any()).sum_horizontal().item() == 0
