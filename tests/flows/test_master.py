"""The whole road on the shop, on the running platform."""

from __future__ import annotations

import json
from typing import Any

import httpx
import polars as pl
import pytest

from infra.local.probes import call_prefect
from infra.prefect_api import Prefect, Run
from karat.credentials import mlflow_login
from karat.monitoring import read_drift
from karat.names import prediction_log_name
from karat.registry import Registry
from karat.training.fit_distributor import FITS
from tests.shop import Shop
from tests.waiting import wait_until

pytestmark = pytest.mark.platform


def artifacts(shop: Shop, run: Run) -> dict[str, Any]:
    """key -> data, of the run itself."""
    body = {"artifacts": {"flow_run_id": {"any_": [run.id]}}}
    found = call_prefect(shop.settings, "/artifacts/filter", body)
    return {a["key"]: a["data"] for a in found}


def ask(shop: Shop, model: str) -> dict[str, Any]:
    """The answer to a prediction for a customer."""
    url = f"{shop.settings.serve_url}/v1/predict/{shop.name}.{model}"
    answer = httpx.post(url, json={"keys": {"customer_id": "c001"}}, trust_env=False)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_a_failing_model_leaves_the_others_and_the_second_run_changes_nothing(shop: Shop):
    """One of the others is fitted by two workers of Ray Train."""
    declared = (shop.folder / "models" / "next_week.yaml").read_text().replace("linear_regression", "xgboost")
    (shop.folder / "models" / "together.yaml").write_text(declared + "distributed: {backend: ray_train, workers: 2}\n")
    ended = shop.run("master_orchestrator")
    assert ended["error"] == "PartlyFailed"
    assert "1 of 4 failed" in ended["text"]
    assert "doomed: TooFewRows" in ended["text"]

    run = shop.last_run()
    assert (run.state_type, run.name) == ("FAILED", f"master-{shop.name}")
    assert "doomed" in run.message
    registry = Registry(shop.settings.mlflow_url)
    champion = registry.champion(shop.project.model_name("next_week"))
    assert champion is not None
    assert champion.version == 1
    assert champion.tags["karat.origin"] == "sample"
    assert registry.versions(shop.project.model_name("doomed")) == []
    # Too few rows stay too few: the step is not tried again.
    assert [p.name for p in shop.settings.home.glob(f"jobs/{run.id}-train-*")] == [f"{run.id}-train-1"]

    scored = shop.lake.read(shop.project.prediction_name("next_week"))
    assert set(scored["model_version"]) == {1}
    assert set(scored["run_id"]) == {champion.run_id}
    together = registry.champion(shop.project.model_name("together"))
    assert together is not None
    with registry.files(together) as folder:
        assert {p.name for p in folder.iterdir()} >= {"estimator.ubj", "kind.json", "model.json"}
    assert not list((shop.lake.root / FITS).iterdir()), "its rows and checkpoints are removed"

    answers = [ask(shop, model) for model in ("next_week", "together")]
    assert [answer["model_version"] for answer in answers] == [1, 1]

    shown = {r["model"]: r for r in json.loads(artifacts(shop, run)[f"{shop.name}-models".replace("_", "-")])}
    assert shown["next_week"]["champion"] == 1
    assert shown["next_week"]["value"] < shown["next_week"]["baseline"]
    assert "TooFewRows" in shown["doomed"]["why"]
    details = {r["model"]: r for r in json.loads(artifacts(shop, run)[f"{shop.name}-models-details".replace("_", "-")])}
    assert champion.run_id in details["next_week"]["mlflow"]

    told = read_drift(shop.lake, shop.project.catalog)
    assert set(told["model_name"]) == {str(shop.project.model_name(m)) for m in ("next_week", "together")}
    assert set(told["check_name"]) >= {"dataset"}  # and what else is due today
    assert told["statistic"].null_count() == 0
    (watch,) = [c for c in Prefect(shop.settings).children(run.id) if c.name.startswith("monitoring")]
    reports = json.loads(artifacts(shop, watch)[f"{shop.name}-reports".replace("_", "-")])
    assert {r["check"] for r in reports} == set(told["check_name"])
    (report, *_) = told.filter(pl.col("model_name") == str(shop.project.model_name("next_week")))["report"]
    page = f"{shop.settings.mlflow_url}/get-artifact?run_uuid={champion.run_id}&path={report}"
    assert "next_week version 1" in httpx.get(page, auth=mlflow_login(shop.settings), trust_env=False).text

    log = prediction_log_name(shop.project.catalog)
    wait_until(lambda: shop.lake.exists(log) and shop.lake.count(log) == 2, seconds=30)  # it is created, then filled
    assert set(shop.lake.read(log)["prediction_id"]) == {answer["prediction_id"] for answer in answers}

    before = shop.versions()
    again = shop.run("master_orchestrator", models=["next_week"])
    assert again == {"outcomes": {"spend": "kept", "next_week": "kept"}}
    assert shop.versions() == before
    assert len(registry.versions(shop.project.model_name("next_week"))) == 1
    assert shop.last_run().state_type == "COMPLETED"


def test_an_unknown_model_fails_the_run_before_anything_starts(shop: Shop):
    ended = shop.run("master_orchestrator", models=["next_wek"])
    assert ended["error"] == "UnknownModel"
    assert "Did you mean 'next_week'?" in ended["text"]
    assert shop.versions() == {}


@pytest.mark.faults
def test_inference_refuses_a_model_without_champion_and_training_makes_one(shop: Shop):
    assert shop.run("feature_pipeline", sample=True) == {"outcomes": {"spend": "done"}}
    ended = shop.run("inference_pipeline", models=["next_week"])
    assert ended["error"] == "PartlyFailed"
    assert "next_week: " in ended["text"]
    assert not shop.lake.exists(shop.project.prediction_name("next_week"))

    # The training pipeline by itself makes it champion, and has it served.
    assert shop.run("training_pipeline", models=["next_week"]) == {"outcomes": {"next_week": "done"}}
    assert ask(shop, "next_week")["model_version"] == 1
