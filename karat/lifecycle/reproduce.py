"""The training set of a registered version: from its own record, and what its tags say of rows that were erased."""

from __future__ import annotations

from karat.lake import Lake
from karat.lifecycle.candidate import SPLIT
from karat.registry.records import ModelVersion
from karat.registry.store import Registry
from karat.training_sets.functions import FunctionLibrary
from karat.training_sets.reproduce import ErasedRows, TrainingSetRecord, rebuild_training_set
from karat.training_sets.spine import ROW_NUMBER
from karat.training_sets.training_set import TrainingSet


def rebuild(
    lake: Lake, registry: Registry, version: ModelVersion, library: FunctionLibrary | None = None
) -> TrainingSet:
    """Byte for byte, but for erased rows. A version from before spines were stored has its own in its folder.

    Raises RebuildFailed, FunctionNotFound, FunctionChanged.
    """
    metadata = registry.metadata(version)
    spine = None
    if "stored" not in metadata["pins"]["spine"]:
        spine = registry.spine(version).sort(ROW_NUMBER).drop(ROW_NUMBER, SPLIT, strict=False)
    record = TrainingSetRecord.from_metadata(metadata)
    return rebuild_training_set(lake, record, library, erased=ErasedRows.from_tags(version.tags), spine=spine)
