"""A training set again, from what its model keeps: the stored spine, pinned tables, hashed functions, the digest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from karat.errors import KaratError, RebuildFailed
from karat.lake import Lake
from karat.names import ModelName
from karat.training_sets.digest import digest
from karat.training_sets.feature_join import join_features
from karat.training_sets.functions import FunctionLibrary, PinnedFunction
from karat.training_sets.lookups import PinnedLookup
from karat.training_sets.spine import StoredSpine, read_spine, store_spine
from karat.training_sets.training_set import TrainingSet

#: Tags of a model version: rows of its training set were erased, as JSON; and the same in words.
ERASED, REBUILDABLE = "karat.erased", "karat.rebuildable"


def stored_pins(lake: Lake, model: ModelName, training_set: TrainingSet) -> dict[str, Any]:
    """The training set's pins with its spine stored, and the digest of each of its columns: what a model keeps."""
    pins = training_set.pins
    spine = store_spine(lake, model, training_set.spine, pins["spine"]["digest"])
    columns = {c: digest(training_set.data.select(c)) for c in training_set.data.columns}
    return {**pins, "spine": {**pins["spine"], "stored": spine.as_json()}, "columns": columns}


@dataclass(frozen=True)
class ErasedRows:
    """What a model's tag says once rows of its training set were erased: how many, and the digest of what is left
    (None while the erasure is under way, "" where the training set could not be checked before it)."""

    rows: int
    digest: str | None

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> ErasedRows | None:
        found = json.loads(tags.get(ERASED, "null"))
        return None if found is None else cls(**found)

    def as_tags(self, of_rows: int) -> dict[str, str]:
        return {
            ERASED: json.dumps(asdict(self)),
            REBUILDABLE: f"but for {self.rows} of {of_rows} rows, which were erased",
        }


def rebuild_training_set(
    lake: Lake,
    metadata: Mapping[str, Any],
    library: FunctionLibrary | None = None,
    *,
    erased: ErasedRows | None = None,
    spine: pl.DataFrame | None = None,
) -> TrainingSet:
    """The training set of a model, from its ``karat.json``: the same rows in the same order, byte for byte; but for
    those that were ``erased`` since, and then what is left has the digest that it had after the erasure. ``spine`` is
    that of a model whose spine was not stored.

    Raises RebuildFailed, saying what is gone or what differs; FunctionNotFound and FunctionChanged.
    """
    made = refilled(lake, metadata, library, spine)
    wanted = metadata["digest"] if erased is None else erased.digest
    if wanted and made.digest != wanted:
        raise _differs(metadata, made, wanted, erased)
    return made


def refilled(
    lake: Lake, metadata: Mapping[str, Any], library: FunctionLibrary | None = None, spine: pl.DataFrame | None = None
) -> TrainingSet:
    """As ``rebuild_training_set``, whatever its digest."""
    what, pins = _what(metadata), metadata["pins"]
    stored = pins["spine"].get("stored")
    if stored is None and spine is None:
        raise RebuildFailed(
            f"the training set of {what} cannot be made again: its spine was not stored",
            where="it was registered before spines were",
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
        raise _gone(what, pins, error) from error
    data = pl.DataFrame([*spine, *filled.values])
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
        digest=digest(data),
        erased_rows=pins["spine"]["rows"] - data.height,
    )


def _what(metadata: Mapping[str, Any]) -> str:
    return f"{metadata.get('catalog', '')}.models.{metadata.get('model', '')}"


def _gone(what: str, pins: Mapping[str, Any], error: Exception) -> RebuildFailed:
    tables = [*([pins["spine"]["stored"]] if "stored" in pins["spine"] else []), *pins["lookups"]]
    read = ", ".join(f"{t['table']} version {t['version']}" for t in tables)
    told = error.what if isinstance(error, KaratError) else str(error).splitlines()[0]
    return RebuildFailed(
        f"the training set of {what} cannot be made again: {told}",
        where=f"it reads {read}",
        remedy="bring that version's files back from a backup, or train the model again; karat retain keeps what live "
        "models pin",
    )


def _differs(metadata: Mapping[str, Any], made: TrainingSet, wanted: str, erased: ErasedRows | None) -> RebuildFailed:
    """Which columns are not what they were, and where they come from."""
    pins, data = metadata["pins"], made.data
    of = {out: f"{p['table']} version {p['version']}" for p in pins["lookups"] for out in _outputs(p)}
    of |= {f["output"]: f"feature function {f['name']!r}" for f in pins.get("functions", [])}
    known = pins.get("columns", {})
    other = [c for c in known if c not in data.columns or digest(data.select(c)) != known[c]]
    shown = ", ".join(f"{c} ({of.get(c, 'the spine')})" for c in other) or (
        "the order of the columns" if known else "some column"
    )
    if erased is not None:  # then every column is another
        shown = f"what was left of it when {erased.rows} rows were erased"
    counted = f"; {made.erased_rows} of {pins['spine']['rows']} rows are missing" if made.erased_rows else ""
    return RebuildFailed(
        f"the training set of {_what(metadata)} is not what it was: {shown}{counted}",
        where=f"digest {made.digest}, in the model {wanted}",
        remedy="somebody changed files of a Delta version, or this Karat computes otherwise than the one that trained",
    )


def _outputs(pin: Mapping[str, Any]) -> list[str]:
    return [*pin["columns"].values(), *([pin["mask"]] if pin.get("mask") else [])]
