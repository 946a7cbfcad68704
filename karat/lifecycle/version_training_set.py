"""Reproduction of a version's training set, from its metadata and from its tag of erased rows."""

from __future__ import annotations

from pathlib import Path

from karat.executors import Executor
from karat.lake import Lake
from karat.lifecycle.model_context import ModelContext
from karat.registry.records import ModelVersion
from karat.registry.store import Registry
from karat.training.split import SPLIT
from karat.training_sets.functions import FunctionLibrary
from karat.training_sets.rebuild_record import ErasedRows
from karat.training_sets.reproduce import rebuild_training_set
from karat.training_sets.sharded_build import FileTrainingSet
from karat.training_sets.sharded_build import rebuild_files as rebuild_set_files
from karat.training_sets.spine import ROW_NUMBER
from karat.training_sets.training_set import TrainingSet


def rebuild(
    lake: Lake, registry: Registry, version: ModelVersion, library: FunctionLibrary | None = None
) -> TrainingSet:
    """Reproduce the training set byte for byte, except for erased rows.

    A version from before spines were stored has its spine in its folder.

    Raises:
        RebuildFailed: a table's version is gone, or the data differ.
        FunctionNotFound: a feature function is gone.
        FunctionChanged: a feature function's source is not the one of training.
    """
    metadata = registry.metadata(version)
    spine = None
    if "stored" not in metadata.pins["spine"]:
        spine = registry.spine(version).sort(ROW_NUMBER).drop(ROW_NUMBER, SPLIT, strict=False)
    return rebuild_training_set(
        lake, metadata.training_set, library, erased=ErasedRows.from_json(version.own_tags.erased), spine=spine
    )


def rebuild_files(
    context: ModelContext,
    version: ModelVersion,
    folder: Path,
    *,
    executor: Executor | None = None,
    shards: int | None = None,
) -> FileTrainingSet:
    """Reproduce the training set of a declared model as files, in blocks of entities, for any size; see ``rebuild``.

    Args:
        context: The model with its lake and registry.
        version: The version.
        folder: The folder of the files.
        executor: Runs the shards; in this process by default.
        shards: Most shards; by default one for each block.
    """
    record = context.registry.metadata(version).training_set
    erased = ErasedRows.from_json(version.own_tags.erased)
    return rebuild_set_files(context, context.lake, record, folder, erased=erased, executor=executor, shards=shards)
