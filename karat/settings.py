"""The only reader of the environment. Every setting is ``KARAT_NAME``; nested ones ``KARAT_ONLINE__KIND``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from karat.errors import WrongCall, did_you_mean

Environment = Literal["rnd", "dev", "uat", "preprod", "prod"]
ENVIRONMENTS: tuple[str, ...] = ("rnd", "dev", "uat", "preprod", "prod")


class OnlineSettings(BaseModel):
    """The online store: ``kind`` names a file in ``karat/online``."""

    kind: str = "lmdb"
    map_size: int = Field(64 << 30, description="LMDB: bytes that its sparse map may grow to; alike in every process")
    url: SecretStr | None = Field(None, description="Redis: redis://, rediss:// (TLS) or unix://, with its password")
    namespace: str = Field("karat", description="Redis: what every key begins with")
    timeout: float = Field(2.0, gt=0, description="Redis: seconds after which it counts as out of reach")


class PredictionLogSettings(BaseModel):
    """The log of what was predicted online: ``catalog.monitoring.prediction_log``."""

    enabled: bool = True
    seconds: float = Field(10.0, gt=0, description="how long a prediction may wait until it is written")
    rows: int = Field(5_000, ge=1, description="how many may wait before they are written at once")
    most: int = Field(100_000, ge=1, description="how many are kept while the lake is away; then the oldest go")


class Settings(BaseSettings):
    """Settings of one process, read when constructed; makes no folder and touches no file."""

    model_config = SettingsConfigDict(env_prefix="KARAT_", env_nested_delimiter="__", extra="ignore")

    home: Path = Field(Path(".karat"), description="state: lake, online store, databases, logs")
    projects: Path = Field(Path("projects"), description="folder with one folder a project")
    environment: Environment = Field("dev", description="rnd, dev, uat, preprod or prod")
    online: OnlineSettings = OnlineSettings()
    prediction_log: PredictionLogSettings = PredictionLogSettings()

    host: str = Field("127.0.0.1", description="address that every server of the local platform binds")
    prefect_port: int = 4200
    mlflow_port: int = 5000
    ray_dashboard_port: int = Field(8265, description="Ray dashboard and Jobs API")
    serve_port: int = Field(8000, description="HTTP inference")
    console_port: int = 8800
    ray_gcs_port: int = Field(6389, description="Ray's head (not 6379: that is Redis')")
    ray_port_base: int = Field(
        8270, description="the first of 20 ports for Ray's own agents, HAProxy's metrics and statistics"
    )
    ray_client_port: int = Field(0, description="Ray client server; 0 leaves it off")
    ray_cpus: int | None = Field(None, description="CPUs that the local Ray offers; all of them by default")

    retry_attempts: int | None = Field(None, description="overrides a project's retries of a task")
    retry_delay_seconds: float | None = Field(None, description="overrides a project's delay between retries")

    def __init__(self, **given: Any) -> None:
        """Raises WrongCall, which names each setting that cannot be taken."""
        try:
            super().__init__(**given)
        except ValidationError as error:
            wrong = [f"KARAT_{'__'.join(map(str, e['loc']))}".upper() + f": {e['msg']}" for e in error.errors()]
            raise WrongCall(
                "settings cannot be taken:\n" + "\n".join(f"  - {line}" for line in wrong),
                remedy="mend them in the environment",
            ) from None

    @field_validator("home", "projects")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @property
    def lake(self) -> Path:
        return self.home / "lake"

    @property
    def mlflow_url(self) -> str:
        return f"http://{self.host}:{self.mlflow_port}"

    @property
    def prefect_url(self) -> str:
        """Prefect's pages; its API is at ``prefect_api_url``."""
        return f"http://{self.host}:{self.prefect_port}"

    @property
    def prefect_api_url(self) -> str:
        return f"{self.prefect_url}/api"

    @property
    def ray_dashboard_url(self) -> str:
        return f"http://{self.host}:{self.ray_dashboard_port}"

    @property
    def ray_address(self) -> str:
        return f"{self.host}:{self.ray_gcs_port}"

    @property
    def serve_url(self) -> str:
        return f"http://{self.host}:{self.serve_port}"

    @property
    def loopback(self) -> bool:
        """True where the servers can be reached from this machine alone."""
        return self.host == "localhost" or self.host.startswith("127.")

    def as_environment(self) -> dict[str, str]:
        """These settings as environment variables, for a process that must see the same ones. No secret is among them:
        a process inherits those, or is given ``secrets`` by who starts it."""
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
        """The secret ones as environment variables: for a child's environment alone, never for a file or an API."""
        return {} if self.online.url is None else {"KARAT_ONLINE__URL": self.online.url.get_secret_value()}


def unknown_settings() -> list[str]:
    """One line for each ``KARAT_`` variable of the environment that is no setting, with the nearest that is."""
    known = {f"KARAT_{name}".upper() for name in Settings.model_fields} | {"KARAT_PLATFORM_HOME", "KARAT_PLATFORM_PART"}
    given = {name for name in os.environ if name.startswith("KARAT_")}
    return [
        f"{name} is no setting. {did_you_mean(name, known)}"
        for name in sorted(given)
        if name.partition("__")[0].upper() not in known
    ]
