"""A large table is looked up in parts: the training set is the same, whatever the parts."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from karat import FeatureLookup
from karat.lake import Lake
from karat.names import TableName
from karat.training_sets import feature_join
from karat.training_sets.training_set import create_training_set

TABLE = TableName("demo_dev", "features", "visits")
START = date(2026, 1, 1)


@pytest.fixture
def visits(lake: Lake) -> Lake:
    rng = np.random.default_rng(4)
    schema = pa.schema(
        [
            pa.field("user_id", pa.int64(), nullable=False),
            pa.field("shop", pa.string(), nullable=False),
            pa.field("day", pa.date32(), nullable=False),
            ("clicks", pa.float64()),
            ("page", pa.string()),
        ]
    )
    lake.create(TABLE, schema, primary_key=["user_id", "shop", "day"], timeseries="day", lag=timedelta(days=1))
    rows = [
        (user, shop, START + timedelta(days=day), float(rng.normal()) if rng.random() < 0.9 else None, f"p{day}")
        for user in range(12)
        for shop in "ab"
        for day in range(20)
        if rng.random() < 0.6
    ]
    lake.overwrite(TABLE, pl.DataFrame(rows, schema=["user_id", "shop", "day", "clicks", "page"], orient="row"))
    return lake


@pytest.fixture
def spine() -> pl.DataFrame:
    """Users that are not there, nulls, a narrower type of key; in no order."""
    rng = np.random.default_rng(5)
    return pl.DataFrame(
        {
            "user_id": pl.Series([int(u) if u < 14 else None for u in rng.integers(0, 15, 80)], dtype=pl.Int32),
            "shop": [("a", "b", None)[i] for i in rng.integers(0, 3, 80)],
            "day": [START + timedelta(days=int(d)) for d in rng.integers(-2, 25, 80)],
            "y": rng.normal(size=80),
        }
    )


@pytest.mark.parametrize("at_once", [7, 50])
def test_parts_give_what_the_whole_gives(visits: Lake, spine: pl.DataFrame, at_once: int, monkeypatch):
    keys = {"lookup_key": ["user_id", "shop"], "timestamp_lookup_key": "day"}
    lookups = [
        FeatureLookup(str(TABLE), ["clicks", "page"], lookback_window=timedelta(days=5), **keys),
        FeatureLookup(str(TABLE), ["clicks"], rename_outputs={"clicks": "last"}, sequence_length=3, **keys),
    ]
    whole = create_training_set(visits, spine, lookups, "y")
    monkeypatch.setattr(feature_join, "ROWS_PER_PART", at_once)
    parts = create_training_set(visits, spine, lookups, "y")
    assert parts.digest == whole.digest
    assert_frame_equal(parts.data, whole.data)
    assert_frame_equal(parts.report, whole.report)
