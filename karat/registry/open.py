"""The registry of these settings: the platform's server if it answers, else the same database without it."""

from __future__ import annotations

from karat.errors import ServiceDown
from karat.registry.connection import is_healthy
from karat.registry.store import Registry
from karat.settings import Settings


def open_registry(settings: Settings) -> Registry:
    """Through the MLflow server where it answers; else, on a local platform, in its database and folder directly.

    Both ways see the same runs, versions and aliases: what is registered without the server is there when it starts.
    Raises ServiceDown where the server is on another machine and does not answer.
    """
    if is_healthy(settings.mlflow_url):
        return Registry(settings.mlflow_url)
    if not settings.loopback:
        raise ServiceDown(
            "MLflow does not answer", where=settings.mlflow_url, remedy="start it there, or see KARAT_HOST"
        )
    home = settings.home / "mlflow"
    return Registry(f"sqlite:///{home / 'mlflow.db'}", home / "artifacts")
