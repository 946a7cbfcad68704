"""Numbers as people write them: read as they were meant, or kept as text and asked for; never another value."""

from __future__ import annotations

import csv
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.new.columns import columns_of
from karat.quality.mapping import isolated_connection
from karat.quality.maps import Format
from karat.quality.numbers import number_pattern, number_sql
from tests.infra.test_new_from_file import brought_in, file, taken
from tests.profiles import examples

NEGATIVES = ("-{}", "\u2212{}", "{}-", "({})")
GROUPS = {".": ("", ",", " ", "\u00a0", "\u202f", "\u2009", "'", "lakh"), ",": ("", ".", " ", "\u00a0", "\u202f", "'")}
HEADED = Format(header=True)
NAMES = ("Größe (m²)", "2020", "select", "two\nlines", "💰", "a b", "_row", "order")


@dataclass(frozen=True)
class Form:
    """A way to write numbers."""

    mark: str
    group: str
    negative: str
    unit: str
    digits: int

    def write(self, value: float) -> str:
        whole, _, fraction = f"{abs(value):.{self.digits}f}".partition(".")
        if self.group == "lakh" and len(whole) > 3:
            head = whole[:-3]
            parts = [head[max(0, i - 2) : i] for i in range(len(head), 0, -2)][::-1]
            whole = ",".join([*parts, whole[-3:]])
        elif self.group and self.group != "lakh":
            whole = f"{int(whole):,}".replace(",", self.group)
        shown = self.unit.format(f"{whole}{self.mark}{fraction}" if fraction else whole)
        return self.negative.format(shown) if value < 0 else shown


@st.composite
def forms(draw: st.DrawFn) -> Form:
    mark = draw(st.sampled_from(".,"))
    unit = draw(st.sampled_from(("{}", "{}", "${}", "€ {}", "{} €", "{}%", "{} kr", "CHF {}")))
    return Form(
        mark, draw(st.sampled_from(GROUPS[mark])), draw(st.sampled_from(NEGATIVES)), unit, draw(st.integers(0, 3))
    )


@settings(max_examples=examples(20), deadline=None)
@given(
    columns=st.lists(
        st.tuples(forms(), st.lists(st.integers(-(10**9), 10**9), min_size=6, max_size=6)), min_size=1, max_size=4
    ),
    delimiter=st.sampled_from((",", ";", "\t", "|")),
    end=st.sampled_from(("\n", "\r\n")),
    short=st.booleans(),
)
def test_a_number_is_read_as_it_was_written_or_asked_for(columns, delimiter: str, end: str, short: bool) -> None:
    names = NAMES[: len(columns)]
    right = {n: [v / 10**f.digits for v in values] for n, (f, values) in zip(names, columns, strict=True)}
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end)
    writer.writerow(["nr", *names, "last"])
    for place, row in enumerate(zip(*right.values(), strict=True)):
        shown = [f.write(v) for (f, _), v in zip(columns, row, strict=True)]
        writer.writerow([f"k{place}", *shown, *([] if short and place % 2 else ["x"])])
    with tempfile.TemporaryDirectory() as folder:
        path = file(Path(folder), out.getvalue())
        table, _, told = taken(path, format=HEADED)
        got, reason = brought_in(path, format=HEADED)
    assert reason.null_count() == 6, reason.to_list()
    assert got["last"].to_list() == [None if short and place % 2 else "x" for place in range(6)]
    for (name, values), column, (form, _) in zip(right.items(), list(table.columns)[1:-1], columns, strict=True):
        note = " ".join(line for line in told if line.startswith(f"{column}: "))
        if table.columns[column].dtype == "string":
            assert note, (name, form, got[column].to_list())
            assert got[column].to_list() == [form.write(v) for v in values]
        elif "could be" not in note:
            assert got[column].to_list() == values, (form, note)
        plain = form.digits in (1, 2) and any(v > 0 for v in values) and form.negative != "{}-"
        assert not plain or table.columns[column].dtype == "float64", (form, note, [form.write(v) for v in values])


@pytest.mark.parametrize(
    ("values", "dtype", "told"),
    [
        (["(12.50)", "3"], "float64", "(12.50) is negative"),
        (["(12)", "(3)"], "string", "a note, or a negative number"),
        (["$1.50", "€2.50"], "string", "several units ($, €)"),
        (["$1.50", "2.50"], "string", "others none"),
        (["$1,234", "$5,678"], "string", "can be read both ways"),
        (["12 kg", "7 kg"], "string", "unit kg"),
        (["030 123 456", "1 234 567"], "string", ""),
        (["123 456 789", "987 654 321"], "string", "a code as well as a number"),
        (["9,007,199,254,740,993", "5"], "int64", ""),
        (["99,999,999,999,999,999,999", "5"], "string", "more digits"),
        (["1,23,456.78", "5"], "float64", "lakh"),
        (["0.1234567890123456789", "5"], "float64", "more digits than a double holds"),
        (["1.23457E+12", "9.87E+11"], "int64", "may have cut its digits"),
        (["٣", "٤"], "string", ""),
        (["(555) 123-4567"], "string", ""),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, list) else None,
)
def test_what_allows_one_reading_is_read_and_the_rest_is_asked_for(values: list[str], dtype: str, told: str) -> None:
    (found,) = columns_of(pl.DataFrame({"c": values}))
    assert found.dtype == dtype
    assert told in found.told


@pytest.mark.parametrize(
    ("text", "sql", "right"),
    [
        ("12.34", number_sql("v", ","), None),  # another form of the next file is an error of its row, not 1234
        ("1€50", number_sql("v", ".", "€"), None),
        ("12", number_sql("v", ".", "€"), None),
        ("1,2,3", number_sql("v", "."), None),
        ("12.5", number_sql("v", ".", whole=True), None),
        ("12.0", number_sql("v", ".", whole=True), 12),
        ("9223372036854775807", number_sql("v", ".", whole=True), 2**63 - 1),
        ("9223372036854775808", number_sql("v", ".", whole=True), None),
        (" -€ 1.234,5 ", number_sql("v", ",", "€"), -1234.5),
        ("R$ 5", number_sql("v", ".", "R$"), 5.0),
        ("1,5E-03", number_sql("v", ","), 0.0015),
    ],
)
def test_the_macros_read_one_form_alone(text: str, sql: str, right: float | None) -> None:
    with isolated_connection(None) as connection:
        connection.register("rows", pl.DataFrame({"v": [text]}).to_arrow())
        assert connection.sql(f"SELECT TRY({sql}) FROM rows").fetchall() == [(right,)]


def test_the_pattern_and_the_macro_agree() -> None:
    texts = [
        "1.5",
        "-1",
        "1-",
        "(1)",
        "--1",
        "(1",
        "1)",
        "$1",
        "1$",
        "$1$",
        "1 234",
        "12 34",
        "1.",
        ".",
        "",
        "1e5",
        "e5",
    ]
    for unit in ("", "$"):
        for mark in (".", ","):
            found = pl.Series(texts).str.contains(number_pattern(mark, unit)).to_list()
            with isolated_connection(None) as connection:
                connection.register("rows", pl.DataFrame({"v": texts}).to_arrow())
                read = connection.sql(f"SELECT TRY({number_sql('v', mark, unit)}) FROM rows").fetchall()
            assert [r is not None for (r,) in read] == found, (mark, unit)
