"""The HTTP face in one process: every call, every refusal, and nothing that is 500."""

from __future__ import annotations

import json
import os
import re
import shutil
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from karat.online import KeySpace, open_store
from serve.api.champions import Champions

from .conftest import CHURN, OTHER, TODAY, VALUE, Shop, until

PREDICT = "/v1/predict/shop.churn"


@pytest.fixture
def ready(shop: Shop, loaded, http: TestClient) -> TestClient:
    loaded({CHURN: 1, VALUE: 1})
    return http


def test_a_prediction_from_an_entity_alone(ready: TestClient, shop: Shop) -> None:
    calls = {c: n for c, d, n, _ in shop.rows.iter_rows() if d == TODAY - timedelta(days=1)}
    for customer in ("c0", "c1", "c2", "c3", "c4"):
        answer = ready.post(PREDICT, json={"entity_id": customer})
        assert answer.status_code == 200
        body = answer.json()
        assert body["predicted_class"] is (calls[customer] > 30)
        assert body["predicted_value"] == pytest.approx(float(calls[customer] > 30), abs=0.3)
        assert body["feature_statuses"] == {"calls": "PRESENT", "plan": "PRESENT"}
        assert {f["feature_name"] for f in body["top_features"]} == {"calls", "plan"}
        assert (body["model"], body["model_version"]) == ("shop.churn", 1)
        assert body["entity_id"] == customer
    basket = ready.post("/v1/predict/basket_value", json={"entity_id": "c0"}).json()
    parts = basket["explanation"]["base_value"] + basket["explanation"]["other_features"]
    total = parts + sum(f["contribution"] for f in basket["top_features"])
    assert total == pytest.approx(basket["predicted_value"], rel=1e-9)
    assert all(f["text"].startswith(f["feature_name"]) for f in basket["top_features"])


@pytest.mark.parametrize("prefix", ["", "/api/ml"])
def test_the_page_loads_nothing_from_elsewhere(ready: TestClient, prefix: str) -> None:
    page = ready.get(f"{prefix}/docs").text
    assets = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(assets) == 3
    for asset in assets:
        assert asset.startswith(prefix + "/"), asset
        assert ready.get(asset).status_code == 200


def test_spellings_of_a_model(ready: TestClient) -> None:
    for spelling in ("shop.churn", "churn", CHURN, "CHURN", "shop.CHURN", "churn_model", "Shop.Churn", "shop_churn"):
        assert ready.post(f"/v1/predict/{spelling}", json={"entity_id": "c0"}).json()["model"] == "shop.churn"
    body = {"entity_id": "c0", "entity_type": "USER", "prediction_type": "BASKET_VALUE", "features": None}
    for spelling in ("basket-value", "BASKET_VALUE", "shop.basket-value"):
        assert ready.post(f"/v1/predict/{spelling}", json=body).json()["model"] == "shop.basket_value"


def test_the_same_under_api_ml(ready: TestClient) -> None:
    assert ready.post(f"/api/ml{PREDICT}", json={"entity_id": "c0"}).status_code == 200
    assert ready.get("/api/ml/v1/models").json() == ready.get("/v1/models").json()
    assert ready.get("/api/ml/health").status_code == 200
    page = ready.get("/api/ml/docs")
    assert page.status_code == 200
    assert "/api/ml/openapi.json" in page.text
    described = ready.get("/api/ml/openapi.json").json()
    assert "/v1/predict/{model}" in described["paths"]
    assert ready.get("/docs").status_code == 200


def test_features_override_and_past_dates(ready: TestClient, shop: Shop) -> None:
    low = ready.post(PREDICT, json={"entity_id": "c0", "features": {"calls": 1}}).json()
    high = ready.post(PREDICT, json={"entity_id": "c0", "features": {"calls": 59}}).json()
    assert (low["predicted_class"], high["predicted_class"]) == (False, True)
    at = datetime.combine(TODAY - timedelta(days=2), time(12), UTC)
    past = ready.post(PREDICT, json={"entity_id": "c0", "as_of_date": at.isoformat()}).json()
    named = ready.post(PREDICT, json={"keys": {"customer": "c0", "day": str(TODAY - timedelta(days=2))}}).json()
    assert past["predicted_value"] == named["predicted_value"]
    midnight = ready.post(PREDICT, json={"entity_id": "c0", "as_of_date": f"{at.date()}T00:00:00Z"}).json()
    dated = ready.post(PREDICT, json={"entity_id": "c0", "as_of_date": str(at.date())}).json()
    for said in ("predicted_value", "feature_times"):
        assert dated[said] == midnight[said]
    assert past["feature_times"] == {"shop_dev.features.usage": f"{TODAY - timedelta(days=2)}T00:00:00+00:00"}


WRONG: list[tuple[Any, str | None]] = [
    ("{not json", None),
    ("", None),
    ("[]", ""),
    ('"c0"', ""),
    ("\x00", None),
    (b"\xff\xfe", None),
    ("[" * 100_000, ""),
    ('{"entity_id": ' + "9" * 5000 + "}", None),
    ({}, "entity_id"),
    ({"entity_id": True}, None),
    ({"entity_id": 1.5}, None),
    ({"entity_id": ["c0"]}, None),
    ({"entity": "c0"}, "entity"),
    ({"keys": "c0"}, "keys"),
    ({"keys": {"custom": "c0"}}, "keys.custom"),
    ({"keys": {"customer": {"a": 1}}}, "keys.customer"),
    ({"entity_id": "c0", "features": {"calls": "many"}}, "features.calls"),
    ({"entity_id": "c0", "features": {"call": 1}}, "features.call"),
    ('{"entity_id": "c0", "features": {"calls": NaN}}', "features.calls"),
    ('{"entity_id": "c0", "features": {"calls": 1e999}}', "features.calls"),
    ('{"entity_id": "\\ud800"}', None),
    ({"entity_id": "c0", "as_of_date": "yesterday"}, "as_of_date"),
    ({"entity_id": "c0", "as_of_date": "2026-01-01T00:00:00"}, "as_of_date"),
    ({"entity_id": "c0", "prediction_type": "FRAUD"}, "prediction_type"),
    ({"keys": {"customer": "c0", "day": "2026-13-01"}}, "keys.day"),
]


def test_wrong_input_is_422_with_field_and_reason(ready: TestClient) -> None:
    for body, where in WRONG:
        text = json.dumps(body) if isinstance(body, dict) else body
        answer = ready.post(PREDICT, content=text, headers={"content-type": "application/json"})
        assert answer.status_code == 422, (body, answer.text)
        told = answer.json()
        assert told["error"] == "InvalidRequest"
        assert told["what"]
        if where is not None:
            assert told["where"] == where, body


def test_a_body_that_is_not_said_to_be_json_is_told_how(ready: TestClient) -> None:
    answer = ready.post(PREDICT, content='{"entity_id": "c0"}', headers={"content-type": "text/plain"})
    assert answer.status_code == 422
    assert "content-type: application/json" in answer.json()["remedy"]


def test_unknown_models_and_entities_are_404(ready: TestClient) -> None:
    answer = ready.post("/v1/predict/shop.chrun", json={"entity_id": "c0"})
    assert answer.status_code == 404
    assert "shop.churn" in answer.json()["remedy"]
    assert ready.get("/v1/models/chrun/health").status_code == 404
    answer = ready.post(PREDICT, json={"entity_id": "nobody"})
    assert (answer.status_code, answer.json()["error"]) == (404, "EntityNotFound")
    assert ready.post(PREDICT, json={"entity_id": "nobody", "features": {"calls": 3}}).status_code == 200
    assert ready.post(PREDICT, json={"entity_id": "x" * 1000}).status_code == 404
    for answer, status, remedy in (
        (ready.get("/nowhere"), 404, "/v1/models"),
        (ready.get("/v1/modles"), 404, "Did you mean '/v1/models'"),
        (ready.get(PREDICT), 405, "POST"),
    ):
        told = answer.json()
        assert answer.status_code == status
        assert told.keys() == {"error", "what", "where", "remedy", "detail", "error_id"}
        assert told["what"]
        assert told["where"].startswith("GET /")
        assert remedy in told["remedy"]


def test_a_bare_name_of_two_projects_is_refused(ready: TestClient, shop: Shop, loaded) -> None:
    loaded({CHURN: 1, OTHER: 1})
    answer = ready.post("/v1/predict/churn", json={"entity_id": "c0"})
    assert answer.status_code == 404
    assert "farm.churn, shop.churn" in answer.json()["remedy"]
    assert ready.post("/v1/predict/farm.churn", json={"entity_id": "c0"}).json()["model"] == "farm.churn"


def test_stores_out_of_reach_are_503(ready: TestClient, shop: Shop) -> None:
    past = {"entity_id": "c0", "as_of_date": "2026-01-01T00:00:00Z"}
    shutil.move(shop.settings.lake, f"{shop.settings.lake}.gone")
    answer = ready.post(PREDICT, json=past)
    assert (answer.status_code, answer.json()["error"]) == (503, "FeatureLookupFailed")
    assert "usage" in answer.json()["what"]
    assert ready.post(PREDICT, json={"entity_id": "c0"}).status_code == 200
    open_store(shop.settings).drop(KeySpace("shop_dev.features.usage"))
    open_store(shop.settings).close()
    answer = ready.post(PREDICT, json={"entity_id": "c0"})
    assert (answer.status_code, answer.json()["error"]) == (503, "FeatureLookupFailed")
    assert "customer='c0'" in answer.json()["where"]


def test_the_unforeseen_is_503_with_an_id_and_tells_nothing(ready: TestClient, champions: Champions, caplog) -> None:
    served = champions.find("shop.churn")

    class Broken:
        def __getattr__(self, name):
            raise ZeroDivisionError("secret")

    served.predictor.model = Broken()
    answer = ready.post(PREDICT, json={"entity_id": "c0"})
    assert answer.status_code == 503
    assert answer.json()["error"] == "Unexpected"
    assert "secret" not in answer.text
    assert answer.json()["error_id"] in caplog.text
    assert ready.get("/v1/models/churn/health").json()["error_rate"] == 1.0


def test_models_and_their_health(ready: TestClient, shop: Shop) -> None:
    listed = {m["name"]: m for m in ready.get("/v1/models").json()["models"]}
    assert set(listed) == {"shop.churn", "shop.basket_value"}
    churn = listed["shop.churn"]
    assert (churn["version"], churn["loaded_version"], churn["status"]) == (1, 1, "ready")
    assert churn["metrics"]["accuracy"] == 0.9
    assert churn["keys"] == ["customer", "day"]
    assert churn["task"] == "binary"
    assert churn["run_id"]
    assert ready.get("/health").json() == {"status": "healthy", "ready": True, "models": 2, "loaded": 2, "failed": 0}
    before = ready.get("/v1/models/churn/health").json()
    assert (before["prediction_count"], before["avg_latency_ms"]) == (0, None)
    for _ in range(3):
        ready.post(PREDICT, json={"entity_id": "c0"})
    ready.post(PREDICT, json={"entity_id": "nobody"})
    after = ready.get("/v1/models/shop.churn/health").json()
    assert (after["prediction_count"], after["error_rate"]) == (3, 0.0)
    assert after["avg_latency_ms"] > 0
    assert after["last_prediction_at"].startswith(str(datetime.now(UTC).date()))


def test_before_there_is_any_model(http: TestClient, champions: Champions) -> None:
    assert http.get("/health").json() == {"status": "healthy", "ready": True, "models": 0, "loaded": 0, "failed": 0}
    answer = http.post("/v1/predict/churn", json={"entity_id": "c0"})
    assert answer.status_code == 404
    assert "karat run" in answer.json()["remedy"]


def test_a_champion_that_cannot_be_loaded_shows_why_and_the_others_answer(ready: TestClient, champions) -> None:
    champions.want({CHURN: 1, VALUE: 99})
    until(lambda: champions.describe()[0]["error"] is not None)
    value = next(m for m in champions.describe() if m["name"] == "shop.basket_value")
    assert (value["version"], value["loaded_version"], value["status"]) == (99, 1, "failed")
    assert "99" in value["error"]
    assert ready.post("/v1/predict/basket_value", json={"entity_id": "c0"}).json()["model_version"] == 1
    assert ready.post(PREDICT, json={"entity_id": "c0"}).status_code == 200
    assert ready.get("/health").json()["ready"] is False


def test_files_of_a_home_stay_where_they_are(ready: TestClient, shop: Shop) -> None:
    """A request writes nothing."""
    before = sorted(os.path.join(d, f) for d, _, files in os.walk(shop.settings.home) for f in files)
    ready.post(PREDICT, json={"entity_id": "c0"})
    assert before == sorted(os.path.join(d, f) for d, _, files in os.walk(shop.settings.home) for f in files)


def test_every_example_of_the_page_is_answered(ready: TestClient, loaded) -> None:
    loaded({CHURN: 1, VALUE: 1, OTHER: 1})
    described = ready.get("/openapi.json").json()
    predicted = described["paths"]["/v1/predict/{model}"]["post"]
    (named,) = (p["examples"] for p in predicted["parameters"] if p["name"] == "model")
    bodies = predicted["requestBody"]["content"]["application/json"]["examples"]
    assert named.keys() == bodies.keys() == {"shop.churn", "shop.basket_value", "farm.churn"}
    for model, example in bodies.items():
        answer = ready.post(f"/v1/predict/{named[model]['value']}", json=example["value"])
        assert (answer.status_code, answer.json()["model"]) == (200, model), answer.text
        assert ready.get(f"/v1/models/{named[model]['value']}/health").status_code == 200
    asked = described["paths"]["/v1/features"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    for example in asked.values():
        assert ready.post("/v1/features", json=example["value"]).status_code == 200
    schemas = described["components"]["schemas"]
    assert not [name for name, schema in schemas.items() if "examples" in schema]
    for path, calls in described["paths"].items():
        if "get" in calls and "{" not in path:
            assert ready.get(path).status_code == 200


def test_a_page_without_models_has_general_examples(http: TestClient) -> None:
    described = http.get("/openapi.json").json()
    assert described["components"]["schemas"]["PredictBody"]["examples"]
    assert "examples" not in described["paths"]["/v1/features"]["post"]["requestBody"]["content"]["application/json"]
