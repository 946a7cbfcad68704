"""Hostile requests against a real server: none stops it, none is 500, none is told more than a line."""

from __future__ import annotations

import json
import resource
import socket
from collections.abc import Callable
from contextlib import ExitStack
from itertools import product
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from karat.clock import FIRST_YEAR, LAST_YEAR
from karat.errors import LINE
from karat.settings import Settings
from tests.profiles import examples

from .conftest import CHURN, Shop, until

PREDICT = "/v1/predict/shop.churn"
FIELDS = {"error", "what", "where", "remedy", "detail", "error_id"}
BODY_BYTES, REQUESTS, BODY_SECONDS = 1 << 20, 4, 1.0


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Small limits, so that an attack is small, too."""
    limits = {"body_bytes": BODY_BYTES, "held_bytes": 4 << 20, "requests": REQUESTS, "answer_seconds": 1.0}
    settings.http = settings.http.model_copy(update=limits | {"body_seconds": BODY_SECONDS})
    return settings


@pytest.fixture
def ready(shop: Shop, loaded: Callable[[dict[str, int]], None], http: TestClient) -> TestClient:
    loaded({CHURN: 1})
    return http


def connect(port: int, head: str, body: bytes = b"") -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=20)
    made.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{head}\r\n\r\n".encode())
    if body:
        made.sendall(body)
    return made


def answer_of(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    """Status and error body; the server ends the connection."""
    told = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    head, _, body = told.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def test_a_body_without_a_length_is_read_up_to_the_limit(replica_port: int) -> None:
    piece = b"%x\r\n" % (1 << 16) + b"x" * (1 << 16) + b"\r\n"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with connect(replica_port, "Transfer-Encoding: chunked") as connection:
        try:
            for _ in range(3200):  # 200 MB
                connection.sendall(piece)
        except OSError:  # the server has answered and closed
            pass
        else:
            pytest.fail("the server has read all of it")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    with connect(replica_port, "Transfer-Encoding: chunked", piece * 17) as connection:
        status, told = answer_of(connection)
    assert (status, told["error"], told.keys()) == (413, "BodyTooLong", FIELDS)
    with connect(replica_port, f"Content-Length: {BODY_BYTES + 1}") as connection:
        assert answer_of(connection)[0] == 413


def test_unfinished_bodies_do_not_keep_others_out(replica_port: int) -> None:
    with ExitStack() as open_ones:
        for _ in range(300):
            waiting = open_ones.enter_context(connect(replica_port, "Content-Length: 100", b"{"))
        assert httpx.get(f"http://127.0.0.1:{replica_port}/health", trust_env=False).status_code == 200
        status, told = answer_of(waiting)
    assert (status, told["error"], told.keys()) == (408, "BodyTimedOut", FIELDS)


def test_many_large_bodies_are_refused_before_memory_is_full(replica_port: int) -> None:
    with ExitStack() as open_ones:
        held = [
            open_ones.enter_context(connect(replica_port, "Content-Length: 1000000", b"x" * 900_000)) for _ in range(6)
        ]
        answers = [answer_of(connection) for connection in held]
    assert {status for status, _ in answers} == {408, 503}
    busy = next(told for status, told in answers if status == 503)
    assert (busy["error"], busy.keys()) == ("ServiceBusy", FIELDS)


def test_a_caller_who_does_not_read_loses_the_connection(
    shop: Shop, loaded: Callable[..., None], replica_port: int
) -> None:
    entities = [{"customer": f"c{i % 60}"} for i in range(1000)]
    body = json.dumps({"features": ["usage:plan"] * 150, "project": "shop", "entities": entities}).encode()
    with ExitStack() as open_ones:
        for _ in range(REQUESTS):
            slow = open_ones.enter_context(socket.socket())
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect(("127.0.0.1", replica_port))
            head = f"POST /v1/features HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
            slow.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
        until(lambda: health(replica_port) == 503)
        until(lambda: health(replica_port) == 200)


def health(port: int) -> int:
    return httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code


EDGES = ("0001-01-01", "9999-12-31", "1699-12-31", "2262-01-01")
ZONES = ("Z", "+14:00", "-14:00", "+23:59", "-23:59")


def test_the_edges_of_the_calendar_are_422(ready: TestClient) -> None:
    for day in (*EDGES, "10000-01-01", "-0001-01-01", "-1-01-01", "0000-01-01"):
        check_day(ready, day)


def check_day(ready: TestClient, day: str) -> None:
    given_features = {"calls": 1, "plan": "gold"}
    for zone in ZONES:
        at = f"{day}T00:00:00{zone}"
        for body in ({"entity_id": "c0"}, {"entity_id": "c0", "features": given_features}):
            answer = ready.post(PREDICT, json=body | {"as_of_date": at})
            assert (answer.status_code, answer.json()["where"]) == (422, "as_of_date"), answer.text
        asked = {"features": ["usage:calls"], "project": "shop", "entities": [{"customer": "c0"}]}
        answer = ready.post("/v1/features", json=asked | {"as_of_date": at})
        assert (answer.status_code, answer.json()["where"]) == (422, "as_of_date"), answer.text
    answer = ready.post(PREDICT, json={"keys": {"customer": "c0", "day": day}})
    assert (answer.status_code, answer.json()["where"]) == (422, "keys.day"), answer.text
    answer = ready.post("/v1/features", json=asked | {"entities": [{"customer": "c0", "day": day}]})
    assert (answer.status_code, answer.json()["where"]) == (422, "entities.0.day"), answer.text


def test_a_time_within_the_calendar_is_looked_up(ready: TestClient) -> None:
    for year, zone in product((FIRST_YEAR, LAST_YEAR), ZONES):
        body = {"entity_id": "c0", "as_of_date": f"{year}-12-31T23:59:59.999999{zone}"}
        assert ready.post(PREDICT, json=body).status_code in (200, 404)


LONG = "n" * 300
HOSTILE: list[tuple[str, Any, int, str]] = [
    (PREDICT, {"entity_id": "x" * 1001}, 422, "entity_id"),
    (PREDICT, {"keys": {"customer": "x" * 1001}}, 422, "keys.customer"),
    (PREDICT, {"keys": {LONG: "c0"}}, 422, "keys"),
    (PREDICT, {"keys": {"a\nb": "c0"}}, 422, "keys"),
    (PREDICT, {"entity_id": "c0", "features": {"plan": "x" * 10_001}}, 422, "features.plan"),
    (PREDICT, {"entity_id": "c0", "features": {"calls": "x" * 9_000}}, 422, "features.calls"),
    (PREDICT, {"entity_id": "c0", "features": {"calls": [[1] * 5000] * 50}}, 422, "features.calls"),
    (PREDICT, {"entity_id": "c0", "features": {"calls": 10**400}}, 422, "features.calls"),
    (PREDICT, {"entity_id": 10**40}, 404, ""),
    (PREDICT, {f"f{i}\n" * 50: i for i in range(500)}, 422, ""),
    (PREDICT, {"entity_id": "c0", "entity_type": LONG}, 422, "entity_type"),
    (PREDICT, b'{"entity_id": "c0", "entity_id": "c1"}', 422, "entity_id"),
    (PREDICT, b'{"entity_id": "c0", "features": {"calls": 1, "calls": 2}}', 422, "calls"),
    (PREDICT, b'{"entity_id": "c0", "explain": NaN}', 422, "explain"),
    (PREDICT, b'{"keys": {"customer": -Infinity}}', 422, "keys.customer"),
    (PREDICT, b'{"\\ud800": 1}', 422, ""),
    (PREDICT, b'{"keys": {"\\udfff\\n": 1}}', 422, ""),
    (PREDICT, b'{"entity_id": "\xff"}', 422, ""),
    (PREDICT, b'{"entity_id": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", 422, ""),
    (f"/v1/predict/{LONG * 5}", {"entity_id": "c0"}, 404, ""),
    ("/v1/predict/a%0Ab%00%ff", {"entity_id": "c0"}, 404, ""),
    ("/v1/features", {"features": [f"{LONG}:calls"], "project": "shop", "entities": [{"customer": "c0"}]}, 422, ""),
    ("/v1/features", {"features": [f"usage:{LONG}"], "project": "shop", "entities": [{"customer": "c0"}]}, 422, ""),
    ("/v1/features", {"features": ["usage:calls"], "project": LONG, "entities": [{"customer": "c0"}]}, 422, "project"),
    ("/v1/features", {"features": ["usage\n:calls"], "project": "shop", "entities": [{"customer": "c0"}]}, 422, ""),
]


def test_hostile_bodies_are_refused_in_one_line(ready: TestClient) -> None:
    for path, body, status, where in HOSTILE:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = ready.post(path, content=content, headers={"content-type": "application/json"})
        check_told(answer, status, where)


def check_told(answer: httpx.Response, status: int, where: str = "") -> None:
    assert answer.status_code == status, answer.text[:1000]
    told = answer.json()
    assert told.keys() == FIELDS
    assert where in told["where"]
    assert len(answer.content) < 20_000
    for text in (told["what"], told["where"], told["remedy"], *(d["msg"] for d in told["detail"])):
        assert len(text) <= LINE + 50
        assert text.isprintable()


def test_other_content_types_are_422(ready: TestClient) -> None:
    for kind in ("text/plain", "application/xml", "multipart/form-data; boundary=x", "x" * 500, ""):
        check_told(ready.post(PREDICT, content=b'{"entity_id": "c0"}', headers={"content-type": kind}), 422)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates().map(str) | st.datetimes().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(
    ["entity_id", "keys", "features", "as_of_date", "explain", "entity_type", "entities", "project"]
)
INNER = st.sampled_from(["customer", "day", "calls", "plan", "usage:calls"])


@hypothesis_settings(
    max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(NAMES, JSON | st.dictionaries(INNER, JSON, max_size=3), max_size=4), st.booleans())
def test_whatever_json_is_sent_the_answer_is_typed(ready: TestClient, body: dict[str, Any], features: bool) -> None:
    base = {"features": ["usage:calls"], "project": "shop", "entities": [{"customer": "c0"}]} if features else {}
    path = "/v1/features" if features else PREDICT
    answer = ready.post(path, content=json.dumps(base | body), headers={"content-type": "application/json"})
    assert answer.status_code in (200, 404, 422), (body, answer.text)
    if answer.status_code != 200:
        check_told(answer, answer.status_code)
