"""Any frame that is taken comes back as it came: through a training set, and through a table."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from karat import FeatureEngineeringClient, FeatureLookup
from karat.errors import SchemaMismatch
from karat.settings import Settings
from tests.profiles import examples

ROWS = 3
IDS = [2, 1, 2]


@pytest.fixture(scope="module")
def fe(tmp_path_factory: pytest.TempPathFactory) -> FeatureEngineeringClient:
    client = FeatureEngineeringClient(catalog="shop_dev", settings=Settings(home=tmp_path_factory.mktemp("trips")))
    client.create_table("known", ["id"], pl.DataFrame({"id": [1, 2], "looked_up": [0.5, 1.5]}))
    return client


MIDNIGHTS = [datetime(2026, 3, 29), None, datetime(2026, 10, 25)]
PANDAS: dict[str, Callable[[], Any]] = {
    "object": lambda: pd.Series(["a", None, "b"], dtype=object),
    "string": lambda: pd.Series(["a", None, "b"], dtype="string"),
    "string[pyarrow]": lambda: pd.Series(["a", None, "b"], dtype="string[pyarrow]"),
    "ArrowDtype": lambda: pd.Series([1, None, 3], dtype=pd.ArrowDtype(pa.int32())),
    "ArrowDtype decimal": lambda: pd.Series(
        [Decimal("1.10"), None, Decimal(2)], dtype=pd.ArrowDtype(pa.decimal128(9, 2))
    ),
    "ArrowDtype list": lambda: pd.Series([[1], None, []], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
    "Int64": lambda: pd.Series([2**53 + 1, None, 3], dtype="Int64"),
    "UInt8": lambda: pd.Series([255, None, 3], dtype="UInt8"),
    "boolean": lambda: pd.Series([True, None, False], dtype="boolean"),
    "Float32": lambda: pd.Series([1.5, None, 3], dtype="Float32"),
    "float32": lambda: pd.Series([1.5, np.nan, 3], dtype="float32"),
    "category": lambda: pd.Series(pd.Categorical(["b", None, "a"], categories=["b", "a", "unused"], ordered=True)),
    "category of numbers": lambda: pd.Series(pd.Categorical([3, 1, 3])),
    "naive times": lambda: pd.Series(pd.to_datetime(MIDNIGHTS)),
    "zoned times": lambda: pd.Series(pd.to_datetime(MIDNIGHTS)).dt.tz_localize("Europe/Berlin"),
    "seconds": lambda: pd.Series(pd.to_datetime(MIDNIGHTS)).astype("datetime64[s]"),
    "timedelta": lambda: pd.Series(pd.to_timedelta([1, None, 3], unit="h")),
    "dates": lambda: pd.Series([date(2026, 1, 1), None, date(2026, 1, 2)], dtype=object),
    "clocks": lambda: pd.Series([time(1), None, time(2)], dtype=object),
    "decimals": lambda: pd.Series([Decimal("1.10"), None, Decimal("2.25")], dtype=object),
    "uuids": lambda: pd.Series([uuid.UUID(int=n) for n in range(3)], dtype=object),
    "lists": lambda: pd.Series([[1, 2], None, []], dtype=object),
    "sparse": lambda: pd.Series([0.0, 0.0, 1.0], dtype="Sparse[float64]"),
    "bytes": lambda: pd.Series([b"x", None, b"\xff"], dtype=object),
}
INDEXES: dict[str, Callable[[], Any]] = {
    "range": lambda: pd.RangeIndex(ROWS),
    "doubled": lambda: pd.Index([7, 7, 7]),
    "named": lambda: pd.Index(["x", "y", "z"], name="who"),
    "times": lambda: pd.date_range("2026-01-01", periods=ROWS, tz="Asia/Tokyo", name="at"),
    "multi": lambda: pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["one", None]),
    "categories": lambda: pd.CategoricalIndex(["a", "b", "a"]),
}
POLARS = [
    pl.Int8, pl.UInt64, pl.Int128, pl.Float32, pl.Boolean, pl.String, pl.Binary, pl.Date, pl.Time, pl.Null,
    pl.Decimal(38, 20), pl.Categorical(), pl.Enum(["a", "b"]), pl.Duration("ns"), pl.Duration("ms"),
    pl.Datetime("ns"), pl.Datetime("ms", "Asia/Tokyo"), pl.Datetime("us", "America/New_York"),
    pl.List(pl.Int16), pl.List(pl.List(pl.String)), pl.Array(pl.Float32, 2),
    pl.Struct({"a": pl.Int8, "b": pl.List(pl.String)}),
]  # fmt: skip
VALUES = st.one_of(st.none(), st.integers(0, 100))


def polars_values(dtype: Any, numbers: list[int | None]) -> pl.Series:
    """A column of any type, from numbers."""
    if dtype == pl.Null:
        return pl.Series([None] * ROWS, dtype=pl.Null)

    def value(n: int | None, kind: Any) -> Any:
        if n is None:
            return None
        if isinstance(kind, pl.List):
            return [value(n, kind.inner)] * (n % 3)
        if isinstance(kind, pl.Array):
            return [value(n, kind.inner)] * 2
        if isinstance(kind, pl.Struct):
            return {f.name: value(n, f.dtype) for f in kind.fields}
        made = {pl.Boolean: bool(n % 2), pl.String: f"t{n}", pl.Binary: b"\xff" * (n % 4), pl.Time: time(n % 24)}
        made |= {pl.Date: date(2026, 1, 1) + timedelta(n), pl.Decimal: Decimal(n) / 8, pl.Categorical: f"c{n}"}
        made |= {pl.Enum: "ab"[n % 2], pl.Duration: timedelta(seconds=n), pl.Datetime: datetime(2026, 3, 29, n % 24)}
        return made.get(kind.base_type(), n)

    kind = dtype() if isinstance(dtype, type) else dtype
    zone = kind.time_zone if isinstance(kind, pl.Datetime) else None
    plain = pl.Datetime(kind.time_unit) if zone else kind
    column = pl.Series([value(n, kind) for n in numbers], dtype=plain, strict=False)
    return column.dt.replace_time_zone("UTC").dt.convert_time_zone(zone) if zone else column


ARROW: dict[str, Callable[[], Any]] = {
    "dictionary": lambda: pa.array(["a", None, "b"]).dictionary_encode(),
    "large_string": lambda: pa.array(["a", None, "b"], pa.large_string()),
    "string_view": lambda: pa.array(["a", None, "b"], pa.string_view()),
    "string": lambda: pa.array(["a", None, "b"]),
    "uuid": lambda: pa.array([uuid.UUID(int=n).bytes for n in range(3)], pa.uuid()),
    "decimal128": lambda: pa.array([Decimal("1.10"), None, Decimal(2)], pa.decimal128(9, 2)),
    "chunks": lambda: pa.chunked_array([[1], [None, 3]], pa.int16()),
    "runs": lambda: pa.RunEndEncodedArray.from_arrays([2, 3], [1.5, 2.5]),
    "date64": lambda: pa.array([0, None, 86_400_000], pa.date64()),
    "seconds": lambda: pa.array([0, None, 1], pa.timestamp("s", "Europe/Berlin")),
    "large_list": lambda: pa.array([[1], None, []], pa.large_list(pa.int8())),
    "struct": lambda: pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": None}]),
    "time32": lambda: pa.array([0, None, 1], pa.time32("s")),
    "duration": lambda: pa.array([0, None, 1], pa.duration("s")),
    "half": lambda: pa.array(np.array([0, 1, 2], np.float16)),
}


def trained(fe: FeatureEngineeringClient, frame: Any) -> Any:
    return fe.create_training_set(frame, [FeatureLookup("known", "looked_up", "id")], label=None).load_df()


@settings(max_examples=examples(25), deadline=None)
@given(kinds=st.lists(st.sampled_from(sorted(PANDAS)), min_size=1, max_size=4), index=st.sampled_from(sorted(INDEXES)))
def test_pandas_comes_back_as_it_came(fe, kinds, index) -> None:
    frame = pd.DataFrame({"id": IDS, **{f"c{n}": PANDAS[k]() for n, k in enumerate(kinds)}})
    frame.index = INDEXES[index]()
    out = trained(fe, frame)
    pd.testing.assert_frame_equal(out[list(frame.columns)], frame)
    assert out["looked_up"].tolist() == [1.5, 0.5, 1.5]


@settings(max_examples=examples(25), deadline=None)
@given(kinds=st.lists(st.sampled_from(POLARS), min_size=1, max_size=4), lazy=st.booleans(), data=st.data())
def test_polars_comes_back_as_it_came(fe, kinds, lazy, data) -> None:
    columns = {
        f"c{n}": polars_values(k, data.draw(st.lists(VALUES, min_size=3, max_size=3))) for n, k in enumerate(kinds)
    }
    frame = pl.DataFrame({"id": IDS, **columns})
    out = trained(fe, frame.lazy() if lazy else frame)
    assert isinstance(out, pl.LazyFrame) == lazy
    assert_frame_equal(out.lazy().collect().select(frame.columns), frame)


@settings(max_examples=examples(15), deadline=None)
@given(kinds=st.lists(st.sampled_from(sorted(ARROW)), min_size=1, max_size=4), batch=st.booleans())
def test_arrow_comes_back_as_it_came(fe, kinds, batch) -> None:
    frame = pa.table({"id": IDS, **{f"c{n}": ARROW[k]() for n, k in enumerate(kinds)}})
    frame = frame.combine_chunks().to_batches()[0] if batch else frame
    out = trained(fe, frame)
    assert type(out) is type(frame)
    assert out.select(frame.schema.names).equals(frame)
    assert out.schema.field("looked_up").type == pa.float64()


#: Names of tables: each example has one of its own.
NUMBERS = count()
TABLE = [pl.String, pl.Int64, pl.Float64, pl.Boolean, pl.Date, pl.Datetime("us", "UTC"), pl.Decimal(15, 4), pl.Binary]
TABLE += [pl.List(pl.Int64), pl.Struct({"a": pl.Float64, "b": pl.String})]


@settings(max_examples=examples(10), deadline=None)
@given(kinds=st.lists(st.sampled_from(TABLE), min_size=1, max_size=4), data=st.data())
def test_a_table_gives_back_the_types_that_it_holds(fe, kinds, data) -> None:
    columns = {
        f"c{n}": polars_values(k, data.draw(st.lists(VALUES, min_size=3, max_size=3))) for n, k in enumerate(kinds)
    }
    frame = pl.DataFrame({"id": [1, 2, 3], **columns})
    name = f"t{next(NUMBERS)}"
    fe.create_table(name, ["id"], frame)
    assert_frame_equal(fe.read_table(name).sort("id"), frame)
    pandas = fe.read_table(name, frames="pandas")
    fe.write_table(name, pandas)
    fe.write_table(name, fe.read_table(name, frames="arrow"))
    assert_frame_equal(fe.read_table(name).sort("id"), frame)


def test_decimals_are_kept_exactly_or_refused(fe) -> None:
    price = [Decimal("0.10"), Decimal("9999999999999.99"), None]
    fe.create_table("prices", ["id"], pd.DataFrame({"id": [1, 2, 3], "price": price}))
    assert fe.read_table("prices", frames="pandas").sort_values("id")["price"].tolist() == price
    assert (
        fe.read_table("prices")["price"].dtype == pl.Decimal(38, 2) or fe.read_table("prices")["price"].dtype.scale == 2
    )
    long = pl.DataFrame({"id": [1], "price": [Decimal("12345678901234567.89")]})
    with pytest.raises(SchemaMismatch, match=r"'price'.*cannot hold.*12345678901234567.89"):
        fe.create_table("long", ["id"], long)
    with pytest.raises(SchemaMismatch, match="'price' holds Decimal"):
        fe.write_table("prices", pl.DataFrame({"id": [4], "price": [0.125]}))


def test_a_named_index_is_written_as_columns(fe) -> None:
    at = pd.date_range("2026-01-01", periods=2, tz="UTC", name="at")
    fe.create_table("series", ["at"], pd.DataFrame({"x": [1.0, 2.0]}, index=at), timeseries_columns="at")
    assert fe.read_table("series").rows() == [
        (datetime(2026, 1, 1, tzinfo=UTC), 1.0),
        (datetime(2026, 1, 2, tzinfo=UTC), 2.0),
    ]
    with pytest.raises(SchemaMismatch, match="'at' is a column and a level"):
        fe.write_table("series", pd.DataFrame({"at": at, "x": 1.0}, index=at))
