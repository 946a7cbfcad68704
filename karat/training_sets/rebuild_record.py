"""Record of a model's training set, and the check of a reproduced one by its digest."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from karat.errors import RebuildFailed
from karat.names import ModelName
from karat.training_sets.pins import LookupRecord, TrainingPins
from karat.training_sets.spine import StoredSpine


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


def stored_spine(record: TrainingSetRecord) -> StoredSpine:
    """Return where the spine is stored.

    Raises:
        RebuildFailed: It was not stored.
    """
    stored = record.pins["spine"].get("stored")
    if stored is None:
        raise RebuildFailed(
            f"the training set of {record.model} cannot be rebuilt: its spine was not stored",
            where="the model was registered before Karat stored spines",
            remedy="train the model again",
        )
    return StoredSpine.from_json(stored)


def check_digest(
    record: TrainingSetRecord,
    digest: str,
    columns: Callable[[], Mapping[str, str]],
    *,
    missing: int,
    erased: ErasedRows | None,
) -> None:
    """Compare the digest of a reproduced training set with that of training.

    Args:
        record: What the model keeps of its training set.
        digest: Digest of the reproduced one.
        columns: Returns the digest of each of its columns; called only if the digests differ.
        missing: Rows that it lacks.
        erased: The rows erased since; the digest is then that of what is left.

    Raises:
        RebuildFailed: They differ; the message names the columns that do, and where each comes from.
    """
    wanted = record.digest if erased is None else erased.digest
    if not wanted or digest == wanted:
        return
    pins, found = record.pins, columns()
    source = {out: f"{p['table']} version {p['version']}" for p in pins["lookups"] for out in _output_names(p)}
    source |= {f["output"]: f"feature function {f['name']!r}" for f in pins.get("functions", [])}
    known = pins.get("columns", {})
    changed = [c for c in known if found.get(c) != known[c]]
    shown = ", ".join(f"{c} ({source.get(c, 'the spine')})" for c in changed) or (
        _order_difference(list(known), list(found)) if known else "at least one column"
    )
    if erased is not None:  # the digests of single columns are older than the erasure
        shown = f"what the erasure of {erased.rows} rows left"
    short = f"; {missing} of {pins['spine']['rows']} rows are missing" if missing else ""
    raise RebuildFailed(
        f"the rebuilt training set of {record.model} differs in: {shown}{short}",
        where=f"digest {digest}, in the model {wanted}",
        remedy="check whether the files of a Delta version were changed, and whether this version of Karat computes as "
        "the one that trained the model",
    )


def _order_difference(known: list[str], columns: list[str]) -> str:
    """Describe a difference that no column shows on its own."""
    return "the order of the columns" if known != columns else "which values stand in one row"


def _output_names(pin: LookupRecord) -> list[str]:
    mask = pin["mask"]
    return [*pin["columns"].values(), *([mask] if mask else [])]
