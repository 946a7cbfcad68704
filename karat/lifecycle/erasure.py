"""Erasing a person: from a table's current version, from all earlier ones, and from the training sets that pin them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import polars as pl

from karat.clock import utc_now
from karat.errors import KaratError, ModelNotFound, WrongCall, did_you_mean
from karat.features.keys import aligned
from karat.lake import Lake, TableInfo
from karat.lifecycle.reproduce import rebuild
from karat.lifecycle.retention import RELEASED, Pins, is_live, pins_of
from karat.names import TableName, pinned_copy
from karat.registry.records import ModelVersion
from karat.registry.store import Registry
from karat.training_sets.functions import FunctionLibrary
from karat.training_sets.reproduce import ErasedRows, TrainingSetRecord, rejoin_training_set
from karat.training_sets.spine import StoredSpine

_KEEP, _NOW = timedelta(days=30), timedelta(0)


@dataclass(frozen=True)
class ErasureResult:
    """``rows`` were removed from the current version of ``table``, and ``files`` of earlier ones. ``models``: live
    versions by URI, with the rows that their training sets lack since."""

    table: TableName
    rows: int
    files: int
    models: dict[str, int]


@dataclass(frozen=True)
class _Pinning:
    """A live model version that pins the table. ``keys``: the rows to be erased from its spine, by its own column
    names (None where the spine does not hold these keys)."""

    version: ModelVersion
    metadata: dict[str, Any]
    tables: frozenset[int]
    spine: StoredSpine | None
    keys: pl.DataFrame | None

    @property
    def stored_keys(self) -> pl.DataFrame | None:
        """``keys`` by the names that the spine's table has."""
        if self.spine is None or self.keys is None:
            return None
        return self.keys.rename({c: self.spine.columns[c] for c in self.keys.columns})


def erase(
    lake: Lake, registry: Registry, name: TableName, keys: pl.DataFrame, *, library: FunctionLibrary | None = None
) -> ErasureResult:
    """Removes every row of ``name`` whose key columns equal a row of ``keys``, in all versions, and the rows of these
    keys in the spines of live models. Pinned versions live on without them, in tables of their own, and the models are
    tagged as rebuildable but for so many rows. Called again after a kill it does the rest.

    What was computed from the rows is erased by its own call, gold first: features would come back with the next
    computation. Raises WrongCall for columns that are no key, TableNotFound, and what lake and registry raise.
    """
    typed = _typed(keys, lake.info(name))
    live, released = _pinning(lake, registry, name, typed)
    hit = [p for p in live if _is_hit(lake, name, typed, p)]
    before = {p.version.uri: _before(lake, registry, p, library) for p in hit}
    for pinning in hit:
        for number in pinning.tables:
            _keep_rest(lake, name, number, typed)
        if pinning.spine is not None and pinning.stored_keys is not None:
            _keep_rest(lake, pinning.spine.table, pinning.spine.version, pinning.stored_keys)
    for version in released:
        registry.tag(version, {RELEASED: utc_now().isoformat(timespec="seconds")})
    commit, pins = lake.delete(name, typed), pins_of(registry, _KEEP, utc_now())
    spines = {p.spine.table: p.stored_keys for p in live if p.spine is not None and p.stored_keys is not None}
    files = sum(_purge(lake, table, of, pins) for table, of in [(name, typed), *spines.items()])
    models = {}
    for pinning in hit:
        models[pinning.version.uri] = _after(lake, registry, pinning, library, checked=before[pinning.version.uri])
    return ErasureResult(name, commit.rows if commit.changed else 0, files, models)


def _typed(keys: pl.DataFrame, info: TableInfo) -> pl.DataFrame:
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


def _pinning(
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
            record = metadata["pins"]["spine"].get("stored")
            spine = StoredSpine.from_json(record) if record else None
            live.append(_Pinning(version, metadata, tables, spine, _spine_keys(metadata, name, keys, spine)))
        elif tables and RELEASED not in version.tags:
            released.append(version)
    return live, released


def _versions(metadata: Mapping[str, Any], name: TableName) -> Iterator[int]:
    pins = metadata["pins"]
    yield from (int(p["version"]) for p in pins["lookups"] if p["table"] == str(name))
    yield from (int(v) for t, v in pins["sources"].items() if t == str(name))


def _spine_keys(
    metadata: Mapping[str, Any], name: TableName, keys: pl.DataFrame, spine: StoredSpine | None
) -> pl.DataFrame | None:
    """The keys by the spine's column names: as a lookup of the table binds them, or by the same name."""
    if spine is None:
        return None
    bound = {key: c for p in metadata["pins"]["lookups"] if p["table"] == str(name) for c, key in p["keys"].items()}
    named = {c: bound.get(c, c) for c in keys.columns}
    return keys.rename(named) if all(c in spine.columns for c in named.values()) else None


def _is_hit(lake: Lake, name: TableName, keys: pl.DataFrame, pinning: _Pinning) -> bool:
    """Whether a pinned version holds one of the rows, or an erasure of it was begun."""
    pinned = [(name, number, keys) for number in pinning.tables]
    if pinning.spine is not None and pinning.stored_keys is not None:
        pinned.append((pinning.spine.table, pinning.spine.version, pinning.stored_keys))
    return any(lake.exists(pinned_copy(t, v)) or _holds(lake, t, v, of) for t, v, of in pinned)


def _holds(lake: Lake, table: TableName, version: int, keys: pl.DataFrame) -> bool | None:
    """Whether a version holds one of the rows; None where its files are gone."""
    rows = lake.scan(table, version).join(keys.lazy(), on=keys.columns, how="semi")
    try:
        return not rows.head(1).collect().is_empty()
    except FileNotFoundError:
        return None


def _before(lake: Lake, registry: Registry, pinning: _Pinning, library: FunctionLibrary | None) -> bool:
    """Whether the training set is still what it was; the tag says that from now on it is less."""
    known = ErasedRows.from_tags(pinning.version.tags)
    if known is not None and known.digest is None:
        return True  # it was looked at by a call that was killed
    try:
        rebuild(lake, registry, pinning.version, library)
    except KaratError:
        return False
    under_way = replace(known, digest=None) if known else ErasedRows(0, None)
    registry.tag(pinning.version, under_way.as_tags(pinning.metadata["pins"]["spine"]["rows"]))
    return True


def _keep_rest(lake: Lake, table: TableName, version: int, keys: pl.DataFrame) -> None:
    """What is left of a version, in a table of its own."""
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


def _purge(lake: Lake, table: TableName, keys: pl.DataFrame, pins: Pins) -> int:
    """Removes the files of all earlier versions but those that are pinned and hold none of the rows."""
    lake.delete(table, keys)
    kept = [v for v in pins.tables.get(table, {}) if _holds(lake, table, v, keys) is False]
    return lake.vacuum(table, keep=kept, older_than=_NOW).files


def _after(lake: Lake, registry: Registry, pinning: _Pinning, library: FunctionLibrary | None, *, checked: bool) -> int:
    """The model's folder and tags say what is left. Gives the rows that its training set lacks."""
    if pinning.keys is not None:
        registry.erase_spine(pinning.version, pinning.keys)
    rows = pinning.metadata["pins"]["spine"]["rows"]
    known = ErasedRows.from_tags(pinning.version.tags)
    gone, left = (known.rows if known else 0), ""
    try:
        made = rejoin_training_set(lake, TrainingSetRecord.from_metadata(pinning.metadata), library)
        gone, left = made.erased_rows, made.digest if checked else ""
    except KaratError:
        pass  # it can't be made again anyway, and the tag says that it can't be checked
    registry.tag(pinning.version, ErasedRows(gone, left).as_tags(rows))
    return gone
