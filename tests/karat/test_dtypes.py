"""The maps of the declared types: each library's type and back."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from karat.dtypes import ARROW, DTYPES, KEY_TYPES, NUMPY, POLARS, arrow_type, dtype_of, dtype_of_polars, polars_type


@pytest.mark.parametrize(
    ("arrow", "dtype"),
    [
        (pa.float32(), "float64"),
        (pa.decimal128(10, 2), "float64"),
        (pa.int8(), "int64"),
        (pa.bool_(), "bool"),
        (pa.date32(), "date"),
        (pa.timestamp("us", "UTC"), "timestamp"),
        (pa.large_string(), "string"),
        (pa.dictionary(pa.int32(), pa.string()), "string"),
        (pa.list_(pa.int64()), "other"),
    ],
)
def test_arrow_types(arrow, dtype) -> None:
    assert dtype_of(arrow) == dtype


@pytest.mark.parametrize(
    ("polars", "dtype"),
    [
        (pl.Float32(), "float64"),
        (pl.Decimal(10, 2), "float64"),
        (pl.UInt8(), "int64"),
        (pl.Boolean(), "bool"),
        (pl.Date(), "date"),
        (pl.Datetime("ns"), "timestamp"),
        (pl.Categorical(), "string"),
        (pl.Enum(["a"]), "string"),
        (pl.List(pl.Int64), "other"),
        (pl.Duration(), "other"),
        (pl.Null(), "other"),
    ],
)
def test_polars_types(polars, dtype) -> None:
    assert dtype_of_polars(polars) == dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_map_leads_back_to_the_declared_type(dtype) -> None:
    assert dtype_of(ARROW[dtype]) == dtype_of_polars(POLARS[dtype]) == dtype
    assert polars_type(ARROW[dtype]) == POLARS[dtype]
    assert arrow_type(str(ARROW[dtype])) == ARROW[dtype]
    assert pl.Series(pl.from_arrow(pa.array([], ARROW[dtype]))).dtype == POLARS[dtype]


@pytest.mark.parametrize("dtype", NUMPY)
def test_numpy_holds_what_polars_holds(dtype) -> None:
    plain = pl.Datetime("us") if dtype == "timestamp" else POLARS[dtype]
    assert pl.Series([None], dtype=plain).drop_nulls().to_numpy().dtype == np.dtype(NUMPY[dtype])


def test_nested_types_have_a_polars_type() -> None:
    assert polars_type(pa.list_(pa.int64())) == pl.List(pl.Int64)


def test_keys_compare_exactly() -> None:
    assert set(DTYPES) - set(KEY_TYPES) == {"float64", "bool"}


def test_an_unknown_arrow_type_is_refused() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        arrow_type("nonsense")
