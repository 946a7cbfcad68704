"""Reproduction of a training set from its stored spine, pinned tables and functions, checked by its digest."""

from __future__ import annotations

import polars as pl

from karat.errors import KaratError, RebuildFailed
from karat.lake import Lake
from karat.names import ModelName
from karat.training_sets.digest import RowDigest, digest
from karat.training_sets.feature_join import join_features
from karat.training_sets.functions import FunctionLibrary, PinnedFunction
from karat.training_sets.lookups import PinnedLookup
from karat.training_sets.pins import TrainingPins
from karat.training_sets.rebuild_record import ErasedRows, TrainingSetRecord, check_digest, stored_spine
from karat.training_sets.row_sample import SampledTrainingSet
from karat.training_sets.spine import read_spine, store_spine, store_spine_parts
from karat.training_sets.training_set import TrainingSet

#: Rows of a spine in files that are written at a time.
_STORED_ROWS = 1_000_000


def store_pins(lake: Lake, model: ModelName, training_set: TrainingSet) -> TrainingPins:
    """Store the spine and return the pins that a model keeps: with the stored spine and each column's digest."""
    pins = training_set.pins
    if isinstance(training_set, SampledTrainingSet) and training_set.whole is not None:
        whole = training_set.whole
        parts = (
            pl.DataFrame(pl.from_arrow(batch))
            for batch in whole.files.batches(columns=whole.spine_columns, batch_rows=_STORED_ROWS)
        )
        spine, columns = store_spine_parts(lake, model, training_set.spine.clear(), parts), dict(whole.columns)
    else:
        spine = store_spine(lake, model, training_set.spine)
        columns = RowDigest.of(training_set.data).by_column
    return {**pins, "spine": {**pins["spine"], "stored": spine.as_json()}, "columns": columns}


def rebuild_training_set(
    lake: Lake,
    record: TrainingSetRecord,
    library: FunctionLibrary | None = None,
    *,
    erased: ErasedRows | None = None,
    spine: pl.DataFrame | None = None,
) -> TrainingSet:
    """Reproduce the training set of a model, byte for byte, less the rows erased since.

    Args:
        lake: The lake.
        record: What the model keeps of its training set.
        library: Code of the feature functions.
        erased: The rows erased since. The digest is then that of what is left.
        spine: The spine of a model whose spine was not stored.

    Returns:
        The same rows in the same order.

    Raises:
        RebuildFailed: A table's version is gone, or the data differ; the message says which.
        FunctionNotFound: A feature function is gone.
        FunctionChanged: A feature function's source is not the one of training.
    """
    made = rejoin_training_set(lake, record, library, spine)
    check_digest(
        record, made.digest, lambda: RowDigest.of(made.data).by_column, missing=made.erased_rows, erased=erased
    )
    return made


def _column_digests(made: TrainingSet) -> dict[str, str]:
    return RowDigest.of(made.data).by_column


def rejoin_training_set(
    lake: Lake, record: TrainingSetRecord, library: FunctionLibrary | None = None, spine: pl.DataFrame | None = None
) -> TrainingSet:
    """Reproduce a training set without checking its digest; see ``rebuild_training_set``."""
    pins = record.pins
    stored = None if spine is not None else stored_spine(record)
    lookups = tuple(PinnedLookup.from_json(p) for p in pins["lookups"])
    functions = tuple(PinnedFunction.from_json(p) for p in pins.get("functions", []))
    bound = [(library or FunctionLibrary()).bind(f) for f in functions]
    try:
        spine = read_spine(lake, stored) if stored is not None else spine
        assert spine is not None
        filled = join_features(lake, spine, lookups, pinned=True, functions=bound)
    except (KaratError, OSError, pl.exceptions.PolarsError) as error:
        raise _unreadable_error(record, error) from error
    data = pl.DataFrame([*spine, *filled.values])
    return TrainingSet(
        features=record.features,
        label=record.label,
        exclude_columns=tuple(c for c in data.columns if c not in (*record.features, record.label)),
        lookups=lookups,
        functions=functions,
        spine=spine,
        data=data,
        report=filled.report,
        pins=pins,
        digest=digest(data),
        erased_rows=pins["spine"]["rows"] - data.height,
    )


def _unreadable_error(record: TrainingSetRecord, error: Exception) -> RebuildFailed:
    spine, lookups = record.pins["spine"], record.pins["lookups"]
    stored = [(spine["stored"]["table"], spine["stored"]["version"])] if "stored" in spine else []
    tables = [*stored, *((lookup["table"], lookup["version"]) for lookup in lookups)]
    read = ", ".join(f"{name} version {version}" for name, version in tables)
    why = error.what if isinstance(error, KaratError) else str(error).splitlines()[0]
    return RebuildFailed(
        f"the training set of {record.model} cannot be rebuilt: {why}",
        where=f"it reads {read}",
        remedy="restore that version's files from a backup, or train the model again; karat retain keeps what live "
        "models pin",
    )
