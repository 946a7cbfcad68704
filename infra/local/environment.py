"""The environment variables and folders of the local platform's processes."""

from __future__ import annotations

import os
import secrets
from math import ceil
from pathlib import Path

from infra.local.haproxy import haproxy_program, write_haproxy_program
from infra.local.ports import ray_port
from karat.credentials import make_logins, make_private, mlflow_login, prefect_login, write_secret
from karat.errors import PlatformError
from karat.fingerprint import fingerprint_bytes
from karat.home import home_token
from karat.settings import Settings

#: A request that no replica takes up is let go of in time, and not only when its caller gives up.
REQUEST_SECONDS = 60.0


def runtime_folder(settings: Settings) -> Path:
    """Where sockets live: a short path of its own for each home.

    A Unix socket's path ends at 107 bytes, HAProxy's at 97, of which Ray takes 57 for the name of a node.
    """
    whose = f"{os.getuid()} {settings.home.resolve()}"
    return Path(f"/tmp/karat-{fingerprint_bytes(whose.encode(), size=4)}")


def haproxy_folder(settings: Settings) -> Path:
    """The folder of HAProxy's sockets."""
    return runtime_folder(settings) / "h"


def make_folders(settings: Settings) -> None:
    """Makes the home's folders and the runtime folder, which nobody else may enter."""
    for name in ("supervisor", "logs", "mlflow/artifacts", "prefect", "ray", "serve", "jobs", "lake"):
        (settings.home / name).mkdir(parents=True, exist_ok=True)
    make_private(settings.home)
    home_token(settings.home / "mlflow" / "artifacts")
    runtime = runtime_folder(settings)
    runtime.mkdir(mode=0o700, exist_ok=True)
    state = runtime.stat()
    if state.st_uid != os.getuid() or state.st_mode & 0o077:
        raise PlatformError(
            f"{runtime} belongs to somebody else, or others may enter it",
            where=str(runtime),
            remedy=f"remove it, or make it yours alone: chmod 700 {runtime}",
        )
    write_haproxy_program(settings, haproxy_folder(settings))


def token_file(settings: Settings) -> Path:
    """The file that holds Ray's token."""
    return settings.home / "ray" / "token"


def make_credentials(settings: Settings) -> None:
    """Writes Ray's token and the servers' logins once, readable by their owner alone."""
    write_secret(token_file(settings), secrets.token_hex(32))
    make_logins(settings)


def server_secrets(settings: Settings, part: str) -> dict[str, str]:
    """What the program of ``part`` alone finds in its environment besides ``platform_environment``."""
    login = prefect_login(settings)
    if login is None or part not in ("prefect", "worker"):
        return {}
    client = {"PREFECT_API_AUTH_STRING": login.text}
    return client | ({"PREFECT_SERVER_API_AUTH_STRING": login.text} if part == "prefect" else {})


def client_secrets(settings: Settings) -> dict[str, str]:
    """What a client of Prefect and MLflow must find in its environment to be let in."""
    out = {}
    if login := prefect_login(settings):
        out["PREFECT_API_AUTH_STRING"] = login.text
    if login := mlflow_login(settings):
        out |= {"MLFLOW_TRACKING_USERNAME": login.user, "MLFLOW_TRACKING_PASSWORD": login.password}
    return out


def platform_environment(settings: Settings) -> dict[str, str]:
    """What a client or child of the platform must find in its environment; no secret is among it."""
    return {
        **settings.as_environment(),
        **_prefect(settings),
        **_ray(settings),
        "MLFLOW_TRACKING_URI": settings.mlflow_url,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        # Seven processes and 2 GB for GenAI jobs that Karat has none of.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "DO_NOT_TRACK": "1",
        # A proxy for the outside world must not be asked for what runs here.
        "NO_PROXY": _no_proxy(settings),
        "no_proxy": _no_proxy(settings),
    }


def _prefect(settings: Settings) -> dict[str, str]:
    pages = (settings.host, "127.0.0.1", "localhost")
    return {
        "PREFECT_API_URL": settings.prefect_api_url,
        "PREFECT_HOME": str(settings.home / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # By default the page of any origin may call the API.
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": ",".join(
            dict.fromkeys(f"http://{host}:{settings.prefect_port}" for host in pages)
        ),
        "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
        # Killed flow processes are found by the heartbeats that they no longer send; 30 s is the least there is.
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        # A run starts, and its lines appear, within a second or two; ten and two are Prefect's own.
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.5",
    }


def _ray(settings: Settings) -> dict[str, str]:
    haproxy = haproxy_folder(settings)
    out = {
        "RAY_AUTH_MODE": "token" if settings.auth == "on" else "disabled",
        "RAY_AUTH_TOKEN_PATH": str(token_file(settings)),
        "RAY_USAGE_STATS_ENABLED": "0",
        # The agent keeps every series of every worker that ever ran, some until a Prometheus asks, others for good.
        "RAY_enable_metrics_collection": "1" if settings.ray_metrics else "0",
        # So many logs of workers does its monitor hold open before it lets go of those that have ended.
        "RAY_LOG_MONITOR_MAX_OPEN_FILES": "64",
        "AUTOSCALER_METRIC_PORT": str(ray_port(settings, "autoscaler_metrics")),
        "DASHBOARD_METRIC_PORT": str(ray_port(settings, "dashboard_metrics")),
        # Both must be there before Ray starts: ten times the requests a second (docs/decisions).
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        # Serve's controller looks at its few replicas twice a second: ten times, Ray's default, is a sixth of what an
        # idle platform costs.
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
        # Figures of processes on the dashboard's pages, four times as old as by default.
        "REPORTER_UPDATE_INTERVAL_MS": "10000",
        "NODE_STATS_UPDATE_INTERVAL_SECONDS": "30",
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ray_port(settings, "fallback_http")),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(ray_port(settings, "fallback_grpc")),
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(haproxy_program(settings)),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ray_port(settings, "haproxy_metrics")),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ray_port(settings, "haproxy_statistics")),
        # Seconds without a byte in either direction; a replica gives up before that, with an answer.
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(ceil(settings.http.answer_seconds)),
        "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": str(ceil(REQUEST_SECONDS + 5)),
        "RAY_SERVE_HAPROXY_MAXCONN": str(settings.http.connections),
        # A replica that dies in the midst of a request leaves it without an answer: the other one is asked. Every call
        # may be made twice. Twice only, so that a request which kills its replica does not go round.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        "RAY_SERVE_HAPROXY_RETRIES": "2",
        # The first connection that a replica refuses takes it out until its health checks pass again. Ray's default of
        # three would use up the tries of a request where that replica is the only one that HAProxy has at the moment.
        "RAY_SERVE_HAPROXY_OBSERVE_ERROR_LIMIT": "1",
        "RAY_SERVE_HAPROXY_NBTHREAD": str(min(4, os.cpu_count() or 1)),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(haproxy / "metrics.sock"),
    }
    if settings.loopback:
        # Ray then takes 127.0.0.1 for the node's address and binds nothing else. On Linux, too.
        out["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    return out


def _no_proxy(settings: Settings) -> str:
    known = [h for h in os.environ.get("NO_PROXY", os.environ.get("no_proxy", "")).split(",") if h]
    return ",".join(dict.fromkeys([*known, "127.0.0.1", "localhost", settings.host]))


#: What a caller's environment may hold that would lead a client elsewhere.
MISLEADING = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "PREFECT_PROFILE", "PREFECT_API_KEY")
#: Secrets that a caller's environment may hold; a process of the platform gets its own.
CLIENT_SECRETS = (
    "PREFECT_API_AUTH_STRING",
    "PREFECT_SERVER_API_AUTH_STRING",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "RAY_AUTH_TOKEN",
)


def use_platform(settings: Settings) -> None:
    """Makes this process a client of the platform: its ``os.environ`` is filled in, what misleads is taken out.

    Call it before Prefect or Ray are imported: both read the environment then.
    """
    for name in MISLEADING:
        os.environ.pop(name, None)
    os.environ.update(platform_environment(settings) | client_secrets(settings))
