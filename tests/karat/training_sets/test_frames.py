"""Frames of pandas and Arrow: taken by their dtypes and given back as they came, or refused by the column's name."""

from __future__ import annotations

import uuid
from datetime import date, datetime

import pandas as pd
import polars as pl
import pytest

from karat.errors import SchemaMismatch
from karat.training_sets.frames import convert_frame, convert_like, to_polars


@pytest.mark.parametrize("time", ["2026-01-05", "2026-01-05 08:30"])
def test_a_pandas_time_is_a_time_at_midnight_too(time) -> None:
    assert isinstance(to_polars(pd.DataFrame({"at": pd.to_datetime([time])})).schema["at"], pl.Datetime)


@pytest.mark.parametrize("values", [["a", 3], [date(2026, 1, 1), datetime(2026, 1, 1)], [2**70, 1], [2**53 + 1, 0.5]])
def test_a_column_that_mixes_types_is_refused_by_name(values) -> None:
    with pytest.raises(SchemaMismatch, match="'v'"):
        to_polars(pd.DataFrame({"v": pd.Series(values, dtype=object)}))


def test_doubled_names_are_refused() -> None:
    with pytest.raises(SchemaMismatch, match="'v' occurs twice"):
        to_polars(pd.DataFrame([[1, 2]], columns=["v", "v"]))


def test_uuids_become_texts() -> None:
    assert to_polars(pd.DataFrame({"id": [uuid.UUID(int=1)]}))["id"].to_list() == [str(uuid.UUID(int=1))]


def test_pandas_gets_its_own_columns_back() -> None:
    given = pd.DataFrame({"n": pd.array([2**53 + 1, None], "Int64"), "c": pd.Categorical(["a", "b"])}, index=[7, 7])
    out = convert_like(to_polars(given).with_columns(x=1.5), given)
    pd.testing.assert_frame_equal(out[["n", "c"]], given)


def test_pandas_loses_nothing_of_a_table() -> None:
    rows = pl.DataFrame({"n": [2**53 + 1, None], "f": [True, None], "d": [date(2026, 1, 1), None]})
    assert to_polars(convert_frame(rows, "pandas")).equals(rows)
