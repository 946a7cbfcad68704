"""Files into gold tables: what is taken, what is set aside, and what is refused as a whole."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
import yaml

from karat.declare.checks import between
from karat.errors import (
    ColumnMissing,
    DeclarationError,
    InputNotFound,
    NaiveTimestamp,
    NoRowsLeft,
    SchemaMismatch,
    TableNotFound,
    UnreadableInput,
    WrongCall,
)
from karat.quality import ingest, origin, quarantine_name
from karat.quality.row_checks import split_rows

HEADER = "order_id,placed_at,items,amount,country,paid,due"
GOOD = "o1,2024-03-01T10:00:00Z,2,9.5,DE,yes,2024-04-01"
MAPPED = "Invoice No;Date;Type;Pieces;Total"


def rows_of(lake, project, table="orders"):
    return lake.read(project.gold_name(table)).sort(project.gold[table].key)


def aside_of(lake, project, table="orders"):
    return lake.read(quarantine_name(project.gold_name(table))).sort("number")


def nothing_written(lake):
    return lake.tables() == []


def test_a_file_with_the_contracts_columns(lake, project, csv):
    done = ingest(project, "orders", [csv(HEADER, GOOD, "o2,2024-03-02 01:30:00+02:00,,,,,")], lake)
    assert (done.rows, done.set_aside, done.changed, done.map) == (2, 0, True, None)
    assert rows_of(lake, project).rows() == [
        ("o1", datetime(2024, 3, 1, 10, tzinfo=UTC), 2, 9.5, "DE", True, date(2024, 4, 1)),
        ("o2", datetime(2024, 3, 1, 23, 30, tzinfo=UTC), None, None, None, None, None),
    ]
    info = lake.info(project.gold_name("orders"))
    assert (info.primary_key, info.timeseries, info.owner) == (("order_id",), "placed_at", "ann")
    assert origin(lake, info.name) == "ingest"
    assert info.properties["karat.origin"] == "ingest"


def test_rows_that_break_the_contract_are_set_aside_with_their_reason(lake, project, csv):
    path = csv(
        HEADER,
        GOOD,
        "o2,2024-03-01T10:00:00Z,two,1,DE,yes,",
        "o3,2024-03-01T10:00:00Z,1.5,1,DE,yes,",
        "o4,2024-03-01T10:00:00Z,0,1,DE,yes,",
        "o5,2024-03-01T10:00:00Z,1,10001,DE,yes,",
        "o6,2024-03-01T10:00:00Z,1,1,IT,yes,",
        "o7,2024-03-01T10:00:00Z,1,1,DE,perhaps,",
        "o8,2024-03-01T10:00:00Z,1,1,DE,yes,2024-02-30",
        "o9,1.3.2024,1,1,DE,yes,",
        ",2024-03-01T10:00:00Z,1,1,DE,yes,",
        "o11,2024-03-01T10:00:00Z,1,inf,DE,yes,",
        "o12",
        "o13,2024-03-01T10:00:00Z,1,1,DE,yes,,x",
    )
    done = ingest(project, "orders", [path], lake)
    assert (done.rows, done.set_aside) == (1, 12)
    assert done.reasons == {
        "text in a number: items": 1,
        "not a whole number: items": 1,
        "below 1: items": 1,
        "above 10000: amount": 1,
        "not an allowed value: country": 1,
        "neither true nor false: paid": 1,
        "not a date: due": 1,
        "not a time: placed_at": 1,
        "no value in key column: order_id": 1,
        "infinite: amount": 1,
        "no delimiter in the line": 1,
        "too many fields in the line": 1,
    }
    aside = aside_of(lake, project)
    assert set(aside["source"]) == {str(path)}
    two = aside.row(by_predicate=pl.col("reason") == "text in a number: items", named=True)
    assert two["place"] == "row 2"
    assert json.loads(two["row"])["items"] == "two"
    few = aside.row(by_predicate=pl.col("reason") == "no delimiter in the line", named=True)
    assert (few["place"], few["row"]) == ("line 13", "o12")


def test_a_short_line_is_a_row_whose_last_fields_are_null(lake, project, csv):
    path = csv(HEADER, GOOD, 'o2,2024-03-01T10:00:00Z,2,"1"', GOOD.replace("o1", "o3"))
    done = ingest(project, "orders", [path], lake)
    assert (done.rows, done.set_aside, done.short) == (3, 0, 1)
    short = rows_of(lake, project).row(by_predicate=pl.col("order_id") == "o2", named=True)
    assert (short["items"], short["amount"], short["country"], short["due"]) == (2, 1.0, None, None)
    assert ingest(project, "orders", [path], lake).short == 1


def test_a_quote_that_is_never_closed_swallows_no_rows(lake, project, csv):
    done = ingest(
        project, "orders", [csv(HEADER, GOOD, 'o2,2024-03-01T10:00:00Z,2,"1', GOOD.replace("o1", "o3"))], lake
    )
    assert done.rows + done.set_aside >= 2
    assert rows_of(lake, project)["order_id"].to_list()[0] == "o1"
    assert "a quote that is never closed" in done.reasons


def test_columns_named_as_karats_helpers_keep_their_values():
    """A gold column ``_reason`` beside the reasons of rows that are set aside."""
    rows = pl.DataFrame({"id": [1, 2], "_reason": ["late", "lost"], "x": [5.0, -1.0]})
    kept, aside = split_rows(rows, [between("x", low=0, on_fail="set_aside")])
    assert kept.rows() == [(1, "late", 5.0)]
    assert aside.columns == ["id", "_reason", "x", "_reason_"]
    assert aside.row(0)[:3] == (2, "lost", -1.0)


def test_of_rows_with_the_same_key_the_last_stays(lake, project, csv):
    one = csv(HEADER, GOOD, GOOD.replace("9.5", "7.5"), name="one.csv")
    two = csv(HEADER, GOOD.replace("9.5", "8.5"), GOOD.replace("o1", "o2"), name="two.csv")
    done = ingest(project, "orders", [one, two], lake)
    assert done.reasons == {"duplicate key": 2}
    assert rows_of(lake, project)["amount"].to_list() == [8.5, 9.5]


def test_a_bad_row_does_not_shadow_a_good_one_of_its_key(lake, project, csv):
    done = ingest(project, "orders", [csv(HEADER, GOOD, GOOD.replace("9.5", "x"))], lake)
    assert done.reasons == {"text in a number: amount": 1}
    assert done.rows == 1


def test_the_same_files_twice_change_nothing(lake, project, csv):
    path = csv(HEADER, GOOD, "o2,2024-03-01T10:00:00Z,two,1,DE,yes,")
    first = ingest(project, "orders", [path], lake)
    versions = {t: lake.version(t) for t in lake.tables()}
    again = ingest(project, "orders", [path], lake)
    assert not again.changed
    assert (again.rows, again.set_aside, again.reasons) == (first.rows, first.set_aside, first.reasons)
    assert {t: lake.version(t) for t in lake.tables()} == versions


def test_other_files_update_by_key(lake, project, csv):
    ingest(project, "orders", [csv(HEADER, GOOD, GOOD.replace("o1", "o2"))], lake)
    name = project.gold_name("orders")
    before = lake.version(name)
    later = csv(HEADER, GOOD, GOOD.replace("o1", "o2").replace("03-01", "03-05"), name="later.csv")
    done = ingest(project, "orders", [later], lake)
    assert (done.changed, done.rows) == (True, 2)
    assert lake.changed_days(name, "placed_at", before, lake.version(name)) == [date(2024, 3, 1), date(2024, 3, 5)]
    assert lake.read(name).height == 2


def test_a_map_renames_computes_and_leaves_out(lake, project, csv):
    path = csv(MAPPED, "7;01.07.2024 12:00;Sale;3;1,50", "8;01.07.2024 12:00;Tax;1;0,10", "9;01.01.2024 12:00;X;NULL;2")
    done = ingest(project, "orders", [path], lake, map_path=Path("old_shop"))
    assert (done.rows, done.set_aside, done.map) == (2, 0, "old_shop")
    assert rows_of(lake, project).select("order_id", "placed_at", "items", "amount", "country", "due").rows() == [
        ("7", datetime(2024, 7, 1, 10, tzinfo=UTC), 3, 1.5, "DE", None),
        ("9", datetime(2024, 1, 1, 11, tzinfo=UTC), None, 2.0, "DE", None),
    ]


def test_the_one_map_that_fits_is_used_unasked(lake, project, csv, folder):
    path = csv(MAPPED, "7;01.07.2024 12:00;Sale;3;1,50")
    assert ingest(project, "orders", [path], lake).map == "old_shop"
    (folder / "maps" / "other.yaml").write_text((folder / "maps" / "old_shop.yaml").read_text())
    with pytest.raises(WrongCall, match=r"2 maps fit .*orders.csv: old_shop, other"):
        ingest(project, "orders", [path], lake)


def test_files_of_several_forms_come_in_together(lake, project, csv, tmp_path):
    mapped = csv(MAPPED, "7;01.07.2024 12:00;Sale;3;1,50", "o1;01.07.2024 12:00;Sale;3;2", name="old.csv")
    typed = tmp_path / "new.parquet"
    columns = {"items": pl.Int64, "amount": pl.Float64, "country": pl.String, "paid": pl.Boolean, "due": pl.Date}
    row = {"order_id": 8, "placed_at": datetime(2024, 7, 1, 12), **dict.fromkeys(columns)}
    pl.DataFrame([row], schema_overrides=columns).write_parquet(typed)
    done = ingest(project, "orders", [mapped, csv(HEADER, GOOD), typed], lake, timezone="UTC")
    assert (done.rows, done.reasons, done.map) == (3, {"duplicate key": 1}, "old_shop")
    assert rows_of(lake, project)["order_id"].to_list() == ["7", "8", "o1"]
    row = aside_of(lake, project).row(0, named=True)
    assert (row["source"], row["place"], json.loads(row["row"])["Total"]) == (str(mapped), "row 2", "2")


def test_an_expression_that_fails_on_a_row_sets_that_row_aside(lake, project, csv):
    path = csv(MAPPED, "7;01.07.2024 12:00;Sale;3;1,50", "8;July;Sale;3;1", "9;01.07.2024 12:00;Sale;3;free")
    done = ingest(project, "orders", [path], lake)
    assert done.rows == 1
    assert done.reasons == {"its expression fails: placed_at": 1, "its expression fails: amount": 1}
    row = aside_of(lake, project).row(0, named=True)
    assert (row["place"], json.loads(row["row"])["Date"]) == ("row 2", "July")


def test_window_functions_and_virtual_columns_in_a_map(lake, project, csv, folder):
    (folder / "maps" / "numbered.yaml").write_text(
        yaml.safe_dump(
            {
                "columns": {
                    "order_id": {"sql": "_file || '-' || _row || '-' || row_number() OVER (ORDER BY _row)"},
                    "amount": {"sql": "TRY_CAST(cost AS DOUBLE) / count(*) OVER ()"},
                }
            }
        )
    )
    ingest(project, "orders", [csv("cost", "1", "2", name="b.csv")], lake, map_path=Path("numbered.yaml"))
    assert rows_of(lake, project).select("order_id", "amount").rows() == [("b.csv-1-1", 0.5), ("b.csv-2-2", 1.0)]


@pytest.mark.parametrize(
    "expression",
    [
        "(SELECT content FROM read_text('/etc/passwd'))",
        "(SELECT max(x) FROM read_csv('/etc/passwd') t(x))",
        "getenv('HOME')",
        "(SELECT 1 FROM sqlite_scan('a.db', 't'))",
    ],
)
def test_a_maps_sql_reaches_nothing_but_the_rows(lake, project, csv, folder, expression):
    (folder / "maps" / "spy.yaml").write_text(yaml.safe_dump({"columns": {"order_id": {"sql": expression}}}))
    with pytest.raises(DeclarationError):
        ingest(project, "orders", [csv("a", "1")], lake, map_path=Path("spy"))
    assert nothing_written(lake)


@pytest.mark.parametrize("chosen", [Path("old_shop"), None])
@pytest.mark.parametrize(
    ("column", "given"), [("amount", "amout"), ("Pieces", "Pices"), ("Total", "Totl"), ("Type", "Tip")]
)
def test_a_missing_column_is_named_before_any_work(lake, project, csv, column, given, chosen):  # noqa: PLR0917
    plain = column in HEADER
    row = GOOD if plain else "7;01.07.2024 12:00;Sale;3;1,50"
    path = csv((HEADER if plain else MAPPED).replace(column, given), row)
    with pytest.raises(ColumnMissing, match=f"the column '{column}'") as caught:
        ingest(project, "orders", [path], lake, map_path=None if plain else chosen)
    assert f"Did you mean {given!r}" in caught.value.remedy
    assert nothing_written(lake)


def test_a_lambda_and_a_qualified_name_are_no_missing_columns(lake, project, csv, folder):
    sql = "list_reduce(list_transform([t.A, A], lambda q: q || '!'), lambda x, y: x || y)".replace("t.A", "rows.a")
    (folder / "maps" / "odd.yaml").write_text(yaml.safe_dump({"columns": {"order_id": {"sql": sql}}}))
    ingest(project, "orders", [csv("A", "x")], lake, map_path=Path("odd"))
    assert rows_of(lake, project)["order_id"].to_list() == ["x!x!"]


def test_one_file_of_many_that_lacks_a_column_stops_all(lake, project, csv):
    bad = csv("order_id,placed_at", "o2,2024-03-01T10:00:00Z", name="bad.csv")
    with pytest.raises(ColumnMissing):
        ingest(project, "orders", [csv(HEADER, GOOD), bad], lake)
    assert nothing_written(lake)


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        ([HEADER], "no rows"),
        ([HEADER, GOOD.replace("9.5", "much")], "1 x text in a number: amount"),
        ([HEADER, "o1"], "no delimiter in the line"),
    ],
)
def test_no_row_left(lake, project, csv, lines, kept):
    with pytest.raises(NoRowsLeft, match=kept):
        ingest(project, "orders", [csv(*lines)], lake)
    assert nothing_written(lake)


def test_what_is_no_csv_is_refused(lake, project, csv, tmp_path):
    empty, png, folder = tmp_path / "empty.csv", tmp_path / "image.csv", tmp_path / "folder"
    empty.touch()
    png.write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")
    folder.mkdir()
    fake = tmp_path / "fake.parquet"
    fake.write_text("no parquet")
    twice = csv("a,A", "1,2", name="twice.csv")
    latin = csv(HEADER, GOOD, GOOD.replace("DE", "é"), name="latin.csv", encoding="latin-1")
    for path, text in (
        (empty, "is empty"),
        (png, "not written in utf-8"),
        (folder, "not a Delta table"),
        (fake, "cannot be read as parquet"),
        (twice, "twice"),
        (latin, "not written in utf-8"),
    ):
        with pytest.raises(UnreadableInput, match=text):
            ingest(project, "orders", [path], lake)
    with pytest.raises(InputNotFound, match="no file"):
        ingest(project, "orders", [tmp_path / "none.csv"], lake)
    with pytest.raises(InputNotFound, match="Did you mean 'old_shop'"):
        ingest(project, "orders", [latin], lake, map_path=Path("oldshop"))
    with pytest.raises(TableNotFound, match="Did you mean 'orders'"):
        ingest(project, "order", [latin], lake)
    assert nothing_written(lake)


def test_another_encoding_is_named_by_the_map(lake, project, csv, folder):
    (folder / "maps" / "latin.yaml").write_text(
        yaml.safe_dump({"format": {"encoding": "latin-1"}, "columns": {"shop": "shop", "city": "Städte"}})
    )
    path = csv("shop,Städte", "a,Köln", name="shops.csv", encoding="latin-1")
    ingest(project, "shops", [path], lake, map_path=Path("latin"))
    assert rows_of(lake, project, "shops").rows() == [("a", "Köln")]


def test_how_files_are_written_does_not_matter(lake, project, tmp_path):
    rows = ["shop,city", 'a,"Köln, am ""Rhein"""', '"b\nc"," X "']
    wanted = [("a", 'Köln, am "Rhein"'), ("b\nc", " X ")]
    files = {
        "bom.csv": b"\xef\xbb\xbf" + "\n".join(rows).encode(),
        "windows.csv": "\r\n".join(rows).encode(),
        "packed.csv.gz": gzip.compress("\n".join(rows).encode()),
        "tabs.tsv": "\n".join(rows).replace("Köln,", "Köln;").replace(",", "\t").replace(";", ",").encode(),
        "spaces.csv": "\n".join(rows).replace("shop,city", " shop , city ").encode(),
    }
    for name, content in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert ingest(project, "shops", [path], lake).rows == 2
        assert rows_of(lake, project, "shops").rows() == wanted
    assert lake.version(project.gold_name("shops")) == 1
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(files["packed.csv.gz"][:-20])
    with pytest.raises(UnreadableInput, match=r"broken\.csv\.gz"):
        ingest(project, "shops", [broken], lake)


def test_an_unknown_time_zone_is_a_wrong_call(lake, project, csv):
    with pytest.raises(WrongCall, match="Did you mean 'Europe/Berlin'"):
        ingest(project, "orders", [csv(HEADER, GOOD)], lake, timezone="Europe/Berln")


def test_mistakes_of_a_map_are_told_together(lake, project, csv, folder):
    (folder / "maps" / "bad.yaml").write_text(yaml.safe_dump({"table": "shops", "columns": {"amont": "a"}}))
    with pytest.raises(DeclarationError) as caught:
        ingest(project, "orders", [csv("a", "1")], lake, map_path=Path("bad"))
    assert len(caught.value.errors) == 3
    assert "Did you mean 'amount'" in str(caught.value)
    (folder / "maps" / "bad.yaml").write_text(
        yaml.safe_dump({"colums": {}, "format": {"encoding": "klingon"}, "timezone": "X"})
    )
    with pytest.raises(DeclarationError, match=r"(?s)no time zone 'X'.*klingon"):
        ingest(project, "orders", [csv("a", "1")], lake, map_path=Path("bad"))
    (folder / "maps" / "bad.yaml").write_text(yaml.safe_dump({"columns": {"order_id": {"sql": "upper(("}}}))
    with pytest.raises(DeclarationError, match="order_id"):
        ingest(project, "orders", [csv("a", "1")], lake, map_path=Path("bad"))


def test_naive_times_need_a_zone(lake, project, csv):
    path = csv(HEADER, GOOD.replace("T10:00:00Z", " 10:00:00"))
    with pytest.raises(NaiveTimestamp, match="placed_at"):
        ingest(project, "orders", [path], lake)
    assert nothing_written(lake)
    ingest(project, "orders", [path], lake, timezone="America/New_York")
    assert rows_of(lake, project)["placed_at"].to_list() == [datetime(2024, 3, 1, 15, tzinfo=UTC)]


def test_the_hours_of_daylight_saving(lake, project, csv):
    lines = [
        f"o{i},{time},1,1,DE,yes,"
        for i, time in enumerate(
            [
                "2024-03-31 01:59:59",  # CET
                "2024-03-31 02:30:00",  # does not exist
                "2024-03-31 03:00:00",  # CEST, one second after the first
                "2024-10-27 02:30:00",  # twice: the first is meant
                "2024-10-27 02:30:00+01:00",  # the second, said so
                "2024-10-27T03:00:00",
            ]
        )
    ]
    done = ingest(project, "orders", [csv(HEADER, *lines)], lake, timezone="Europe/Berlin")
    assert done.reasons == {"no such time in Europe/Berlin: placed_at": 1}
    assert [t.strftime("%d %H:%M:%S") for t in rows_of(lake, project)["placed_at"]] == [
        "31 00:59:59",
        "31 01:00:00",
        "27 00:30:00",
        "27 01:30:00",
        "27 02:00:00",
    ]


def test_parquet_and_delta_keep_their_types(lake, project, tmp_path):
    frame = pl.DataFrame(
        {
            "order_id": [1, 2],
            "placed_at": [datetime(2024, 3, 1, 10), datetime(2024, 3, 2, 10)],
            "items": pl.Series([1, 2], dtype=pl.Int16),
            "amount": pl.Series(["1.50", "2.25"]).cast(pl.Decimal(10, 2)),
            "country": pl.Series(["DE", "FR"], dtype=pl.Categorical),
            "paid": [1, 0],
            "due": [datetime(2024, 4, 1), None],
        }
    )
    frame.write_parquet(tmp_path / "orders.parquet")
    frame.with_columns(pl.col("country").cast(pl.String)).write_delta(str(tmp_path / "orders"))
    done = ingest(project, "orders", [tmp_path / "orders.parquet"], lake, timezone="UTC")
    assert done.rows == 2
    first = rows_of(lake, project)
    assert first.row(0) == ("1", datetime(2024, 3, 1, 10, tzinfo=UTC), 1, 1.5, "DE", True, date(2024, 4, 1))
    assert ingest(project, "orders", [tmp_path / "orders"], lake, timezone="UTC").rows == 2
    assert rows_of(lake, project).equals(first)
    frame.with_columns(items=pl.lit(True)).write_parquet(tmp_path / "mistyped.parquet")
    with pytest.raises(SchemaMismatch, match="'items' is Boolean"):
        ingest(project, "orders", [tmp_path / "mistyped.parquet"], lake, timezone="UTC")
