"""Erasure of a person: from a table, from its earlier versions, and from the training sets that pin them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

import polars as pl

from karat.clock import utc_now
from karat.errors import KaratError, ModelNotFound, WrongCall, did_you_mean
from karat.features.keys import aligned
from karat.features.quality_gate import aside_name
from karat.lake import Lake, TableInfo
from karat.lifecycle.candidate_rows import delete_files
from karat.lifecycle.retention import Pins, is_live, pins_of
from karat.lifecycle.version_training_set import rebuild
from karat.names import TableName, pinned_copy
from karat.quality.origin import quarantine_name
from karat.quality.quarantine import erase_from_quarantine
from karat.registry.metadata import ModelMetadata
from karat.registry.records import ModelVersion
from karat.registry.store import Registry
from karat.registry.tags import VersionTags
from karat.training_sets.functions import FunctionLibrary
from karat.training_sets.rebuild_record import ErasedRows
from karat.training_sets.reproduce import rejoin_training_set
from karat.training_sets.spine import StoredSpine

_KEEP, _NOW = timedelta(days=30), timedelta(0)


@dataclass(frozen=True)
class ErasureResult:
    """What an erasure removed.

    Attributes:
        table: The table.
        rows: Rows removed from the current version.
        files: Files of earlier versions removed.
        models: URI of each affected live version -> rows that its training set lacks since.
        set_aside: Rows removed from the table beside it that holds what checks set aside.
    """

    table: TableName
    rows: int
    files: int
    models: dict[str, int]
    set_aside: int = 0


@dataclass(frozen=True)
class _Pinning:
    """A live model version that pins the table.

    ``keys`` are the rows to erase from its spine, by the spine's column names; None if the spine lacks these keys.
    """

    version: ModelVersion
    metadata: ModelMetadata
    tables: frozenset[int]
    spine: StoredSpine | None
    keys: pl.DataFrame | None

    @property
    def stored_keys(self) -> pl.DataFrame | None:
        """``keys`` by the column names of the spine's table."""
        if self.spine is None or self.keys is None:
            return None
        return self.keys.rename({c: self.spine.columns[c] for c in self.keys.columns})


def erase(
    lake: Lake, registry: Registry, name: TableName, keys: pl.DataFrame, *, library: FunctionLibrary | None = None
) -> ErasureResult:
    """Remove every row of these keys from a table, in all versions, and from the spines of live models.

    The rows of these keys that checks set aside go as well.

    Pinned versions live on without the rows, in tables of their own, and the models are tagged as rebuildable except
    for so many rows. A second call after a kill does the rest. What was computed from the rows needs its own call,
    gold first: the next computation would bring the features back.

    Args:
        lake: Holds the table.
        registry: Holds the models.
        name: The table.
        keys: Rows of some of its key columns.
        library: Code of the feature functions.

    Raises:
        WrongCall: a column is no key, or a key is null.
        TableNotFound: no such table.
    """
    typed = _cast_keys(keys, lake.info(name))
    delete_files(lake, name.catalog)
    live, released = _find_pinnings(lake, registry, name, typed)
    affected = [p for p in live if _is_affected(lake, name, typed, p)]
    before = {p.version.uri: _begin_erasure(lake, registry, p, library) for p in affected}
    for pinning in affected:
        for number in pinning.tables:
            _copy_remaining_rows(lake, name, number, typed)
        if pinning.spine is not None and pinning.stored_keys is not None:
            _copy_remaining_rows(lake, pinning.spine.table, pinning.spine.version, pinning.stored_keys)
    for version in released:
        registry.tag(version, VersionTags(released=utc_now().isoformat(timespec="seconds")))
    commit, pins = lake.delete(name, typed), pins_of(registry, _KEEP, utc_now())
    spines = {p.spine.table: p.stored_keys for p in live if p.spine is not None and p.stored_keys is not None}
    files = sum(_remove_earlier_files(lake, table, of, pins) for table, of in [(name, typed), *spines.items()])
    models = {}
    for pinning in affected:
        models[pinning.version.uri] = _finish_erasure(
            lake, registry, pinning, library, checked=before[pinning.version.uri]
        )
    aside = _erase_set_aside(lake, name, typed)
    return ErasureResult(name, commit.rows if commit.changed else 0, files, models, aside)


def _erase_set_aside(lake: Lake, name: TableName, keys: pl.DataFrame) -> int:
    """Remove the rows of the keys from the table of rows that checks set aside, in all versions."""
    if name.schema == "gold":
        beside = quarantine_name(name)
        rows = erase_from_quarantine(lake, beside, keys)
    else:
        beside = aside_name(name)
        commit = lake.delete(beside, keys) if lake.exists(beside) else None
        rows = commit.rows if commit is not None and commit.changed else 0
    if lake.exists(beside):
        lake.vacuum(beside, older_than=_NOW)
    return rows


def _cast_keys(keys: pl.DataFrame, info: TableInfo) -> pl.DataFrame:
    where = f"erase({str(info.name)!r})"
    for column in keys.columns:
        if column not in info.primary_key:
            raise WrongCall(
                f"{column!r} is no key column of {info.name}",
                where=where,
                remedy=did_you_mean(column, info.primary_key),
            )
    if keys.is_empty() or sum(keys.null_count().row(0)):
        raise WrongCall("nobody is named: the keys have no rows, or a null", where=where, remedy="name each key")
    types = pl.DataFrame(pl.from_arrow(info.schema.empty_table())).schema
    return keys.select(
        aligned(keys[c], types[c], of=f"key {c!r} of {info.name}").alias(c) for c in keys.columns
    ).unique()


def _find_pinnings(
    lake: Lake, registry: Registry, name: TableName, keys: pl.DataFrame
) -> tuple[list[_Pinning], list[ModelVersion]]:
    """The live model versions that read the table, and those that no longer count."""
    live, released, now = [], [], utc_now()
    for version in (v for model in registry.models() for v in registry.versions(model)):
        try:
            metadata = registry.metadata(version)
        except ModelNotFound:
            continue
        tables = frozenset(_versions(metadata, name))
        if tables and is_live(version, _KEEP, now):
            record = metadata.pins["spine"].get("stored")
            spine = StoredSpine.from_json(record) if record else None
            live.append(_Pinning(version, metadata, tables, spine, _spine_keys(metadata, name, keys, spine)))
        elif tables and version.own_tags.released is None:
            released.append(version)
    return live, released


def _versions(metadata: ModelMetadata, name: TableName) -> Iterator[int]:
    pins = metadata.pins
    yield from (int(p["version"]) for p in pins["lookups"] if p["table"] == str(name))
    yield from (int(v) for t, v in pins["sources"].items() if t == str(name))


def _spine_keys(
    metadata: ModelMetadata, name: TableName, keys: pl.DataFrame, spine: StoredSpine | None
) -> pl.DataFrame | None:
    """The keys by the spine's column names: as a lookup of the table binds them, or by the same name."""
    if spine is None:
        return None
    bound = {key: c for p in metadata.pins["lookups"] if p["table"] == str(name) for c, key in p["keys"].items()}
    named = {c: bound.get(c, c) for c in keys.columns}
    return keys.rename(named) if all(c in spine.columns for c in named.values()) else None


def _is_affected(lake: Lake, name: TableName, keys: pl.DataFrame, pinning: _Pinning) -> bool:
    """Whether a pinned version holds one of the rows, or an erasure of it has begun."""
    pinned = [(name, number, keys) for number in pinning.tables]
    if pinning.spine is not None and pinning.stored_keys is not None:
        pinned.append((pinning.spine.table, pinning.spine.version, pinning.stored_keys))
    return any(lake.exists(pinned_copy(t, v)) or _contains_rows(lake, t, v, of) for t, v, of in pinned)


def _contains_rows(lake: Lake, table: TableName, version: int, keys: pl.DataFrame) -> bool | None:
    """Whether a version holds one of the rows; None if its files are gone."""
    rows = lake.scan(table, version).join(keys.lazy(), on=keys.columns, how="semi")
    try:
        return not rows.head(1).collect().is_empty()
    except FileNotFoundError:
        return None


def _begin_erasure(lake: Lake, registry: Registry, pinning: _Pinning, library: FunctionLibrary | None) -> bool:
    """Whether the training set can still be reproduced; from now on the tag says that rows are missing."""
    known = ErasedRows.from_json(pinning.version.own_tags.erased)
    if known is not None and known.digest is None:
        return True  # it was looked at by a call that was killed
    try:
        rebuild(lake, registry, pinning.version, library)
    except KaratError:
        return False
    under_way = replace(known, digest=None) if known else ErasedRows(0, None)
    registry.tag(pinning.version, _erasure_tags(under_way, pinning.metadata.pins["spine"]["rows"]))
    return True


def _copy_remaining_rows(lake: Lake, table: TableName, version: int, keys: pl.DataFrame) -> None:
    """What is left of a version, as a table of its own."""
    copy = pinned_copy(table, version)
    if lake.is_copied(table, version):
        if lake.delete(copy, keys).changed:
            lake.vacuum(copy, older_than=_NOW)
        return
    rows = lake.read(table, version=version)
    rest = rows.join(keys, on=keys.columns, how="anti", maintain_order="left")
    if rest.height == rows.height:
        return
    info = lake.info(table, version)
    description = f"Version {version} of {table}, less the rows of those who were erased"
    lake.create(copy, info.schema, primary_key=info.primary_key, description=description)
    lake.overwrite(copy, rest)


def _remove_earlier_files(lake: Lake, table: TableName, keys: pl.DataFrame, pins: Pins) -> int:
    """Removes the files of all earlier versions except pinned ones without any of the rows."""
    lake.delete(table, keys)
    kept = [v for v in pins.tables.get(table, {}) if _contains_rows(lake, table, v, keys) is False]
    return lake.vacuum(table, keep=kept, older_than=_NOW).files


def _finish_erasure(
    lake: Lake, registry: Registry, pinning: _Pinning, library: FunctionLibrary | None, *, checked: bool
) -> int:
    """The number of rows that the training set lacks; the model's folder and tags record what is left."""
    if pinning.keys is not None:
        registry.erase_spine(pinning.version, pinning.keys)
    rows = pinning.metadata.pins["spine"]["rows"]
    known = ErasedRows.from_json(pinning.version.own_tags.erased)
    gone, left = (known.rows if known else 0), ""
    try:
        made = rejoin_training_set(lake, pinning.metadata.training_set, library)
        gone, left = made.erased_rows, made.digest if checked else ""
    except KaratError:
        pass  # it can't be made again anyway, and the tag says that it can't be checked
    registry.tag(pinning.version, _erasure_tags(ErasedRows(gone, left), rows))
    return gone


def _erasure_tags(erased: ErasedRows, rows: int) -> VersionTags:
    """The record of the erasure, for machines and for people."""
    words = f"all but {erased.rows} of {rows} rows, which were erased"
    return VersionTags(erased=erased.as_json(), rebuildable=words)
