"""Fixtures of all rooms: settings with a home of their own, a lake, and the running platform."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from karat.settings import Settings

ROOT = Path(__file__).parent.parent


def free_ports(count: int) -> list[int]:
    """``count`` ports that nobody listens on now, below the range that the kernel hands to clients."""
    found: list[int] = []
    for port in range(22000, 32000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"no {count} free ports between 22000 and 32000")


def settings_for(home: Path) -> Settings:
    """Settings of a platform of its own: its home, free ports, the repository's projects."""
    ports = free_ports(6)
    return Settings(
        home=home,
        projects=ROOT / "projects",
        prefect_port=ports[0],
        mlflow_port=ports[1],
        ray_dashboard_port=ports[2],
        serve_port=ports[3],
        console_port=ports[4],
        ray_gcs_port=ports[5],
        ray_port_base=ports[5] + 1,
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose home is empty; no server runs."""
    return settings_for(tmp_path / "home")


@pytest.fixture
def lake(settings: Settings):
    """An empty lake of the environment ``dev``."""
    from karat.lake import Lake

    return Lake(settings.lake, settings.environment)
