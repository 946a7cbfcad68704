"""The registry of these settings: the platform's server if it answers, else the same database without it."""

from __future__ import annotations

import logging

from karat.credentials import mlflow_login, use_mlflow_login
from karat.errors import ServiceDown
from karat.home import server_of_home
from karat.registry.connection import is_healthy
from karat.registry.store import Registry
from karat.settings import Settings

log = logging.getLogger(__name__)


def open_registry(settings: Settings) -> Registry:
    """Through the MLflow server where it answers; else, on a local platform, in its database and folder directly.

    Both ways see the same runs, versions and aliases: what is registered without the server is there when it starts.
    On a local platform a server counts only if it proves that it belongs to this home: another home's registry is never
    taken. Raises ServiceDown where the server is on another machine and does not answer.
    """
    use_mlflow_login(settings)
    if not settings.loopback:
        if is_healthy(settings.mlflow_url):
            return Registry(settings.mlflow_url)
        raise ServiceDown(
            "MLflow does not answer", where=settings.mlflow_url, remedy="start it there, or see KARAT_HOST"
        )
    home = settings.home / "mlflow"
    if server_of_home(settings.mlflow_url, home / "artifacts", mlflow_login(settings)):
        return Registry(settings.mlflow_url)
    if is_healthy(settings.mlflow_url):
        log.warning("%s. This home's own database is used: %s", _foreign(settings).what, home / "mlflow.db")
    return Registry(f"sqlite:///{home / 'mlflow.db'}", home / "artifacts")


def open_server(settings: Settings) -> Registry:
    """Through the MLflow server alone, for steps that run beside many others.

    Raises:
        ServiceDown: The server that answers belongs to another home. One that does not answer raises at first use.
    """
    use_mlflow_login(settings)
    url, artifacts = settings.mlflow_url, settings.home / "mlflow" / "artifacts"
    if settings.loopback and not server_of_home(url, artifacts, mlflow_login(settings)) and is_healthy(url):
        raise _foreign(settings)
    return Registry(url)


def _foreign(settings: Settings) -> ServiceDown:
    return ServiceDown(
        f"the MLflow server at {settings.mlflow_url} does not belong to this home, {settings.home}",
        where=settings.mlflow_url,
        remedy="give this home a port of its own, KARAT_MLFLOW_PORT, or stop the other platform: karat down there",
    )
