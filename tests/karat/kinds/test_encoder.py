"""What the encoder makes of columns, row by row and frame by frame."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from karat.errors import NaiveTimestamp, SchemaMismatch, SignatureError
from karat.kinds import Encoder


def texts(*values: str | None, times: int = 5) -> list[str | None]:
    """Each value often enough to be learned."""
    return list(values) * times


FRAME = pl.DataFrame(
    {
        "amount": [1.5, None, float("nan"), float("inf"), -3.0],
        "count": [1, 2, 3, None, 5],
        "flag": [True, False, None, True, True],
        "price": [Decimal("1.25"), Decimal("2.50"), None, Decimal("0.00"), Decimal("1.00")],
        "born": [date(1970, 1, 2), date(1969, 12, 31), None, date(2026, 2, 28), date(2000, 1, 1)],
        "seen": [datetime(1970, 1, 1, 12, tzinfo=UTC), None, *[datetime(2026, 1, 1, tzinfo=UTC)] * 3],
        "place": ["b"] * 5,
    }
)


def test_types_are_those_that_projects_declare():
    assert [c.dtype for c in Encoder.fit(FRAME).columns] == [
        "float64",
        "int64",
        "bool",
        "float64",
        "date",
        "timestamp",
        "string",
    ]


def test_values_are_plain_numbers_and_missing_is_nan():
    nan = np.nan
    expected = [
        [1.5, 1, 1, 1.25, 1, 0.5, 0],
        [nan, 2, 0, 2.5, -1, nan, 0],
        [nan, 3, nan, nan, nan, 20454, 0],
        [nan, nan, 1, 0, 20512, 20454, 0],
        [-3, 5, 1, 1, 10957, 20454, 0],
    ]
    assert np.array_equal(Encoder.fit(FRAME).encode(FRAME), expected, equal_nan=True)


def test_rows_are_read_as_frames_are():
    encoder = Encoder.fit(FRAME)
    for row, expected in zip(FRAME.rows(), encoder.encode(FRAME), strict=True):
        assert np.array_equal(encoder.encode_row(row)[0], expected, equal_nan=True)


def test_codes_follow_the_alphabet_and_rare_texts_have_none():
    frame = pl.DataFrame({"place": [*texts("south", "east", None), "once", "twice", "twice"]})
    encoder = Encoder.fit(frame)
    assert encoder.columns[0].categories == ("east", "south")
    assert "4 distinct texts; 2 of them" in encoder.warnings[0]
    codes = encoder.encode(pl.DataFrame({"place": ["south", "east", None, "once", "unheard"]}))[:, 0]
    assert np.array_equal(codes, [1, 0, np.nan, np.nan, np.nan], equal_nan=True)


def test_the_most_frequent_texts_are_kept_where_there_are_too_many():
    names = [f"t{i:03}" for i in range(300)]
    encoder = Encoder.fit(pl.DataFrame({"place": [*texts(*names), *names[40:]]}))
    assert len(encoder.columns[0].categories) == 254
    assert set(names[40:]) - set(encoder.columns[0].categories) == set(names[294:])


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Enum(["x", "y"])])
def test_polars_own_categories_are_texts(dtype):
    frame = pl.DataFrame({"c": pl.Series(texts("x", "y"), dtype=dtype)})
    encoder = Encoder.fit(frame)
    assert encoder.encode(frame)[:2, 0].tolist() == [0, 1]
    assert encoder.encode(frame.cast(pl.String))[:2, 0].tolist() == [0, 1]


def test_numbers_of_any_width_are_taken_for_each_other():
    encoder = Encoder.fit(pl.DataFrame({"n": [1.0]}))
    for dtype in (pl.Int8, pl.UInt64, pl.Float32, pl.Boolean, pl.Decimal(10, 2), pl.Null):
        frame = pl.DataFrame({"n": [None if dtype == pl.Null else 1]}).cast(dtype)
        value = encoder.encode(frame)[0, 0]
        assert np.isnan(value) if dtype == pl.Null else value == 1


def test_a_column_without_a_value_may_be_given_for_any_type():
    empty = pl.DataFrame({name: [None] for name in FRAME.columns})
    assert np.isnan(Encoder.fit(FRAME).encode(empty)).all()
    assert np.isnan(Encoder.fit(FRAME).encode_row([None] * 7)).all()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("amount", "1.5"),
        ("count", [1]),
        ("place", 3),
        ("born", "2026-01-01"),
        ("born", datetime(2026, 1, 1, tzinfo=UTC)),
        ("seen", date(2026, 1, 1)),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_name(column, value):
    encoder = Encoder.fit(FRAME)
    row = [value if name == column else None for name in FRAME.columns]
    with pytest.raises(SignatureError, match=f"feature '{column}' was learned as"):
        encoder.encode_row(row)
    with pytest.raises((SignatureError, SchemaMismatch), match=f"feature '{column}'"):
        encoder.encode(FRAME[:1].with_columns(pl.Series(column, [value])))


def test_a_time_without_a_zone_is_refused():
    naive = datetime(2026, 1, 1)
    with pytest.raises(NaiveTimestamp, match="'seen'"):
        Encoder.fit(pl.DataFrame({"seen": [naive]}))
    with pytest.raises(NaiveTimestamp, match="'seen'"):
        Encoder.fit(FRAME).encode_row([None, None, None, None, None, naive, None])


def test_times_of_another_zone_and_unit_are_the_same_moment():
    encoder = Encoder.fit(FRAME.select("seen"))
    moved = FRAME.select(pl.col("seen").dt.convert_time_zone("Asia/Tokyo").dt.cast_time_unit("ns"))
    assert np.array_equal(encoder.encode(moved), encoder.encode(FRAME), equal_nan=True)


def test_a_nested_column_is_no_feature():
    with pytest.raises(SchemaMismatch, match=r"'tags' has the type List"):
        Encoder.fit(pl.DataFrame({"tags": [["a"]]}))


def test_it_comes_back_from_json_and_from_another_process():
    encoder = Encoder.fit(FRAME)
    encoder.encode_row([None] * 7)
    assert Encoder.from_json(encoder.to_json()) == encoder
    assert pickle.loads(pickle.dumps(encoder)) == encoder
