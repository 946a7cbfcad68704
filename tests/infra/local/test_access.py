"""What the guard lets through, and what it refuses before the application sees it."""

from __future__ import annotations

import base64
from importlib import import_module

import hypothesis
import pytest
from fastapi.routing import APIRoute
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from infra.local.access import WHAT_RUNS, AccessGuard, allowed_hosts
from karat.credentials import Login
from karat.settings import Settings
from tests.profiles import examples

LOGIN = Login("karat", "s3cret:with-a-colon")
#: Requests that the application has seen.
seen: list[str] = []


def basic(text: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(text.encode()).decode()}


async def answer(request) -> PlainTextResponse:
    seen.append(request.url.path)
    return PlainTextResponse("let in")


async def talk(socket: WebSocket) -> None:
    seen.append("socket")
    await socket.accept()
    await socket.close()


@pytest.fixture
def client() -> TestClient:
    seen.clear()
    app = Starlette(
        routes=[Route("/{path:path}", answer, methods=["GET", "POST", "OPTIONS"]), WebSocketRoute("/socket", talk)]
    )
    guarded = AccessGuard(app, ("127.0.0.1", "localhost", "::1"), LOGIN)
    return TestClient(guarded, base_url="http://127.0.0.1:5000", headers=basic(LOGIN.text))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:5000"}, 200),
        ({"host": "[::1]:5000"}, 200),
        ({"host": "LOCALHOST"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example:5000"}, 403),
        ({"host": "127.0.0.1@evil.example"}, 403),
        ({"host": ""}, 403),
        ({"host": "["}, 403),
        ({"origin": "http://127.0.0.1:5000"}, 200),
        ({"origin": "https://127.0.0.1:5000"}, 200),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}, 200),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 200),
        ({"authorization": ""}, 401),
        (basic("karat:"), 401),
        (basic(LOGIN.text + "x"), 401),
        ({"authorization": "Basic %%%"}, 401),
        ({"authorization": "Bearer " + LOGIN.password}, 401),
        ({"authorization": "Basic \xff"}, 401),
    ],
)
def test_what_is_refused_never_reaches_the_application(client: TestClient, headers: dict[str, str], status: int):
    sent = {name: value.encode("latin-1") for name, value in headers.items()}
    for method in ("GET", "POST"):
        seen.clear()
        assert client.request(method, "/api/2.0/x", headers=sent).status_code == status
        assert seen == (["/api/2.0/x"] if status == 200 else [])


def test_a_browser_is_asked_for_the_login_and_a_probe_is_not(client: TestClient):
    refused = client.get("/", headers={"authorization": ""})
    assert refused.headers["www-authenticate"] == 'Basic realm="karat"'
    assert LOGIN.password not in refused.text
    assert client.get("/health", headers={"authorization": ""}).status_code == 200
    for near in ("/health/", "/Health", "/x/health", "/health/../api"):
        assert client.get(near, headers={"authorization": ""}).status_code == 401


@pytest.mark.parametrize(
    "headers", [{"host": "evil.example"}, {"origin": "http://evil.example"}, {"authorization": ""}]
)
def test_a_socket_is_refused_before_it_opens(client: TestClient, headers: dict[str, str]):
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("ws://127.0.0.1:5000/socket", headers=headers):
        pass
    assert seen == []
    with client.websocket_connect("ws://127.0.0.1:5000/socket"):
        pass
    assert seen == ["socket"]


@hypothesis.settings(max_examples=examples(40), deadline=None)
@given(st.binary(max_size=40))
def test_no_other_text_passes_for_the_login(given: bytes):
    app = Starlette(routes=[Route("/", answer)])
    client = TestClient(AccessGuard(app, (), LOGIN))
    for sent in (b"Basic " + given, b"Basic " + base64.b64encode(given), given):
        assert client.get("/", headers={"authorization": sent}).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "reserved"),
    [
        ("POST", "/api/deployments/", True),
        ("POST", "/api/deployments", True),
        ("POST", "//api///deployments//", True),
        ("PATCH", "/api/deployments/1f", True),
        ("DELETE", "/api/work_pools/karat", True),
        ("PATCH", "/api/work_pools/karat", True),
        ("POST", "/api/work_pools/", True),
        ("POST", "/api/deployments/filter", False),
        ("POST", "/api/deployments/1f/create_flow_run", False),
        ("PATCH", "/api/deployments/1f/schedules/2", False),
        ("POST", "/api/work_pools/karat/get_scheduled_flow_runs", False),
        ("POST", "/api/work_pools/karat/workers/heartbeat", False),
        ("GET", "/api/deployments/1f", False),
        ("PATCH", "/api/flow_runs/1f", False),
    ],
)
def test_the_registrar_alone_says_what_runs(method: str, path: str, reserved: bool):
    app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST", "PATCH", "DELETE"])])
    client = TestClient(AccessGuard(app, (), registrar="r3gistrar"))
    assert client.request(method, f"http://testserver{path}").status_code == (403 if reserved else 200)
    for token, status in (("r3gistrar", 200), ("other", 403 if reserved else 200)):
        headers = {"x-karat-registrar": token}
        assert client.request(method, f"http://testserver{path}", headers=headers).status_code == status


def test_no_other_call_of_prefect_s_takes_what_runs():
    """A new version of Prefect's might bring one."""
    says = {"entrypoint", "pull_steps", "base_job_template", "path", "command"}
    found = set()
    routers = import_module("prefect.server.api.server").API_ROUTERS  # two seconds that no other test's worker needs
    for route in (route for router in routers for route in router.routes if isinstance(route, APIRoute)):
        for field in route.dependant.body_params:
            if says & set(getattr(field.field_info.annotation, "model_fields", {})):
                found |= {f"{method} /api{route.path}" for method in route.methods}
    assert len(found) == 4
    assert [call for call in found if not WHAT_RUNS.fullmatch(call)] == []


def test_the_names_of_a_server(settings: Settings):
    assert set(allowed_hosts(settings)) == {"127.0.0.1", "localhost", "::1"}
    named = settings.model_copy(update={"host": "10.0.0.5", "allowed_hosts": "ml.example.com, karat"})
    assert {"10.0.0.5", "ml.example.com", "karat"} < set(allowed_hosts(named))
    assert allowed_hosts(settings.model_copy(update={"host": "0.0.0.0"})) == ()
