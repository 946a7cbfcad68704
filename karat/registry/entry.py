"""What the registry logs of one version, in the order run, model, version; the version is the commit point."""

from __future__ import annotations

import getpass
import json
import math
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import polars as pl
import psutil
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelInput, LoggedModelOutput, Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.utils.mlflow_tags import (
    MLFLOW_GIT_COMMIT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
    MLFLOW_USER,
)
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random

from karat.names import ModelName
from karat.registry.connection import Connection
from karat.registry.dataset_inputs import dataset_inputs
from karat.registry.folder import write_folder
from karat.registry.metadata import ModelMetadata
from karat.registry.records import Servable
from karat.registry.tags import KILLED, PROJECT, VersionTags

#: MLflow's limits on the text of a parameter and of a version's tag.
PARAMETER_LIMIT, TAG_LIMIT = 6000, 5000
#: The card's files among a run's artifacts, and the log of its training.
CARD, CARD_PAGE, TRAINING_LOG = "model_card.md", "model_card.html", "training.log"


@dataclass(frozen=True)
class TrialEntry:
    """A trial of a parameter search, logged as a child of its version's run.

    Attributes:
        name: The child run's name.
        parameters: The trial's parameters.
        metrics: Metrics on the validation rows, and its duration.
        curve: (round, loss), logged as the metric ``loss``.
        failed: Whether it ended with an error.
        tags: Tags of the child run.
    """

    name: str
    parameters: Mapping[str, object]
    metrics: Mapping[str, float]
    curve: Sequence[tuple[int, float]] = ()
    failed: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class VersionEntry:
    """A version to be registered.

    Attributes:
        name: Registered name.
        experiment: MLflow experiment.
        model: The fitted model.
        signature: MLflow's signature.
        example: Some rows of inputs.
        spine: Keys, label and split of the training set.
        metadata: Content of ``karat.json``.
        own_tags: Karat's tags of run, logged model and version.
        tags: The user's tags of the same three.
        artifact: Name of the logged model.
        description: The version's description in MLflow.
        card: The run's ``model_card.md``.
        parameters: Logged parameters.
        metrics: Metrics on the test rows.
        baseline: Metrics of the baseline on the same rows, logged as ``baseline_NAME``.
        train_metrics: Metrics on the training rows, logged as ``train_NAME``.
        judged: Metrics of the gain report, under their own names.
        curve: Part -> loss per round.
        draw: Writes plots into a folder.
        trials: Trials of the search that found its parameters.
        judged_model: The model that was evaluated, if ``model`` was fitted again afterwards.
        about: What the model predicts: the description of the registered model.
        records: Name of a JSON file among the run's artifacts -> its content.
        page: Renders the card and the plots as HTML.
        log: The run's ``training.log``.
        source: The command that trains it: MLflow's "source" of the run.
    """

    name: ModelName
    experiment: str
    model: Servable = field(repr=False)
    signature: ModelSignature = field(repr=False)
    example: pd.DataFrame = field(repr=False)
    spine: pl.DataFrame = field(repr=False)
    metadata: ModelMetadata = field(repr=False)
    own_tags: VersionTags
    tags: Mapping[str, str] = field(default_factory=dict)
    artifact: str = "model"
    description: str = ""
    card: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    baseline: Mapping[str, float] = field(default_factory=dict)
    train_metrics: Mapping[str, float] = field(default_factory=dict)
    judged: Mapping[str, float] = field(default_factory=dict)
    curve: Mapping[str, list[float]] = field(default_factory=dict)
    draw: Callable[[Path], list[Path]] | None = None
    trials: Sequence[TrialEntry] = field(default=(), repr=False)
    judged_model: Servable | None = field(default=None, repr=False)
    about: str = ""
    records: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    page: Callable[[str, list[Path]], str] | None = None
    log: str = field(default="", repr=False)
    source: str = ""

    @property
    def all_tags(self) -> dict[str, str]:
        """The user's tags and Karat's own, which win."""
        return {**self.tags, **self.own_tags.to_mlflow()}


def write_entry(connection: Connection, entry: VersionEntry) -> int:
    """Write run, logged model and version, in that order: whatever a kill leaves behind is no version.

    A run of the same model that a killed process left open is closed as killed.

    Args:
        connection: The MLflow.
        entry: The version.

    Returns:
        The version's number.
    """
    client = connection.client
    experiment = connection.experiment(
        entry.experiment, f"Trainings of {entry.name.name}: {entry.about}" if entry.about else ""
    )
    close_orphans(connection, experiment)
    run = client.create_run(
        experiment,
        run_name=f"{entry.name.name} {time.strftime('%Y-%m-%d %H:%M', time.gmtime())}",
        tags={
            **entry.all_tags,
            **VersionTags(process=_process()).to_mlflow(),
            **_run_fields(entry),
        },
    )
    run_id = run.info.run_id
    try:
        logged = _logged_model(connection, experiment, run_id, entry)
        model_id = str(logged.model_id)
        _metrics(client, run_id, model_id, entry)
        _files(connection, run, entry)
        _log_inputs(client, run_id, logged, entry)
        client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
        for trial in entry.trials:
            _log_trial(client, experiment, run_id, trial)
        number = _register(connection, run_id, model_id, entry)
        client.set_terminated(run_id, "FINISHED")
        return number
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise


def _run_fields(entry: VersionEntry) -> dict[str, str]:
    """The fields that MLflow's page of a run shows: description, user, source and commit."""
    fields = {
        MLFLOW_RUN_NOTE: entry.description[:TAG_LIMIT],
        MLFLOW_USER: _user(),
        MLFLOW_SOURCE_NAME: entry.source,
        MLFLOW_SOURCE_TYPE: "JOB" if entry.source else "",
        MLFLOW_GIT_COMMIT: entry.own_tags.commit or "",
    }
    return {name: value for name, value in fields.items() if value}


def _user() -> str:
    """The user of this process; "" in a container that knows no name for it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def _logged_model(connection: Connection, experiment: str, run_id: str, entry: VersionEntry) -> LoggedModel:
    client = connection.client
    logged = client.create_logged_model(
        experiment,
        name=entry.artifact,
        source_run_id=run_id,
        tags=entry.all_tags,
        params={k: str(v)[:PARAMETER_LIMIT] for k, v in entry.parameters.items()},
        model_type=entry.metadata.kind,
    )
    work = Path(tempfile.mkdtemp(prefix="karat-log-"))
    try:
        metadata = replace(entry.metadata, run_id=run_id, model_id=logged.model_id)
        write_folder(
            work / "model",
            model=entry.model,
            judged=entry.judged_model,
            metadata=metadata,
            spine=entry.spine,
            example=entry.example,
            signature=entry.signature,
        )
        local = connection.local(logged.artifact_location)
        if local is not None:
            shutil.copytree(work / "model", local, dirs_exist_ok=True)
        else:
            client.log_model_artifacts(logged.model_id, str(work / "model"))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    client.finalize_logged_model(logged.model_id, "READY")
    return logged


def _metrics(client: MlflowClient, run_id: str, model_id: str, entry: VersionEntry) -> None:
    now = int(time.time() * 1000)
    figures = {
        **entry.metrics,
        **{f"baseline_{k}": v for k, v in entry.baseline.items()},
        **{f"train_{k}": v for k, v in entry.train_metrics.items()},
        **entry.judged,
    }
    metrics = [Metric(k, float(v), now, 0, model_id=model_id, run_id=run_id) for k, v in figures.items() if _finite(v)]
    for part, losses in entry.curve.items():
        metrics += [Metric(f"curve_{part}", float(v), now, step) for step, v in enumerate(losses) if _finite(v)]
    params = [Param(k, str(v)[:PARAMETER_LIMIT]) for k, v in entry.parameters.items()]
    client.log_batch(run_id, metrics=metrics[:500], params=params)
    for start in range(500, len(metrics), 500):
        client.log_batch(run_id, metrics=metrics[start : start + 500])


def _files(connection: Connection, run: Run, entry: VersionEntry) -> None:
    """The card and the plots, in the run's own folder."""
    folder = Path(tempfile.mkdtemp(prefix="karat-run-"))
    try:
        if entry.card:
            (folder / CARD).write_text(entry.card)
        for name, record in entry.records.items():
            (folder / name).write_text(json.dumps(record, indent=1))
        if entry.log:
            (folder / TRAINING_LOG).write_text(entry.log)
        plots: list[Path] = []
        if entry.draw is not None:
            (folder / "plots").mkdir()
            plots = entry.draw(folder / "plots")
        if entry.page is not None:
            (folder / CARD_PAGE).write_text(entry.page(entry.card, plots))
        local = connection.local(run.info.artifact_uri)
        if local is not None:
            shutil.copytree(folder, local, dirs_exist_ok=True)
        else:
            connection.client.log_artifacts(run.info.run_id, str(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _log_trial(client: MlflowClient, experiment: str, parent: str, trial: TrialEntry) -> None:
    tags = {MLFLOW_PARENT_RUN_ID: parent, **{k: v[:TAG_LIMIT] for k, v in trial.tags.items()}}
    run_id = client.create_run(experiment, run_name=trial.name, tags=tags).info.run_id
    now = int(time.time() * 1000)
    metrics = [Metric(k, float(v), now, 0) for k, v in trial.metrics.items() if _finite(v)]
    metrics += [Metric("loss", loss, now, step) for step, loss in trial.curve if _finite(loss)]
    params = [Param(k, str(v)[:PARAMETER_LIMIT]) for k, v in trial.parameters.items()]
    client.log_batch(run_id, metrics=metrics, params=params)
    client.set_terminated(run_id, "FAILED" if trial.failed else "FINISHED")


@retry(
    retry=retry_if_exception(lambda error: "IntegrityError" in str(error)),
    wait=wait_random(0.05, 0.5),
    stop=stop_after_attempt(5),
    reraise=True,
)
def _log_inputs(client: MlflowClient, run_id: str, logged: LoggedModel, entry: VersionEntry) -> None:
    """Log the datasets. MLflow looks for each and then inserts it: of two runs at once, one must look again."""
    datasets = dataset_inputs(entry.name.name, logged.artifact_location, entry.metadata)
    client.log_inputs(run_id, datasets=datasets, models=[LoggedModelInput(logged.model_id)])


def _register(connection: Connection, run_id: str, model_id: str, entry: VersionEntry) -> int:
    client, name = connection.client, str(entry.name)
    try:
        tags = {PROJECT: entry.own_tags.project or ""}
        client.create_registered_model(name, tags=tags, description=entry.about or None)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    # A server looks a models:/ID up for itself; without one MLflow would look in its global store, so the place.
    source = f"models:/{model_id}" if connection.remote else client.get_logged_model(model_id).artifact_location
    tags = {k: str(v)[:TAG_LIMIT] for k, v in entry.all_tags.items()}
    made = client.create_model_version(
        name,
        source=source,
        run_id=run_id,
        tags={**tags, **VersionTags(model_id=model_id).to_mlflow()},
        description=entry.description or None,
        model_id=model_id,
    )
    return int(made.version)


def close_orphans(connection: Connection, experiment: str) -> None:
    """Close the runs that killed processes of this machine left open, and delete their unregistered models."""
    for run in connection.client.search_runs([experiment], filter_string="attributes.status = 'RUNNING'"):
        if is_orphan(run):
            _close(connection, experiment, run.info.run_id)


def _close(connection: Connection, experiment: str, run_id: str) -> None:
    client = connection.client
    if client.search_model_versions(f"run_id = '{run_id}'"):  # only its last step was missing
        client.set_terminated(run_id, "FINISHED")
        return
    for logged in client.search_logged_models([experiment], filter_string=f"source_run_id = '{run_id}'"):
        client.delete_logged_model(logged.model_id)
    client.set_tag(run_id, KILLED, "its process is gone")
    client.set_terminated(run_id, "KILLED")


def is_orphan(run: Run) -> bool:
    """Return whether a process of this machine began the run and is gone."""
    host, _, process = (VersionTags.from_mlflow(run.data.tags).process or "").partition("/")
    pid, _, began = process.partition("/")
    return host == socket.gethostname() and pid.isdigit() and not _alive(int(pid), began)


def _process() -> str:
    return f"{socket.gethostname()}/{os.getpid()}/{psutil.Process().create_time():.0f}"


def _alive(pid: int, began: str) -> bool:
    """Whether the same process runs, not another with its number."""
    try:
        return f"{psutil.Process(pid).create_time():.0f}" == began
    except psutil.Error:
        return False


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


__all__ = ["TrialEntry", "VersionEntry", "close_orphans", "write_entry"]
