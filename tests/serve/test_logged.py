"""What was answered over HTTP is in the log of predictions."""

from __future__ import annotations

import json

from starlette.testclient import TestClient

from karat.lake import Lake
from karat.names import prediction_log_name
from serve.api.champions import Champions

from .conftest import CHURN, OTHER, VALUE, Shop


def test_predictions_of_all_projects_are_logged_when_the_replica_ends(
    shop: Shop, loaded, champions: Champions, http: TestClient
) -> None:
    loaded({CHURN: 1, VALUE: 1, OTHER: 1})
    ids = {}
    for model in ("shop.churn", "shop.basket_value", "farm.churn"):
        ids[model] = http.post(f"/v1/predict/{model}", json={"entity_id": "c1"}).json()["prediction_id"]
    assert http.post("/v1/predict/shop.churn", json={"entity_id": "nobody"}).status_code == 404
    champions.close()
    lake = Lake(shop.settings.lake, shop.settings.environment)
    rows = lake.read(prediction_log_name("shop_dev")).sort("model_name")
    assert rows["prediction_id"].to_list() == [ids["shop.basket_value"], ids["shop.churn"]]
    assert lake.read(prediction_log_name("farm_dev"))["prediction_id"].to_list() == [ids["farm.churn"]]
    assert set(json.loads(rows["features"][1])) == {"calls", "plan"}
    assert rows["latency_ms"].min() > 0
