"""Quick probes of the platform's parts: "" if a part answers, else the reason."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from infra.local.environment import token_file
from infra.local.platform_parts import WORK_POOL
from karat.credentials import mlflow_login, prefect_login
from karat.home import server_of_home
from karat.settings import Settings

SECONDS = 3.0
#: A worker sends one every 30 seconds.
HEARTBEAT_SECONDS = 90.0

#: What Prefect gives in one answer at most.
PAGE = 200

Probe = Callable[[Settings], str]


class NoAnswer(Exception):
    """Nobody answers, or not as expected; says who and what."""


def call(
    url: str, *, body: Any = None, headers: dict[str, str] | None = None, auth: Any = None, seconds: float = SECONDS
) -> Any:
    """The JSON (or text) of an answer; POST where there is a body. Raises NoAnswer."""
    try:
        # Without TLS there is nothing to verify; reading the certificates would take most of a probe's time.
        with httpx.Client(trust_env=False, verify=False, timeout=seconds, auth=auth) as client:
            answer = client.get(url, headers=headers) if body is None else client.post(url, json=body, headers=headers)
    except httpx.ConnectError as error:
        raise NoAnswer(f"nobody listens at {url}") from error
    except httpx.HTTPError as error:
        raise NoAnswer(f"{url}: {error or type(error).__name__}") from error
    if answer.status_code >= 400:
        raise NoAnswer(f"{url} answers {answer.status_code}: {answer.text[:200]}")
    return answer.json() if "json" in answer.headers.get("content-type", "") else answer.text


def call_prefect(settings: Settings, path: str, body: Any = None) -> Any:
    """Prefect's API, with this home's login. Raises NoAnswer."""
    return call(f"{settings.prefect_api_url}{path}", body=body, auth=prefect_login(settings))


def list_prefect(settings: Settings, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """All that Prefect's API finds, page by page: one answer of it has ``PAGE`` at most. Raises NoAnswer."""
    found: list[dict[str, Any]] = []
    while True:
        page: list[dict[str, Any]] = call_prefect(settings, path, body | {"limit": PAGE, "offset": len(found)})
        found += page
        if len(page) < PAGE:
            return found


def call_ray(settings: Settings, path: str, seconds: float = SECONDS, body: Any = None) -> Any:
    """The API of Ray's dashboard, with its token; POST where there is a body. Raises NoAnswer."""
    try:
        token = token_file(settings).read_text()
    except OSError as error:
        raise NoAnswer(f"Ray's token is not in {token_file(settings)}") from error
    headers = {"Authorization": f"Bearer {token}"}
    return call(f"{settings.ray_dashboard_url}{path}", body=body, headers=headers, seconds=seconds)


def mlflow(settings: Settings) -> str:
    """Empty if this home's MLflow server answers, else the reason."""
    return _missing(lambda: _mlflow(settings))


def prefect(settings: Settings) -> str:
    """Empty if this home's Prefect server answers, else the reason."""
    return _missing(lambda: _prefect(settings))


def worker(settings: Settings) -> str:
    """Empty if a Prefect worker answers, else the reason."""
    return _missing(lambda: _worker(settings))


def ray(settings: Settings) -> str:
    """Empty if Ray's head node answers, else the reason."""
    return _missing(lambda: _node(settings))


def serve(settings: Settings) -> str:
    """Empty if the inference application answers predictions, else the reason."""
    return _missing(lambda: _serve(settings))


PROBES: dict[str, Probe] = {"ray": ray, "mlflow": mlflow, "prefect": prefect, "worker": worker, "keeper": serve}


def _missing(ask: Callable[[], Any]) -> str:
    try:
        ask()
    except NoAnswer as silence:
        return str(silence)
    return ""


def _mlflow(settings: Settings) -> None:
    call(f"{settings.mlflow_url}/health")
    url, artifacts = settings.mlflow_url, settings.home / "mlflow" / "artifacts"
    if settings.loopback and not server_of_home(url, artifacts, mlflow_login(settings)):
        raise NoAnswer(_foreign("MLflow", settings.mlflow_url, "KARAT_MLFLOW_PORT"))


def _prefect(settings: Settings) -> None:
    call_prefect(settings, "/ready")
    whose = call_prefect(settings, "/admin/settings").get("home") if settings.loopback else None
    if whose and Path(whose).resolve() != (settings.home / "prefect").resolve():
        raise NoAnswer(_foreign("Prefect", settings.prefect_url, "KARAT_PREFECT_PORT"))


def _foreign(server: str, url: str, setting: str) -> str:
    return f"the {server} at {url} belongs to another home: set {setting} to a free port, or stop the other platform"


def _worker(settings: Settings) -> None:
    found = call_prefect(settings, f"/work_pools/{WORK_POOL}/workers/filter", {})
    ages = [(datetime.now(UTC) - datetime.fromisoformat(w["last_heartbeat_time"])).total_seconds() for w in found]
    if not ages or min(ages) > HEARTBEAT_SECONDS:
        raise NoAnswer(f"no worker of the pool {WORK_POOL!r} has given a sign of life in {HEARTBEAT_SECONDS:.0f} s")


def _serve(settings: Settings) -> None:
    told = call(f"{settings.serve_url}/health")
    waiting = told["models"] - told["loaded"] - told["failed"]
    if waiting > 0:  # a champion that can't be loaded shows why in GET /v1/models, and the others answer
        raise NoAnswer(f"{waiting} of {told['models']} champions are still being loaded")


def _node(settings: Settings) -> None:
    """The head accepts jobs only once its raylet and its agent are there."""
    states = node_states(settings)
    if "ALIVE" not in states:
        raise NoAnswer(f"Ray has no living node ({', '.join(states) or 'none has registered'})")
    call_ray(settings, "/api/jobs/")


def node_states(settings: Settings) -> list[str]:
    """The state of every node that Ray's dashboard knows."""
    summary = call_ray(settings, "/nodes?view=summary")["data"]["summary"]
    return [node.get("raylet", {}).get("state", "UNKNOWN") for node in summary]
