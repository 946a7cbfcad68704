"""Two more days of the sample, with the lines that came late: what is computed anew equals what is computed whole."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import polars as pl
from polars.testing import assert_frame_equal

from karat.features import compute_table
from karat.quality import write_sample
from tests.projects.conftest import END, Bench


def test_late_lines_recompute_the_days_they_touch(empty: Callable[[str], Bench]) -> None:
    bench = empty("health_monitor")
    project, lake = bench.project, bench.lake
    assert project.sample is not None
    write_sample(project, lake, scale=0.05, end=END, tables=project.gold_of(["cost_features"]))
    compute_table(project, "cost_features", lake)
    later = project.sample(scale=0.05, end=END + timedelta(days=2))["fact_usage"]
    new = later.join(bench.gold("fact_usage"), on="usage_id", how="anti")
    first = new["usage_date"].min()
    assert first < END
    lake.merge(project.gold_name("fact_usage"), new)

    done = compute_table(project, "cost_features", lake)
    assert not done.full
    assert done.days == tuple(pl.date_range(first, END + timedelta(days=2), eager=True))
    incremental = bench.table("cost_features").sort("workspace_id", "usage_date")
    assert compute_table(project, "cost_features", lake, full=True).full
    whole = bench.table("cost_features").sort("workspace_id", "usage_date")
    assert_frame_equal(incremental, whole, rel_tol=1e-9, abs_tol=1e-9)
    assert not compute_table(project, "cost_features", lake).changed
