"""What is logged of one version, and the order in which it is: what readers go by comes last."""

from __future__ import annotations

import json
import math
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import psutil
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput, LoggedModelOutput, Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature

from karat.names import ModelName
from karat.registry.connection import Connection
from karat.registry.folder import write_folder
from karat.registry.records import Servable

#: MLflow's limits on the text of a parameter and of a version's tag.
PARAMETER_LIMIT, TAG_LIMIT = 6000, 5000
#: The card's file among a run's artifacts.
CARD = "model_card.md"


@dataclass(frozen=True)
class VersionEntry:
    """A version to be registered.

    ``metrics`` and ``baseline`` are of the test rows, ``train_metrics`` of the others; ``judged`` are the figures of a
    Judgement, under their own names; ``draw`` writes plots into a folder; ``curve`` holds losses per round.
    ``metadata`` becomes ``karat.json``, ``card`` the run's ``model_card.md``; ``tags`` those of run, logged model and
    version.
    """

    name: ModelName
    experiment: str
    model: Servable = field(repr=False)
    signature: ModelSignature = field(repr=False)
    example: pd.DataFrame = field(repr=False)
    spine: pl.DataFrame = field(repr=False)
    metadata: dict[str, Any] = field(repr=False)
    tags: Mapping[str, str]
    artifact: str = "model"
    description: str = ""
    card: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    baseline: Mapping[str, float] = field(default_factory=dict)
    train_metrics: Mapping[str, float] = field(default_factory=dict)
    judged: Mapping[str, float] = field(default_factory=dict)
    curve: Mapping[str, list[float]] = field(default_factory=dict)
    draw: Callable[[Path], list[Path]] | None = None


def write_entry(connection: Connection, entry: VersionEntry) -> int:
    """Run -> logged model -> version, in that order, so that whatever a kill leaves behind is no version.

    Returns the version's number. A run of the same model that a killed process left open is closed as killed.
    """
    client = connection.client
    experiment = connection.experiment(entry.experiment)
    close_orphans(connection, experiment)
    run = client.create_run(
        experiment,
        run_name=f"{entry.name.name} {time.strftime('%Y-%m-%d %H:%M', time.gmtime())}",
        tags={**entry.tags, "karat.process": _process()},
    )
    run_id = run.info.run_id
    try:
        model_id = _logged_model(connection, experiment, run_id, entry)
        _metrics(client, run_id, model_id, entry)
        _files(connection, run, entry)
        client.log_inputs(run_id, datasets=_datasets(entry), models=[LoggedModelInput(model_id)])
        client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
        number = _register(connection, run_id, model_id, entry)
        client.set_terminated(run_id, "FINISHED")
        return number
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise


def _logged_model(connection: Connection, experiment: str, run_id: str, entry: VersionEntry) -> str:
    client = connection.client
    logged = client.create_logged_model(
        experiment,
        name=entry.artifact,
        source_run_id=run_id,
        tags=dict(entry.tags),
        params={k: str(v)[:PARAMETER_LIMIT] for k, v in entry.parameters.items()},
        model_type=entry.metadata.get("kind"),
    )
    work = Path(tempfile.mkdtemp(prefix="karat-log-"))
    try:
        metadata = {**entry.metadata, "run_id": run_id, "model_id": logged.model_id}
        write_folder(
            work / "model",
            model=entry.model,
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
    return str(logged.model_id)


def _metrics(client: Any, run_id: str, model_id: str, entry: VersionEntry) -> None:
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
        if entry.draw is not None:
            (folder / "plots").mkdir()
            entry.draw(folder / "plots")
        local = connection.local(run.info.artifact_uri)
        if local is not None:
            shutil.copytree(folder, local, dirs_exist_ok=True)
        else:
            connection.client.log_artifacts(run.info.run_id, str(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _datasets(entry: VersionEntry) -> list[DatasetInput]:
    """The training set as MLflow's dataset input, and every table it was looked up from."""
    pins = entry.metadata["pins"]
    spine = Dataset(
        name=f"{entry.name.name} training set",
        digest=entry.metadata["digest"][:36],
        source_type="local",
        source=json.dumps({"spine": pins["spine"]["digest"], "rows": pins["spine"]["rows"]}),
        schema=json.dumps({"columns": pins["spine"]["schema"]})[:65000],
        profile=json.dumps({"num_rows": pins["spine"]["rows"]}),
    )
    inputs = [DatasetInput(spine, [InputTag("mlflow.data.context", "training")])]
    for record in pins["lookups"]:
        # Written by hand: MLflow's own DeltaDatasetSource drops the version where it is 0.
        table = Dataset(
            name=record["table"],
            digest=f"version {record['version']}",
            source_type="delta_table",
            source=json.dumps({"delta_table_name": record["table"], "delta_table_version": record["version"]}),
            schema=json.dumps({"columns": record["schema"]})[:65000],
        )
        inputs.append(DatasetInput(table, [InputTag("mlflow.data.context", "features")]))
    return inputs


def _register(connection: Connection, run_id: str, model_id: str, entry: VersionEntry) -> int:
    client, name = connection.client, str(entry.name)
    try:
        client.create_registered_model(name, tags={"karat.project": entry.tags.get("karat.project", "")})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    # A server looks a models:/ID up for itself; without one MLflow would look in its global store, so the place.
    source = f"models:/{model_id}" if connection.remote else client.get_logged_model(model_id).artifact_location
    tags = {k: str(v)[:TAG_LIMIT] for k, v in entry.tags.items()}
    made = client.create_model_version(
        name,
        source=source,
        run_id=run_id,
        tags={**tags, "karat.model_id": model_id},
        description=entry.description or None,
        model_id=model_id,
    )
    return int(made.version)


def close_orphans(connection: Connection, experiment: str) -> None:
    """What processes that were killed on this machine left half done: their runs end, their loose models go."""
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
    client.set_tag(run_id, "karat.killed", "its process is gone")
    client.set_terminated(run_id, "KILLED")


def is_orphan(run: Run) -> bool:
    """Whether a process of this machine began the run and is gone."""
    host, _, process = run.data.tags.get("karat.process", "").partition("/")
    pid, _, began = process.partition("/")
    return host == socket.gethostname() and pid.isdigit() and not _alive(int(pid), began)


def _process() -> str:
    return f"{socket.gethostname()}/{os.getpid()}/{psutil.Process().create_time():.0f}"


def _alive(pid: int, began: str) -> bool:
    """The same process, not another that was given its number since."""
    try:
        return f"{psutil.Process(pid).create_time():.0f}" == began
    except psutil.Error:
        return False


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


__all__ = ["VersionEntry", "close_orphans", "write_entry"]
