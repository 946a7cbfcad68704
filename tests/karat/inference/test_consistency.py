"""What was served against what the offline store says: none differ until somebody makes them differ."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from karat.client import FeatureEngineeringClient
from karat.declare.models import Gates
from karat.errors import NoDataToCompare, WrongCall
from karat.inference.prediction_log import PredictionLog
from karat.inference.predictor import Predictor
from karat.inference.request import PredictionRequest
from karat.kinds import Model
from karat.lake import Lake
from karat.lifecycle.consistency_gate import inconsistent_features, latest_consistency
from karat.names import ModelName, ModelRef
from karat.online import OnlineStore
from karat.registry import Registry
from karat.settings import PredictionLogSettings, Settings
from karat.training_sets.lookups import FeatureLookup

from .conftest import CUSTOMERS, PLANS, USAGE, ago

NAME = ModelName("shop_dev", "churn")


@pytest.fixture
def client(settings: Settings, registry: Registry, tables: Lake) -> FeatureEngineeringClient:
    """A model registered on both tables: usage exactly, by customer and day, and plans by customer."""
    client = FeatureEngineeringClient("shop_dev", settings)
    spine = pl.DataFrame({"customer": [f"c{c}" for c in range(40)], "day": [ago(1)] * 40})
    spine = spine.with_columns(label=pl.Series(np.arange(40) > 20))
    lookups = [
        FeatureLookup(str(USAGE), lookup_key=["customer", "day"]),
        FeatureLookup(str(PLANS), lookup_key="customer"),
    ]
    training = client.create_training_set(spine, lookups, "label", exclude_columns=["customer", "day"])
    frame = training.load_df()
    model = Model("logistic_regression", "binary").fit(frame.drop("label"), frame["label"])
    client.log_model(model, training_set=training, registered_model_name="churn")
    return client


@pytest.fixture
def served(client: FeatureEngineeringClient, store: OnlineStore) -> tuple[Predictor, PredictionLog]:
    log = PredictionLog(client.lake, PredictionLogSettings(seconds=3600))
    loaded = client.registry.load(client.registry.resolve(ModelRef.parse("models:/churn/1", catalog="shop_dev")))
    return Predictor(loaded, store, client.lake, log=log), log


def shares(client: FeatureEngineeringClient, share: float = 1.0, **more: object) -> dict[str, float]:
    found = client.check_consistency("churn", share, **more)  # type: ignore[arg-type]
    return dict(found.features.select("feature", "share").iter_rows())


def test_what_is_served_is_what_the_offline_store_says(client, served) -> None:
    predictor, log = served
    with pytest.raises(NoDataToCompare):
        client.check_consistency("churn")
    for c in range(CUSTOMERS):
        predictor.predict(PredictionRequest(keys={"customer": f"c{c}"}))
    predictor.predict(PredictionRequest(keys={"customer": "c1", "day": str(ago(3))}))
    past = datetime.now(UTC) - timedelta(days=1)  # the plans have no time, and no version of then
    predictor.predict(PredictionRequest(keys={"customer": "c1"}, as_of_date=past, features={"plan": "tin"}))
    predictor.predict(PredictionRequest(keys={"customer": "c1"}, features={"calls": 999}))
    log.flush()
    found = client.check_consistency("churn", 1.0)
    assert found.rows == CUSTOMERS + 3
    assert found.worst == 0
    assert dict(found.features.select("feature", "rows").iter_rows()) == {
        "calls": CUSTOMERS + 2,  # what the request brought is nobody's to compare
        "spent": CUSTOMERS + 3,
        "plan": CUSTOMERS + 2,
    }


def test_values_served_otherwise_are_counted_and_shown(client, served) -> None:
    predictor, log = served
    for c in range(20):
        predictor.predict(PredictionRequest(keys={"customer": f"c{c}"}))
    log.flush()
    changed = pl.DataFrame({"customer": ["c3", "c4"], "day": [ago(1)] * 2, "calls": [3, 0], "spent": [1.5, 2.0]})
    client.write_table("usage", changed.with_columns(calls=pl.Series([1003, 5])))
    found = client.check_consistency("churn", 1.0)
    assert dict(found.features.select("feature", "share").iter_rows()) == {"calls": 0.05, "plan": 0, "spent": 0}
    (example,) = found.examples
    assert (example.keys, example.feature) == ({"customer": "c3"}, "calls")
    assert (example.online, example.offline) == ((4, "PRESENT"), (1003, "PRESENT"))
    assert shares(client, since=datetime.now(UTC) - timedelta(hours=1)) == {"calls": 0.05, "plan": 0, "spent": 0}
    assert latest_consistency(client.lake, NAME)["share"].to_list() == [0.05, 0, 0]


def test_a_sample_is_of_keys_and_always_the_same(client, served) -> None:
    predictor, log = served
    for c in range(CUSTOMERS):
        predictor.predict(PredictionRequest(keys={"customer": f"c{c}"}))
    log.flush()
    first, second = (client.check_consistency("churn", 0.3).rows for _ in range(2))
    assert first == second
    assert 5 < first < 30
    for wrong in (0, 1.5):
        with pytest.raises(WrongCall):
            client.check_consistency("churn", wrong)


def test_a_promotion_can_demand_it(client, served, shop) -> None:
    predictor, log = served
    spec = shop.models["leaver"]
    strict = spec.model_copy(update={"gates": Gates(consistency=0.01)})
    assert inconsistent_features(client.lake, NAME, strict) == [], "nothing was compared yet"
    predictor.predict(PredictionRequest(keys={"customer": "c3"}))
    log.flush()
    client.check_consistency("churn", 1.0)
    assert inconsistent_features(client.lake, NAME, strict) == []
    client.write_table(
        "usage",
        pl.DataFrame({"customer": ["c3"], "day": [ago(1)], "calls": [77], "spent": [None]}).cast({"spent": float}),
    )
    client.check_consistency("churn", 1.0)
    told = inconsistent_features(client.lake, NAME, strict)
    assert [line.partition(" ")[0] for line in told] == ["calls", "spent"]
    assert "100.00% of 1 predictions (limit 1.00%)" in told[0]
    assert inconsistent_features(client.lake, NAME, spec) == [], "no limit is declared"
