"""Frames that are scored: none of a caller's columns is overwritten, and no rows give no rows of the same types."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LinearRegression, LogisticRegression

from karat import FeatureEngineeringClient, FeatureLookup
from karat.errors import SchemaMismatch, WrongCall
from karat.settings import Settings

ADDED = {
    "binary": ("prediction", "probability"),
    "three": ("prediction", "probability_low", "probability_mid", "probability_high"),
    "number": ("prediction",),
    "odd": ("prediction", "score"),
}
KINDS: dict[str, Callable[[pl.DataFrame], Any]] = {
    "polars": lambda rows: rows,
    "lazy": lambda rows: rows.lazy(),
    "pandas": lambda rows: rows.to_pandas(),
    "arrow": lambda rows: rows.to_arrow(),
    "batch": lambda rows: rows.to_arrow().combine_chunks().to_batches()[0] if rows.height else rows.to_arrow(),
}


def as_polars(frame: Any) -> pl.DataFrame:
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    return frame if isinstance(frame, pl.DataFrame) else pl.DataFrame(frame)


@pytest.fixture(scope="module")
def fe(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> FeatureEngineeringClient:
    client = FeatureEngineeringClient(catalog="shop_dev", settings=Settings(home=tmp_path_factory.mktemp("scored")))
    (client.settings.home / "mlflow").mkdir()
    shutil.copy(empty_database, client.settings.home / "mlflow" / "mlflow.db")
    rng = np.random.default_rng(0)
    people = pl.DataFrame({"id": [f"u{i}" for i in range(60)], "a": rng.normal(size=60), "b": rng.normal(size=60)})
    client.create_table("people", ["id"], people)
    spine = people.select("id", y=(pl.col("a") > 0).cast(pl.Int64))
    made = client.create_training_set(spine, [FeatureLookup("people", ["a", "b"], lookup_key="id")], "y", ["id"])
    frame = made.load_df().to_pandas()
    three = pd.cut(frame["a"], 3, labels=["low", "mid", "high"]).astype(str)
    models = {
        "binary": LogisticRegression().fit(frame[["a", "b"]], frame["y"]),
        "three": LogisticRegression().fit(frame[["a", "b"]], three),
        "number": LinearRegression().fit(frame[["a", "b"]], frame["b"]),
        "odd": IsolationForest(n_estimators=3, random_state=0).fit(frame[["a", "b"]]),
    }
    for name, model in models.items():
        client.log_model(model, training_set=made, registered_model_name=name)
    return client


@pytest.mark.parametrize("model", ADDED)
@pytest.mark.parametrize("kind", KINDS)
def test_no_rows_give_no_rows_of_the_same_types(fe, model: str, kind: str) -> None:
    keys = pl.DataFrame({"id": ["u1", "u2"]})
    some = as_polars(fe.score_batch(f"models:/{model}/1", KINDS[kind](keys)))
    none = as_polars(fe.score_batch(f"models:/{model}/1", KINDS[kind](keys.clear())))
    assert none.height == 0
    assert none.columns == some.columns == ["id", *some.columns[1:]]
    if kind != "pandas":  # whose objects have no type where there are none
        assert none.schema == some.schema


@pytest.mark.parametrize(("model", "column"), [(m, c) for m, columns in ADDED.items() for c in columns])
def test_a_column_of_the_callers_is_never_overwritten(fe, model: str, column: str) -> None:
    for convert in (pl.DataFrame.to_pandas, pl.DataFrame.to_arrow, pl.DataFrame.lazy):
        own = pl.DataFrame({"id": ["u1", "u2"], column: [7, 8]})
        with pytest.raises(SchemaMismatch, match=f"column '{column}' already"):
            fe.score_batch(f"models:/{model}/1", convert(own))


def test_a_scored_frame_comes_back_as_it_came(fe) -> None:
    index = pd.MultiIndex.from_tuples([("x", 1), ("x", 1)], names=["k", None])
    own = pd.DataFrame({"id": pd.Categorical(["u2", "u1"]), "n": pd.array([2**53 + 1, None], "Int64")}, index=index)
    out = fe.score_batch("models:/binary/1", own)
    pd.testing.assert_frame_equal(out[["id", "n"]], own)
    batch = pa.RecordBatch.from_pydict({"id": pa.array(["u1"], pa.string_view()), "d": pa.array([1], pa.int8())})
    scored = fe.score_batch("models:/binary/1", batch)
    assert isinstance(scored, pa.RecordBatch)
    assert scored.select(["id", "d"]).equals(batch)


BACK = timedelta(microseconds=-1)


@pytest.mark.parametrize("backwards", ["a table's lag", "a lookup's lag", "lookback_window"])
def test_a_time_that_runs_backwards_is_refused(fe, backwards: str) -> None:
    """A negative lag lets the future in; a negative lookback finds nothing."""
    rows = pl.DataFrame({"id": ["a"], "at": [datetime(2026, 1, 2, tzinfo=UTC)], "x": [1.0]})
    spine = rows.select("id", "at")
    lag = {"lag": BACK} if backwards == "a table's lag" else {}
    lookups: dict[str, Any] = {"a lookup's lag": {"lag": BACK}, "lookback_window": {"lookback_window": BACK}}
    name = "early_" + backwards.replace("'", "").replace(" ", "_")

    def use() -> None:
        fe.create_table(name, ["id", "at"], rows, timeseries_columns="at", **lag)
        lookup = FeatureLookup(name, "x", "id", "at", **lookups.get(backwards, {}))
        fe.create_training_set(spine, [lookup], label=None)

    with pytest.raises((WrongCall, SchemaMismatch), match=r"negative|lookback|lag"):
        use()
    assert (name in {t.table for t in fe.lake.tables()}) is not bool(lag)
