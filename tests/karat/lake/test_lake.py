"""The lake's verbs on real Delta tables."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from karat.errors import ColumnMissing, DataError, ForeignCatalog, SchemaMismatch, TableNotFound
from karat.lake import Lake, Work
from karat.names import TableName


def sorted_rows(lake, name, *by):
    return lake.read(name).sort(*by).rows()


def test_a_table_is_described_by_its_own_metadata(lake, daily, sales):
    lake.merge(daily, sales("ab", [1]))
    table = DeltaTable(lake.path(daily))  # any Delta reader
    configuration = table.metadata().configuration
    assert json.loads(configuration["karat.primary_key"]) == ["shop", "day"]
    assert configuration["karat.timeseries"] == "day"
    assert configuration["karat.grain"] == "86400.0"
    assert configuration["karat.owner"] == "ann"
    assert configuration["delta.enableExpiredLogCleanup"] == "false"
    assert pa.schema(table.schema()).field("revenue").metadata[b"comment"] == b"sum of the day"
    assert pa.table(table.to_pyarrow_table()).num_rows == 2
    info = lake.info(daily)
    assert info.primary_key == ("shop", "day")
    assert info.grain == timedelta(days=1)
    assert info.comments["shop"] == "which shop"
    assert info.partition_by == ("day",)
    assert not info.schema.field("shop").nullable


def test_decimal_becomes_double_and_the_original_type_is_kept(lake, events):
    field = lake.info(events).schema.field("amount")
    assert field.type == pa.float64()
    assert field.metadata[b"karat.type"] == b"decimal128(10, 2)"


def test_creating_the_same_table_twice_leaves_its_version(lake, plain):
    schema = lake.info(plain).schema
    before = lake.version(plain)
    lake.create(plain, schema, primary_key=("shop",), description="all shops")
    assert lake.version(plain) == before


def test_a_table_gains_nullable_columns_and_nothing_else(lake, plain):
    lake.merge(plain, pl.DataFrame({"shop": ["a"], "city": ["X"], "size": [1]}))
    schema = lake.info(plain).schema
    wider = schema.append(pa.field("opened", pa.date32(), metadata={"comment": "first day"}))
    assert "opened" in lake.create(plain, wider, primary_key=("shop",)).schema.names
    assert lake.read(plain).rows() == [("a", "X", 1, None)]
    assert lake.info(plain).comments["opened"] == "first day"
    before = lake.version(plain)
    for other, text in (
        (schema, "column opened: date that may be null in the table, not declared"),
        (
            wider.append(pa.field("x", pa.int64(), nullable=False)),
            "column x: not in the table, declared as int64 that may not be null",
        ),
        (wider.set(2, pa.field("size", pa.float64())), "column size: int64 in the table, float64 declared"),
        (wider.set(2, pa.field("size", pa.int64(), False)), "column size: may be null in the table, may not be null"),
    ):
        with pytest.raises(SchemaMismatch, match=text) as error:
            lake.create(plain, other, primary_key=("shop",))
        assert f"karat drop table {plain} --yes" in error.value.remedy
    with pytest.raises(SchemaMismatch, match="key: shop in the table, shop, city declared"):
        lake.create(plain, wider, primary_key=("shop", "city"))
    assert lake.version(plain) == before


def test_owner_and_descriptions_follow_the_last_call(lake, plain):
    schema = lake.info(plain).schema
    named = pa.schema([schema.field(0).with_metadata({"comment": "name"}), *list(schema)[1:]])
    lake.create(plain, named, primary_key=("shop",), owner="bo", description="shops", properties={"origin": "sample"})
    info = lake.info(plain)
    assert (info.owner, info.description, info.comments["shop"]) == ("bo", "shops", "name")
    assert info.properties["karat.origin"] == "sample"


def test_another_description_of_a_column_keeps_its_original_type(lake, events):
    schema = lake.info(events).schema
    place = schema.get_field_index("amount")
    described = schema.set(place, schema.field(place).with_metadata({"comment": "net"}))
    info = lake.create(events, described, primary_key=("order",), timeseries="at")
    assert info.schema.field("amount").metadata == {b"comment": b"net", b"karat.type": b"decimal128(10, 2)"}
    assert lake.create(events, described, primary_key=("order",), timeseries="at").version == info.version


def test_sweep_removes_what_killed_writers_left_and_nothing_else(lake, daily, sales):
    lake.overwrite(daily, sales("a", [1, 2]))
    version = lake.version(daily)
    lake.overwrite(daily, sales("b", [1, 2]))
    left = lake.stage(daily, sales("c", [1, 2, 3]), label="left")
    assert lake.sweep(daily) == 0  # a writer may still be at it
    assert lake.sweep(daily, older_than=timedelta(seconds=-1)) == 3
    assert not any((lake.path(daily) / s.path).exists() for s in left)
    assert lake.read(daily, version=version)["shop"].unique().to_list() == ["a"]
    assert lake.read(daily)["shop"].unique().to_list() == ["b"]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"primary_key": ("nokey",)}, ColumnMissing),
        ({"primary_key": ()}, SchemaMismatch),
        ({"primary_key": ("price",)}, SchemaMismatch),
        ({"primary_key": ("id",), "timeseries": "price"}, SchemaMismatch),
        ({"primary_key": ("id",), "timeseries": "day"}, SchemaMismatch),
        ({"primary_key": ("id",), "partition_by": ("dya",)}, ColumnMissing),
    ],
)
def test_a_definition_that_can_not_be_is_refused(lake, changes, error):
    name = TableName("shop_dev", "features", "x")
    schema = pa.schema([("id", pa.int64()), ("price", pa.float64()), ("day", pa.date32())])
    with pytest.raises(error):
        lake.create(name, schema, **changes)
    assert not lake.exists(name)


def test_merge_inserts_and_updates_by_key(lake, daily, sales):
    lake.merge(daily, sales("ab", [1, 2]))
    commit = lake.merge(daily, pl.concat([sales("b", [2], 5.0), sales("c", [3])]))
    assert commit.changed
    assert commit.rows == 2
    assert commit.days == (date(2024, 1, 2), date(2024, 1, 3))
    assert sorted_rows(lake, daily, "day", "shop") == [
        ("a", date(2024, 1, 1), 1.0),
        ("b", date(2024, 1, 1), 1.0),
        ("a", date(2024, 1, 2), 1.0),
        ("b", date(2024, 1, 2), 5.0),
        ("c", date(2024, 1, 3), 1.0),
    ]


def test_merging_what_is_there_changes_nothing(lake, daily, sales):
    lake.merge(daily, sales("ab", [1, 2]))
    before = lake.version(daily)
    again = lake.merge(daily, sales("ba", [2, 1]))
    assert not again.changed
    assert lake.version(daily) == before


def test_a_row_moves_to_another_day_with_its_time(lake, events, orders):
    lake.merge(events, orders({1: (1, 9, 10.0), 2: (1, 10, 20.0)}))
    version = lake.version(events)
    lake.merge(events, orders({2: (3, 10, 20.0)}))
    assert lake.read(events).height == 2
    assert lake.changed_days(events, "at", version, lake.version(events)) == [date(2024, 1, 1), date(2024, 1, 3)]


def test_the_derived_day_is_hidden_unless_asked_for(lake, events, orders):
    lake.merge(events, orders({1: (1, 23, 10.0)}))
    assert lake.read(events).columns == ["order", "at", "amount"]
    assert lake.read(events, columns=["order", "_day"]).rows() == [(1, date(2024, 1, 1))]
    assert "_day" not in lake.info(events).schema.names
    assert "_day" in lake.scan(events, hidden=True).collect_schema().names()


def test_overwrite_replaces_the_days_named_and_no_other(lake, daily, sales):
    lake.overwrite(daily, sales("ab", [1, 2, 3]))
    commit = lake.overwrite(daily, sales("c", [2], 9.0), days=[date(2024, 1, 2), date(2024, 1, 3)])
    assert commit.days == (date(2024, 1, 2), date(2024, 1, 3))
    assert sorted_rows(lake, daily, "day", "shop") == [
        ("a", date(2024, 1, 1), 1.0),
        ("b", date(2024, 1, 1), 1.0),
        ("c", date(2024, 1, 2), 9.0),
    ]
    with pytest.raises(DataError, match="outside the days"):
        lake.overwrite(daily, sales("c", [4]), days=[date(2024, 1, 2)])


def test_overwrite_by_day_of_a_table_that_is_not_partitioned(lake, sales):
    name = TableName("shop_dev", "predictions", "sales")
    schema = pa.schema([("shop", pa.string()), ("day", pa.date32()), ("revenue", pa.float64())])
    lake.create(name, schema, primary_key=("shop", "day"), timeseries="day")
    assert lake.info(name).partition_by == ()
    lake.overwrite(name, sales("ab", [1, 2]))
    lake.overwrite(name, sales("b", [2], 7.0), days=[date(2024, 1, 2)])
    assert sorted_rows(lake, name, "day", "shop")[1:] == [("b", date(2024, 1, 1), 1.0), ("b", date(2024, 1, 2), 7.0)]


def test_overwrite_of_the_whole_table(lake, plain):
    lake.overwrite(plain, pl.DataFrame({"shop": ["a", "b"], "city": ["X", "Y"], "size": [1, 2]}))
    lake.overwrite(plain, pl.DataFrame({"shop": ["c"], "city": [None], "size": [None]}))
    assert lake.read(plain).rows() == [("c", None, None)]
    lake.overwrite(plain, lake.read(plain).clear())
    assert lake.read(plain).height == 0


def test_staged_files_are_seen_after_their_one_commit(lake, daily, sales):
    lake.overwrite(daily, sales("z", [1, 2, 9]))
    staged = [s for part in "ab" for s in lake.stage(daily, sales(part, [1, 2]), label=f"shard-{part}")]
    assert lake.read(daily)["shop"].unique().to_list() == ["z"]
    before = lake.version(daily)
    days = [date(2024, 1, 1), date(2024, 1, 2)]
    work = Work("features", "k1", {"gold_version": 4})
    commit = lake.commit(daily, staged, replace=days, work=work)
    assert (commit.version, commit.rows, commit.days) == (before + 1, 4, tuple(days))
    assert lake.read(daily).sort("day", "shop")["shop"].to_list() == ["a", "b", "a", "b", "z"]
    assert lake.last_work(daily, "features") == work


def test_work_done_is_not_done_again(lake, daily, sales):
    work = Work("features", "k1")
    first = lake.commit(daily, lake.stage(daily, sales("a", [1]), label="s"), replace="all", work=work)
    again = lake.commit(daily, lake.stage(daily, sales("a", [1]), label="s"), replace="all", work=work)
    assert not again.changed
    assert again.version == first.version == lake.version(daily)
    assert again.days == first.days
    assert len(list(lake.path(daily).rglob("*.parquet"))) == 1  # what was staged in vain is gone
    assert lake.commit_of(daily, work) == again
    lake.merge(daily, sales("b", [1]), work=Work("ingest", "x"))
    assert lake.commit_of(daily, work)  # another kind of work does not undo it
    lake.overwrite(daily, sales("a", [2]), work=Work("features", "k2"))
    assert lake.commit_of(daily, work) is None  # only the latest of a kind counts
    assert lake.last_work(daily, "ingest").key == "x"
    assert lake.last_work(daily, "other") is None


def test_a_commit_names_no_file_that_is_gone(lake, daily, sales):
    staged = lake.stage(daily, sales("a", [1]), label="s")
    lake.discard(daily, staged)
    before = lake.version(daily)
    with pytest.raises(DataError, match="stage it again"):
        lake.commit(daily, staged, replace="all", work=Work("features", "k"))
    assert lake.version(daily) == before


def test_discard_never_removes_what_a_commit_names(lake, daily, sales):
    staged = lake.stage(daily, sales("a", [1]), label="s")
    lake.commit(daily, staged, replace="all", work=Work("features", "k"))
    lake.discard(daily, staged)
    assert lake.read(daily).height == 1


def test_old_versions_stay_readable(lake, daily, sales):
    lake.overwrite(daily, sales("a", [1]))
    version = lake.version(daily)
    lake.overwrite(daily, sales("b", [1]))
    assert lake.read(daily, version=version)["shop"].to_list() == ["a"]
    assert lake.info(daily, version).version == version
    with pytest.raises(TableNotFound, match="no version 99"):
        lake.read(daily, version=99)


def test_read_selects_and_filters(lake, daily, sales):
    lake.overwrite(daily, sales("ab", [1, 2, 3]))
    frame = lake.read(daily, columns=["shop"], where=pl.col("day") == date(2024, 1, 2))
    assert sorted(frame["shop"]) == ["a", "b"]
    assert lake.scan(daily, days=(date(2024, 1, 2), date(2024, 1, 3))).collect().height == 4
    with pytest.raises(ColumnMissing, match="Did you mean 'shop'"):
        lake.read(daily, columns=["shopp"])


def test_statistics_let_a_reader_skip_files(lake, events, orders):
    lake.overwrite(events, orders({1: (1, 9, 1.0), 2: (2, 9, 2.0)}))
    files = pl.DataFrame(DeltaTable(lake.path(events)).get_add_actions(flatten=True)).sort("partition._day")
    assert files["num_records"].to_list() == [1, 1]
    assert files["min.at"].to_list() == [datetime(2024, 1, 1, 9, tzinfo=UTC), datetime(2024, 1, 2, 9, tzinfo=UTC)]
    assert files["max.order"].to_list() == [1, 2]
    assert files["null_count.amount"].to_list() == [0, 0]


def test_an_unknown_table_names_the_nearest(lake, daily):
    with pytest.raises(TableNotFound, match=r"Did you mean 'shop_dev.features.sales'\?"):
        lake.info(TableName("shop_dev", "features", "sale"))
    assert lake.tables() == [daily]
    assert lake.tables(schema="gold") == []


def test_another_environments_catalog_is_not_written(lake, daily, sales, settings):
    prod = TableName("shop_prod", "features", "sales")
    for call in (
        lambda: lake.create(prod, lake.info(daily).schema, primary_key=("shop", "day"), timeseries="day"),
        lambda: lake.merge(prod, sales("a", [1])),
        lambda: lake.overwrite(prod, sales("a", [1])),
        lambda: lake.stage(prod, sales("a", [1]), label="x"),
    ):
        with pytest.raises(ForeignCatalog, match="shop_dev"):
            call()
    assert not lake.exists(prod)
    free = TableName("warehouse", "features", "sales")
    lake.create(free, lake.info(daily).schema, primary_key=("shop", "day"), timeseries="day")
    Lake(settings.lake, "prod").create(prod, lake.info(daily).schema, primary_key=("shop", "day"), timeseries="day")
    assert lake.read(prod).height == 0  # reading is free


def test_history_tells_the_work(lake, daily, sales):
    lake.merge(daily, sales("a", [1]), work=Work("ingest", "k", {"file": "a.csv"}))
    assert lake.history(daily, limit=1)[0]["karat.work"]["detail"] == {"file": "a.csv"}


def test_changed_days(lake, daily, sales):
    lake.overwrite(daily, sales("ab", [1, 2, 3, 4]))
    start = lake.version(daily)
    lake.merge(daily, sales("a", [2], 7.0))
    lake.overwrite(daily, sales("a", [9]), days=[date(2024, 1, 4), date(2024, 1, 9)])
    middle = lake.version(daily)
    DeltaTable(lake.path(daily)).optimize.compact()
    assert lake.changed_days(daily, "day", start, middle) == [date(2024, 1, d) for d in (2, 4, 9)]
    assert lake.changed_days(daily, "day", middle, lake.version(daily)) == []
    assert lake.changed_days(daily, "day", start, start) == []


def test_changed_days_of_a_table_that_is_not_partitioned(lake, sales):
    name = TableName("shop_dev", "predictions", "sales")
    schema = pa.schema([("shop", pa.string()), ("day", pa.date32()), ("revenue", pa.float64())])
    lake.create(name, schema, primary_key=("shop", "day"), timeseries="day")
    lake.merge(name, sales("a", [1, 3]))
    start = lake.version(name)
    lake.merge(name, sales("a", [5, 6]))
    assert lake.changed_days(name, "day", start, lake.version(name)) == [date(2024, 1, 5), date(2024, 1, 6)]


def test_many_small_merges_do_not_leave_as_many_files(lake, daily, sales):
    for n in range(40):
        lake.merge(daily, sales(chr(97 + n % 26) + chr(65 + n % 26), [1], n))
    assert len(DeltaTable(lake.path(daily)).file_uris()) <= 17
    assert lake.read(daily).height == 52


def test_rows_are_deleted_by_any_columns_in_one_commit(lake, daily, sales):
    lake.merge(daily, sales("ab", [1, 2, 3]))
    done = lake.delete(daily, pl.DataFrame({"shop": ["a", "a", "z"]}))
    assert (done.rows, done.version, [d.day for d in done.days]) == (3, 2, [1, 2, 3])
    assert lake.read(daily)["shop"].unique().to_list() == ["b"]
    assert lake.read(daily, version=1).height == 6
    assert not lake.delete(daily, pl.DataFrame({"shop": ["a"]})).changed
    assert lake.delete(daily, pl.DataFrame({"shop": ["b"], "day": [date(2024, 1, 2)]})).rows == 1
    assert lake.read(daily)["day"].dt.day().sort().to_list() == [1, 3]
    with pytest.raises(ColumnMissing, match="'shp'"):
        lake.delete(daily, pl.DataFrame({"shp": ["b"]}))
    lake.drop(daily)
    assert lake.tables() == []


def test_a_lake_whose_path_has_spaces_and_signs(tmp_path, plain):
    other = Lake(tmp_path / "Ann Smith's 100% lake #1", "dev")
    name = TableName("shop_dev", "gold", "plain")
    other.create(name, pa.schema([pa.field("k", pa.int64(), nullable=False)]), primary_key=["k"])
    other.merge(name, pl.DataFrame({"k": [1, 2]}))
    assert sorted(other.read(name)["k"]) == [1, 2]
    assert other.scan(name).select(pl.len()).collect().item() == 2


def test_files_are_sorted_by_the_columns_that_a_table_is_clustered_by(lake):
    name = TableName("shop_dev", "gold", "clicks")
    rows = pl.DataFrame({"id": range(40_000), "user": [f"u{(n * 7919) % 1000:04}" for n in range(40_000)]})
    lake.create(name, rows.to_arrow().schema, primary_key=["id"], properties={"cluster_by": '["user"]'})
    lake.overwrite(name, rows)
    (file,) = lake.path(name).glob("*.parquet")
    assert pl.read_parquet(file)["user"].is_sorted()
    assert pq.ParquetFile(file).metadata.num_row_groups == 3
    assert lake.read(name).sort("id").equals(rows)
    lake.merge(name, rows.head(10).with_columns(user=pl.lit("u0000")))
    assert lake.count(name) == 40_000
