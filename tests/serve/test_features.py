"""POST /v1/features: values and statuses in order, and every refusal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from karat.online import KeySpace, open_store

from .conftest import TODAY, Shop

ASKED = ["usage:plan", "usage:calls"]
IN_SHOP = {"features": ASKED, "project": "shop"}


def newest(shop: Shop, days: int = 1) -> dict[str, list[Any]]:
    return {c: [plan, n] for c, d, n, plan in shop.rows.iter_rows() if d == TODAY - timedelta(days=days)}


@pytest.mark.parametrize("prefix", ["", "/api/ml"])
def test_values_and_statuses_in_order(shop: Shop, http: TestClient, prefix: str) -> None:
    entities = [{"customer": "c1"}, {"customer": "nobody"}, {"customer": "c0"}]
    answer = http.post(f"{prefix}/v1/features", json=IN_SHOP | {"entities": entities})
    assert answer.status_code == 200, answer.text
    body, rows = answer.json(), newest(shop)
    assert (body["features"], body["names"]) == (ASKED, ["plan", "calls"])
    assert [r["values"] for r in body["results"]] == [rows["c1"], [None, None], rows["c0"]]
    assert [r["statuses"][0] for r in body["results"]] == ["PRESENT", "NOT_FOUND", "PRESENT"]
    assert [r["keys"] for r in body["results"]] == entities
    assert body["results"][0]["times"][0].startswith(str(TODAY - timedelta(days=1)))


def test_a_past_date_and_a_thousand_rows(shop: Shop, http: TestClient) -> None:
    at = datetime.combine(TODAY - timedelta(days=2), datetime.min.time(), UTC)
    body = IN_SHOP | {"entity_rows": [{"customer": "c3"}], "as_of_date": at.isoformat()}
    assert http.post("/v1/features", json=body).json()["results"][0]["values"] == newest(shop, 2)["c3"]
    many = IN_SHOP | {"entities": [{"customer": f"c{i % 60}"} for i in range(1000)]}
    answer = http.post("/v1/features", json=many)
    assert [r["values"] for r in answer.json()["results"]] == [newest(shop)[f"c{i % 60}"] for i in range(1000)]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"features": ["usage"]}, "features"),
        ({"features": ["usge:calls"]}, "features"),
        ({"features": ["usage:cals"]}, "features"),
        ({"features": ["usage:calls"], "project": None}, "features"),
        ({"features": []}, "features"),
        ({"entities": []}, "entities"),
        ({"entities": [{"customer": "c1"}] * 1001}, "entities"),
        ({"entities": [{"customer": "c1"}, {"customer": 1.5}]}, "entities.1.customer"),
        ({"entities": [{"client": "c1"}]}, "entities.0"),
        ({"as_of_date": "2026-01-01T00:00:00"}, "as_of_date"),
        ({"feature": 1}, "feature"),
    ],
)
def test_a_wrong_field_is_422_and_named(shop: Shop, http: TestClient, body: dict[str, Any], field: str) -> None:
    answer = http.post("/v1/features", json=IN_SHOP | {"entities": [{"customer": "c1"}]} | body)
    assert (answer.status_code, answer.json()["where"]) == (422, field), answer.text
    assert answer.json()["detail"][0]["msg"]


def test_unknown_entities_are_404_and_a_table_not_online_503(shop: Shop, http: TestClient) -> None:
    unknown = IN_SHOP | {"entities": [{"customer": "nobody"}, {"customer": None}]}
    assert http.post("/v1/features", json=unknown).status_code == 404
    open_store(shop.settings).drop(KeySpace("shop_dev.features.usage"))
    answer = http.post("/v1/features", json=IN_SHOP | {"entities": [{"customer": "c1"}]})
    assert (answer.status_code, answer.json()["error"]) == (503, "StoreUnreachable")


def test_the_page_shows_an_example(http: TestClient) -> None:
    told = http.get("/openapi.json").json()
    assert "/v1/features" in told["paths"]
    assert told["components"]["schemas"]["FeaturesBody"]["examples"][0]["features"]
