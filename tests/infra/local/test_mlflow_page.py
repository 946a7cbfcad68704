"""MLflow's page gets the choices of a training platform; every other answer passes unchanged."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from infra.local.mlflow_page import CHOICES, TrainingPage

PAGE = files("mlflow").joinpath("server/js/build/index.html").read_text()


@pytest.fixture(scope="module")
def client() -> TestClient:
    """A server with MLflow's own page, one of its own answers beside it."""
    tagged = {"etag": '"a"', "last-modified": "Tue, 01 Dec 2026 00:00:00 GMT"}

    def page(request: object) -> Response:
        unchanged = "if-none-match" in request.headers  # type: ignore[attr-defined]
        return Response(status_code=304) if unchanged else HTMLResponse(PAGE, headers=tagged)

    routes = [Route("/", page), Route("/other", page), Route("/api", lambda request: JSONResponse({"head": "<head>"}))]
    return TestClient(TrainingPage(Starlette(routes=routes)))


def test_the_page_sets_each_choice_before_its_own_script_runs(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.text.index(json.dumps(CHOICES)) < answer.text.index("main.")
    assert answer.text.startswith(PAGE.partition("<head>")[0] + "<head><script>")
    assert answer.text.endswith(PAGE.partition("<head>")[2])
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_a_page_that_the_browser_has_kept_is_sent_again(client: TestClient) -> None:
    answer = client.get("/", headers={"if-none-match": '"a"'})
    assert answer.status_code == 200
    assert "etag" not in answer.headers
    assert "last-modified" not in answer.headers
    assert client.get("/other", headers={"if-none-match": '"a"'}).status_code == 304


def test_other_answers_pass_unchanged(client: TestClient) -> None:
    assert client.get("/other").text == PAGE
    assert client.get("/api").json() == {"head": "<head>"}


def test_mlflow_still_reads_the_keys_under_these_names() -> None:
    """The names are of MLflow's own page: a new version of MLflow may change them."""
    folder = files("mlflow").joinpath("server/js/build/static/js")
    keys = {f'key:"{name.removesuffix("_v1")}",version:1' for name in CHOICES}
    scripts = [script.read_text() for script in folder.iterdir() if script.name.endswith(".js")]
    assert {key for key in keys if any(key in script for script in scripts)} == keys
