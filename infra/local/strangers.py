"""Foreign processes on the platform's ports: a request, and its token, would go to somebody else."""

from __future__ import annotations

import contextlib

import psutil

from infra.local.ports import listener
from infra.local.processes import is_ours
from karat.settings import Settings


def strangers_of(settings: Settings) -> dict[str, str]:
    """Part -> who has its port in place of the platform, and what to do; without parts of which that cannot be said."""
    listening = _listeners()
    found = {}
    for part, (port, setting) in _ports(settings).items():
        owners = listening.get(port, set())
        if owners and not any(is_ours(settings, owner) for owner in owners):
            found[part] = (
                f"port {port} is taken by {listener(port)}, which is not of this platform: end it, or move the port, "
                f"as in: {setting}={port + 100} karat up"
            )
    return found


def _ports(settings: Settings) -> dict[str, tuple[int, str]]:
    return {
        "ray": (settings.ray_dashboard_port, "KARAT_RAY_DASHBOARD_PORT"),
        "mlflow": (settings.mlflow_port, "KARAT_MLFLOW_PORT"),
        "prefect": (settings.prefect_port, "KARAT_PREFECT_PORT"),
        "keeper": (settings.serve_port, "KARAT_SERVE_PORT"),
    }


def _listeners() -> dict[int, set[int]]:
    """Port -> the processes that listen on it, as far as this user may see them."""
    found: dict[int, set[int]] = {}
    with contextlib.suppress(psutil.AccessDenied):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.pid and connection.laddr:
                found.setdefault(connection.laddr.port, set()).add(connection.pid)
    return found
