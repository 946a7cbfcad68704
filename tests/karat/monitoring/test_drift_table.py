"""``monitoring.drift``: a day's rows are replaced in one commit, and those of others stay."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from karat.lake import Lake
from karat.monitoring import ReportedCheck, drift_name, first_checks, latest_checks, read_drift, write_drift
from karat.monitoring.drift_table import POLARS_SCHEMA

DAY, NEXT = date(2026, 11, 21), date(2026, 11, 22)
NAME = drift_name("shop_dev")


def rows(model: str, columns: dict[str, float], day: date = DAY, version: int = 1, **more: Any) -> pl.DataFrame:
    shared = {"day": day, "model_name": f"shop_dev.models.{model}", "check_name": "dataset", "model_version": version}
    shared |= {"checked_at": datetime.now(UTC), "drifted": False} | more
    return pl.DataFrame(
        [shared | {"column_name": c, "statistic": s} for c, s in columns.items()], schema=POLARS_SCHEMA, orient="row"
    )


def standing(lake: Lake) -> dict[tuple[str, str], float]:
    found = read_drift(lake, "shop_dev", DAY)
    return {(m.rpartition(".")[2], c): s for m, c, s in found["model_name", "column_name", "statistic"].rows()}


def test_again_on_the_same_day_replaces_what_the_same_check_of_the_model_said(lake: Lake) -> None:
    write_drift(lake, "shop_dev", pl.concat([rows("a", {"x": 0.1, "y": 0.2}), rows("b", {"x": 0.3})]))
    before = lake.version(NAME)
    commit = write_drift(lake, "shop_dev", rows("a", {"x": 0.5, "z": 0.6}))
    assert commit is not None
    assert commit.version == before + 1
    assert standing(lake) == {("a", "x"): 0.5, ("a", "z"): 0.6, ("b", "x"): 0.3}
    write_drift(lake, "shop_dev", rows("a", {"x": 0.9}, NEXT))
    assert len(standing(lake)) == 3
    assert read_drift(lake, "shop_dev").filter(pl.col("model_name").str.ends_with(".a"))["day"].to_list() == [NEXT]


def test_the_same_again_is_no_commit(lake: Lake) -> None:
    write_drift(lake, "shop_dev", rows("a", {"x": 0.1}))
    before = lake.version(NAME)
    assert write_drift(lake, "shop_dev", rows("a", {"x": 0.1})) is not None
    assert write_drift(lake, "shop_dev", rows("a", {})) is None
    assert lake.version(NAME) == before


def test_two_at_once_lose_nothing(lake: Lake) -> None:
    write_drift(lake, "shop_dev", rows("first", {"x": 0.0}))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda m: write_drift(lake, "shop_dev", rows(m, {"x": 0.1})), "abcd"))
    assert standing(lake) == {("first", "x"): 0.0} | {(m, "x"): 0.1 for m in "abcd"}


def test_what_was_reported_last_and_first(lake: Lake) -> None:
    assert (latest_checks(lake, "shop_dev"), first_checks(lake, "shop_dev")) == ({}, {})
    early, late = (datetime(2026, 11, day, 23, 30, tzinfo=UTC) for day in (21, 22))
    write_drift(lake, "shop_dev", rows("a", {"x": 0.1, "y": 0.1}, checked_at=early))
    write_drift(lake, "shop_dev", rows("a", {"x": 0.1}, NEXT, version=2, checked_at=late))
    assert latest_checks(lake, "shop_dev") == {("shop_dev.models.a", "dataset"): ReportedCheck(late, 2)}
    assert first_checks(lake, "shop_dev") == {"shop_dev.models.a": early}
