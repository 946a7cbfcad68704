"""A training set again, from what its model keeps: the stored spine, pinned tables, hashed functions, the digest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from karat.errors import KaratError, RebuildFailed
from karat.lake import Lake
from karat.names import ModelName
from karat.training.digest import digest
from karat.training.filled import fill
from karat.training.functions import FunctionLibrary, PinnedFunction
from karat.training.lookups import PinnedLookup
from karat.training.spine import StoredSpine, read_spine, store_spine
from karat.training.training_set import TrainingSet


def stored_pins(lake: Lake, model: ModelName, training_set: TrainingSet) -> dict[str, Any]:
    """The training set's pins with its spine stored, and the digest of each of its columns: what a model keeps."""
    pins = training_set.pins
    spine = store_spine(lake, model, training_set.spine, pins["spine"]["digest"])
    columns = {c: digest(training_set.data.select(c)) for c in training_set.data.columns}
    return {**pins, "spine": {**pins["spine"], "stored": spine.as_json()}, "columns": columns}


def rebuild_training_set(
    lake: Lake, metadata: Mapping[str, Any], library: FunctionLibrary | None = None
) -> TrainingSet:
    """The training set of a model, from its ``karat.json``: the same rows in the same order, byte for byte.

    Raises RebuildFailed, saying what is gone or what differs; FunctionNotFound and FunctionChanged.
    """
    what = f"{metadata.get('catalog', '')}.models.{metadata.get('model', '')}"
    pins = metadata["pins"]
    if "stored" not in pins["spine"]:
        raise RebuildFailed(
            f"the training set of {what} cannot be made again: its spine was not stored",
            where="it was registered before spines were",
            remedy="train the model again",
        )
    lookups = tuple(PinnedLookup.from_json(p) for p in pins["lookups"])
    functions = tuple(PinnedFunction.from_json(p) for p in pins.get("functions", []))
    bound = [(library or FunctionLibrary()).bind(f) for f in functions]
    try:
        spine = read_spine(lake, StoredSpine.from_json(pins["spine"]["stored"]))
        filled = fill(lake, spine, lookups, pinned=True, functions=bound)
    except (KaratError, OSError, pl.exceptions.PolarsError) as error:
        raise _gone(what, pins, error) from error
    data = pl.DataFrame([*spine, *filled.values])
    made = digest(data)
    if made != metadata["digest"]:
        raise _differs(what, metadata, data, made)
    return TrainingSet(
        features=tuple(metadata["features"]),
        label=metadata["label"],
        exclude_columns=tuple(c for c in data.columns if c not in (*metadata["features"], metadata["label"])),
        lookups=lookups,
        functions=functions,
        spine=spine,
        data=data,
        report=filled.report,
        pins=dict(pins),
        digest=made,
    )


def _gone(what: str, pins: Mapping[str, Any], error: Exception) -> RebuildFailed:
    tables = [pins["spine"]["stored"], *pins["lookups"]]
    read = ", ".join(f"{t['table']} version {t['version']}" for t in tables)
    told = error.what if isinstance(error, KaratError) else str(error).splitlines()[0]
    return RebuildFailed(
        f"the training set of {what} cannot be made again: {told}",
        where=f"it reads {read}",
        remedy="bring that version's files back from a backup, or train the model again; karat retain keeps what live "
        "models pin",
    )


def _differs(what: str, metadata: Mapping[str, Any], data: pl.DataFrame, made: str) -> RebuildFailed:
    """Which columns are not what they were, and where they come from."""
    pins = metadata["pins"]
    of = {out: f"{p['table']} version {p['version']}" for p in pins["lookups"] for out in _outputs(p)}
    of |= {f["output"]: f"feature function {f['name']!r}" for f in pins.get("functions", [])}
    known = pins["columns"]
    other = [c for c in known if c not in data.columns or digest(data.select(c)) != known[c]]
    shown = ", ".join(f"{c} ({of.get(c, 'the spine')})" for c in other) or "the order of the columns"
    rows = pins["spine"]["rows"]
    counted = f"; {data.height} rows, not {rows}" if data.height != rows else ""
    return RebuildFailed(
        f"the training set of {what} is not what it was: {shown}{counted}",
        where=f"digest {made}, in the model {metadata['digest']}",
        remedy="somebody changed files of a Delta version, or this Karat computes otherwise than the one that trained",
    )


def _outputs(pin: Mapping[str, Any]) -> list[str]:
    return [*pin["columns"].values(), *([pin["mask"]] if pin.get("mask") else [])]
