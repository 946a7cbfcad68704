"""Training sets come back: the stored spine in any type, the same rows by the same digest, or what differs."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from polars.testing.parametric import dataframes

from karat import FeatureFunction, FeatureLookup
from karat.declare import feature_function
from karat.errors import FunctionChanged, RebuildFailed
from karat.lake import Lake
from karat.names import ModelName, TableName
from karat.training_sets.digest import digest
from karat.training_sets.functions import FunctionLibrary
from karat.training_sets.rebuild_record import TrainingSetRecord
from karat.training_sets.reproduce import rebuild_training_set, store_pins
from karat.training_sets.spine import StoredSpine, read_spine, store_spine
from karat.training_sets.training_set import TrainingSet, create_training_set
from tests.profiles import examples

USERS, MODEL = TableName("demo_dev", "features", "users"), ModelName("demo_dev", "m")


def per_year(spent: pl.Series, age: pl.Series) -> pl.Series:
    return spent / age


def other(spent: pl.Series, age: pl.Series) -> pl.Series:
    return spent / age * 1.0


LIBRARY = FunctionLibrary(given=[feature_function("per_year", per_year)])


@pytest.fixture
def users(lake: Lake) -> Lake:
    schema = pa.schema(
        [
            pa.field("user_id", pa.int64(), nullable=False),
            pa.field("day", pa.date32(), nullable=False),
            ("age", pa.int64()),
            ("spent", pa.float64()),
        ]
    )
    lake.create(USERS, schema, primary_key=["user_id", "day"], timeseries="day", grain=timedelta(days=1))
    lake.overwrite(USERS, rows(range(1, 6)))
    return lake


def rows(days) -> pl.DataFrame:
    found = [(u, date(2026, 1, d), 20 + u, float(u * d)) for u in range(3) for d in days]
    return pl.DataFrame(found, schema=["user_id", "day", "age", "spent"], orient="row")


SPINE = pl.DataFrame(
    {
        "user_id": [2, 0, 1, 2, 0],
        "day": [date(2026, 1, d) for d in (3, 9, 1, 5, 2)],
        "Days since sign-up": pl.Series([3, 1, None, 4, 5], dtype=pl.Int16),
        "label": [1, 0, 1, 0, 1],
    }
)
LOOKUPS = [
    FeatureLookup(str(USERS), ["age", "spent"], lookup_key="user_id", timestamp_lookup_key="day"),
    FeatureLookup(
        str(USERS), "spent", lookup_key="user_id", timestamp_lookup_key="day", sequence_length=3,
        rename_outputs={"spent": "week"},
    ),
    FeatureFunction("per_year", {"spent": "spent", "age": "age"}),
]  # fmt: skip


def kept(lake: Lake, spine: pl.DataFrame = SPINE) -> tuple[TrainingSet, dict]:
    """A training set, and what a model keeps of it, through JSON."""
    made = create_training_set(lake, spine, LOOKUPS, "label", ["day"], library=LIBRARY)
    record = {
        "catalog": "demo_dev", "model": "m", "features": list(made.features), "label": "label", "digest": made.digest,
        "pins": store_pins(lake, MODEL, made),
    }  # fmt: skip
    return made, json.loads(json.dumps(record))


def test_the_same_rows_in_the_same_order_after_the_tables_moved_on(users: Lake) -> None:
    made, record = kept(users)
    users.overwrite(USERS, rows(range(1, 9)).with_columns(pl.col("spent") * 7))
    kept(users, SPINE.head(3))  # another training set of the same model
    again = rebuild_training_set(users, TrainingSetRecord.from_metadata(record), LIBRARY)
    assert_frame_equal(again.data, made.data)
    assert_frame_equal(again.load_df(), made.load_df())
    assert_frame_equal(again.report, made.report)
    assert (again.digest, again.features, again.label) == (made.digest, made.features, "label")
    assert (again.lookups, again.functions) == (made.lookups, made.functions)
    assert digest(again.spine) == record["pins"]["spine"]["digest"]


def test_the_same_spine_is_stored_once_and_another_as_the_next_version(users: Lake) -> None:
    stored = [kept(users, s)[1]["pins"]["spine"]["stored"] for s in (SPINE, SPINE, SPINE.head(2))]
    assert [s["version"] for s in stored] == [1, 1, 2]
    assert stored[0]["table"].startswith("demo_dev.models.spine__m__")
    wider = kept(users, SPINE.with_columns(extra=pl.lit(1)))[1]["pins"]["spine"]["stored"]
    assert wider["table"] != stored[0]["table"]


def test_what_differs_is_named(users: Lake) -> None:
    _, record = kept(users)
    files = sorted(users.path(USERS).rglob("*.parquet"))
    for file in files:  # somebody writes over the files of a Delta version
        frame = pl.read_parquet(file)
        frame.with_columns(age=pl.col("age") + 1).write_parquet(file)
    with pytest.raises(RebuildFailed, match=r"age \(demo_dev.features.users version 1\), per_year \(feature") as caught:
        rebuild_training_set(users, TrainingSetRecord.from_metadata(record), LIBRARY)
    assert "week" not in caught.value.what
    for file in files:
        file.unlink()
    with pytest.raises(RebuildFailed, match="cannot be rebuilt") as gone:
        rebuild_training_set(users, TrainingSetRecord.from_metadata(record), LIBRARY)
    assert "demo_dev.features.users version 1" in gone.value.where


def test_a_changed_function_or_a_missing_spine_is_told(users: Lake) -> None:
    _, record = kept(users)
    with pytest.raises(FunctionChanged):
        rebuild_training_set(
            users, TrainingSetRecord.from_metadata(record), FunctionLibrary(given=[feature_function("per_year", other)])
        )
    without = {**record, "pins": {**record["pins"], "spine": {"rows": 5}}}
    with pytest.raises(RebuildFailed, match="its spine was not stored"):
        rebuild_training_set(users, TrainingSetRecord.from_metadata(without), LIBRARY)


def test_every_type_comes_back(lake: Lake) -> None:
    moment = datetime(2024, 2, 29, 12, tzinfo=UTC)
    frame = pl.DataFrame(
        {
            "naïve name": pl.Series([datetime(2026, 1, 1, 3), None]),
            "A": pl.Series([moment, None], dtype=pl.Datetime("ns", "UTC")),
            "a": pl.Series([moment, None]).dt.convert_time_zone("Europe/Berlin"),
            "big": pl.Series([2**64 - 1, None], dtype=pl.UInt64),
            "money": pl.Series([Decimal("1.10"), None], dtype=pl.Decimal(10, 2)),
            "choice": pl.Series(["x", None], dtype=pl.Enum(["y", "x"])),
            "took": pl.Series([timedelta(seconds=3), None]),
            "clock": pl.Series([time(3, 4), None]),
            "ids": pl.Series([[1, 2], None]),
            "pair": pl.Series([[1.5, 2.5], None], dtype=pl.Array(pl.Float64, 2)),
            "part": pl.Series([{"n": 1, "s": ["x"]}, None]),
            "nothing": [None, None],
            "float": pl.Series([float("nan"), -0.0], dtype=pl.Float32),
        }
    )
    stored = store_spine(lake, MODEL, frame)
    again = read_spine(lake, StoredSpine.from_json(json.loads(json.dumps(stored.as_json()))))
    assert_frame_equal(again, frame)
    assert digest(again) == digest(frame)


TYPES = [pl.Int8, pl.UInt32, pl.Float32, pl.Float64, pl.String, pl.Boolean, pl.Date, pl.Datetime("ms"), pl.Categorical]


@settings(max_examples=examples(15), deadline=None)
@given(frame=dataframes(min_cols=1, max_cols=4, min_size=1, max_size=6, allowed_dtypes=TYPES), seed=st.integers(0, 9))
def test_a_spine_comes_back_as_it_was(tmp_path_factory, frame: pl.DataFrame, seed: int) -> None:
    lake = Lake(tmp_path_factory.mktemp("lake"), "dev")
    shuffled = frame.sample(fraction=1, shuffle=True, seed=seed)
    stored = store_spine(lake, MODEL, shuffled)
    assert_frame_equal(read_spine(lake, stored), shuffled, categorical_as_str=True)
    assert digest(read_spine(lake, stored)) == digest(shuffled)
