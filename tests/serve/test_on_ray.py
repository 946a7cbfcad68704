"""The application on a real Ray: deployed, given champions, changed under load, killed."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import httpx
import psutil
import pytest

from infra.serve_application import is_settled, proxied_replicas
from infra.serving import load_champions, read_champions
from karat.errors import ModelNotFound
from karat.names import CHAMPION, ModelName
from karat.online import open_store, publish_table
from karat.registry import open_registry
from karat.settings import Settings
from tests.waiting import wait_until

from .conftest import CHURN, OTHER, VALUE, Shop

pytestmark = pytest.mark.platform


@pytest.fixture(scope="module")
def shop_on_ray(platform: Settings) -> Shop:
    shop = Shop(platform)
    shop.make()
    return shop


@pytest.fixture
def http(platform: Settings) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=platform.serve_url, timeout=90, trust_env=False) as client:
        yield client


def ours(champions: dict[str, int]) -> dict[str, int]:
    """Without those that other tests have left on the platform that all share."""
    return {name: version for name, version in champions.items() if name in (CHURN, VALUE, OTHER)}


def versions(http: httpx.Client) -> dict[str, int]:
    return ours({m["registered_name"]: m["loaded_version"] for m in http.get("/v1/models").json()["models"]})


def test_champions_answer_from_keys_alone(shop_on_ray: Shop, http: httpx.Client) -> None:
    load_champions(shop_on_ray.settings, {"shop.churn": 1, VALUE: 1})
    load_champions(shop_on_ray.settings, {"farm.churn": 1})
    assert versions(http) == {CHURN: 1, VALUE: 1, OTHER: 1}
    assert ours(read_champions(shop_on_ray.settings)) == {CHURN: 1, VALUE: 1, OTHER: 1}
    answer = http.post("/api/ml/v1/predict/shop.churn", json={"entity_id": "c1"})
    assert answer.status_code == 200
    assert answer.json()["feature_statuses"] == {"calls": "PRESENT", "plan": "PRESENT"}
    assert http.post("/v1/predict/shop.churn", content="{").status_code == 422
    assert http.post("/v1/predict/shop.churn", json={"entity_id": "nobody"}).status_code == 404


def test_a_model_of_the_project_without_champion_is_taken_out(shop_on_ray: Shop, http: httpx.Client) -> None:
    registry = open_registry(shop_on_ray.settings)
    for name in (CHURN, OTHER):
        registry.set_alias(registry.version(ModelName.parse(name), 1), CHAMPION, "for the test")
    load_champions(shop_on_ray.settings, {CHURN: 1, VALUE: 1, OTHER: 1})
    load_champions(shop_on_ray.settings, {CHURN: 1})
    assert versions(http) == {CHURN: 1, OTHER: 1}


def test_a_champion_that_is_to_answer_no_longer_is_taken_out(shop_on_ray: Shop, http: httpx.Client) -> None:
    """As after `online: false`: it is the champion still."""
    load_champions(shop_on_ray.settings, {CHURN: 1})
    load_champions(shop_on_ray.settings, {}, without=[CHURN])
    assert CHURN not in versions(http)
    load_champions(shop_on_ray.settings, {CHURN: 1})


def test_a_version_that_does_not_exist_is_named_and_the_old_one_answers(shop_on_ray: Shop, http: httpx.Client) -> None:
    load_champions(shop_on_ray.settings, {CHURN: 1})
    with pytest.raises(ModelNotFound, match="99"):
        load_champions(shop_on_ray.settings, {CHURN: 99}, timeout=5)
    assert http.post("/v1/predict/shop.churn", json={"entity_id": "c1"}).json()["model_version"] == 1
    load_champions(shop_on_ray.settings, {CHURN: 1})


def test_a_swap_and_a_publication_lose_no_request(shop_on_ray: Shop, http: httpx.Client) -> None:
    """The store is written by this process while the replica, another one, reads it."""
    load_champions(shop_on_ray.settings, {CHURN: 1})
    seen: list[tuple[int, int]] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answer = http.post("/v1/predict/shop.churn", json={"entity_id": "c1"})
            seen.append((answer.status_code, answer.json().get("model_version")))

    asking = threading.Thread(target=ask)
    asking.start()
    client = shop_on_ray.client("shop_dev")
    for calls in (1, 59):
        client.write_table("usage", shop_on_ray.rows.with_columns(calls=calls))
        publish_table(client.lake, open_store(shop_on_ray.settings), client._table("usage"))
    load_champions(shop_on_ray.settings, {CHURN: 2})
    stop.set()
    asking.join()
    assert {status for status, _ in seen} == {200}
    assert {v for _, v in seen} <= {1, 2}
    for _ in range(10):  # of whichever replica
        answer = http.post("/v1/predict/shop.churn", json={"entity_id": "c1"}).json()
        assert (answer["model_version"], answer["predicted_class"]) == (2, True)


def test_a_killed_replica_is_not_missed_and_comes_back_with_its_champions(
    shop_on_ray: Shop, http: httpx.Client
) -> None:
    load_champions(shop_on_ray.settings, {CHURN: 1})
    before = replicas(shop_on_ray.settings)
    assert len(before) == shop_on_ray.settings.serve_replicas == 2
    for _ in range(10):  # both have connections of the proxy
        http.post("/v1/predict/shop.churn", json={"entity_id": "c1"})
    before[0].kill()
    for _ in range(100):
        answer = ask(http)
        assert answer.status_code == 200, answer.text
    wait_until(lambda: len(replicas(shop_on_ray.settings)) == 2 and is_settled(shop_on_ray.settings), seconds=120)
    # The new one is known to HAProxy by now: the other may die at once.
    assert proxied_replicas(shop_on_ray.settings) == 2
    next(replica for replica in before[1:] if replica.is_running()).kill()
    for _ in range(50):
        answer = ask(http)
        assert answer.status_code == 200, answer.text
        assert answer.json()["model_version"] == 1
    wait_until(lambda: is_settled(shop_on_ray.settings), seconds=120)


def ask(http: httpx.Client) -> httpx.Response:
    """A prediction. HAProxy may close a connection that was kept when its replicas change: then on a new one."""
    try:
        return http.post("/v1/predict/shop.churn", json={"entity_id": "c1"})
    except httpx.RemoteProtocolError:
        return http.post("/v1/predict/shop.churn", json={"entity_id": "c1"})


def replicas(settings: Settings) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["name", "cmdline"]):
        try:
            title = " ".join(process.cmdline())
            if "ServeReplica:karat:Api" in title and process.environ().get("KARAT_HOME") == str(settings.home):
                found.append(process)
        except psutil.Error:
            continue
    return found
