"""Prefect's and MLflow's server, each behind the guard: ``python -m infra.local.servers prefect``."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from functools import partial
from importlib import import_module
from typing import Any

import uvicorn

from infra.local.access import AccessGuard, allowed_hosts
from infra.local.mlflow_page import TrainingPage
from infra.local.platform_parts import mlflow_database
from karat.credentials import mlflow_login, registrar_token
from karat.settings import Settings

#: How often Prefect's own background tasks look for work that is due, none of which is urgent. Four times a second,
#: the default, takes most of what an idle server does; there is no setting for it.
LOOK = timedelta(seconds=1)


def prefect(settings: Settings) -> dict[str, Any]:
    """What ``prefect server start`` runs. The API asks for its login by itself: its page has a form for it."""
    create_app = import_module("prefect.server.api.server").create_app
    workers = import_module("prefect.server.api.background_workers")
    vars(workers)["Worker"] = partial(vars(workers)["Worker"], minimum_check_interval=LOOK, scheduling_resolution=LOOK)
    return {
        "app": AccessGuard(create_app(final=True), allowed_hosts(settings), registrar=registrar_token(settings)),
        "port": settings.prefect_port,
        "ws_ping_interval": 20.0,
        "ws_ping_timeout": 20.0,
        "log_level": "warning",
    }


def mlflow(settings: Settings) -> dict[str, Any]:
    """What ``mlflow server --serve-artifacts --workers=1`` runs, without its second process."""
    database, port = f"sqlite:///{mlflow_database(settings)}", settings.mlflow_port
    names = import_module("mlflow.server.constants")
    os.environ |= {
        names.BACKEND_STORE_URI_ENV_VAR: database,
        names.REGISTRY_STORE_URI_ENV_VAR: database,
        names.ARTIFACT_ROOT_ENV_VAR: "mlflow-artifacts:/",
        names.ARTIFACTS_DESTINATION_ENV_VAR: str(settings.home / "mlflow" / "artifacts"),
        names.SERVE_ARTIFACTS_ENV_VAR: "true",
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(f"{h},{h}:{port}" for h in allowed_hosts(settings)) or "*",
        "_MLFLOW_SGI_NAME": "uvicorn",
    }
    import_module("mlflow.server.handlers").initialize_backend_stores(database, database, "mlflow-artifacts:/")
    app = import_module("mlflow.server.fastapi_app").app
    guarded = AccessGuard(TrainingPage(app), allowed_hosts(settings), mlflow_login(settings))
    return {"app": guarded, "port": port, "log_level": "info"}


SERVERS = {"prefect": prefect, "mlflow": mlflow}


def main(name: str) -> None:
    """Serve until the process is told to end."""
    settings = Settings()
    # Else one open connection would keep it until it is killed.
    uvicorn.run(host=settings.host, timeout_graceful_shutdown=2, **SERVERS[name](settings))


if __name__ == "__main__":
    main(sys.argv[1])
