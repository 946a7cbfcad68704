"""The ports of the local platform, each with the setting that moves it."""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass

import psutil

from karat.errors import PortTaken
from karat.settings import Settings

ENDING_SECONDS = 5.0

#: Places in the block of ports from ``ray_port_base`` on. Ray's workers take what the kernel gives them.
RAY_BLOCK = (
    "node_manager",
    "object_manager",
    "agent_http",
    "agent_grpc",
    "runtime_env_agent",
    "metrics",
    "autoscaler_metrics",
    "dashboard_metrics",
    "haproxy_metrics",
    "haproxy_statistics",
    # Two clusters on a host would share these, and so answer each other's requests.
    "fallback_http",
    "fallback_grpc",
)


@dataclass(frozen=True)
class Claim:
    """A port that a part will listen on. ``everywhere``: it cannot be told to bind one address."""

    port: int
    setting: str
    owner: str
    everywhere: bool = False


def ray_port(settings: Settings, name: str) -> int:
    """The port of one of Ray's own servers, by its name in ``RAY_BLOCK``."""
    return settings.ray_port_base + RAY_BLOCK.index(name)


def claims(settings: Settings) -> list[Claim]:
    """All ports that ``karat up`` will bind."""
    own = [
        Claim(settings.prefect_port, "KARAT_PREFECT_PORT", "Prefect"),
        Claim(settings.mlflow_port, "KARAT_MLFLOW_PORT", "MLflow"),
        Claim(settings.ray_dashboard_port, "KARAT_RAY_DASHBOARD_PORT", "Ray's dashboard"),
        Claim(settings.ray_gcs_port, "KARAT_RAY_GCS_PORT", "Ray's head"),
        Claim(settings.serve_port, "KARAT_SERVE_PORT", "Ray Serve"),
    ]
    block = [
        Claim(ray_port(settings, name), "KARAT_RAY_PORT_BASE", f"Ray's {name}", everywhere=name.startswith("haproxy"))
        for name in RAY_BLOCK
    ]
    return own + block


def check_ports(settings: Settings) -> None:
    """Raises PortTaken for the first port that somebody listens on, or that two settings name."""
    seen: dict[int, Claim] = {}
    for claim in claims(settings):
        other = seen.setdefault(claim.port, claim)
        if other is not claim:
            raise PortTaken(
                f"port {claim.port} is given to {other.owner} and to {claim.owner}",
                where=f"{other.setting} and {claim.setting}",
                remedy=f"move one of them, as in: {claim.setting}={claim.port + 100} karat up",
            )
        if not _becomes_free(settings.host, claim):
            raise PortTaken(
                f"port {claim.port}, which {claim.owner} needs, is taken by {listener(claim.port)}",
                where=f"{settings.host}:{claim.port}",
                remedy=f"end that process, or move the port, as in: {claim.setting}={claim.port + 100} karat up",
            )


def _becomes_free(host: str, claim: Claim) -> bool:
    """Waits a little for a port that is bound and has no listener: its process is just ending."""
    deadline = time.monotonic() + ENDING_SECONDS
    while not (free := _free(host, claim)) and not _listeners(claim.port) and time.monotonic() < deadline:
        time.sleep(0.1)
    return free


def _free(host: str, claim: Claim) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("" if claim.everywhere else host, claim.port))
        except OSError:
            return False
    return True


def _listeners(port: int) -> list[int]:
    try:
        listening = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    except psutil.AccessDenied:
        return []
    return sorted({c.pid for c in listening if c.pid and getattr(c.laddr, "port", None) == port})


def listener(port: int) -> str:
    """Who listens on ``port``, in words."""
    named = []
    for pid in _listeners(port):
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            named.append(f"process {pid} ({' '.join(process.cmdline())[:80] or process.name()})")
    return " and ".join(named) or "a process that this user may not see"
