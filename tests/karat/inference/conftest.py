"""Two feature tables, published, and models of several tasks that look them up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from karat.inference.predictor import Predictor
from karat.kinds import Model
from karat.lake import Lake
from karat.names import ModelName, TableName
from karat.online import OnlineStore, open_store, publish_table
from karat.registry import LoadedModel
from karat.registry.metadata import ModelMetadata
from karat.settings import Settings
from karat.training_sets.lookups import FeatureLookup, pin

USAGE, PLANS = TableName("shop_dev", "features", "usage"), TableName("shop_dev", "features", "plans")
TODAY = datetime.now(UTC).date()
CUSTOMERS = 50


def ago(days: int) -> date:
    return TODAY - timedelta(days=days)


def usage() -> pl.DataFrame:
    """Of each customer c: ``calls`` c + days ago on the last three days, ``spent`` null for every tenth."""
    rows = [(c, d) for c in range(CUSTOMERS) for d in (1, 2, 3)]
    return pl.DataFrame(
        {
            "customer": [f"c{c}" for c, _ in rows],
            "day": [ago(d) for _, d in rows],
            "calls": [c + d for c, d in rows],
            "spent": [None if c % 10 == 0 else c / 2 for c, _ in rows],
        },
        schema_overrides={"calls": pl.Int64, "spent": pl.Float64},
    )


@pytest.fixture
def tables(lake: Lake) -> Lake:
    schema = pa.schema(
        [
            pa.field("customer", pa.string(), nullable=False),
            pa.field("day", pa.date32(), nullable=False),
            pa.field("calls", pa.int64()),
            pa.field("spent", pa.float64()),
        ]
    )
    lake.create(USAGE, schema, primary_key=("customer", "day"), timeseries="day", lag=timedelta(days=1))
    lake.merge(USAGE, usage())
    schema = pa.schema([pa.field("customer", pa.string(), nullable=False), pa.field("plan", pa.string())])
    lake.create(PLANS, schema, primary_key=("customer",))
    lake.merge(
        PLANS,
        pl.DataFrame({"customer": [f"c{c}" for c in range(40)], "plan": ["gold", "tin"] * 20}),
    )
    return lake


@pytest.fixture
def store(settings: Settings, tables: Lake) -> Iterator[OnlineStore]:
    store = open_store(settings)
    for table in (USAGE, PLANS):
        publish_table(tables, store, table)
    yield store
    store.close()


@pytest.fixture
def predictor(tables: Lake, store: OnlineStore) -> Callable[..., Predictor]:
    """``predictor(kind, task)``: trained on made-up rows, looking up usage as of a time and plans by customer."""

    def make(
        kind: str = "xgboost", task: str = "binary", *, exact: bool = False, lake: Lake = tables, **usage_lookup: Any
    ) -> Predictor:
        spine = pl.DataFrame({"customer": ["c1"], "day": [ago(1)], "at": [datetime.now(UTC)]})
        by = {"lookup_key": ["customer", "day"]} if exact else {"lookup_key": "customer", "timestamp_lookup_key": "at"}
        lookups = [
            pin(FeatureLookup(str(USAGE), **{**by, **usage_lookup}), tables, spine),
            pin(FeatureLookup(str(PLANS), lookup_key="customer"), tables, spine),
        ]
        random = np.random.default_rng(0)
        names = [out for lk in lookups for out in lk.columns.values()]
        made = {
            "calls": random.integers(0, 60, 500),
            "spent": random.random(500) * 30,
            "plan": random.choice(["gold", "tin"], 500),
        }
        frame = pl.DataFrame({n: made[n.removeprefix("my_")] for n in names})
        signal = pl.Series(made["calls"] + (made["plan"] == "gold") * 20.0)
        y = {"regression": signal, "binary": signal > 40, "multiclass": (signal / 30).cast(pl.Int64), "anomaly": None}
        model = Model(kind, task).fit(frame, y[task])
        metadata = ModelMetadata(
            task=task,
            features=tuple(names),
            feature_types=model.feature_types,
            lookups=tuple(lookups),
            label=None,
            classes=model.classes,
            threshold=model.threshold,
            pins={"spine": {"digest": "", "rows": 0, "schema": {}}, "lookups": [], "sources": {}},
            digest="",
        )
        return Predictor(LoadedModel(ModelName("shop_dev", "churn"), 3, "run7", model, metadata), store, lake)

    return make
