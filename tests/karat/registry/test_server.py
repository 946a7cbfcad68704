"""Through a real MLflow server, and beside it: both see the same."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow.data
import polars as pl
import pytest
from mlflow import MlflowClient

from karat.declare import Project
from karat.errors import PlatformError, ServiceDown, StoreError
from karat.inference import score_batch
from karat.lake import Lake
from karat.lifecycle import make_candidate, promote
from karat.lifecycle.model_context import ModelContext
from karat.names import ModelName
from karat.registry import Registry, open_registry
from karat.registry.connection import is_healthy
from karat.settings import Settings
from tests import warm

LEAVER = ModelName("shop_dev", "leaver")


@pytest.fixture
def served(settings: Settings, registry: Registry) -> Iterator[warm.Popen]:
    """The server of the local platform on the settings' home and port, without a login."""
    where = {"home": settings.home, "host": settings.host, "mlflow_port": settings.mlflow_port, "auth": "off"}
    with warm.Popen(
        [sys.executable, "-m", "infra.local.servers", "mlflow"],
        env=os.environ | {f"KARAT_{name}".upper(): str(value) for name, value in where.items()},
        stdout=warm.DEVNULL,
        stderr=warm.DEVNULL,
    ) as process:
        end = time.monotonic() + 120
        while not is_healthy(settings.mlflow_url):
            assert process.poll() is None
            assert time.monotonic() < end, "the server did not come up"
            time.sleep(0.2)
        yield process
        process.kill()


def test_registered_through_the_server_and_read_without_it(  # noqa: PLR0917
    shop_features: Project,
    lake: Lake,
    settings: Settings,
    served: warm.Popen,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # Whatever has been done to the environment since the first import.
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    spec = shop_features.models["leaver"]
    remote = open_registry(settings)
    assert remote.tracking_uri == settings.mlflow_url
    made = make_candidate(ModelContext(shop_features, spec, lake, remote))
    assert promote(ModelContext(shop_features, spec, lake, remote)).promoted
    keys = pl.DataFrame({"customer": ["c001", "c002"]})
    through = score_batch(lake, remote, str(LEAVER), keys)
    assert remote.spine(made.version).height == 600
    assert "Downloading artifacts" not in capfd.readouterr().err
    # any other MLflow client finds the model, its plots and its link to the version
    client = MlflowClient(settings.mlflow_url)
    assert client.get_model_version_by_alias(str(LEAVER), "champion").run_id == made.version.run_id
    assert {f.path for f in client.list_artifacts(made.version.run_id, "plots")}
    folder = client.download_artifacts(made.version.run_id, "plots", str(tmp_path))
    assert any(Path(folder).iterdir())
    # MLflow's own verbs open the training set's rows
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.mlflow_url)
    spine, *_ = client.get_run(made.version.run_id).inputs.dataset_inputs
    assert pl.read_parquet(mlflow.data.get_source(spine.dataset).load()).height == 600
    # pages that are written later, of which the newest stay
    for day in ("2026-11-19", "2026-11-20", "2026-11-21", "2026-11-21"):
        remote.attach(made.version, f"monitoring/{day}-dataset.html", f"of {day}", keep=2)
    pages = [f.path for f in client.list_artifacts(made.version.run_id, "monitoring")]
    assert sorted(pages) == [f"monitoring/2026-11-2{n}-dataset.html" for n in (0, 1)]
    # another process, without the server
    served.kill()
    served.wait(30)
    local = open_registry(settings)
    assert local.tracking_uri.startswith("sqlite:")
    assert local.champion(LEAVER).version == 1
    beside = score_batch(lake, local, str(LEAVER), keys)
    assert beside["probability"].to_list() == through["probability"].to_list()
    # and what is made without it is a version like the others
    second = make_candidate(ModelContext(shop_features, spec.model_copy(update={"seed": 1}), lake, local))
    assert second.version.version == 2
    began = time.monotonic()
    with pytest.raises((ServiceDown, StoreError)):
        remote.champion(LEAVER)
    with pytest.raises(PlatformError, match="karat up"):
        make_candidate(ModelContext(shop_features, spec, lake, Registry(settings.mlflow_url)))
    assert time.monotonic() - began < 60


def test_registered_without_the_server_and_read_through_it(
    shop_champions: Project, settings: Settings, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("served")
    remote = open_registry(settings)
    assert remote.tracking_uri == settings.mlflow_url
    loaded = remote.load(str(LEAVER))
    assert (loaded.version, loaded.features) == (1, ["age", "city"])
    client = MlflowClient(settings.mlflow_url)
    place = client.get_model_version_download_uri(str(LEAVER), "1")
    assert place.startswith("mlflow-artifacts:")
    env = {**os.environ, "MLFLOW_TRACKING_URI": settings.mlflow_url}
    program = f"import mlflow; m = mlflow.pyfunc.load_model('models:/{LEAVER}@champion'); print(m.metadata.signature)"
    done = warm.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=300)
    assert "probability" in done.stdout, done.stderr
