"""The parts of the local platform: the programs that the supervisor runs, and the order in which they stop."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from infra.local.environment import runtime_folder
from infra.local.ports import ray_port
from karat.settings import Settings

WORK_POOL = "karat"
WORKER_NAME = "local"
GIB = 2**30


@dataclass(frozen=True)
class Part:
    """One supervised program.

    ``alone``: what an earlier, killed instance has left behind is ended before the next one starts; a worker's flow
    runs are not, as they go on without it. ``client``: it uses the other parts and so is stopped before them.
    """

    name: str
    title: str
    address: str
    command: tuple[str, ...]
    alone: bool = True
    client: bool = False
    stop_seconds: int = 5


def parts(settings: Settings) -> dict[str, Part]:
    """All parts by name, in the order in which they are shown."""
    return {part.name: part for part in (_ray(settings), _mlflow(settings), *_prefect(settings), _keeper(settings))}


def log_file(settings: Settings, part: str) -> Path:
    """The log file of one part."""
    return settings.home / "logs" / f"{part}.log"


def ray_logs(settings: Settings) -> Path:
    """A link to the logs of Ray's session while it runs, a folder with those of the last one afterwards."""
    return settings.home / "logs" / "ray"


def executable(name: str) -> str:
    """A program of this Python's environment, whatever PATH says."""
    return str(Path(sys.executable).with_name(name))


def mlflow_database(settings: Settings) -> Path:
    """MLflow's SQLite database."""
    return settings.home / "mlflow" / "mlflow.db"


def prefect_database(settings: Settings) -> Path:
    """Prefect's SQLite database."""
    return settings.home / "prefect" / "prefect.db"


def object_store_bytes() -> int:
    """A fifth of the memory, 2 GiB at most, and no more than half of /dev/shm."""
    shared = Path("/dev/shm")
    room = shutil.disk_usage(shared).total // 2 if shared.is_dir() else GIB
    return max(128 * 2**20, min(2 * GIB, psutil.virtual_memory().total // 5, room))


def _ray(settings: Settings) -> Part:
    options: dict[str, str | int] = {
        "port": settings.ray_gcs_port,
        "node-manager-port": ray_port(settings, "node_manager"),
        "object-manager-port": ray_port(settings, "object_manager"),
        "dashboard-agent-listen-port": ray_port(settings, "agent_http"),
        "dashboard-agent-grpc-port": ray_port(settings, "agent_grpc"),
        "runtime-env-agent-port": ray_port(settings, "runtime_env_agent"),
        "metrics-export-port": ray_port(settings, "metrics"),
        # 0: the kernel gives each worker a port, so that two clusters on a host never want the same one.
        "min-worker-port": 0,
        "max-worker-port": 0,
        "dashboard-host": settings.host,
        "dashboard-port": settings.ray_dashboard_port,
        "object-store-memory": object_store_bytes(),
        "temp-dir": str(runtime_folder(settings) / "ray"),
        "log-color": "false",
    }
    command = [sys.executable, "-m", "infra.local.ray_head", "start", "--head", "--block", "--disable-usage-stats"]
    command.append("--no-monitor")  # it scales clusters, and takes 50 MB
    if settings.ray_cpus:  # else Ray counts them, and knows of a container's share
        options["num-cpus"] = settings.ray_cpus
    if settings.ray_client_port:
        options["ray-client-server-port"] = settings.ray_client_port
    if not settings.loopback:
        options["node-ip-address"] = settings.host
    command += [f"--{name}={value}" for name, value in options.items()]
    return Part("ray", "Ray head", settings.ray_dashboard_url, tuple(command))


def _mlflow(settings: Settings) -> Part:
    # Its requests are short and SQLite has one writer: a second process would only take another 280 MB.
    return Part("mlflow", "MLflow server", settings.mlflow_url, _server("mlflow"))


def _server(name: str) -> tuple[str, ...]:
    return sys.executable, "-m", "infra.local.servers", name


def _prefect(settings: Settings) -> tuple[Part, Part]:
    prefect = executable("prefect")
    worker = (
        *(prefect, "worker", "start", f"--pool={WORK_POOL}", "--type=process", f"--name={WORKER_NAME}"),
        "--install-policy=never",
    )
    return (
        Part("prefect", "Prefect server", settings.prefect_url, _server("prefect")),
        Part("worker", "Prefect worker", "", worker, alone=False, client=True, stop_seconds=4),
    )


def _keeper(settings: Settings) -> Part:
    command = (sys.executable, "-m", "infra.local.keeper")
    return Part("keeper", "Ray Serve", settings.serve_url, command, client=True, stop_seconds=2)
