"""Settings of a process. This is the only reader of the environment: ``KARAT_NAME``, nested ``KARAT_ONLINE__KIND``."""

from __future__ import annotations

import os
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from karat.errors import WrongCall, did_you_mean

Environment = Literal["rnd", "dev", "uat", "preprod", "prod"]
#: Rows of a spine table above which its training set is built in files: the process that holds it all would need more
#: than 4 GiB, and files are as fast.
TRAINING_FILES_ABOVE = 5_000_000
ENVIRONMENTS: tuple[str, ...] = ("rnd", "dev", "uat", "preprod", "prod")


class OnlineSettings(BaseModel):
    """Settings of the online store; ``kind`` names a file in ``karat/online``."""

    kind: str = "lmdb"
    map_size: int = Field(
        64 << 30, description="LMDB: the most bytes of its sparse memory map; the same in every process"
    )
    url: SecretStr | None = Field(None, description="Redis: redis://, rediss:// (TLS) or unix://, with its password")
    namespace: str = Field("karat", description="Redis: the prefix of every key")
    timeout: float = Field(2.0, gt=0, description="Redis: seconds until it counts as unreachable")


class PredictionLogSettings(BaseModel):
    """Settings of the prediction log, ``catalog.monitoring.prediction_log``."""

    enabled: bool = True
    seconds: float = Field(10.0, gt=0, description="seconds that a prediction may wait to be written")
    rows: int = Field(5_000, ge=1, description="how many predictions may wait before they are written")
    most: int = Field(
        100_000,
        ge=1,
        description="how many predictions are kept while the lake cannot be written; then the oldest are dropped",
    )


class HttpSettings(BaseModel):
    """Limits of HTTP inference, each of which ends a request with an answer."""

    body_bytes: int = Field(
        16 << 20, ge=1024, description="bytes of a request's body; it holds 1,000 predictions with all their features"
    )
    held_bytes: int = Field(
        256 << 20, ge=1 << 20, description="bytes of all bodies and large answers that a replica holds at once"
    )
    requests: int = Field(256, ge=1, description="requests that a replica answers at once")
    header_seconds: int = Field(10, ge=1, description="seconds for the header and the first 16 KiB of a body")
    body_seconds: float = Field(20.0, gt=0, description="seconds for the whole body")
    answer_seconds: float = Field(30.0, gt=0, description="seconds in which a caller must have read the answer")
    idle_seconds: int = Field(75, ge=1, description="seconds for which a connection may idle between two requests")
    connections: int = Field(4096, ge=16, description="open connections")


class Settings(BaseSettings):
    """Settings of one process, read from the environment when constructed.

    It creates no folder and opens no file.

    Raises:
        WrongCall: Settings are invalid; the message lists each one.
    """

    model_config = SettingsConfigDict(env_prefix="KARAT_", env_nested_delimiter="__", extra="ignore")

    home: Path = Field(Path(".karat"), description="state: lake, online store, databases, logs")
    projects: Path = Field(Path("projects"), description="folder with one folder per project")
    environment: Environment = Field("dev", description="rnd, dev, uat, preprod or prod")
    online: OnlineSettings = OnlineSettings()
    prediction_log: PredictionLogSettings = PredictionLogSettings()
    http: HttpSettings = HttpSettings()

    host: str = Field("127.0.0.1", description="address that every server of the local platform binds")
    allowed_hosts: str = Field(
        "", description="further names that the servers are called by, with commas, as behind a proxy"
    )
    auth: Literal["on", "off"] = Field("on", description="off: no server asks for a login; on loopback alone")
    serve_auth: Literal["auto", "on", "off"] = Field(
        "auto", description="whether HTTP inference asks for a login; auto: but for rnd and dev on loopback"
    )
    prefect_port: int = 4200
    mlflow_port: int = 5000
    ray_dashboard_port: int = Field(8265, description="Ray dashboard and Jobs API")
    serve_port: int = Field(8000, description="HTTP inference")
    serve_replicas: int = Field(
        2, ge=1, le=64, description="processes that answer predictions; with two, one can die unnoticed"
    )
    console_port: int = 8800
    ray_gcs_port: int = Field(6389, description="Ray's head (not 6379: that is Redis')")
    ray_port_base: int = Field(
        8270, description="the first of 20 ports for Ray's own agents, HAProxy's metrics and statistics"
    )
    ray_client_port: int = Field(0, description="Ray client server; 0 leaves it off")
    ray_cpus: int | None = Field(None, description="CPUs of the local Ray; all by default")
    ray_metrics: bool = Field(
        False,
        description="Ray's metrics for a Prometheus; without a reader they only grow in its agent",
    )

    job_pending_seconds: float = Field(
        25.0,
        gt=0,
        description="a Ray job that has not started after this time is given up; 12 times as long on busy nodes",
    )

    training_files_above: int = Field(
        TRAINING_FILES_ABOVE,
        ge=0,
        description="rows of a spine table above which its training set is built in files, in shards on Ray",
    )

    retry_attempts: int | None = Field(None, description="overrides a project's retries of a task")
    retry_delay_seconds: float | None = Field(None, description="overrides a project's delay between retries")

    def __init__(self, **given: Any) -> None:
        try:
            super().__init__(**given)
        except ValidationError as error:
            wrong = [
                f"KARAT_{'__'.join(map(str, e['loc'] or ('auth',)))}".upper() + f": {e['msg']}" for e in error.errors()
            ]
            raise WrongCall(
                "these settings are invalid:\n" + "\n".join(f"  - {line}" for line in wrong),
                remedy="correct them in the environment",
            ) from None

    @field_validator("home", "projects")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @model_validator(mode="after")
    def _open_on_loopback_alone(self) -> Settings:
        if self.auth == "off" and not self.loopback:
            raise ValueError(f"off is for a platform on loopback; KARAT_HOST is {self.host}")
        return self

    @property
    def lake(self) -> Path:
        """The folder of the lake."""
        return self.home / "lake"

    @property
    def staged_models(self) -> Path:
        """The folder with a copy of every champion's files, for the replicas."""
        return self.home / "serve" / "models"

    @property
    def mlflow_url(self) -> str:
        """The address of MLflow's tracking server and pages."""
        return f"http://{self.host}:{self.mlflow_port}"

    @property
    def prefect_url(self) -> str:
        """The address of Prefect's pages; its API is at ``prefect_api_url``."""
        return f"http://{self.host}:{self.prefect_port}"

    @property
    def prefect_api_url(self) -> str:
        """The address of Prefect's API."""
        return f"{self.prefect_url}/api"

    @property
    def ray_dashboard_url(self) -> str:
        """The address of Ray's dashboard and Jobs API."""
        return f"http://{self.host}:{self.ray_dashboard_port}"

    @property
    def ray_address(self) -> str:
        """Host and port of Ray's head."""
        return f"{self.host}:{self.ray_gcs_port}"

    @property
    def serve_is_open(self) -> bool:
        """Whether HTTP inference answers without a login."""
        if self.auth == "off" or self.serve_auth == "off":
            return True
        return self.serve_auth == "auto" and self.loopback and self.environment in ("rnd", "dev")

    @property
    def serve_url(self) -> str:
        """The address of HTTP inference."""
        return f"http://{self.host}:{self.serve_port}"

    @property
    def loopback(self) -> bool:
        """Whether the servers listen on this machine's loopback address only."""
        try:
            return IPv4Address(self.host).is_loopback
        except ValueError:  # a name
            return self.host == "localhost"

    def as_environment(self) -> dict[str, str]:
        """These settings as environment variables, for a child process that must have the same ones.

        Returns:
            Name -> value, without secrets: a process inherits them, or gets ``secrets`` from its parent.
        """
        out: dict[str, str] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, BaseModel):
                plain = {k: v for k, v in value.model_dump().items() if not isinstance(v, SecretStr | None)}
                out |= {f"KARAT_{name}__{k}".upper(): str(v) for k, v in plain.items()}
            elif value is not None:
                out[f"KARAT_{name}".upper()] = str(value)
        return out

    def secrets(self) -> dict[str, str]:
        """The secret settings as environment variables: for a child's environment only, never for a file or an API."""
        return {} if self.online.url is None else {"KARAT_ONLINE__URL": self.online.url.get_secret_value()}


def unknown_settings() -> list[str]:
    """Check the environment for misspelt settings.

    Returns:
        One line for each ``KARAT_`` variable that is no setting, with the nearest setting.
    """
    known = {f"KARAT_{name}".upper() for name in Settings.model_fields} | {
        f"KARAT_PLATFORM_{name}" for name in ("HOME", "PART", "FORKS", "ROOM")
    }
    given = {name for name in os.environ if name.startswith("KARAT_")}
    return [
        f"{name} is not a setting. {did_you_mean(name, known)}"
        for name in sorted(given)
        if name.partition("__")[0].upper() not in known
    ]
