"""``karat new project --from``: what it takes a file for, and the values that its map and contract then give."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import tempfile
import zipfile
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infra.cli.app import main
from infra.new.drafts import place
from infra.new.from_file import Told, contract_of
from infra.new.project import draft_project_on
from karat.declare import Column, GoldTable, load_project
from karat.errors import KaratError, UnreadableInput, WrongCall
from karat.lake import Lake
from karat.quality import ingest
from karat.quality.contract_check import check_rows
from karat.quality.mapping import apply_map, bind_map
from karat.quality.maps import Format, Map
from karat.quality.sources import head_of, read_source
from karat.settings import Settings
from tests.profiles import examples


def taken(path: Path, **told: Any) -> tuple[GoldTable, Map, tuple[str, ...]]:
    """The contract and the map that are drafted from a file, and what is told."""
    made = contract_of(path, "p", "rows", owner="o", told=Told(**told))
    names: dict[str, Any] = {}
    exec(made.files[0].text, names)
    chosen = Map.model_validate({**yaml.safe_load(made.files[1].text), "name": "rows"})
    told_of_columns = [f"{c.name}: {c.told}" for c in made.columns if c.told]
    return names["rows"], chosen, (*made.chosen, *told_of_columns)


def brought_in(path: Path, **told: Any) -> tuple[pl.DataFrame, pl.Series]:
    """The rows as ingest reads them by the drafted map, and why each is set aside."""
    table, chosen, _ = taken(path, **told)
    bind_map(chosen, head_of(path, chosen.format), str(path))
    mapped = apply_map(chosen, read_source(path, chosen.format), table, "UTC")
    checked = check_rows(mapped.frame, table, timezone="UTC", problems=mapped.problem)
    return checked.rows, checked.reason


def file(folder: Path, content: str | bytes, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


DAY_FORMS = ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d-%m-%y", "%Y/%m/%d", "%d %b %Y", "%Y%m%d", "%B %d, %Y")
CLOCK_FORMS = ("%H:%M", "%H:%M:%S", "%I:%M %p")
MADE = ("int", "big", "float", "text", "bool", "date", "time")


def written(kind: str, value: Any, dialect: dict[str, Any]) -> str:
    if value is None:
        return dialect["null"] if kind not in ("text", "bool", "big") else ""
    if kind == "float":
        shown = f"{value:,.2f}" if dialect["thousands"] else f"{value:.2f}"
        return shown.translate(str.maketrans(",.", ".,")) if dialect["decimal"] == "," else shown
    if kind == "date":
        return f"{value:{dialect['day']}}"
    if kind == "time":
        return f"{value:{dialect['day']} {dialect['clock']}}"
    return {True: "true", False: "FALSE"}[value] if kind == "bool" else str(value)


def made(kind: str, rows: int, rng: random.Random) -> list[Any]:
    """Values of a kind; the last ones leave no doubt about the kind and the order of dates."""
    day = date(1995, 1, 1)
    drawn: dict[str, Any] = {
        "int": lambda: rng.randrange(-(10**6), 10**6),
        "big": lambda: str(10**19 + rng.randrange(10**19)),
        "float": lambda: rng.randrange(-(10**8), 10**8) / 100,
        "text": lambda: "x" + "".join(rng.choice("abäß,;|\"' 5NO") for _ in range(rng.randrange(8))) + "y",
        "bool": lambda: rng.random() < 0.5,
        "date": lambda: day + timedelta(days=rng.randrange(12_000)),
        "time": lambda: datetime(1995, 1, 1, 5, 7) + timedelta(minutes=rng.randrange(17_000_000)),
    }
    last = {"bool": [True, False], "date": [date(2013, 12, 31)] * 2, "time": [datetime(2013, 12, 31, 23, 7)] * 2}
    values = [None if rng.random() < 0.1 else drawn[kind]() for _ in range(rows)]
    return values + last.get(kind, {"float": [-1234567.25, 0.5]}.get(kind, [drawn[kind](), drawn[kind]()]))


@settings(max_examples=examples(25), deadline=None)
@given(
    kinds=st.lists(st.sampled_from(MADE), min_size=1, max_size=5),
    dialect=st.fixed_dictionaries(
        {
            "encoding": st.sampled_from(("utf-8", "utf-8-sig", "cp1252", "utf-16")),
            "delimiter": st.sampled_from((",", ";", "\t", "|")),
            "end": st.sampled_from(("\n", "\r\n", "\r")),
            "quoting": st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)),
            "decimal": st.sampled_from((".", ",")),
            "thousands": st.booleans(),
            "null": st.sampled_from(("", "NA", "?")),
            "day": st.sampled_from(DAY_FORMS),
            "clock": st.sampled_from(CLOCK_FORMS),
            "packed": st.booleans(),
        }
    ),
    rows=st.integers(2, 12),
    seed=st.integers(0, 10_000),
)
def test_values_of_any_dialect_come_in_as_they_were_written(
    kinds: list[str], dialect: dict[str, Any], rows: int, seed: int
):
    rng = random.Random(seed)
    values = {f"c{n}_{kind}": made(kind, rows, rng) for n, kind in enumerate(kinds)}
    out = io.StringIO()
    writer = csv.writer(out, delimiter=dialect["delimiter"], lineterminator=dialect["end"], quoting=dialect["quoting"])
    writer.writerow(["nr", *values])
    for number, row in enumerate(zip(*values.values(), strict=True), 1):
        shown = [written(k, v, dialect) for k, v in zip(kinds, row, strict=True)]
        writer.writerow([number, *shown])
    content = out.getvalue().encode(dialect["encoding"])
    with tempfile.TemporaryDirectory() as folder:
        path = file(Path(folder), gzip.compress(content, mtime=0) if dialect["packed"] else content, "rows.csv")
        declared = {"format": Format(encoding="utf-16")} if dialect["encoding"] == "utf-16" else {}
        got, reason = brought_in(path, **declared)
    assert reason.null_count() == rows + 2, reason.to_list()
    for name, kind in zip(values, kinds, strict=True):
        right = [v.replace(tzinfo=UTC) if kind == "time" and v else v for v in values[name]]
        assert got[name].to_list() == right, (name, kind)


@pytest.mark.parametrize(
    ("values", "dtype", "told"),
    [
        (["NO", "SE", "NO"], "string", ""),
        (["F", "F"], "string", "could be bool"),
        (["T", "N", "T"], "string", ""),
        (["true", "True"], "string", "could be bool"),
        (["true", "false"], "bool", ""),
        (["12345678901234567890", "1"], "string", "more digits"),
        (["9007199254740993.0", "9007199254740992.0"], "int64", ""),
        (["007", "7"], "string", "zeros in front"),
        ([*map(str, range(536365, 536465)), "C536379"], "string", "'C536379' is no number"),
        ([*map(str, range(536365, 536465)), "lost"], "int64", "1 of 101 values"),
        (["+491701234567", "12"], "string", "plus sign"),
        (["1E5", "2E7"], "string", "digits around an E"),
        (["12%", "7 %"], "float64", "12% is 12"),
        (["$1,200.50", "$3"], "float64", "currency"),
        (["3,50 €", "1.200,00 €"], "float64", "currency"),
        (["1 234,5", "12"], "float64", ""),
        (["NA", "1", "?"], "int64", "NA, ? as null"),
        (["-999", "5", "-999", "7"], "int64", "-999 as null"),
        (["-999", "5", "-3"], "int64", ""),
        (["State", "?"], "string", "stays text"),
        (["20141013", "20141014"], "date", "could be a number"),
        (["20141013102030", "20141014235959"], "timestamp", "could be a number"),
        ([*["13.01.2026"] * 99, "00.00.0000"], "date", "1 of 100 values are no such times"),
        ([*["2026-01-13"] * 99, "0000-00-00"], "date", "1 of 100 values are no such times"),
        (["01/02/2026", "NA", "13/02/2026"], "date", "NA as null; as %d/%m/%Y"),
        (["20141013T000000", "20141013T101500"], "timestamp", ""),
        (["20211031 05:47 AM"], "timestamp", ""),
        (["01-01-2026", "02-01-2026"], "date", "could be %m-%d-%Y"),
        (["5-Oct-14", "12-Dec-15"], "date", "1969"),
        (["Oct 5, 2014 1:05 PM"], "timestamp", ""),
        (["1700000000", "1700000001"], "int64", ""),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, list) else None,
)
def test_a_type_is_taken_where_nothing_speaks_against_it_and_told_where_something_might(
    tmp_path: Path, values: list[str], dtype: str, told: str
):
    quoted = "".join(f'{n};"{v}"\n' for n, v in enumerate(values))
    table, _, said = taken(file(tmp_path, f"nr;c\n{quoted}"))
    assert table.columns["c"].dtype == dtype
    own = [line for line in said if line.startswith("c: ")]
    assert told in " ".join(own)
    assert bool(own) or not told


def test_digits_that_a_float_cannot_hold_are_read_exactly(tmp_path: Path):
    rows, reason = brought_in(file(tmp_path, "account,x\n9007199254740993.0,1\n9007199254740992.0,2\n"))
    assert rows["account"].to_list() == [9007199254740993, 9007199254740992]
    assert reason.null_count() == 2


FILES: dict[str, tuple[str | bytes, str, list[tuple[Any, ...]]]] = {
    "index of pandas": (",a\n5,x\n6,y\n", "rows.csv", [(5, "x"), (6, "y")]),
    "a delimiter at each line's end": ("nr,a,\n1,x,\n2,y,\n", "rows.csv", [(1, "x"), (2, "y")]),
    "a delimiter at each row's end": ("nr,a\n1,x,\n2,y,\n", "rows.csv", [(1, "x"), (2, "y")]),
    "R's names of rows": ('"a","b"\n"r1","x",3\n"r2","y",4\n', "rows.csv", [("r1", "x", 3), ("r2", "y", 4)]),
    "Excel's sep=": ("sep=|\nnr|a\n1|x;y\n2|z\n", "rows.csv", [(1, "x;y"), (2, "z")]),
    "mixed ends": ("nr,a\r\n1,x\n2,y\r\n", "rows.csv", [(1, "x"), (2, "y")]),
    "words of YAML": ("No,y,null,on,true\n1,a,b,c,d\n2,b,c,d,e\n", "rows.csv", [(1, *"abcd"), (2, *"bcde")]),
    "CR": ("nr,a\r1,x\r2,y\r", "rows.csv", [(1, "x"), (2, "y")]),
    "a name on two lines": ('nr,"price\nnet"\n1,2\n2,4\n', "rows.csv", [(1, 2), (2, 4)]),
    "single quotes": ("nr;a\n1;'x;y'\n2;'z'\n", "rows.csv", [(1, "x;y"), (2, "z")]),
    "backslashes before quotes": ('nr,a\n1,"say \\"x, y\\""\n2,"z"\n', "rows.csv", [(1, 'say "x, y"'), (2, "z")]),
    "commas of decimals": ("nr;a\n1;1,5\n2;2,5\n", "rows.csv", [(1, 1.5), (2, 2.5)]),
    "whitespace": ("nr  a    b\n1   2.5  x\n 2  3.5  y\n", "rows.dat", [(1, 2.5, "x"), (2, 3.5, "y")]),
    "a preamble": ("Source,X\n\nnr,a,b\n1,x,2\n2,y,3\n3,z,4\n", "rows.csv", [(1, "x", 2), (2, "y", 3), (3, "z", 4)]),
    "a header wider than most rows": ("nr,a,b\n1,x,y\n2,x\n3\n4,x\n5,y,y\n", "r.csv", [(1, *"xy"), (2, "x", None), (4, "x", None), (5, *"yy")]),  # noqa: E501
    "JSON lines": ('{"nr": 1, "c": {"a": "1"}}\n{"nr": 2, "c": {"a": null}}\n', "rows.jsonl", [(1, "1"), (2, None)]),
    "an array": (json.dumps([{"nr": 1, "a": True}, {"nr": 2, "a": False}]), "rows.json", [(1, True), (2, False)]),
    "zstd": (pa.compress(b"nr,a\n1,x\n2,y\n", codec="zstd", asbytes=True), "rows.csv.zst", [(1, "x"), (2, "y")]),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_a_file_of_any_shape_comes_in(tmp_path: Path, case: str):
    content, name, right = FILES[case]
    rows, reason = brought_in(file(tmp_path, content, name))
    assert rows.rows() == right
    assert reason.null_count() == len(right)


def test_a_zip_holds_one_file(tmp_path: Path):
    for number, names in enumerate((["a.csv"], ["a.csv", "b.csv"])):
        with zipfile.ZipFile(tmp_path / f"{number}.zip", "w") as archive:
            for name in names:
                archive.writestr(name, "nr,a\n1,x\n2,y\n")
    assert brought_in(tmp_path / "0.zip")[0].height == 2
    with pytest.raises(UnreadableInput, match="2 files"):
        taken(tmp_path / "1.zip")


def cell(value: Any) -> str:
    if value is None:
        return "<c/>"
    return f'<c t="inlineStr"><is><t>{value}</t></is></c>' if isinstance(value, str) else f"<c><v>{value}</v></c>"


def sheet(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    """A workbook of one sheet, as ECMA-376 has it."""
    space = 'xmlns="http://schemas.openxmlformats.org/'
    cells = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    parts = {
        "_rels/.rels": f'<Relationships {space}package/2006/relationships"><Relationship Id="r1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/_rels/workbook.xml.rels": f'<Relationships {space}package/2006/relationships"><Relationship Id="r1" '
        f'Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook {space}spreadsheetml/2006/main" xmlns:r="{office}"><sheets>'
        '<sheet name="s" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/worksheets/sheet1.xml": f'<worksheet {space}spreadsheetml/2006/main"><sheetData>{cells}</sheetData>'
        "</worksheet>",
        "[Content_Types].xml": f'<Types {space}package/2006/content-types"><Default Extension="xml" '
        'ContentType="application/xml"/></Types>',
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)


def test_a_typed_file_keeps_its_types(tmp_path: Path):
    """Text is declared as text there; a struct becomes a column for each field."""
    frame = pl.DataFrame(
        {"id": [1, 2], "code": ["1", "2"], "c": [{"a": 1, "b": {"d": "x"}}, None], "l": [[1, 2], []]},
    ).with_columns(big=pl.Series([2**64 - 1, 1], dtype=pl.UInt64))
    frame.write_parquet(tmp_path / "rows.parquet")
    rows, reason = brought_in(tmp_path / "rows.parquet")
    assert reason.null_count() == 2
    right = [(1, "1", 1, "x", "[1,2]", "18446744073709551615"), (2, "2", None, None, "[]", "1")]
    assert rows.rows() == right
    frame.select(pl.col("id"), ID=pl.col("id") + 5).write_parquet(tmp_path / "twice.parquet")
    with pytest.raises(UnreadableInput, match="twice"):
        taken(tmp_path / "twice.parquet")


def test_excel_comes_in_with_its_types(tmp_path: Path):
    pytest.importorskip("fastexcel", reason="the extra excel")
    sheet(tmp_path / "rows.xlsx", (["nr", "a", "b"], [1, "007", 2.5], [2, "x", 3]))
    assert brought_in(tmp_path / "rows.xlsx")[0].rows() == [(1, "007", 2.5), (2, "x", 3.0)]


def test_numbers_of_a_sheet_with_markers_among_them_are_numbers(tmp_path: Path) -> None:
    """Its reader gives such a column as texts; codes and ids with leading zeros are texts still."""
    rows = ([1, 712.5, "007", 5], [2, "?", "008", "A7"], [3, -3, "009", 6], [4, 1e3, "?", 7])
    sheet(tmp_path / "rows.xlsx", (["nr", "power", "turbine", "grade"], *rows))
    found = brought_in(tmp_path / "rows.xlsx")[0]
    assert found["power"].to_list() == [712.5, None, -3.0, 1000.0]
    assert found["turbine"].to_list() == ["007", "008", "009", "?"]
    assert found["grade"].to_list() == ["5", "A7", "6", "7"]


@pytest.mark.parametrize(
    ("content", "told", "error", "says"),
    [
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n", {}, UnreadableInput, "--no-header"),
        ("nr,a\n1,x\n".encode("utf-16"), {}, UnreadableInput, "--encoding utf-16"),
        ("nr,A,a\n1,2,3\n", {}, UnreadableInput, "twice"),
        ("nr,a,b\n1,x\n2,y\n3,z\n4,z\n", {}, UnreadableInput, "none of the 4 rows"),
        (gzip.compress(b"nr,a\n1,x\n", mtime=0)[:20], {}, UnreadableInput, "complete"),
        (b"PK\x03\x04garbage", {}, UnreadableInput, "complete"),
        (b"\x28\xb5\x2f\xfdgarbage", {}, UnreadableInput, "complete"),
        ("nr,a\n1,x\n", {"types": {"a": "strin"}}, WrongCall, "no such type"),
        ("nr,a\n1,x\n", {"types": {"b": "string"}}, KaratError, "'b'"),
        ("nr,a\n1,x\n", {"types": {"a": "float64:coma"}}, WrongCall, "comma"),
        ('[1, 2]', {}, UnreadableInput, ""),
    ],
)  # fmt: skip
def test_what_cannot_be_known_is_asked(
    tmp_path: Path, content: str | bytes, told: dict[str, Any], error: type[KaratError], says: str
):
    name = "rows.json" if content == "[1, 2]" else "rows.csv"
    with pytest.raises(error) as raised:
        taken(file(tmp_path, content, name), **told)
    assert says in str(raised.value)


def test_no_header_and_given_names(tmp_path: Path):
    path = file(tmp_path, "5.1,3.5,setosa\n4.9,3.0,virginica\n")
    form = Format(header=False, names=("length", "width", "species"))
    table, chosen, _ = taken(path, format=form)
    assert list(table.columns) == ["length", "width", "species"]
    assert chosen.format == form
    assert brought_in(path, format=Format(header=False))[0]["column_1"].to_list() == [5.1, 4.9]


def test_a_set_type_wins(tmp_path: Path):
    path = file(tmp_path, "nr,day,zip,n\n1,05/06/2026,1234,1.234\n2,07/08/2026,5678,7.500\n")
    types = {"day": "date:%m/%d/%Y", "zip": "string", "n": "float64:comma"}
    rows, reason = brought_in(path, types=types)
    assert reason.null_count() == 2
    assert rows["day"].to_list() == [date(2026, 5, 6), date(2026, 7, 8)]
    assert rows["zip"].to_list() == ["1234", "5678"]
    assert rows["n"].to_list() == [1234.0, 7500.0]


def test_null_markers_are_null_and_a_country_stays(tmp_path: Path):
    path = file(tmp_path, "nr,age,land\n1,5,NA\n2,NA,SE\n3,?,NO\n")
    assert brought_in(path)[0].rows() == [(1, 5, "NA"), (2, None, "SE"), (3, None, "NO")]
    assert brought_in(path, nulls=("NA",))[0]["land"].to_list() == [None, "SE", "NO"]


def test_blanks_after_each_delimiter(tmp_path: Path):
    path = file(tmp_path, "nr, land, age\n1, SE, 5\n2, ?, ?\n")
    assert brought_in(path)[0].rows() == [(1, "SE", 5), (2, "?", None)]
    assert brought_in(path, nulls=("?",))[0].rows() == [(1, "SE", 5), (2, None, None)]


@pytest.mark.parametrize("texts", [("1949-01", "1949-12"), ("01/1949", "12/1949"), ("Jan 1949", "Dec 1949")])
def test_months_are_their_first_day(tmp_path: Path, texts: tuple[str, str]):
    path = file(tmp_path, "Month,n\n" + "".join(f"{t},{n}\n" for n, t in enumerate(texts)))
    rows, reason = brought_in(path)
    assert rows["month"].to_list() == [date(1949, 1, 1), date(1949, 12, 1)]
    assert reason.null_count() == 2
    moments, reason = brought_in(path, types={"month": "timestamp"})
    assert moments["month"].to_list() == [datetime(1949, 1, 1, tzinfo=UTC), datetime(1949, 12, 1, tzinfo=UTC)]
    days = file(tmp_path, "day,n\n1949-01-05,1\n1949-01-06,2\n", "days.csv")
    moments, _ = brought_in(days, types={"day": "timestamp"})
    assert moments["day"].to_list() == [datetime(1949, 1, 5, tzinfo=UTC), datetime(1949, 1, 6, tzinfo=UTC)]
    parts, _, _ = taken(file(tmp_path, "part,n\n2049-13,1\n4711-01,2\n", "parts.csv"))
    assert parts.columns["part"].dtype == "string"


def test_epochs_are_utc_by_their_name(tmp_path: Path):
    rows, _ = brought_in(file(tmp_path, "nr,created_at\n1,1700000000\n2,1700000060\n"))
    assert rows["created_at"].to_list()[0] == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_a_comma_in_every_row_is_no_delimiter_if_the_header_has_none(tmp_path: Path):
    """More rows than a preamble may have lines, so that the header could be taken for a title."""
    lines = [f"{n};{n % 7},50" for n in range(60)]
    rows, _ = brought_in(file(tmp_path, "\n".join(["id;price", *lines])))
    assert rows.rows()[:2] == [(0, 0.5), (1, 1.5)]


def test_a_key_is_found_or_made(tmp_path: Path):
    series, _, _ = taken(file(tmp_path, "date,sales\n2020-01-01,5\n2020-01-02,5\n"))
    assert (series.key, series.event_time) == (("series", "date"), "date")
    rows, _ = brought_in(file(tmp_path, "date,sales\n2020-01-01,5\n2020-01-02,5\n"))
    assert rows["series"].to_list() == ["rows", "rows"]
    panel, _, _ = taken(file(tmp_path, "store,date,n\n1,2020-01-01,5\n1,2020-01-02,5\n2,2020-01-01,5\n"))
    assert (panel.key, panel.event_time) == (("store", "date"), "date")
    path = file(tmp_path, "x,y\n1,2\n1,2\n1,\n")
    made_up, _, said = taken(path)
    assert made_up.key == ("row_id",)
    assert any("row_id" in line for line in said)
    rows, reason = brought_in(path)
    assert rows["row_id"].n_unique() == 3
    assert reason.null_count() == 3
    more, _ = brought_in(file(tmp_path, "x,y\n9,9\n1,\n1,2\n1,2\n"))
    assert set(rows["row_id"]) < set(more["row_id"])  # the same rows in a later file are the same rows


@settings(max_examples=examples(8), deadline=None)
@given(
    names=st.lists(
        st.sampled_from(("_row", "_file", "row", "reason", "_reason", "__row", "order", "file")),
        min_size=1,
        unique=True,
    )
)
@example(names=["reason", "_row", "row", "_reason", "__row"])
def test_helper_columns_never_meet_a_files_own(names: list[str]):
    """Karat's own columns of a row's number, file and reason have other names than any of the user's."""
    with tempfile.TemporaryDirectory() as folder:
        body = "".join(",".join(f"{c}{n}" for c in "abcdefgh"[: len(names)]) + "\n" for n in range(4))
        path = file(Path(folder), ",".join(names) + "\n" + body)
        rows, reason = brought_in(path)
        assert reason.null_count() == 4
        assert rows.rows() == [tuple(line.split(",")) for line in body.split()]


def test_a_column_of_the_contract_is_declared_as_inferred(tmp_path: Path):
    table, chosen, _ = taken(file(tmp_path, "Größe;Straße\n1,5;a\n2,5;b\n"))
    assert table.columns == {
        "grosse": Column(dtype="float64", description="Größe"),
        "strasse": Column(dtype="string", description="Straße"),
    }
    assert chosen.columns["strasse"] == "Straße"


def test_the_own_map_is_used_where_the_file_has_the_contracts_names(tmp_path: Path):
    path = file(tmp_path, "nr;umsatz\n1;1.234\n2;2.500\n3;1.250,75\n")
    where = Settings(home=tmp_path / "home", projects=tmp_path / "projects")
    place(draft_project_on(path, "upper", where), "upper", where)
    project, lake = load_project("upper", where), Lake(where.lake, where.environment)
    done = ingest(project, "rows", [path], lake)
    assert (done.map, done.set_aside) == ("rows", 0)
    assert lake.read(project.gold_name("rows"))["umsatz"].to_list() == [1234.0, 2500.0, 1250.75]
    assert ingest(project, "rows", [path], lake, own_maps=False).reasons == {"text in a number: umsatz": 1}
    typed = tmp_path / "rows.parquet"  # the map's SQL is for text: a typed file with the contract's names is as it is
    pl.DataFrame({"nr": [4], "umsatz": [4.5]}).write_parquet(typed)
    assert ingest(project, "rows", [typed], lake).map is None


def test_the_table_of_columns_fits_80_columns_and_a_dry_run_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("KARAT_PROJECTS", str(tmp_path / "projects"))
    long = "A very long question of a survey as people ask them and with all its words"
    path = file(tmp_path, f"nr,{long},day\n1,{'x' * 90},01-02-2026\n2,{'y' * 90},02-02-2026\n")
    with pytest.raises(SystemExit) as stop:
        main(["new", "project", "survey", "--from", str(path), "--dry-run"])
    said = capsys.readouterr().out
    assert stop.value.code in (0, None)
    assert not (tmp_path / "projects").exists()
    shown, _, taken_lines = said.partition("taken:")
    assert max(map(len, shown.splitlines())) <= 80
    assert {"01-02-2026", "02-02-2026"} <= set(shown.split())
    assert "key nr" in taken_lines
    assert "could be %m-%d-%Y" in taken_lines  # on a line of its own: a cell of the table may break it
