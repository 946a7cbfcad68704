"""The contract on gold: every value is read or its row is set aside, and nothing is lost in between."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karat.declare import Column, GoldTable, is_in, matches, not_null
from karat.errors import ColumnMissing, NaiveTimestamp, SchemaMismatch
from karat.quality import check
from karat.quality.text_parsing import parse
from tests.profiles import examples


def read(values, dtype, zone=None, **more):
    parsed = parse(pl.Series("x", values, **more), dtype, zone)
    return parsed.values.to_list(), parsed.problem.to_list()


@pytest.mark.parametrize(
    ("dtype", "texts", "values"),
    [
        ("int64", ["1", " -7 ", "12.0", "9223372036854775807", "", None], [1, -7, 12, 2**63 - 1, None, None]),
        ("float64", ["1", "-1e-3", " 2.5 ", "NaN", "", None], [1.0, -0.001, 2.5, None, None, None]),
        ("bool", ["true", "No", "1", "f", "Y", ""], [True, False, True, False, True, None]),
        (
            "date",
            ["2024-02-29", "2024-03-01T00:00:00Z", "2024-03-01 00:00"],
            [date(2024, 2, 29), *[date(2024, 3, 1)] * 2],
        ),
        ("string", ["a", " a ", "", None], ["a", " a ", "", None]),
        (
            "timestamp",
            ["2024-03-01T10:00:00Z", "2024-03-01 10:00+0530", "2024-03-01 10:00:00.123456-01", "2024-03-01T10:00 UTC"],
            [
                datetime(2024, 3, 1, 10, tzinfo=UTC),
                datetime(2024, 3, 1, 4, 30, tzinfo=UTC),
                datetime(2024, 3, 1, 11, 0, 0, 123456, tzinfo=UTC),
                datetime(2024, 3, 1, 10, tzinfo=UTC),
            ],
        ),
    ],
)
def test_text_is_read(dtype, texts, values):
    assert read(texts, dtype) == (values, [None] * len(values))


@pytest.mark.parametrize(
    ("dtype", "text", "problem"),
    [
        ("int64", "1,000", "text in a number"),
        ("int64", "1.5", "not a whole number"),
        ("int64", "1e300", "not a whole number"),
        ("int64", "9223372036854775808", "not a whole number"),
        ("float64", "free", "text in a number"),
        ("float64", "-inf", "infinite"),
        ("bool", "2", "neither true nor false"),
        ("date", "2023-02-29", "not a date"),
        ("date", "2024-03-01 12:00", "not a date"),
        ("date", "01.03.2024", "not a date"),
        ("timestamp", "2024-13-01 00:00:00Z", "not a time"),
        ("timestamp", "yesterday", "not a time"),
        ("timestamp", "2024-03-01 25:00:00Z", "not a time"),
    ],
)
def test_text_that_can_not_be_read_has_a_reason(dtype, text, problem):
    assert read([text, None], dtype) == ([None, None], [problem, None])


@pytest.mark.parametrize(
    ("dtype", "given", "values"),
    [
        ("float64", pl.Series([Decimal("1.25"), None]), [1.25, None]),
        ("float64", pl.Series([1.5, math.nan]), [1.5, None]),
        ("int64", pl.Series([1, 2], dtype=pl.UInt8), [1, 2]),
        ("int64", pl.Series([1.0, None]), [1, None]),
        ("string", pl.Series([1, 2]), ["1", "2"]),
        ("string", pl.Series(["a", "b"], dtype=pl.Categorical), ["a", "b"]),
        ("string", pl.Series([None, None]), [None, None]),
        ("bool", pl.Series([1, 0]), [True, False]),
        ("date", pl.Series([datetime(2024, 1, 1), None]), [date(2024, 1, 1), None]),
        ("timestamp", pl.Series([date(2024, 1, 1)]), [datetime(2024, 1, 1, tzinfo=UTC)]),
    ],
)
def test_loose_types_are_taken_as_meant(dtype, given, values):
    parsed = parse(given, dtype, None)
    assert parsed.values.to_list() == values
    assert parsed.problem.null_count() == len(values)


@pytest.mark.parametrize(
    ("dtype", "given"),
    [
        ("int64", pl.Series([True])),
        ("float64", pl.Series([date(2024, 1, 1)])),
        ("string", pl.Series([1.5])),
        ("date", pl.Series([20240101])),
        ("timestamp", pl.Series([1704067200])),
        ("bool", pl.Series([0.5])),
    ],
)
def test_a_column_of_another_meaning_is_refused(dtype, given):
    with pytest.raises(SchemaMismatch, match="the contract wants"):
        parse(given, dtype, None)


@settings(max_examples=examples(200), deadline=None)
@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2037, 12, 31)),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
)
def test_naive_times_are_python_s(naive, zone):
    """Whatever the day, the answer is that of zoneinfo, the first of two where the clocks go back."""
    parsed = parse(pl.Series("x", [naive.isoformat(" ")]), "timestamp", zone)
    meant = naive.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)
    exists = meant.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == naive
    assert parsed.values.to_list() == [meant if exists else None]
    assert parsed.problem.to_list() == [None if exists else f"no such time in {zone}"]


@settings(max_examples=examples(100), deadline=None)
@given(
    st.datetimes(datetime(1800, 1, 1), datetime(2200, 1, 1)),
    st.integers(-14 * 60, 14 * 60),
    st.sampled_from(["T", " "]),
)
def test_times_with_an_offset_are_python_s(local, minutes, between):
    meant = local.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    parsed = parse(pl.Series("x", [meant.isoformat(between)]), "timestamp", None)
    assert parsed.values.to_list() == [meant.astimezone(UTC)]


def test_a_naive_time_without_a_zone_is_refused():
    with pytest.raises(NaiveTimestamp, match="as in 2024-01-01 10:00"):
        parse(pl.Series("x", [None, "2024-01-01 10:00"]), "timestamp", None)


TABLE = GoldTable(
    name="t",
    description="",
    key=("k", "d"),
    event_time="d",
    columns={
        "k": Column(dtype="string"),
        "d": Column(dtype="date"),
        "n": Column(dtype="int64", minimum=-5, maximum=5),
        "v": Column(dtype="float64", nullable=False),
        "c": Column(dtype="string", allowed=("a", "b")),
    },
)
ROW = st.tuples(
    st.sampled_from(["x", "y", "", " ", None]),
    st.sampled_from(["2024-02-29", "2024-03-01", "never", None]),
    st.sampled_from(["0", "5", "6", "-6", "1.5", "one", "", None]),
    st.sampled_from(["0", "1.5", "inf", "", "x", None]),
    st.sampled_from(["a", "b", "c", None]),
)


def reason_of(row) -> str | None:
    """The first rule that a row breaks, in plain Python."""
    k, d, n, v, c = (None if x is not None and not x.strip() else x for x in row)
    if k is None:
        return "no value in key column: k"
    if d in (None, "never"):
        return "no value in key column: d" if d is None else "not a date: d"
    if n is not None:
        if n in ("1.5", "one"):
            return {"1.5": "not a whole number: n", "one": "text in a number: n"}[n]
        if not -5 <= int(n) <= 5:
            return "below -5: n" if int(n) < -5 else "above 5: n"
    if v in ("inf", "x", None):
        return {"inf": "infinite: v", "x": "text in a number: v", None: "no value: v"}[v]
    return "not an allowed value: c" if c == "c" else None


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(ROW, max_size=12))
def test_every_row_is_good_or_aside(rows):
    frame = pl.DataFrame(rows, schema=dict.fromkeys("kdnvc", pl.String), orient="row")
    checked = check(frame, TABLE)
    reasons = [reason_of(r) for r in rows]
    last = {(r[0], r[1]): i for i, r in enumerate(rows) if reasons[i] is None}
    wanted = [r if r or last[rows[i][0], rows[i][1]] == i else "duplicate key" for i, r in enumerate(reasons)]
    assert dict(checked.aside.select("row_number", "reason").iter_rows()) == {i: r for i, r in enumerate(wanted) if r}
    assert checked.good["k"].to_list() == [rows[i][0] for i, r in enumerate(wanted) if r is None]
    assert [json.loads(r) for r in checked.aside["row"]] == [
        dict(zip("kdnvc", rows[i], strict=True)) for i, r in enumerate(wanted) if r
    ]
    assert sum(checked.reasons.values()) == checked.aside.height
    assert checked.good.schema == {"k": pl.String, "d": pl.Date, "n": pl.Int64, "v": pl.Float64, "c": pl.String}


NUMBER = Column(dtype="float64")


def test_declared_checks_set_aside_after_what_columns_say():
    table = GoldTable(
        name="t",
        description="t",
        key=("k",),
        columns={
            "k": Column(dtype="int64"),
            "net": Column(dtype="float64", minimum=0),
            "gross": Column(dtype="float64"),
        },
        checks=(matches("net <= gross"), is_in("k", "1", "2", "3", on_fail="warn"), not_null("gross", at_most=0.5)),
    )
    frame = pl.DataFrame({"k": [1, 2, 3, 4], "net": ["5", "-1", "1", "x"], "gross": ["4", "-2", "", "9"]})
    done = check(frame, table)
    assert done.aside.select("row_number", "reason").rows() == [
        (0, "breaks net <= gross"),
        (1, "below 0: net"),
        (3, "text in a number: net"),
    ]
    assert done.good["k"].to_list() == [3]  # where a part of it is null the condition is kept


def test_a_missing_column_names_the_nearest():
    frame = pl.DataFrame({"k": ["a"], "d": ["2024-01-01"], "n": [1], "V": [1.0], "c": ["a"]})
    with pytest.raises(ColumnMissing, match=r"(?s)'v'.*Did you mean 'V'"):
        check(frame, TABLE)


def test_an_empty_frame_is_good():
    checked = check(pl.DataFrame(schema=dict.fromkeys("kdnvc", pl.String)), TABLE)
    assert (checked.good.height, checked.aside.height, checked.reasons) == (0, 0, {})
