"""Offline work of the client, run by test_wheel.py in an environment without the extras; prints what it got as JSON."""

from __future__ import annotations

import json
import sys
from datetime import date
from importlib.util import find_spec

absent = [name for name in sys.argv[1:] if find_spec(name)]
assert not absent, f"the environment has {absent}"

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402

import karat  # noqa: E402
from karat import FeatureEngineeringClient, FeatureLookup  # noqa: E402
from karat.errors import MissingExtra  # noqa: E402
from karat.kinds import load_kind  # noqa: E402
from karat.online import load_backend  # noqa: E402


def refused(call: object, *arguments: str) -> str:
    try:
        call(*arguments)  # type: ignore[operator]
    except MissingExtra as error:
        return str(error)
    raise AssertionError(f"{arguments} needed no extra")


def fit_lstm() -> None:
    values = np.arange(40.0).reshape(10, 4, 1)
    load_kind("lstm")("regression").fit(values, values[:, -1, 0], names=["x"], categorical=[False])


fe = FeatureEngineeringClient(catalog="shop_dev")
spend = pl.DataFrame(
    {
        "customer": ["a", "b"] * 3,
        "day": [date(2026, 1, 1 + i) for i in range(6)],
        "spend": [1.0, 5.0, 2.0, 6.0, 1.5, 5.5],
    }
)
fe.create_table("spend", ["customer", "day"], spend.clear(), timeseries_columns="day", description="Spend by day")
fe.write_table("spend", spend)
fe.publish_table("spend")
spine = spend.select("customer", "day", late=(pl.col("customer") == "b").cast(pl.Int64))
lookup = FeatureLookup(table_name="spend", feature_names=["spend"], lookup_key=["customer", "day"])
training_set = fe.create_training_set(spine, [lookup], label="late", exclude_columns=["customer", "day"])
frame = training_set.load_df()
model = LogisticRegression().fit(frame.select("spend").to_numpy(), frame["late"].to_numpy())
version = fe.log_model(model, training_set=training_set, registered_model_name="late")
scored = fe.score_batch(f"models:/shop_dev.models.late/{version.version}", spine.select("customer", "day"))

print(
    json.dumps(
        {
            "home": karat.__file__,
            "features": frame["spend"].to_list()[:2],
            "predictions": scored["prediction"].is_not_null().sum(),
            "lstm": refused(fit_lstm),
            "xgboost": refused(load_kind, "xgboost"),
            "redis": refused(load_backend, "redis"),
            "report": refused(__import__, "karat.monitoring.distribution_plots"),
        }
    )
)
