"""Checks that a service answers before work starts, so that its absence is a clear error."""

from __future__ import annotations

from infra.local.platform_parts import log_file
from infra.local.probes import PROBES
from karat.errors import ServiceDown
from karat.settings import Settings


def require_mlflow(settings: Settings) -> None:
    """Raises ServiceDown where the MLflow server does not answer."""
    _require(settings, "mlflow", "the MLflow server", settings.mlflow_url)


def require_ray(settings: Settings) -> None:
    """Raises ServiceDown where Ray has no living node, or takes no jobs."""
    _require(settings, "ray", "Ray", settings.ray_dashboard_url)


def require_prefect(settings: Settings) -> None:
    """Raises ServiceDown where the Prefect server does not answer, or cannot reach its database."""
    _require(settings, "prefect", "the Prefect server", settings.prefect_url)


def require_worker(settings: Settings) -> None:
    """Raises ServiceDown where no worker would start a deployment's run."""
    _require(settings, "worker", "Prefect's worker", settings.prefect_url)


def require_serve(settings: Settings) -> None:
    """Raises ServiceDown where the inference application does not answer."""
    _require(settings, "keeper", "the inference service", settings.serve_url)


def _require(settings: Settings, part: str, what: str, address: str) -> None:
    missing = PROBES[part](settings)
    if missing:
        raise ServiceDown(
            f"{what} is not there: {missing}",
            where=f"{address} (log: {log_file(settings, part)})",
            remedy="start the local platform with: karat up; what is wrong with it, says: karat status",
        )
