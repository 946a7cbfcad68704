"""Rows that a candidate is trained on: in memory below a measured size, in files above it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from karat.declare.declared_model import DeclaredModel
from karat.executors import Executor, LocalExecutor, Progress, silent
from karat.fingerprint import fingerprint
from karat.lake import Lake
from karat.settings import TRAINING_FILES_ABOVE
from karat.training.fit_distributor import DistributedFitter
from karat.training.fit_placement import place_fit
from karat.training.row_stream import RowSource
from karat.training.split import split_rule
from karat.training_sets.declared_training_set import declared_sources, declared_training_set
from karat.training_sets.labels import label_spine
from karat.training_sets.row_sample import TEST_ROWS, TRAIN_CELLS, sample_training_set
from karat.training_sets.sharded_build import build_training_set
from karat.training_sets.training_set import TrainingSet

#: The folder of a catalog in which each model has the files of its newest large training set.
FOLDER = "training_sets"


@dataclass(frozen=True)
class Sharding:
    """When and by whom a training set is built in files.

    Attributes:
        executor: Runs the shards.
        above: Rows of the spine table above which it is.
        train_cells: Most cells (rows times columns) of the training part that one process learns from.
        test_rows: Most test rows that plots, importance and the bootstrap see.
    """

    executor: Executor
    above: int = TRAINING_FILES_ABOVE
    train_cells: int = TRAIN_CELLS
    test_rows: int = TEST_ROWS


def candidate_rows(
    model: DeclaredModel,
    lake: Lake,
    sharding: Sharding | None = None,
    progress: Progress = silent,
    *,
    fitter: DistributedFitter | None = None,
) -> TrainingSet:
    """Return the declared training set; of a large one, what one process works on, the whole being in files.

    Args:
        model: The declared model.
        lake: Holds gold and feature tables.
        sharding: When it is built in files; by default above ``TRAINING_FILES_ABOVE`` rows, in this process.
        progress: Receives each step.
        fitter: Runs the workers of a distributed fit, which stream the files; None fits in one process.

    Raises:
        KaratError: what labels and lookups raise.
    """
    sharding = sharding or Sharding(LocalExecutor())
    if not lake.exists(model.spine_name) or lake.count(model.spine_name) <= sharding.above:
        return declared_training_set(model, lake, label_spine(model, lake))
    project = model.project
    tables = {project.table_name(lookup.table) for lookup in model.spec.lookups}
    read = {str(name): lake.version(name) for name in tables if lake.exists(name)}
    what = fingerprint([model.definition_hash, declared_sources(model, lake), read], size=8)
    built = build_training_set(
        model,
        lake,
        _folder(lake, project.catalog, model.name.short, what),
        partial(split_rule, model.spec, time=model.spine.time, entity=model.spine.entity),
        executor=sharding.executor,
        progress=progress,
    )
    streams = False
    if fitter is not None and (source := RowSource.of_declared(model, lake, built)) is not None:
        rows = built.files.count("train")
        streams = place_fit(model.spec, rows, rows * source.width, fitter.cluster).plan is not None
    return sample_training_set(
        built,
        model.spine.primary_key,
        train_cells=sharding.train_cells,
        test_rows=sharding.test_rows,
        streams=streams,
    )


def delete_files(lake: Lake, catalog: str) -> None:
    """Delete the files of every training set of a catalog: they are written again when they are needed."""
    shutil.rmtree(lake.root / catalog / FOLDER, ignore_errors=True)


def _folder(lake: Lake, catalog: str, model: str, what: str) -> Path:
    """The folder of a model's files; those of its earlier training sets, and their unfinished builds, are deleted."""
    folder = lake.root / catalog / FOLDER / model / what
    for earlier in folder.parent.glob("*"):
        if earlier.name.removeprefix(".").partition("-build-")[0] != folder.name:
            shutil.rmtree(earlier, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder
