"""Sample gold: repeatable, replaced by a user's rows, never replacing them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from karat.errors import IngestedRows, TableNotFound
from karat.quality import awaited_gold, ingest, origin, quarantine_name, write_sample

END = date(2024, 3, 31)
HEADER = "order_id,placed_at,items,amount,country,paid,due"


def test_a_sample_is_written_once(lake, project):
    assert awaited_gold(project, lake) == ()
    written = write_sample(project, lake, end=END)
    assert [(w.table.table, w.rows, w.changed) for w in written] == [("orders", 20, True), ("shops", 2, True)]
    assert origin(lake, project.gold_name("orders")) == "sample"
    assert awaited_gold(project, lake) == ()
    versions = [lake.version(t) for t in lake.tables()]
    again = write_sample(project, lake, end=END)
    assert [(w.rows, w.changed) for w in again] == [(20, False), (2, False)]
    assert [lake.version(t) for t in lake.tables()] == versions


def test_another_scale_replaces_the_sample(lake, project):
    write_sample(project, lake, end=END)
    write_sample(project, lake, end=END, scale=0.5, seed=3)
    assert lake.read(project.gold_name("orders")).height == 10


def test_the_sample_ends_yesterday(lake, project):
    write_sample(project, lake)
    last = lake.read(project.gold_name("orders"))["placed_at"].max()
    assert last.date() == datetime.now(UTC).date() - timedelta(days=1)


def test_bad_rows_of_a_sample_are_set_aside_too(lake, project):
    orders, _ = write_sample(project, lake, end=END, scale=3)
    assert orders.set_aside == orders.reasons["below 0: amount"] > 0
    assert orders.rows + orders.set_aside == 60
    assert lake.read(quarantine_name(project.gold_name("orders")))["source"].unique().to_list() == ["sample"]


def test_ingested_rows_replace_a_sample_and_are_never_replaced(lake, project, csv):
    write_sample(project, lake, end=END, scale=3)
    name = project.gold_name("orders")
    path = csv(HEADER, "x,2024-03-01T10:00:00Z,2,9.5,DE,yes,2024-04-01")
    done = ingest(project, "orders", [path], lake)
    assert done.replaced_sample
    assert lake.read(name)["order_id"].to_list() == ["x"]
    assert lake.read(quarantine_name(name)).height == 0
    assert (origin(lake, name), lake.info(name).properties["karat.origin"]) == ("ingest", "ingest")
    versions = [lake.version(t) for t in lake.tables()]
    with pytest.raises(IngestedRows, match="orders"):
        write_sample(project, lake, end=END)
    assert [lake.version(t) for t in lake.tables()] == versions
    shops = write_sample(project, lake, end=END, scale=2, tables=["shops"])
    assert [w.table.table for w in shops] == ["shops"]
    with pytest.raises(TableNotFound, match="Did you mean 'shops'"):
        write_sample(project, lake, tables=["shop"])


def test_beside_a_users_rows_the_other_tables_are_awaited(lake, project, csv):
    ingest(project, "orders", [csv(HEADER, "x,2024-03-01T10:00:00Z,2,9.5,DE,yes,2024-04-01")], lake)
    assert awaited_gold(project, lake) == ("shops",)
    write_sample(project, lake, end=END, tables=["shops"])
    assert awaited_gold(project, lake) == ()


def test_rows_that_a_user_wrote_through_the_lake_are_theirs(lake, project):
    write_sample(project, lake, end=END)
    name = project.gold_name("orders")
    lake.create(project.gold_name("mine"), lake.info(name).schema, primary_key=("order_id",), timeseries="placed_at")
    lake.merge(project.gold_name("mine"), lake.read(name))
    assert origin(lake, project.gold_name("mine")) is None
    assert pl.DataFrame(lake.read(project.gold_name("mine"))).height == 20
