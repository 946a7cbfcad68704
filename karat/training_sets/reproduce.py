"""Reproduction of a training set from its stored spine, pinned tables and functions, checked by its digest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from karat.errors import KaratError, RebuildFailed
from karat.lake import Lake
from karat.names import ModelName
from karat.training_sets.digest import RowDigest, digest
from karat.training_sets.feature_join import join_features
from karat.training_sets.functions import FunctionLibrary, PinnedFunction
from karat.training_sets.lookups import PinnedLookup
from karat.training_sets.pins import LookupRecord, TrainingPins
from karat.training_sets.sampled import SampledTrainingSet
from karat.training_sets.spine import StoredSpine, read_spine, store_spine, store_spine_parts
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


@dataclass(frozen=True)
class ErasedRows:
    """Record in a model's tags that rows of its training set were erased.

    Attributes:
        rows: Number of rows erased.
        digest: Digest of what is left. None while the erasure is under way; "" if no check was possible before it.
    """

    rows: int
    digest: str | None

    @classmethod
    def from_json(cls, text: str | None) -> ErasedRows | None:
        """Read the record from its tag; None if no row was erased."""
        return None if text is None else cls(**json.loads(text))

    def as_json(self) -> str:
        """Return the tag's text."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class TrainingSetRecord:
    """What a model keeps of its training set, read from its metadata.

    Attributes:
        model: The model's registered name.
        features: Columns that the model reads, in order.
        label: The label's column.
        digest: Digest of the training set.
        pins: What it read: the spine, tables and functions, each at its version.
    """

    model: str
    features: tuple[str, ...]
    label: str | None
    digest: str
    pins: TrainingPins

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> TrainingSetRecord:
        """Read a model's ``karat.json``."""
        return cls(
            model=str(ModelName.of_short(metadata.get("catalog", ""), metadata.get("model", ""))),
            features=tuple(metadata["features"]),
            label=metadata["label"],
            digest=metadata["digest"],
            pins=metadata["pins"],
        )


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
    wanted = record.digest if erased is None else erased.digest
    if wanted and made.digest != wanted:
        raise _digest_error(record, made, wanted, erased)
    return made


def rejoin_training_set(
    lake: Lake, record: TrainingSetRecord, library: FunctionLibrary | None = None, spine: pl.DataFrame | None = None
) -> TrainingSet:
    """Reproduce a training set without checking its digest; see ``rebuild_training_set``."""
    pins = record.pins
    stored = pins["spine"].get("stored")
    if stored is None and spine is None:
        raise RebuildFailed(
            f"the training set of {record.model} cannot be rebuilt: its spine was not stored",
            where="the model was registered before Karat stored spines",
            remedy="train the model again",
        )
    lookups = tuple(PinnedLookup.from_json(p) for p in pins["lookups"])
    functions = tuple(PinnedFunction.from_json(p) for p in pins.get("functions", []))
    bound = [(library or FunctionLibrary()).bind(f) for f in functions]
    try:
        if stored is not None:
            spine = read_spine(lake, StoredSpine.from_json(stored))
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


def _digest_error(
    record: TrainingSetRecord, made: TrainingSet, wanted: str, erased: ErasedRows | None
) -> RebuildFailed:
    """Name the columns that differ, and where each comes from."""
    pins, data = record.pins, made.data
    source = {out: f"{p['table']} version {p['version']}" for p in pins["lookups"] for out in _output_names(p)}
    source |= {f["output"]: f"feature function {f['name']!r}" for f in pins.get("functions", [])}
    known, found = pins.get("columns", {}), RowDigest.of(data).by_column
    changed = [c for c in known if found.get(c) != known[c]]
    shown = ", ".join(f"{c} ({source.get(c, 'the spine')})" for c in changed) or (
        _order_difference(list(known), data.columns) if known else "at least one column"
    )
    if erased is not None:  # the digests of single columns are older than the erasure
        shown = f"what the erasure of {erased.rows} rows left"
    missing = f"; {made.erased_rows} of {pins['spine']['rows']} rows are missing" if made.erased_rows else ""
    return RebuildFailed(
        f"the rebuilt training set of {record.model} differs in: {shown}{missing}",
        where=f"digest {made.digest}, in the model {wanted}",
        remedy="check whether the files of a Delta version were changed, and whether this version of Karat computes as "
        "the one that trained the model",
    )


def _order_difference(known: list[str], columns: list[str]) -> str:
    """Describe a difference that no column shows on its own."""
    return "the order of the columns" if known != columns else "which values stand in one row"


def _output_names(pin: LookupRecord) -> list[str]:
    mask = pin["mask"]
    return [*pin["columns"].values(), *([mask] if mask else [])]
