"""The inference application: deployed through Serve's REST API, its champions kept in a file and set by user_config."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from infra.code import ROOT
from infra.local.environment import token_file
from infra.services import require_ray
from karat.errors import JobFailed, KaratError, ModelNotFound, ServiceDown
from karat.names import CHAMPION, ModelName, catalog_of
from karat.registry import open_registry
from karat.settings import Settings

APPLICATION, DEPLOYMENT = "karat", "Api"
DEPLOY_SECONDS, LOAD_SECONDS, PAUSE_SECONDS = 120.0, 120.0, 0.25
log = logging.getLogger("karat.serving")


def deploy_application(settings: Settings, *, timeout: float = DEPLOY_SECONDS) -> None:
    """Deploys the application with the champions on file, or finds it deployed; returns when it answers.

    Raises ServiceDown where Ray is not there, JobFailed where the application does not start.
    """
    require_ray(settings)
    _put(settings, _config(settings, read_champions(settings)))
    deadline = time.monotonic() + timeout
    while True:
        state = _status(settings)
        if state["status"] == "RUNNING" and _answers(settings):
            return
        if state["status"] == "DEPLOY_FAILED" or time.monotonic() > deadline:
            raise JobFailed(
                f"the inference application does not start: {state['message'] or state['status']}",
                where=f"{settings.ray_dashboard_url}/#/serve",
                remedy="look at Serve's page there and at the logs of its replica",
            )
        time.sleep(PAUSE_SECONDS)


def load_champions(settings: Settings, champions: Mapping[str, int], *, timeout: float = LOAD_SECONDS) -> None:
    """Makes these versions (``project.model`` or registered name -> version) answer; returns when they do.

    They are merged into those on file. Other models of the same projects that are champions no longer are taken out.
    Raises WrongCall for a name, ServiceDown where Ray does not answer, ModelNotFound where a version can't be loaded
    in time.
    """
    given = {_registered(settings, name): int(version) for name, version in champions.items()}
    with _locked(settings):
        before = read_champions(settings)
        kept = {n: v for n, v in before.items() if n in given or _still_champion(settings, n, given)}
        wanted = {**kept, **given}
        _write_champions(settings, wanted)
    require_ray(settings)
    _put(settings, _config(settings, wanted))
    _await_loaded(settings, given, timeout)


def read_champions(settings: Settings) -> dict[str, int]:
    """Registered model -> version, as it is on file; {} before the first."""
    path = _file(settings)
    return dict(json.loads(path.read_text())["champions"]) if path.is_file() else {}


def _registered(settings: Settings, name: str) -> str:
    """``project.model`` is of this environment's catalog; a registered name stands for itself."""
    project, dot, model = name.partition(".")
    if dot and "." not in model:
        return str(ModelName(catalog_of(project, settings.environment), model))
    return str(ModelName.parse(name))


def _still_champion(settings: Settings, name: str, given: Mapping[str, int]) -> bool:
    """False where ``name`` is of a project that is given and MLflow says that it has no champion."""
    model = ModelName.parse(name)
    if model.catalog not in {ModelName.parse(g).catalog for g in given}:
        return True
    try:
        return open_registry(settings).champion(model) is not None
    except KaratError as error:  # what can't be asked now stays as it is
        log.warning("whether %s still has a %s could not be asked: %s", name, CHAMPION, error.what)
        return True


def _file(settings: Settings) -> Path:
    return settings.home / "serve" / "champions.json"


def _write_champions(settings: Settings, champions: Mapping[str, int]) -> None:
    path = _file(settings)
    fresh = path.with_suffix(f".{os.getpid()}")
    with fresh.open("w") as out:
        json.dump({"champions": dict(sorted(champions.items()))}, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(path)


@contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """Held while the file is read and written anew: flows of several projects end at any time."""
    _file(settings).parent.mkdir(parents=True, exist_ok=True)
    with _file(settings).with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _config(settings: Settings, champions: Mapping[str, int]) -> dict[str, Any]:
    """Serve's configuration. Whoever makes it makes the same, or Serve would start the replicas anew: so the
    environment names what a replica needs, and nothing of the caller's own."""
    needed = ("HOME", "PROJECTS", "ENVIRONMENT", "ONLINE__KIND", "ONLINE__MAP_SIZE", "HOST", "MLFLOW_PORT")
    own = settings.as_environment()
    environment = {f"KARAT_{name}": own[f"KARAT_{name}"] for name in needed}
    return {
        "proxy_location": "HeadOnly",
        "http_options": {"host": settings.host, "port": settings.serve_port},
        "applications": [
            {
                "name": APPLICATION,
                "route_prefix": "/",
                "import_path": "serve.api.app:build",
                # An application that is deployed over REST inherits nothing of its caller's.
                "runtime_env": {"env_vars": {**environment, "PYTHONPATH": str(ROOT)}},
                "deployments": [{"name": DEPLOYMENT, "user_config": {"champions": dict(champions)}}],
            }
        ],
    }


def _call(settings: Settings, method: str, path: str, body: Any = None) -> Any:
    """Ray's dashboard with its token. Raises ServiceDown where it does not answer, JobFailed where it refuses."""
    try:
        headers = {"Authorization": f"Bearer {token_file(settings).read_text()}"}
        with httpx.Client(trust_env=False, timeout=30) as client:
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


def _put(settings: Settings, config: dict[str, Any]) -> None:
    _call(settings, "PUT", "/api/serve/applications/", config)


def _status(settings: Settings) -> dict[str, str]:
    applications = _call(settings, "GET", "/api/serve/applications/").get("applications", {})
    found = applications.get(APPLICATION, {})
    return {"status": found.get("status", "NOT_STARTED"), "message": found.get("message", "")}


def _get(settings: Settings, path: str) -> Any:
    """The application's own answer; None where nobody answers yet."""
    try:
        with httpx.Client(trust_env=False, timeout=5) as client:
            answer = client.get(f"{settings.serve_url}{path}")
    except httpx.HTTPError:
        return None
    return answer.json() if answer.status_code == 200 else None


def _answers(settings: Settings) -> bool:
    return _get(settings, "/health") is not None


def _await_loaded(settings: Settings, champions: Mapping[str, int], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        shown = _get(settings, "/v1/models")
        models = {m["registered_name"]: m for m in (shown or {"models": []})["models"]}
        missing = {n: v for n, v in champions.items() if models.get(n, {}).get("loaded_version") != v}
        if not missing:
            return
        if time.monotonic() > deadline:
            raise _not_loaded(settings, missing, models if shown is not None else None)
        time.sleep(PAUSE_SECONDS)


def _not_loaded(settings: Settings, missing: Mapping[str, int], models: Mapping[str, Any] | None) -> KaratError:
    if models is None:
        return ServiceDown(
            "the inference application does not answer", where=settings.serve_url, remedy="karat up; karat status"
        )
    name, version = next(iter(missing.items()))
    why = models.get(name, {}).get("error") or "it is still being loaded"
    return ModelNotFound(
        f"{len(missing)} of the champions do not answer yet: version {version} of {name}: {why}",
        where=f"{settings.serve_url}/v1/models",
        remedy="the service goes on trying; look at GET /v1/models, at karat status, and run again",
    )


__all__ = ["deploy_application", "load_champions", "read_champions"]
