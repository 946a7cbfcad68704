"""Connection to MLflow: through its server, or without one to the same database and folder that the server uses."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import httpx
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE as MLFLOW_NOTE

from karat.errors import DiskFull, ServiceDown, StoreUnreachable, is_disk_full

# MLflow reads these at each request. Its own defaults keep a caller waiting for minutes when the server is gone, draw a
# bar for each handful of small files, and print a run's address, for which the server is asked, at the run's end.
_CALM = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
#: MLflow's page otherwise guesses from the runs whether they train a model or trace an assistant.
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
PROBES, PROBE_SECONDS = 3, 2.0
_UNREACHABLE = ("API request to", "Max retries exceeded", "Connection refused", "unable to open database file")


def is_healthy(url: str, *, probes: int = 1) -> bool:
    """Return whether an MLflow server at ``url`` reports that it is healthy."""
    tls = url.startswith("https")  # without it there is nothing to verify, and reading the certificates takes longest
    for probe in range(probes):
        try:
            if httpx.get(f"{url}/health", timeout=PROBE_SECONDS, verify=tls).status_code == 200:
                return True
        except httpx.HTTPError:
            pass
        if probe + 1 < probes:
            time.sleep(0.5)
    return False


class Connection:
    """One MLflow, by its tracking URI: ``http://...``, or ``sqlite:///...`` together with a folder for artifacts."""

    def __init__(self, tracking_uri: str, artifacts: Path | None = None) -> None:
        self.uri = tracking_uri
        self.remote = tracking_uri.startswith("http")
        if artifacts is None and not self.remote:
            artifacts = Path(tracking_uri.removeprefix("sqlite:///")).parent / "artifacts"
        self.artifacts = artifacts

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's client.

        Raises:
            ServiceDown: the server does not answer within seconds.
        """
        if self.remote and not is_healthy(self.uri, probes=PROBES):
            raise ServiceDown(
                "MLflow does not answer", where=self.uri, remedy="start the platform: karat up; then: karat status"
            )
        if not self.remote:
            Path(self.uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        with karat_errors(self.uri):
            return MlflowClient(self.uri, registry_uri=self.uri)

    @property
    def models(self) -> Any:
        """MLflow's client of the registry alone.

        ``client`` asks the server before every tag and alias whether the model is a prompt: a third of all requests of
        a model's training and promotion.
        """
        return self.client._get_registry_client()  # noqa: SLF001  # MLflow has no public way

    def run_files(self, run_id: str) -> ArtifactRepository:
        """Return MLflow's repository of a run's artifacts; its public client cannot delete."""
        return self.client._tracking_client._get_artifact_repo(run_id)  # noqa: SLF001

    def model_files(self, model_id: str) -> ArtifactRepository:
        """Return MLflow's repository of a logged model's files; its public client cannot download some of them."""
        return self.client._tracking_client._get_artifact_repo(model_id, resource="logged_model")  # noqa: SLF001

    @property
    def empty(self) -> bool:
        """Whether there is neither a server nor a database yet; reading then makes no database."""
        return not self.remote and not Path(self.uri.removeprefix("sqlite:///")).exists()

    def experiment(self, name: str, description: str = "") -> str:
        """Return the id of the experiment, which is made at first use; its page is that of model training.

        Args:
            name: The experiment.
            description: What MLflow's page says of an experiment that has no description yet.
        """
        wanted = _EXPERIMENT_TAGS | ({MLFLOW_NOTE: description} if description else {})
        with karat_errors(self.uri):
            found = self.client.get_experiment_by_name(name)
            if found is not None and found.lifecycle_stage == "active":
                for key in wanted.keys() - found.tags.keys():
                    self.client.set_experiment_tag(found.experiment_id, key, wanted[key])
                return str(found.experiment_id)
            if found is not None:
                self.client.restore_experiment(found.experiment_id)
                return str(found.experiment_id)
            # A server knows where its artifacts go. Without one they get the server's scheme, so that it serves them
            # when it is started; ``local`` says where on this machine that is.
            location = None if self.remote else f"mlflow-artifacts:/{name}"
            try:
                return str(self.client.create_experiment(name, artifact_location=location, tags=wanted))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                made = self.client.get_experiment_by_name(name)
                assert made is not None
                return str(made.experiment_id)

    def local(self, location: str) -> Path | None:
        """Return the folder on this machine that an artifact location means; None if it is elsewhere."""
        parsed = urlparse(location)
        if parsed.scheme in ("", "file"):
            return Path(parsed.path)
        if parsed.scheme == "mlflow-artifacts" and self.artifacts is not None and not self.remote:
            return self.artifacts / parsed.path.lstrip("/")
        return None


@contextmanager
def karat_errors(where: str) -> Iterator[None]:
    """Raise MLflow's exceptions for "unreachable" and "disk full" as Karat's own."""
    for name, value in _CALM.items():
        os.environ.setdefault(name, value)
    try:
        yield
    except MlflowException as error:
        if is_disk_full(error):
            raise DiskFull("MLflow's disk is full", where=where, remedy="free some space, then run again") from error
        if any(text in str(error) for text in _UNREACHABLE):
            raise StoreUnreachable(
                f"MLflow broke off: {str(error).splitlines()[0][:200]}",
                where=where,
                remedy="look at karat status; karat up starts what is down",
            ) from error
        raise
    except OSError as error:
        if is_disk_full(error):
            raise DiskFull("the disk is full", where=where, remedy="free some space, then run again") from error
        raise
