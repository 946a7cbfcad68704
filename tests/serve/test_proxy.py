"""HAProxy as Ray Serve configures it, with what Karat adds, in front of the application: no Ray needed."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions

from infra.local.environment import platform_environment
from infra.local.haproxy import haproxy_program, write_haproxy_program
from karat.settings import Settings
from tests.services import free_port

from .conftest import until
from .test_limits import FIELDS, PREDICT, answer_of, connect

HEADER_SECONDS, BODY_BYTES = 1, 1 << 20


@pytest.fixture
def settings(settings: Settings) -> Settings:
    limits = {"header_seconds": HEADER_SECONDS, "answer_seconds": 2.0, "body_bytes": BODY_BYTES, "connections": 400}
    settings.http = settings.http.model_copy(update=limits)
    return settings


@pytest.fixture
def proxy(settings: Settings, replica_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """HAProxy in front of one replica; gives its port."""
    with haproxy(settings, [replica_port], tmp_path_factory.mktemp("h")) as port:
        yield port


@contextmanager
def haproxy(settings: Settings, replicas: Sequence[int], folder: Path) -> Iterator[int]:
    """HAProxy with the configuration of a platform with replicas at these ports; gives its own."""
    port = free_port()
    (settings.home / "serve").mkdir(parents=True, exist_ok=True)
    write_haproxy_program(settings, folder)
    variables = platform_environment(settings)
    serve = HAProxyApi(
        HAProxyConfig(
            socket_path=str(folder / "a.sock"),
            server_state_base=str(folder),
            server_state_file=str(folder / "state"),
            metrics_port=free_port(),
            stats_port=free_port(),
            metrics_enabled=False,
            nbthread=1,
            maxconn=int(variables["RAY_SERVE_HAPROXY_MAXCONN"]),
            timeout_client_s=int(variables["RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S"]),
            timeout_server_s=int(variables["RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S"]),
            retry_on=variables["RAY_SERVE_HAPROXY_RETRY_ON"],
            retries=int(variables["RAY_SERVE_HAPROXY_RETRIES"]),
            http_options=HTTPOptions(host="127.0.0.1", port=port, keep_alive_timeout_s=settings.http.idle_seconds),
        ),
        {
            "app": BackendConfig(
                name="app",
                path_prefix="/",
                app_name="karat",
                servers=[ServerConfig(f"r{i}", "127.0.0.1", replica) for i, replica in enumerate(replicas)],
                http_health_check_path="/health",
            )
        },
        str(folder / "haproxy.cfg"),
    )
    serve._generate_config_file_internal()
    command = [str(haproxy_program(settings)), "-db", "-f", str(folder / "haproxy.cfg")]
    process = subprocess.Popen(command, stderr=(folder / "errors").open("w"))
    try:
        until(lambda: process.poll() is not None or listens(port))
        assert process.poll() is None, (folder / "errors").read_text()
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def dying_port() -> Iterator[int]:
    """A replica that is sound by its health, and goes away in the midst of each prediction."""

    class Dying(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def do_POST(self) -> None:
            self.server.asked += 1  # type: ignore[attr-defined]
            self.close_connection = True

        def log_message(self, *said: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Dying) as server:
        server.asked = 0  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()
        assert server.asked > 0  # type: ignore[attr-defined]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_slow_and_idle_callers_are_let_go_of_and_hold_no_replica(proxy: int, settings: Settings) -> None:
    url = f"http://127.0.0.1:{proxy}/health"
    with ExitStack() as open_ones:
        began = time.monotonic()
        bodies = [open_ones.enter_context(connect(proxy, "Content-Length: 100", b"{")) for _ in range(150)]
        headers = [open_ones.enter_context(socket.create_connection(("127.0.0.1", proxy))) for _ in range(150)]
        for connection in headers:
            connection.sendall(b"POST / HTTP/1.1\r\nHost:")
        answer = httpx.get(url, trust_env=False)
        assert answer.status_code == 200, answer.text
        status, told = answer_of(bodies[-1])
        assert (status, told["error"], told.keys()) == (408, "BodyTimedOut", FIELDS)
        headers[-1].settimeout(20)
        assert headers[-1].recv(1 << 10).split()[1] == b"408"  # HAProxy's own page
        assert time.monotonic() - began < 20 * HEADER_SECONDS
    answer = httpx.get(url, trust_env=False)
    assert answer.status_code == 200, answer.text


def test_what_haproxy_refuses_itself_has_the_one_error_body(proxy: int) -> None:
    with connect(proxy, f"Content-Length: {BODY_BYTES + 1}") as connection:
        status, told = answer_of(connection)
    assert (status, told["error"], told.keys()) == (413, "BodyTooLong", FIELDS)
    with connect(proxy, f"X-Long: {'x' * 15_900}\r\nContent-Length: 0") as connection:
        assert connection.recv(1 << 10).split()[1] == b"400"


def test_a_chunked_body_is_read_up_to_the_limit(proxy: int) -> None:
    piece = b"%x\r\n" % (1 << 16) + b"x" * (1 << 16) + b"\r\n"
    with connect(proxy, "Transfer-Encoding: chunked") as connection:
        connection.sendall(piece * 8)
        time.sleep(0.1)
        connection.sendall(piece * 9)
        status, told = answer_of(connection)
    assert (status, told["error"]) == (413, "BodyTooLong")


def test_large_bodies_within_the_limit_pass(proxy: int) -> None:
    body = json.dumps({"entity_id": "c0", "keys": {f"k{i}": "x" * 900 for i in range(500)}})
    said = {"content-type": "application/json"}
    answer = httpx.post(f"http://127.0.0.1:{proxy}{PREDICT}", content=body, headers=said, trust_env=False)
    assert answer.status_code == 404, answer.text
    assert answer.json()["error"] == "UnknownModel"


def test_the_script_changes_a_configuration_once(settings: Settings, tmp_path: Path) -> None:
    """Ray runs it for every reload, and a reload need not write the file anew."""
    (settings.home / "serve").mkdir(parents=True)
    write_haproxy_program(settings, tmp_path)
    config = tmp_path / "haproxy.cfg"
    config.write_text("defaults\n    mode http\nfrontend http_frontend\n    bind 127.0.0.1:1\n    # rest\n")
    texts = []
    for _ in range(2):
        subprocess.run([str(haproxy_program(settings)), "-c", "-f", str(config)], check=False, capture_output=True)
        texts.append(config.read_text())
    assert texts[0] == texts[1]
    assert texts[0].count("wait-for-body") == texts[0].count("deny_status 413") == 1
    assert texts[0].index("bind") < texts[0].index("deny_status") < texts[0].index("# rest")


def test_a_request_whose_replica_dies_is_answered_by_the_other(
    settings: Settings, replica_port: int, dying_port: int, tmp_path: Path
) -> None:
    with haproxy(settings, [dying_port, replica_port], tmp_path) as port:
        for _ in range(10):
            answer = httpx.post(f"http://127.0.0.1:{port}{PREDICT}", json={"entity_id": "c0"}, trust_env=False)
            assert answer.status_code == 404, answer.text
            assert answer.json()["error"] == "UnknownModel"
