"""A fuzz of the client's public verbs: whatever is given, a user meets a result or one of Karat's own errors."""

from __future__ import annotations

import shutil
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from karat import FeatureEngineeringClient, FeatureLookup
from karat.errors import KaratError, LibraryFailed, WrongCall
from karat.settings import Settings
from tests.profiles import examples

DTYPES = [pl.Int128, pl.UInt64, pl.Decimal(38, 20), pl.Time, pl.Duration, pl.Null, pl.Float16, pl.Binary, pl.Date]
DTYPES += [pl.Datetime("ns"), pl.Datetime("ms", "Asia/Tokyo"), pl.List(pl.Null), pl.Array(pl.Int8, 2), pl.Struct([])]
DTYPES += [
    pl.Categorical,
    pl.Enum(["a"]),
    pl.Object,
    pl.List(pl.Datetime("us")),
    pl.Struct({"A": pl.Int8, "a": pl.Int8}),
]
ODD = [
    None,
    "x",
    "",
    3,
    2**63,
    1.5,
    float("nan"),
    True,
    Decimal("1.50"),
    uuid.UUID(int=1),
    b"x",
    time(1),
    [1],
    {"a": 1},
]
ODD += [
    date(2026, 1, 1),
    datetime(2026, 1, 1),
    datetime(2026, 1, 1, tzinfo=UTC),
    timedelta(1),
    1j,
    pd.NaT,
    np.float32(1),
]
ODD += [pd.Timestamp("2026-01-01"), pd.Period("2026"), [[1], ["a"]], {1: 2}, np.array([1, 2]), object]
NAMES = st.sampled_from(["id", "at", "x", "X", "", "a b", "_day", "prediction", "é"])


@st.composite
def frames(draw: st.DrawFn) -> Any:
    """pandas frames of any objects and names, Polars frames of any type, Arrow tables of odd types."""
    kind = draw(st.sampled_from(["pandas", "polars", "arrow", "none"]))
    names = draw(st.lists(NAMES, min_size=1, max_size=3))
    if kind == "pandas":
        columns = [pd.Series(draw(st.lists(st.sampled_from(ODD), min_size=2, max_size=2)), dtype=object) for _ in names]
        out = pd.concat(columns, axis=1)
        out.columns = pd.Index(names)
        return out
    if kind == "polars":
        return pl.DataFrame({"id": [1, 2]}).with_columns(
            pl.Series(n, [None, None], dtype=draw(st.sampled_from(DTYPES))) for n in dict.fromkeys(names)
        )
    if kind == "arrow":
        odd = [pa.nulls(1), pa.array([Decimal(1)], pa.decimal256(50)), pa.array([date(2026, 1, 1)], pa.date64())]
        odd += [
            pa.array([1]).dictionary_encode(),
            pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
            pa.array([b"x"]),
        ]
        return pa.table([draw(st.sampled_from(odd)) for _ in names], names=names)
    return draw(
        st.sampled_from([None, 3, "x", [], {}, {"id": [1]}, np.ones(3), pl.LazyFrame({"id": [1]}).select("nope")])
    )


ARGUMENTS = (
    NAMES | st.none() | st.integers(-1, 3) | st.lists(NAMES, max_size=2) | st.sampled_from([timedelta(-1), {}, b""])
)
ZONES = st.none() | st.sampled_from(["UTC", "Europe/Berlin", "Europe/Berln", ""])


@pytest.fixture(scope="module")
def fe(tmp_path_factory, empty_database) -> FeatureEngineeringClient:
    """A client with a feature table and a registered model on it."""
    client = FeatureEngineeringClient(catalog="shop_dev", settings=Settings(home=tmp_path_factory.mktemp("fuzz")))
    (client.settings.home / "mlflow").mkdir()
    shutil.copy(empty_database, client.settings.home / "mlflow" / "mlflow.db")
    at = [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)]
    client.create_table(
        "good", ["id", "at"], pl.DataFrame({"id": [1, 2], "at": at, "x": [1.0, 2.0]}), timeseries_columns="at"
    )
    spine = pl.DataFrame({"id": [1, 2], "at": at, "y": [0, 1]})
    made = client.create_training_set(spine, [FeatureLookup("good", "x", "id", "at")], "y", ["id", "at"])
    client.log_model(fitted(), training_set=made, registered_model_name="m")
    client.made = made
    return client


def fitted() -> LogisticRegression:
    return LogisticRegression().fit(pd.DataFrame({"x": [1.0, 2.0]}), [0, 1])


@settings(max_examples=examples(90), deadline=None)
@given(st.data())
def test_a_user_meets_karats_errors_alone(fe, data) -> None:
    frame, draw = data.draw(frames()), data.draw
    number = draw(st.integers(0, 10**9))

    def lookup() -> FeatureLookup:
        return FeatureLookup("good", draw(ARGUMENTS), draw(ARGUMENTS), draw(ARGUMENTS))

    def log() -> object:
        model = draw(st.sampled_from([None, 3, "x", LogisticRegression(), fitted(), object(), lambda x: x]))
        training = draw(st.sampled_from([None, fe.made, frame]))
        return fe.log_model(
            model,
            training_set=training,
            registered_model_name=draw(NAMES | st.just("m")),
            input_example=draw(st.sampled_from([None, frame])),
            metrics=draw(st.sampled_from([None, {"a": float("nan")}, {"a": "x"}, {"a b/<": 1}])),
            parameters=draw(st.sampled_from([None, {"a": object()}, {"": 1}, {"p": "x" * 7000}])),
            tags=draw(st.sampled_from([None, {"": "x"}, {"t": 5}, {"t": "x" * 9000}])),
            signature=draw(st.sampled_from([None, 5, "x"])),
            flavor=draw(st.sampled_from([None, "sklearn", "nope", pd])),
        )

    uri = st.sampled_from(["models:/m/1", "m", "models:/m@champion", "models:/m/7", "models:/no/1", "", "runs:/x"])
    plain = FeatureLookup("good", "x", "id", "at")
    calls = {
        "create": lambda: fe.create_table(f"t{number}", ["id"], frame, timezone=draw(ZONES)),
        "create_odd": lambda: fe.create_table(
            f"t{number}", draw(ARGUMENTS), frame, partition_columns=draw(ARGUMENTS), timeseries_columns=draw(ARGUMENTS)
        ),
        "write": lambda: fe.write_table("good", frame, timezone=draw(ZONES)),
        "read": lambda: fe.read_table(draw(ARGUMENTS), version=draw(ARGUMENTS), columns=draw(ARGUMENTS)),
        "erase": lambda: fe.erase("good", frame),
        "train": lambda: fe.create_training_set(frame, [lookup()], label=draw(ARGUMENTS)).load_df(),
        "train_plain": lambda: fe.create_training_set(frame, [plain], label=None).load_df(),
        "score": lambda: fe.score_batch(draw(uri), frame, draw(st.sampled_from([None, "long", "x", 5]))),
        "log": log,
        "rebuild": lambda: fe.rebuild_training_set(draw(uri | ARGUMENTS)),
        "consistency": lambda: fe.check_consistency(
            draw(uri | ARGUMENTS), draw(st.sampled_from([0.1, 0, -1, 2, float("nan"), "x"])), since=draw(ARGUMENTS)
        ),
        "columns": lambda: fe.create_training_set(frame, [plain], label=None, exclude_columns=draw(ARGUMENTS)),
        "publish": lambda: fe.publish_table(draw(ARGUMENTS), sequence_length=draw(ARGUMENTS)),
    }
    before = set(fe.lake.tables())
    try:
        calls[draw(st.sampled_from(sorted(calls)))]()
    except LibraryFailed:
        raise
    except KaratError:
        assert set(fe.lake.tables()) == before, "a refused call leaves no table"


def test_what_no_rule_foresees_is_named(fe, monkeypatch) -> None:
    monkeypatch.setattr(fe.lake, "read", lambda *a, **k: pl.DataFrame({"a": [1]}).select("b"))
    with pytest.raises(LibraryFailed, match=r"read_table met .*polars.*ColumnNotFoundError") as caught:
        fe.read_table("good")
    assert isinstance(caught.value.__cause__, pl.exceptions.ColumnNotFoundError)
    with pytest.raises(WrongCall, match="unexpected keyword argument 'verson'"):
        fe.read_table("good", verson=3)
    with pytest.raises(WrongCall, match="name=5"):
        fe.read_table(5)
