"""Rows that a candidate is trained on: in memory below a measured size, in files above it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from karat.declare.declared_model import DeclaredModel
from karat.executors import Executor, LocalExecutor, Progress, silent
from karat.fingerprint import fingerprint
from karat.lake import Lake
from karat.settings import TRAINING_FILES_ABOVE
from karat.training.split import split_rows, split_rule
from karat.training_sets.declared_training_set import declared_sources, declared_training_set
from karat.training_sets.labels import label_spine
from karat.training_sets.sampled import TEST_ROWS, TRAIN_CELLS, SampledTrainingSet, sample_training_set
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
    model: DeclaredModel, lake: Lake, sharding: Sharding | None = None, progress: Progress = silent
) -> TrainingSet:
    """Return the declared training set; of a large one, what one process works on, the whole being in files.

    Args:
        model: The declared model.
        lake: Holds gold and feature tables.
        sharding: When it is built in files; by default above ``TRAINING_FILES_ABOVE`` rows, in this process.
        progress: Receives each step.

    Raises:
        KaratError: what labels and lookups raise.
    """
    sharding = sharding or Sharding(LocalExecutor())
    if not lake.exists(model.spine_name) or lake.count(model.spine_name) <= sharding.above:
        return declared_training_set(model, lake, label_spine(model, lake))
    built = build_training_set(
        model,
        lake,
        _folder(model, lake),
        partial(split_rule, model.spec, time=model.spine.time, entity=model.spine.entity),
        executor=sharding.executor,
        progress=progress,
    )
    return sample_training_set(
        built, model.spine.primary_key, train_cells=sharding.train_cells, test_rows=sharding.test_rows
    )


def candidate_split(model: DeclaredModel, training_set: TrainingSet) -> pl.Series:
    """Return the part of each row of ``training_set.data``; a sample has that of the whole."""
    if isinstance(training_set, SampledTrainingSet):
        return training_set.parts
    return split_rows(training_set.data, model.spec, time=model.spine.time, entity=model.spine.entity)


def delete_files(lake: Lake, catalog: str) -> None:
    """Delete the files of every training set of a catalog: they are written again when they are needed."""
    shutil.rmtree(lake.root / catalog / FOLDER, ignore_errors=True)


def _folder(model: DeclaredModel, lake: Lake) -> Path:
    """The folder of the model's files; those of its earlier training sets are deleted."""
    tables = {lookup.table for lookup in model.spec.lookups}
    read = {t: lake.version(n) for t in tables if lake.exists(n := model.project.table_name(t))}
    what = fingerprint([model.definition_hash, declared_sources(model, lake), read], size=8)
    folder = lake.root / model.project.catalog / FOLDER / model.name.short / what
    for earlier in folder.parent.glob("*"):
        if earlier != folder:
            shutil.rmtree(earlier, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder
