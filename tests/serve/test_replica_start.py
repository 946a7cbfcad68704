"""How a replica starts: from copies of its models, without MLflow, and it answers once they are loaded."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient

from karat.names import ModelName
from karat.registry import open_registry
from karat.registry.staging import keep_staged, load_staged, stage_version
from karat.settings import Settings
from serve.api import loaded_model
from serve.api.app import Api, make_app
from serve.api.champions import Champions

from .conftest import CHURN, VALUE, Shop, until

PREDICT = "/v1/predict/shop.churn"
NAME = ModelName.parse(CHURN)


def test_a_version_is_loaded_from_its_copy_without_mlflow(shop: Shop, loaded, http: TestClient) -> None:
    loaded({CHURN: 1, VALUE: 1})
    asked = [http.post(PREDICT, json={"entity_id": f"c{i}"}).json()["predicted_value"] for i in range(5)]
    described = http.get("/v1/models").json()["models"]
    shutil.rmtree(shop.settings.home / "mlflow")
    again = Champions(shop.settings)
    again.want({CHURN: 1, VALUE: 1})
    assert again.settle(30)
    replica = TestClient(make_app(again))
    assert replica.get("/health").json()["ready"] is True
    assert asked == [replica.post(PREDICT, json={"entity_id": f"c{i}"}).json()["predicted_value"] for i in range(5)]
    assert [m | {"loaded_at": ""} for m in replica.get("/v1/models").json()["models"]] == [
        m | {"loaded_at": ""} for m in described
    ]
    again.want({})


def test_what_a_replica_loads_imports_no_mlflow(shop: Shop, loaded) -> None:
    """Of a model of XGBoost; MLflow alone is 2 s and 100 MB."""
    loaded({CHURN: 1})
    program = (
        "import json, sys\n"
        "from karat.names import ModelName\n"
        "from karat.settings import Settings\n"
        "from serve.api.loaded_model import load\n"
        f"load(Settings(), ModelName.parse({CHURN!r}), 1).answer("
        "{'entity_id': 'c0', 'keys': {}, 'features': {}, 'as_of_date': None, 'explain': True, 'entity_type': None})\n"
        "print(json.dumps([m for m in ('mlflow', 'skops', 'karat.lifecycle') if m in sys.modules]))\n"
    )
    told = run_plain(program, shop.settings)
    assert told == []


def run_plain(program: str, settings: Settings) -> list[str]:
    """In a process of its own, which has imported nothing."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | settings.as_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_copies_hold_no_spine_and_many_may_write_one(shop: Shop, tmp_path: Path) -> None:
    registry, root = open_registry(shop.settings), tmp_path / "models"
    version = registry.version(NAME, 1)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: stage_version(registry, version, root), range(8)))
    assert [folder.name for folder in root.iterdir()] == [f"{CHURN}@1"]
    assert not list(root.rglob("*.parquet"))
    found = load_staged(root, NAME, 1)
    assert found is not None
    assert found[0] == version
    assert load_staged(root, NAME, 2) is None
    (root / f"{CHURN}@1" / "version.json").write_text("{")
    assert load_staged(root, NAME, 1) is None  # a broken copy counts as none: the registry has the model
    (root / f"{CHURN}@1.77.new").mkdir()
    (root / f"{CHURN}@12").mkdir()
    keep_staged(root, [(NAME, 1)])
    assert sorted(folder.name for folder in root.iterdir()) == [f"{CHURN}@1", f"{CHURN}@1.77.new"]
    keep_staged(root, [])
    assert list(root.iterdir()) == []


def test_a_request_for_a_model_that_is_being_loaded_waits_and_is_answered(
    shop: Shop, champions: Champions, http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    champions.want({})
    until(lambda: hasattr(champions, "_load"))
    go_on, load = threading.Event(), loaded_model.load

    def slowly(*what):
        go_on.wait()
        return load(*what)

    monkeypatch.setattr(champions, "_load", slowly)
    champions.want({CHURN: 1})
    assert champions.settle(0.05) is False
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(http.post, PREDICT, json={"entity_id": "c0"})
        assert http.get("/health").json() == {
            "status": "healthy",
            "ready": False,
            "models": 1,
            "loaded": 0,
            "failed": 0,
        }
        go_on.set()
        assert asked.result().status_code == 200


def test_a_replica_is_ready_when_every_champion_is_loaded_or_has_failed(shop: Shop) -> None:
    """Serve awaits ``reconfigure`` before it sends a new replica requests."""
    api = SimpleNamespace(champions=Champions(shop.settings))
    asyncio.run(Api.func_or_class.reconfigure(api, {"champions": {CHURN: 1, VALUE: 99}}))  # type: ignore[attr-defined]
    states = {m["name"]: m["status"] for m in api.champions.describe()}
    assert states == {"shop.churn": "ready", "shop.basket_value": "failed"}
    assert TestClient(make_app(api.champions)).get("/health").json()["failed"] == 1
    api.champions.want({})
