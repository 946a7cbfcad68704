"""Two registered models on a published table, without any server: what a replica would load."""

from __future__ import annotations

import asyncio
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import uvicorn
from starlette.testclient import TestClient

from karat.client import FeatureEngineeringClient
from karat.kinds import Model
from karat.online import open_store
from karat.settings import Settings
from karat.training_sets.lookups import FeatureLookup
from serve.api.app import make_app
from serve.api.champions import Champions

CUSTOMERS = 60
TODAY = datetime.now(UTC).date()
CHURN, VALUE, OTHER = "shop_dev.models.churn", "shop_dev.models.basket_value", "farm_dev.models.churn"


def rows() -> pl.DataFrame:
    """Of each customer a row for each of the last three days; the label is in ``calls``."""
    random = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "customer": [f"c{c}" for c in range(CUSTOMERS) for _ in range(3)],
            "day": [TODAY - timedelta(days=d) for _ in range(CUSTOMERS) for d in (1, 2, 3)],
            "calls": random.integers(0, 60, CUSTOMERS * 3),
            "plan": random.choice(["gold", "tin"], CUSTOMERS * 3),
        }
    )


class Shop:
    """Tables of two projects in one home; registered are two versions of ``CHURN`` (xgboost, then
    logistic_regression), one of ``VALUE`` (gradient_boosting) and one of ``OTHER``."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.rows = settings, rows()

    def client(self, catalog: str) -> FeatureEngineeringClient:
        return FeatureEngineeringClient(catalog, self.settings)

    def make(self) -> None:
        for catalog in ("shop_dev", "farm_dev"):
            client = self.client(catalog)
            client.create_table("usage", ["customer", "day"], self.rows, timeseries_columns="day")
            client.publish_table("usage")
        for name, kind in ((CHURN, "xgboost"), (CHURN, "logistic_regression"), (OTHER, "xgboost")):
            self._register(name, kind, "binary", self.rows["calls"] > 30)
        self._register(VALUE, "gradient_boosting", "regression", self.rows["calls"] * 2.0)

    def _register(self, name: str, kind: str, task: str, label: pl.Series) -> None:
        client = self.client(name.partition(".")[0])
        spine = self.rows.select("customer", "day").with_columns(label=label)
        lookup = FeatureLookup("usage", lookup_key=["customer", "day"])
        training = client.create_training_set(spine, [lookup], "label", exclude_columns=["customer", "day"])
        frame = training.load_df()
        model = Model(kind, task).fit(frame.drop("label"), frame["label"])
        client.log_model(model, training_set=training, registered_model_name=name, metrics={"accuracy": 0.9})


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Path:
    """The home is made once: each test has a copy of it, whose models lie where they were made."""
    home = tmp_path_factory.mktemp("shop") / "home"
    settings = Settings(home=home)
    (home / "mlflow").mkdir(parents=True)
    shutil.copy(empty_database, home / "mlflow" / "mlflow.db")
    Shop(settings).make()
    open_store(settings).close()
    return home


@pytest.fixture
def shop(settings: Settings, made: Path) -> Iterator[Shop]:
    shutil.copytree(made, settings.home)
    yield Shop(settings)
    open_store(settings).close()


@pytest.fixture
def champions(settings: Settings) -> Iterator[Champions]:
    made = Champions(settings)
    yield made
    made.want({})  # its thread tries nothing any more


@pytest.fixture
def http(champions: Champions) -> TestClient:
    return TestClient(make_app(champions))


@pytest.fixture
def replica_port(champions: Champions) -> Iterator[int]:
    """The application behind a uvicorn of its own, as a replica has it."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)
    server = uvicorn.Server(uvicorn.Config(make_app(champions), log_level="critical"))
    thread = threading.Thread(target=asyncio.run, args=(server.serve(sockets=[listening]),))
    thread.start()
    until(lambda: server.started)
    yield listening.getsockname()[1]
    server.should_exit = server.force_exit = True
    thread.join()
    listening.close()


@pytest.fixture
def loaded(champions: Champions) -> Callable[[dict[str, int]], None]:
    """Wants these versions, and waits until they are there."""

    def wait(wanted: dict[str, int]) -> None:
        champions.want(wanted)
        until(lambda: all(m["loaded_version"] == m["version"] for m in champions.describe()))

    return wait


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.02)
