"""Champions change while requests go on: every answer is of one version, and none is lost."""

from __future__ import annotations

import threading

from starlette.testclient import TestClient

from karat.online import open_store, publish_table
from serve.api.champions import Champions

from .conftest import CHURN, VALUE, Shop, until

PREDICT = "/v1/predict/shop.churn"


def test_a_new_version_is_swapped_in_under_load(shop: Shop, http: TestClient, champions: Champions, loaded) -> None:
    first, second = 1, 2
    loaded({CHURN: first})
    versions: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answer = http.post(PREDICT, json={"entity_id": "c1"})
            assert answer.status_code == 200
            versions.append(answer.json()["model_version"])

    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: len(versions) > 5)
    champions.want({CHURN: second})
    until(lambda: bool(versions) and versions[-1] == second)
    stop.set()
    asking.join()
    assert sorted(versions) == versions
    assert set(versions) == {first, second}


def test_a_model_that_is_no_champion_any_more_is_gone_at_once(shop: Shop, http: TestClient, champions, loaded) -> None:
    loaded({CHURN: 1, VALUE: 1})
    champions.want({VALUE: 1})
    assert http.post(PREDICT, json={"entity_id": "c1"}).status_code == 404
    assert http.post("/v1/predict/basket_value", json={"entity_id": "c1"}).status_code == 200


def test_answers_go_on_while_a_table_is_published(shop: Shop, http: TestClient, loaded) -> None:
    loaded({CHURN: 1})
    client = shop.client("shop_dev")
    store, name = open_store(shop.settings), client._table("usage")
    values = {}
    for calls in (1, 59, 1, 59):
        rows = shop.rows.with_columns(calls=calls)
        client.lake.merge(name, rows)
        publishing = threading.Thread(target=publish_table, args=(client.lake, store, name))
        publishing.start()
        while publishing.is_alive():
            answer = http.post(PREDICT, json={"entity_id": "c7"})
            assert answer.status_code == 200
        publishing.join()
        values[calls] = http.post(PREDICT, json={"entity_id": "c7"}).json()["predicted_class"]
    assert values == {1: False, 59: True}
