"""The inference application on Ray Serve: its configuration and its deployment over Serve's REST API."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from infra.code import ROOT
from infra.local.environment import REQUEST_SECONDS, token_file
from infra.local.ports import ray_port
from infra.services import require_ray
from karat.credentials import api_login
from karat.errors import JobFailed, ServiceDown
from karat.settings import Settings

APPLICATION, DEPLOYMENT = "karat", "Api"
DEPLOY_SECONDS, PAUSE_SECONDS = 120.0, 0.25


def deploy_application(settings: Settings, *, timeout: float = DEPLOY_SECONDS) -> None:
    """Deploys the application with the champions on file, or finds it deployed; returns when it answers.

    Raises ServiceDown where Ray is not there, JobFailed where the application does not start.
    """
    require_ray(settings)
    configure(settings, read_champions(settings))
    deadline = time.monotonic() + timeout
    while True:
        state = _status(settings)
        if state["status"] == "RUNNING" and settled(ask(settings, "/health")):
            return
        if state["status"] == "DEPLOY_FAILED" or time.monotonic() > deadline:
            raise JobFailed(
                f"the inference application does not start: {state['message'] or state['status']}",
                where=f"{settings.ray_dashboard_url}/#/serve",
                remedy="look at Serve's page there and at the logs of its replica",
            )
        time.sleep(PAUSE_SECONDS)


def configure(settings: Settings, champions: Mapping[str, int]) -> None:
    """Gives Serve its configuration; where only the champions differ, no replica is started anew."""
    _call(settings, "PUT", "/api/serve/applications/", _config(settings, champions))


def read_champions(settings: Settings) -> dict[str, int]:
    """Registered model -> version, as it is on file; {} before the first."""
    path = champions_file(settings)
    return dict(json.loads(path.read_text())["champions"]) if path.is_file() else {}


def champions_file(settings: Settings) -> Path:
    """The file that names the champions to serve."""
    return settings.home / "serve" / "champions.json"


def _config(settings: Settings, champions: Mapping[str, int]) -> dict[str, Any]:
    """Serve's configuration.

    Every caller must make the same one, or Serve restarts the replicas. So its environment names what a replica needs
    and nothing of the caller's own.
    """
    needed = (
        "HOME",
        "PROJECTS",
        "ENVIRONMENT",
        "ONLINE__",
        "PREDICTION_LOG__",
        "HTTP__",
        "HOST",
        "ALLOWED_HOSTS",
        "AUTH",
        "SERVE_AUTH",
        "MLFLOW_PORT",
    )
    own = settings.as_environment()  # secrets are none of it: a replica inherits them from its node
    environment = {name: value for name, value in own.items() if name.startswith(tuple(f"KARAT_{n}" for n in needed))}
    return {
        "proxy_location": "HeadOnly",
        "http_options": {
            "host": settings.host,
            "port": settings.serve_port,
            "request_timeout_s": REQUEST_SECONDS,
            "keep_alive_timeout_s": settings.http.idle_seconds,
        },
        "applications": [
            {
                "name": APPLICATION,
                "route_prefix": "/",
                "import_path": "serve.api.app:build",
                # An application that is deployed over REST inherits nothing of its caller's.
                "runtime_env": {"env_vars": {**environment, "PYTHONPATH": str(ROOT)}},
                "deployments": [
                    {
                        "name": DEPLOYMENT,
                        "num_replicas": settings.serve_replicas,
                        "user_config": {"champions": dict(champions)},
                    }
                ],
            }
        ],
    }


def _call(settings: Settings, method: str, path: str, body: Any = None) -> Any:
    """Call Ray's dashboard with its token, over plain HTTP without certificates.

    Raises ServiceDown if it does not answer, JobFailed if it refuses.
    """
    try:
        headers = {"Authorization": f"Bearer {token_file(settings).read_text()}"}
        with httpx.Client(trust_env=False, verify=False, timeout=30) as client:
            answer = client.request(method, f"{settings.ray_dashboard_url}{path}", json=body, headers=headers)
    except (OSError, httpx.HTTPError) as error:
        raise ServiceDown(
            f"Ray Serve can't be reached: {error!r}", where=settings.ray_dashboard_url, remedy="karat up"
        ) from error
    if answer.status_code >= 400:
        raise JobFailed(
            f"Ray Serve refuses the configuration ({answer.status_code}): {answer.text[:500]}",
            where=f"{settings.ray_dashboard_url}{path}",
        )
    return answer.json() if answer.content else None


def is_settled(settings: Settings) -> bool:
    """Whether every replica runs, has the configuration that Serve was given last, and gets requests of HAProxy.

    Serve calls a replica healthy some seconds before HAProxy knows of it. If the other one died meanwhile, HAProxy
    would have no server.
    """
    found = _call(settings, "GET", "/api/serve/applications/").get("applications", {}).get(APPLICATION, {})
    deployments = found.get("deployments", {}).values()
    if found.get("status") != "RUNNING" or any(d.get("status") != "HEALTHY" for d in deployments):
        return False
    servers = proxied_replicas(settings)
    return servers is None or servers == settings.serve_replicas


def proxied_replicas(settings: Settings) -> int | None:
    """Count the replicas that HAProxy has and finds healthy; None if its figures can't be asked for.

    Its page of figures is the only place that says so: ``/stats;csv`` has a row for each server.
    """
    address = f"http://{settings.host}:{ray_port(settings, 'haproxy_statistics')}/stats;csv"
    try:
        answer = httpx.get(address, timeout=5, trust_env=False).raise_for_status()
    except httpx.HTTPError:
        return None
    rows = csv.DictReader(io.StringIO(answer.text.removeprefix("# ")))
    replicas = (row for row in rows if row["svname"].startswith(f"SERVE_REPLICA_{APPLICATION}-{DEPLOYMENT}-"))
    return sum(1 for row in replicas if row["status"].startswith("UP"))


def settled(health: Any) -> bool:
    """Whether a replica's health says of every champion that it is loaded, or that it cannot be."""
    return health is not None and bool(health["loaded"] + health["failed"] >= health["models"])


def _status(settings: Settings) -> dict[str, str]:
    applications = _call(settings, "GET", "/api/serve/applications/").get("applications", {})
    found = applications.get(APPLICATION, {})
    return {"status": found.get("status", "NOT_STARTED"), "message": found.get("message", "")}


def ask(settings: Settings, path: str) -> Any:
    """The application's own answer; None where nobody answers yet."""
    try:
        with httpx.Client(trust_env=False, verify=False, timeout=5) as client:
            answer = client.get(f"{settings.serve_url}{path}", auth=api_login(settings))
    except httpx.HTTPError:
        return None
    return answer.json() if answer.status_code == 200 else None
