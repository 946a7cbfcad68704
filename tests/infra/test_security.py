"""Attacks on the running platform by somebody on this machine without a login, and by a web page of another origin.

docs/security.md has the same table of ports.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest
from mlflow import MlflowClient
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from infra.code import ROOT
from infra.deployments import register_deployments
from infra.local.access import REGISTRAR_HEADER
from infra.local.environment import token_file
from infra.local.ports import RAY_BLOCK, claims, ray_port
from infra.local.probes import call_prefect
from infra.local.processes import ours
from infra.prefect_api import Prefect
from infra.work_pool import job_template
from karat.credentials import mlflow_login, prefect_login, registrar_token
from karat.settings import Settings
from tests.waiting import wait_until

pytestmark = pytest.mark.platform
EVIL = "http://evil.example"
DEPLOYMENT = ("feature-pipeline", "health_monitor")


@pytest.fixture(scope="module")
def stranger() -> Iterator[httpx.Client]:
    """Somebody who can reach the ports and has no login."""
    with httpx.Client(trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def member(platform: Settings) -> Iterator[httpx.Client]:
    """Somebody with the login for Prefect."""
    with httpx.Client(trust_env=False, timeout=30, auth=prefect_login(platform)) as client:
        yield client


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A file that only a command of the attacker's makes, and that command."""
    file = tmp_path / "planted"
    yield file, f"touch {file}"
    assert not file.exists(), "the attacker's command ran"


def deployment(member: httpx.Client, platform: Settings) -> str:
    return str(member.get(f"{platform.prefect_api_url}/deployments/name/{'/'.join(DEPLOYMENT)}").json()["id"])


def runs_named(platform: Settings, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call_prefect(platform, "/flow_runs/filter", {"flow_runs": {"name": {"any_": [name]}}})
    return found


# ---- Prefect


def test_a_stranger_starts_nothing_at_prefect(
    platform: Settings, stranger: httpx.Client, member: httpx.Client, planted: tuple[Path, str]
):
    where = f"{platform.prefect_api_url}/deployments/{deployment(member, platform)}"
    body = {"name": "by-a-stranger", "job_variables": {"command": planted[1]}, "state": {"type": "SCHEDULED"}}
    for login in (None, ("karat", ""), ("karat", "wrong"), ("", "")):
        assert stranger.post(f"{where}/create_flow_run", json=body, auth=login).status_code == 401
        change = stranger.patch(where, json={"job_variables": {"command": planted[1]}}, auth=login)
        assert change.status_code == stranger.delete(where, auth=login).status_code == 403  # nor does a member
    assert runs_named(platform, "by-a-stranger") == []
    for path in (
        "flow_runs/filter",
        "deployments/filter",
        "block_documents/filter",
        "variables/filter",
        "admin/settings",
    ):
        assert stranger.post(f"{platform.prefect_api_url}/{path}", json={}).status_code == 401
        assert stranger.get(f"{platform.prefect_api_url}/{path}").status_code == 401


@pytest.mark.parametrize("variables", ["command", "env", "env.PATH", "working_dir", "image", "name", "labels"])
def test_a_run_brings_no_command_environment_or_folder(
    platform: Settings, member: httpx.Client, planted: tuple[Path, str], variables: str
):
    """Nor does somebody with a login: what runs is the deployment's own."""
    value = {"command": planted[1], "env": {"PYTHONPATH": "/tmp"}, "labels": {"a": "b"}}.get(variables, "/tmp")
    where = f"{platform.prefect_api_url}/deployments/{deployment(member, platform)}"
    body = {"name": f"with-{variables}", "job_variables": {variables: value}, "state": {"type": "SCHEDULED"}}
    refused = member.post(f"{where}/create_flow_run", json=body)
    assert refused.status_code in (409, 422), refused.text
    assert runs_named(platform, f"with-{variables}") == []


def test_who_starts_runs_does_not_say_what_they_run(
    platform: Settings, member: httpx.Client, planted: tuple[Path, str]
):
    """A deployment could bring steps of its own, which are commands."""
    api = platform.prefect_api_url
    steps = [{"prefect.deployments.steps.run_shell_script": {"script": planted[1]}}]
    known = deployment_of(member, api)
    new = {"name": "by-a-member", "flow_id": known["flow_id"], "work_pool_name": "karat", "pull_steps": steps}
    assert member.post(f"{api}/deployments/", json=new).status_code == 403
    assert member.patch(f"{api}/deployments/{known['id']}", json={"pull_steps": steps}).status_code == 403
    assert member.patch(f"{api}/work_pools/karat", json={"base_job_template": {}}).status_code == 403
    assert member.post(f"{api}/work_pools/", json={"name": "other", "type": "process"}).status_code == 403
    assert deployment_of(member, api) == known


def deployment_of(member: httpx.Client, api: str) -> dict[str, Any]:
    """The deployment, without what the worker's polls change."""
    found = member.get(f"{api}/deployments/name/{'/'.join(DEPLOYMENT)}").json()
    return {name: value for name, value in found.items() if name not in ("last_polled", "status", "updated")}


def test_the_pool_of_an_older_home_is_closed_by_karat_up(platform: Settings, member: httpx.Client):
    pool = f"{platform.prefect_api_url}/work_pools/karat"
    opened = json.loads(json.dumps(job_template(platform)))
    opened["job_configuration"]["working_dir"] = "{{ working_dir }}"
    opened["variables"] = {"type": "object", "properties": {"working_dir": {"type": "string"}}}
    registrar = {REGISTRAR_HEADER: registrar_token(platform)}
    assert member.patch(pool, json={"base_job_template": opened}, headers=registrar).status_code == 204
    where = f"{platform.prefect_api_url}/deployments/{deployment(member, platform)}"
    older = {"version": "older", "job_variables": {"working_dir": "/tmp"}}
    assert member.patch(where, json=older, headers=registrar).status_code == 204
    register_deployments(platform)
    assert member.get(pool).json()["base_job_template"] == job_template(platform)
    assert member.get(where).json()["job_variables"] == {}  # else each of its runs would be refused


def let_in(address: str, hello: dict[str, str] | None) -> bool:
    """Whether a socket of Prefect's greets somebody who says ``hello``, or tells anything to who says nothing."""
    try:
        with connect(address, subprotocols=["prefect"] if hello else None, proxy=None) as socket:  # type: ignore[list-item]
            socket.send(json.dumps(hello or {"type": "subscribe", "filter": {}}))
            socket.recv(timeout=5)
    except (WebSocketException, TimeoutError):
        return False
    return True


def test_a_socket_of_prefect_asks_for_the_login(platform: Settings):
    address = platform.prefect_api_url.replace("http://", "ws://")
    for path in ("events/in", "events/out", "logs/out", "task_runs/subscriptions/scheduled"):
        for hello in (None, {"type": "auth", "token": "wrong"}, {"type": "auth", "token": ""}):
            assert not let_in(f"{address}/{path}", hello)
        with pytest.raises(WebSocketException):
            connect(f"{address}/{path}", origin=EVIL, subprotocols=["prefect"], proxy=None)


# ---- MLflow


@pytest.fixture(scope="module")
def model(platform: Settings) -> Iterator[tuple[str, str]]:
    """A registered model and the run that holds its file."""
    client, name = MlflowClient(platform.mlflow_url), "attacked_dev.models.attacked"
    client.create_registered_model(name)
    run = client.create_run(client.create_experiment("attacked")).info.run_id
    client.log_text(run, "the champion's", "model/file")
    yield name, run
    client.delete_registered_model(name)


def test_a_stranger_changes_and_reads_nothing_at_mlflow(
    platform: Settings, stranger: httpx.Client, model: tuple[str, str]
):
    name, run = model
    api = f"{platform.mlflow_url}/api/2.0"
    artifact = MlflowClient(platform.mlflow_url).get_run(run).info.artifact_uri.removeprefix("mlflow-artifacts:/")
    file = f"{api}/mlflow-artifacts/artifacts/{artifact}/model/file"
    attempts: list[Callable[[], httpx.Response]] = [
        lambda: stranger.request("DELETE", f"{api}/mlflow/registered-models/delete", json={"name": name}),
        lambda: stranger.put(file, content=b"the attacker's"),
        lambda: stranger.delete(file),
        lambda: stranger.get(file),
        lambda: stranger.post(f"{api}/mlflow/runs/delete", json={"run_id": run}),
        lambda: stranger.get(f"{api}/mlflow/experiments/search?max_results=1"),
        lambda: stranger.post(
            f"{platform.mlflow_url}/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=model/file"
        ),
        lambda: stranger.get(f"{platform.mlflow_url}/graphql"),
        lambda: stranger.get(platform.mlflow_url),
    ]
    assert [attempt().status_code for attempt in attempts] == [401] * len(attempts)
    stranger_client = f"""
import os
for name in [n for n in os.environ if n.startswith("MLFLOW_TRACKING")]:
    del os.environ[name]
from mlflow import MlflowClient
MlflowClient({platform.mlflow_url!r}).delete_registered_model({name!r})
"""
    done = subprocess.run([sys.executable, "-c", stranger_client], capture_output=True, text=True, check=False)
    assert done.returncode
    assert "UNAUTHENTICATED: a login is needed: karat open shows it" in done.stderr
    owner = MlflowClient(platform.mlflow_url)
    assert owner.get_registered_model(name).name == name
    with httpx.Client(trust_env=False, auth=mlflow_login(platform)) as client:
        assert client.get(file).text == "the champion's"


# ---- Ray and Serve


def test_a_stranger_submits_no_job_and_deploys_no_application(
    platform: Settings, stranger: httpx.Client, planted: tuple[Path, str]
):
    ray = platform.ray_dashboard_url
    applications = {"applications": [{"name": "karat", "route_prefix": "/", "import_path": "os:system"}]}
    for headers, status in (({}, 401), ({"authorization": "Bearer " + "0" * 64}, 403)):
        job = stranger.post(f"{ray}/api/jobs/", json={"entrypoint": planted[1]}, headers=headers)
        serve = stranger.put(f"{ray}/api/serve/applications/", json=applications, headers=headers)
        gone = stranger.delete(f"{ray}/api/serve/applications/", headers=headers)
        listed = stranger.get(f"{ray}/api/jobs/", headers=headers)
        assert [a.status_code for a in (job, serve, gone, listed)] == [status] * 4
    assert stranger.get(f"{platform.serve_url}/health").status_code == 200


def test_a_driver_without_the_token_joins_no_cluster(platform: Settings, planted: tuple[Path, str]):
    program = f"""
import os, ray
ray.init(address={platform.ray_address!r}, log_to_driver=False)
ray.get(ray.remote(lambda: os.system({planted[1]!r})).remote())
"""
    environment = {n: v for n, v in os.environ.items() if not n.startswith("RAY_")} | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0" * 64,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode


# ---- web pages


def test_a_web_page_calls_no_server(platform: Settings, stranger: httpx.Client, member: httpx.Client):
    """Neither by its own origin nor under a name that resolves to this machine, whatever login the browser keeps."""
    with httpx.Client(trust_env=False, auth=mlflow_login(platform)) as mlflow:
        asked = [
            (member, f"{platform.prefect_api_url}/flow_runs/filter"),
            (mlflow, f"{platform.mlflow_url}/api/2.0/mlflow/experiments/search"),
            (stranger, f"{platform.serve_url}/v1/models"),
        ]
        for client, url in asked:
            for headers in (
                {"origin": EVIL},
                {"origin": "null"},
                {"host": "evil.example"},
                {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
            ):
                assert client.post(url, json={}, headers=headers).status_code == 403, (url, headers)
                answer = client.get(url, headers=headers)
                assert answer.status_code == 403, (url, headers)
                assert "access-control-allow-origin" not in answer.headers
            preflight = {"origin": EVIL, "access-control-request-method": "POST"}
            answer = client.options(url, headers=preflight)
            assert answer.status_code == 403
            assert "access-control-allow-origin" not in answer.headers
    token = {"authorization": f"Bearer {token_file(platform).read_text()}"}
    for headers in ({"origin": EVIL}, {"sec-fetch-site": "cross-site"}, {"referer": EVIL}):
        job = stranger.post(f"{platform.ray_dashboard_url}/api/jobs/", json={}, headers=token | headers)
        assert job.status_code == 405


def test_prefect_s_own_page_still_calls_it(platform: Settings, member: httpx.Client):
    for host in ("127.0.0.1", "localhost"):
        url = f"http://{host}:{platform.prefect_port}"
        answer = member.post(f"{url}/api/flow_runs/count", json={}, headers={"origin": url})
        assert answer.status_code == 200
        assert member.get(f"{url}/ui-settings").json()["auth"] == "BASIC"


# ---- every port

#: What a stranger is given without a login: by port or by program, with what is told there. docs/security.md says why.
OPEN = {
    "serve": "predictions, open on loopback by design",
    "metrics": "Ray's figures for Prometheus",
    "autoscaler_metrics": "Ray's figures for Prometheus",
    "dashboard_metrics": "Ray's figures for Prometheus",
    "haproxy_metrics": "HAProxy's figures for Prometheus",
    "haproxy_statistics": "HAProxy's figures",
    "fallback_http": "predictions, as behind HAProxy",
    "replica": "predictions, as behind HAProxy",
}
#: The Prefect worker's channel to its runs: each connection must bring the token of its run.
CHANNEL = "prefect worker start"
PAGES = {"prefect": ("/", "/ui-settings", "/docs", "/api/docs", "/openapi.json"), "mlflow": ("/health",)}
GRPC_METHODS = (
    "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "/ray.rpc.InternalKVGcsService/InternalKVGet",
    "/ray.rpc.JobInfoGcsService/AddJob",
    "/ray.rpc.NodeManagerService/GetNodeStats",
    "/ray.rpc.NodeManagerService/RequestWorkerLease",
    "/ray.rpc.CoreWorkerService/PushTask",
    "/ray.rpc.CoreWorkerService/GetCoreWorkerStats",
    "/ray.rpc.ObjectManagerService/Pull",
    "/ray.serve.ASGIService/HandleRequest",
    "/ray.serve.ASGIService/HandleRequestStreaming",
)


class Listener:
    """A listening socket of the platform."""

    def __init__(self, connection: Any, command: str, name: str) -> None:
        self.ip, self.port = connection.laddr[0].removeprefix("::ffff:"), connection.laddr[1]
        self.command, self.name = command, name

    def __repr__(self) -> str:
        return f"{self.ip}:{self.port} {self.name or self.command}"


def listeners(platform: Settings) -> list[Listener]:
    named = {claim.port: claim.owner for claim in claims(platform)}
    named |= {ray_port(platform, name): name for name in RAY_BLOCK}
    named |= {platform.serve_port: "serve", platform.prefect_port: "prefect", platform.mlflow_port: "mlflow"}
    mine = {process.pid: " ".join(process.cmdline()) for process in ours(platform)}
    found = []
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.pid in mine:
            found.append(Listener(connection, mine[connection.pid], named.get(connection.laddr[1], "")))
    return found


def http_status(stranger: httpx.Client, port: int, path: str = "/api/version") -> int | None:
    """The status of an answer; None where no HTTP is spoken."""
    try:
        return stranger.get(f"http://127.0.0.1:{port}{path}", timeout=5).status_code
    except httpx.HTTPError:
        return None


def grpc_codes(port: int) -> set[grpc.StatusCode]:
    """How it answers calls of Ray's services without a token."""
    codes = set()
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        for method in GRPC_METHODS:
            try:
                channel.unary_unary(method)(b"", timeout=3)
                codes.add(grpc.StatusCode.OK)
            except grpc.RpcError as error:
                codes.add(error.code())
    return codes


def test_every_port_is_on_loopback_and_asks_for_a_login(platform: Settings, stranger: httpx.Client):
    found = listeners(platform)
    assert len(found) > 12
    assert [listener for listener in found if listener.ip != "127.0.0.1"] == []
    given = {}
    for listener in found:
        status = http_status(stranger, listener.port)
        if status is not None:
            given[listener] = status
            continue
        codes = grpc_codes(listener.port)
        if not codes <= {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED}:
            given[listener] = codes
        elif codes == {grpc.StatusCode.UNAVAILABLE}:
            given[listener] = "something else than HTTP and gRPC"
    allowed = [
        listener
        for listener, status in given.items()
        if status in (401, 403)
        or listener.name in (*OPEN, *PAGES)
        or any(word in listener.command for word in ("ServeReplica", CHANNEL))
    ]
    assert [(listener, given[listener]) for listener in given if listener not in allowed] == []


def test_what_is_open_holds_no_secret_and_takes_no_order(platform: Settings, stranger: httpx.Client):
    passwords = secrets_of(platform)
    for listener in listeners(platform):
        for path in ("/", "/metrics", "/stats", "/health", "/ui-settings", "/openapi.json", "/v1/models", "/-/routes"):
            with contextlib.suppress(httpx.HTTPError):
                answer = stranger.get(f"http://127.0.0.1:{listener.port}{path}", timeout=5)
                assert not [p for p in passwords if p in answer.text], (listener, path)
    for name in ("haproxy_statistics", "haproxy_metrics"):
        port = ray_port(platform, name)
        order = {"action": "ready", "b": "#1", "s": "none"}
        answer = stranger.post(f"http://127.0.0.1:{port}/stats", data=order)
        assert answer.status_code in (403, 404, 405, 503) or answer.headers["location"].endswith("st=DENY")


# ---- secrets


def secrets_of(platform: Settings) -> list[str]:
    prefect, mlflow = prefect_login(platform), mlflow_login(platform)
    assert prefect
    assert mlflow
    registrar = registrar_token(platform)
    assert registrar
    return [prefect.password, mlflow.password, registrar, token_file(platform).read_text()]


def test_no_secret_is_in_a_log_a_job_a_command_line_or_a_run(platform: Settings, stranger: httpx.Client):
    passwords = [secret.encode() for secret in secrets_of(platform)]
    files = [
        file
        for folder in ("logs", "supervisor", "jobs", "serve", "prefect", "mlflow", "lake")
        for file in (platform.home / folder).rglob("*")
        if file.is_file() and file.stat().st_size < 2**26
    ]
    assert len(files) > 12
    assert [file for file in files if any(p in file.read_bytes() for p in passwords)] == []
    commands = [" ".join(process.cmdline()) for process in ours(platform)]
    assert not [c for c in commands if any(p.decode() in c for p in passwords)]
    token = {"authorization": f"Bearer {token_file(platform).read_text()}"}
    told = [
        stranger.get(f"{platform.ray_dashboard_url}{path}", headers=token).text
        for path in ("/api/jobs/", "/api/serve/applications/", "/nodes?view=details", "/api/v0/actors?detail=true")
    ]
    told += [
        json.dumps(call_prefect(platform, path, body))
        for path, body in (
            ("/flow_runs/filter", {}),
            ("/deployments/filter", {}),
            ("/work_pools/filter", {}),
            ("/admin/settings", None),
        )
    ]
    assert not [text[:200] for text in told if any(p.decode() in text for p in passwords)]


def test_clients_of_ci_get_in_by_their_environment(platform: Settings):
    """``prefect deployment run`` as a CI job calls it, and MLflow's own command line."""
    login = mlflow_login(platform)
    assert login
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(platform.home),
        "PREFECT_API_URL": platform.prefect_api_url,
        "PREFECT_API_AUTH_STRING": prefect_login(platform).text,  # type: ignore[union-attr]
        "MLFLOW_TRACKING_URI": platform.mlflow_url,
        "MLFLOW_TRACKING_USERNAME": login.user,
        "MLFLOW_TRACKING_PASSWORD": login.password,
    }
    program = Path(sys.executable).with_name("prefect")
    command = [program, "deployment", "run", "promotion/health_monitor", "--param", 'models=["nobody"]']
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    run = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", done.stdout)
    assert run
    api = Prefect(platform)
    wait_until(lambda: api.run(run[0]).is_final, 120)
    assert "nobody" in api.run(run[0]).message
