"""The checks beside gold and feature tables: what blocks, what warns, what is set aside, and what is written of it."""

from __future__ import annotations

import json
import pickle
from datetime import date, timedelta

import polars as pl
import pytest
from deltalake import write_deltalake

from karat.errors import QualityBlocked
from karat.executors import LocalExecutor
from karat.features import compute_table
from karat.features.quality_gate import aside_name
from karat.quality import quarantine_name, results
from karat.quality.results_table import quality_name

ROWS = [
    ("x", 1, 1, 1.0, 1, "a"),
    ("x", 1, 2, 2.0, 5, "b"),
    ("x", 1, 8, 4.0, 2, "a"),
    ("x", 2, 2, 8.0, 3, "a"),
    ("y", 1, 5, 16.0, 1, None),
]


@pytest.fixture
def checked(shop):
    """checked(gold=[...], spend=[...]) writes the checks beside the tables."""

    def declare(gold: str = "", spend: str = "") -> None:
        names = "between, fresh, is_in, matches, not_null, unique, volume"
        path = shop.path / "gold.py"
        head, _, rest = path.read_text().partition("    columns={")
        head = head.split("    checks=")[0]
        path.write_text(f"from karat.declare import {names}\n{head}    checks=({gold}),\n    columns={{{rest}")
        path = shop.path / "features" / "spend.py"
        head, _, rest = path.read_text().partition('    rows="active",\n')
        head = head.split("    checks=")[0]
        path.write_text(f'from karat.declare import {names}\n{head}    checks=({spend}),\n    rows="active",\n{rest}')

    return declare


def found(shop, table):
    name = shop.project.table_name(table) if table in shop.project.tables else shop.project.gold_name(table)
    return results(shop.lake, "shop_dev", name)


# ---- feature tables


def test_a_feature_check_that_blocks_commits_nothing_and_says_why(shop, events, checked):
    shop.gold("events", events(ROWS))
    checked(spend='between("amount_3d", 0, 10),')
    with pytest.raises(QualityBlocked) as caught:
        compute_table(shop.project, "spend", shop.lake, shards=3)
    told = str(caught.value)
    assert "amount_3d is between 0 and 10: 1 of 5 fail" in told
    assert '{"user":"y","shop":1,"day":"2024-03-02","amount_3d":16.0}' in told
    assert "on_fail" in told
    assert "karat quality shop" in told
    assert shop.features("spend").is_empty()
    assert not list(shop.lake.path(shop.project.table_name("spend")).rglob("*.parquet"))
    row = found(shop, "spend").row(0, named=True)
    assert (row["state"], row["rows"], row["failed"], row["table_version"]) == ("blocked", 5, 1, None)
    with pytest.raises(QualityBlocked):  # the same work again tells the same once
        compute_table(shop.project, "spend", shop.lake)
    assert found(shop, "spend").height == 1


def test_a_feature_check_that_warns_commits_all(shop, events, checked):
    shop.gold("events", events(ROWS))
    checked(spend='between("amount_3d", 0, 10, on_fail="warn"), not_null("last_what_7d", at_most=0.5),')
    result = compute_table(shop.project, "spend", shop.lake)
    (warning,) = result.warnings
    assert "amount_3d is between 0 and 10: 1 of 5 fail" in warning
    assert shop.features("spend").height == 5
    states = found(shop, "spend").select("check_name", "state", "failed", "table_version").rows()
    assert sorted(states) == [
        ("amount_3d is between 0 and 10", "warned", 1, result.version),
        ("last_what_7d is not null (but for 0.5 of the rows)", "passed", 1, result.version),
    ]
    assert compute_table(shop.project, "spend", shop.lake).warnings == ()


def test_rows_set_aside_are_kept_with_their_reason_and_come_back_once_mended(shop, events, checked):
    shop.gold("events", events(ROWS))
    checked(spend='between("amount_3d", 0, 10, on_fail="set_aside"),')
    name = aside_name(shop.project.table_name("spend"))
    for shards in (3, 1):  # the same work again, and forced: nothing is doubled
        result = compute_table(shop.project, "spend", shop.lake, shards=shards, full=True)
        assert (result.rows, result.set_aside) == (4, 1)
        assert shop.features("spend")["amount_3d"].max() <= 10
        aside = shop.lake.read(name)
        assert aside.select("user", "amount_3d", "_reason").rows() == [("y", 16.0, "above 10: amount_3d")]
    shop.gold("events", events([("y", 1, 5, 6.0, 1, None)], start=4))  # the same event, corrected
    result = compute_table(shop.project, "spend", shop.lake)
    assert result.set_aside == 0
    assert shop.features("spend").height == 5
    assert shop.lake.read(name).is_empty()


def test_unique_and_volume_look_over_all_shards(shop, events, checked):
    shop.gold("events", events(ROWS))
    checked(spend='unique("day", "amount_1d", on_fail="warn"), unique("shop"), volume(low=1, last=3),')
    with pytest.raises(QualityBlocked) as caught:
        compute_table(shop.project, "spend", shop.lake, shards=3)
    told = str(caught.value)
    assert 'shop is unique: 4 of 5 fail, for example {"shop":1,"rows":4}' in told
    assert '{"day": "2024-03-04", "rows": 0}' in told  # between the 2nd and the 5th nothing happened
    states = dict(found(shop, "spend").select("check_name", "state").rows())
    assert states["day, amount_1d are unique"] == "passed"


def test_the_results_of_a_commit_are_written_even_if_the_run_died_before(shop, events, checked, monkeypatch):
    shop.gold("events", events(ROWS))
    checked(spend='between("amount_3d", 0, 100),')
    monkeypatch.setattr("karat.features.materialize.keep_results", lambda *a: None)
    result = compute_table(shop.project, "spend", shop.lake)
    assert found(shop, "spend").is_empty()
    monkeypatch.undo()
    assert not compute_table(shop.project, "spend", shop.lake).changed
    assert found(shop, "spend").select("state", "table_version").rows() == [("passed", result.version)]


# ---- gold


def test_gold_that_breaks_a_blocking_check_is_not_computed_from(shop, events, checked):
    shop.gold("events", events(ROWS))
    checked(gold='between("amount", 0, 10, on_fail="block"),')
    with pytest.raises(QualityBlocked) as caught:
        compute_table(shop.project, "spend", shop.lake)
    assert "gold table shop_dev.gold.events (version" in str(caught.value)
    assert '{"event_id":4,"amount":16.0}' in str(caught.value)
    assert not shop.lake.exists(shop.project.table_name("spend"))
    shop.gold("events", events([("y", 1, 5, 6.0, 1, None)], start=4))
    assert compute_table(shop.project, "spend", shop.lake).rows == 5
    assert [r["state"] for r in found(shop, "events").rows(named=True)] == ["blocked", "passed"]


def test_gold_rows_that_break_a_rule_make_no_feature_and_are_kept(shop, events, checked, same_tables):
    shop.gold("events", events(ROWS))
    checked(gold='between("amount", 0, 10), is_in("what", "a", "b"),')
    result = compute_table(shop.project, "spend", shop.lake, shards=2)
    assert "amount is between 0 and 10: 1 of 5 fail" in result.warnings[0]
    assert shop.features("spend")["user"].unique().to_list() == ["x"]
    aside = shop.lake.read(quarantine_name(shop.project.gold_name("events")))
    assert aside.select("place", "reason").rows() == [('{"event_id":4}', "above 10: amount")]
    assert json.loads(aside["row"][0])["amount"] == 16.0
    shop.gold("events", events([("z", 1, 5, 99.0, 1, None), ("z", 1, 6, 1.0, 1, None)], start=10))
    compute_table(shop.project, "spend", shop.lake)
    rows = found(shop, "events").filter(pl.col("check_name").str.contains("amount"))
    assert rows["rows"].to_list() == [5, 3]  # only the days that changed: the 2nd and the 3rd of March
    assert shop.features("spend")["user"].unique().sort().to_list() == ["x", "z"]
    whole = compute_table(shop.project, "spend", shop.lake, full=True)
    assert whole.rows == 5
    checked(gold='between("amount", 0, 100),')  # another contract: all rows count again
    assert compute_table(shop.project, "spend", shop.lake).full
    assert shop.features("spend")["user"].unique().sort().to_list() == ["x", "y", "z"]


def test_stale_gold_warns_each_day_even_though_nothing_is_to_be_computed(shop, events, checked):
    shop.gold("events", events(ROWS))
    checked(gold='fresh("2d"),')
    assert "fresh within 2d" in compute_table(shop.project, "spend", shop.lake).warnings[0]
    again = compute_table(shop.project, "spend", shop.lake)
    assert not again.changed
    assert "fresh within 2d" in again.warnings[0]
    newest = date(2024, 2, 26) + timedelta(days=8)
    checked(gold=f'fresh("2d", as_of=__import__("datetime").date({newest:%Y, %-m, %-d})),')
    assert compute_table(shop.project, "spend", shop.lake).warnings == ()


def test_gold_that_stands_is_told_once_a_day(shop, events, checked):
    shop.gold("events", events(ROWS))
    checked(gold='fresh("2d"), between("amount", 0, 100), volume(low=1, on_fail="warn"),')
    compute_table(shop.project, "spend", shop.lake)
    told, version = found(shop, "events"), shop.lake.version(quality_name("shop_dev"))
    assert told.height == 3
    for _ in range(2):
        compute_table(shop.project, "spend", shop.lake)
    assert found(shop, "events").equals(told)
    assert shop.lake.version(quality_name("shop_dev")) == version


def test_gold_without_checks_writes_no_results(shop, events):
    shop.gold("events", events(ROWS))
    compute_table(shop.project, "spend", shop.lake)
    assert results(shop.lake, "shop_dev").is_empty()
    assert [t.schema for t in shop.lake.tables()] == ["features", "gold", "monitoring"]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([("x", 1, 3, 1.0, 1, "a")], "event_id is unique: 2 of 6 fail"),
        ([("x", 1, 4, 1.0, 1, "a")] * 2, "event_id is unique: 3 of 7 fail"),
    ],
)
def test_what_others_have_written_into_gold_is_asked_for_its_keys(shop, events, rows, told):
    """Another Delta writer appends rows whose keys stand there already: the lake could not refuse them."""
    shop.gold("events", events(ROWS))
    compute_table(shop.project, "spend", shop.lake)
    before = shop.features("spend")
    name = shop.project.gold_name("events")
    foreign = events(rows).with_columns(event_id=0, _day=pl.col("at").dt.date())
    write_deltalake(str(shop.lake.path(name)), foreign.cast({"event_id": pl.Int64}).to_arrow(), mode="append")
    with pytest.raises(QualityBlocked, match=told):
        compute_table(shop.project, "spend", shop.lake)
    assert shop.features("spend").equals(before)
    shop.lake.overwrite(name, events(ROWS))
    assert not compute_table(shop.project, "spend", shop.lake).warnings
    assert shop.features("spend").equals(before)


def test_what_others_have_written_well_is_taken(shop, events):
    shop.gold("events", events(ROWS))
    compute_table(shop.project, "spend", shop.lake)
    name = shop.project.gold_name("events")
    foreign = events([("x", 1, 4, 1.0, 1, "a")], start=50).with_columns(_day=pl.col("at").dt.date())
    write_deltalake(str(shop.lake.path(name)), foreign.to_arrow(), mode="append")
    assert compute_table(shop.project, "spend", shop.lake).changed
    assert shop.features("spend").height == 6


def test_what_a_shard_found_comes_back_from_another_process(shop, events, checked):
    shop.gold("events", events(ROWS))
    checked(spend='between("amount_3d", 0, 10, on_fail="set_aside"), is_in("last_what_7d", "a", on_fail="warn"),')

    class Elsewhere(LocalExecutor):
        def map(self, function, items):
            for index, result in super().map(function, [pickle.loads(pickle.dumps(i)) for i in items]):
                yield index, pickle.loads(pickle.dumps(result))

    result = compute_table(shop.project, "spend", shop.lake, executor=Elsewhere(), shards=2)
    assert (result.rows, result.set_aside, len(result.warnings)) == (4, 1, 2)


EVENTS = """
from karat.declare import FeatureTable, aggregate, between, unique, volume

visits = FeatureTable(
    name="visits",
    description="by event",
    source="events",
    entity=("user",),
    grain="event",
    time="at",
    event_id="event_id",
    closed="right",
    features=(aggregate("spent_7d", "sum", "amount", window="7d", description="spent"),),
    checks=(between("spent_7d", 0, 10, on_fail="set_aside"), volume(low=1, on_fail="warn"), unique("event_id")),
)
"""


def test_features_of_events_are_checked_alike(shop, events):
    shop.gold("events", events(ROWS))
    shop.declare("visits", EVENTS)
    name = shop.project.table_name("visits")
    assert compute_table(shop.project, "visits", shop.lake, shards=2).set_aside == 4
    assert shop.features("visits")["event_id"].to_list() == [0]
    assert shop.lake.read(aside_name(name))["event_id"].sort().to_list() == [1, 2, 3, 4]
    shop.gold("events", events([("y", 1, 5, 6.0, 1, None)], start=4))
    compute_table(shop.project, "visits", shop.lake)
    assert shop.features("visits")["event_id"].sort().to_list() == [0, 4]
    assert shop.lake.read(aside_name(name))["event_id"].sort().to_list() == [1, 2, 3]
