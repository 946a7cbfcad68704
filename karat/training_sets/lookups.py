"""Feature lookups, checked and pinned against the lake before any read."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import EllipsisType
from typing import cast, get_args

import polars as pl
import pyarrow as pa

from karat.boundary import check_types
from karat.declare.declared_model import DeclaredModel
from karat.declare.models import UNSUPERVISED, Lookup
from karat.errors import (
    ColumnMissing,
    FeatureNotFound,
    LabelOverlapsFeatures,
    LookupKeyMismatch,
    SchemaMismatch,
    WrongCall,
    did_you_mean,
)
from karat.features.sequences import Short
from karat.lake import Lake, TableInfo
from karat.names import TableName
from karat.training_sets.pins import LookupRecord


@dataclass(frozen=True)
class FeatureLookup:
    """Features of one table, looked up by columns of the spine.

    Without ``timestamp_lookup_key`` the match is exact on the whole primary key. With it, the join is point-in-time: it
    takes the latest row known at that time.

    Attributes:
        table_name: The feature table.
        feature_names: The features. None takes every feature; ``...`` among the names takes all others.
        lookup_key: Spine columns, matched with the key columns by name, or by order where the names differ.
        timestamp_lookup_key: The spine's time column. ``lookup_key`` then names the other key columns.
        lookback_window: The greatest age of a row used.
        default_values: Value of each feature whose row is not found or expired.
        rename_outputs: Maps a feature's name to its column's.
        sequence_length: Makes each feature an Array(Float64, N) of the N latest rows, oldest first, null in front where
            there are fewer. One more column, ``TABLE__mask`` (``rename_outputs`` may rename it), is true where a row
            is.
        step: A gap wider than this ends a sequence. The table's grain by default; ``timedelta.max`` allows any gap.
        short: ``"refuse"`` raises an error for rows with fewer than N.
        lag: Replaces the table's own. 0 suits a spine whose row of a day stands for that day's end.
    """

    table_name: str
    feature_names: str | Sequence[str | EllipsisType] | None = None
    lookup_key: str | Sequence[str] = ()
    timestamp_lookup_key: str | None = None
    lookback_window: timedelta | None = None
    default_values: Mapping[str, object] = field(default_factory=dict)
    rename_outputs: Mapping[str, str] = field(default_factory=dict)
    sequence_length: int | None = None
    step: timedelta | None = None
    short: Short = "pad"
    lag: timedelta | None = None


@dataclass(frozen=True)
class PinnedLookup:
    """A resolved FeatureLookup: what a model keeps, and what batch and online inference read.

    Attributes:
        table: The feature table.
        version: Its Delta version.
        keys: Maps spine columns to the table's key columns.
        time: The spine's and the table's time column of a point-in-time join.
        lag: Time from a row's timestamp until it was known.
        lookback: The greatest age of a row used.
        columns: Maps each feature to its output column, in order.
        defaults: Value of each feature whose row is not found or expired.
        schema: Arrow type of every column read.
        definition_hash: Hash of the table's definition.
        sequence_length: Rows in a sequence.
        step: Widest gap inside a sequence; None allows any.
        short: What to do with rows that have too few.
        event_id: Column that orders rows of the same time.
        mask: Output column of a sequence's mask.
        meanings: Hash of each feature's definition at that version (``FeatureTable.meanings``).
    """

    table: TableName
    version: int
    keys: dict[str, str]
    time: tuple[str, str] | None
    lag: timedelta
    lookback: timedelta | None
    columns: dict[str, str]
    defaults: dict[str, object]
    schema: dict[str, str]
    definition_hash: str = ""
    sequence_length: int | None = None
    step: timedelta | None = None
    short: Short = "pad"
    event_id: str | None = None
    mask: str | None = None
    meanings: dict[str, str] = field(default_factory=dict)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The columns that this lookup adds, in order: its features, then a sequence's mask."""
        return (*self.columns.values(), *([self.mask] if self.mask else []))

    @property
    def spine_columns(self) -> tuple[str, ...]:
        """The columns that a frame must have for this lookup."""
        return (*self.keys, *([self.time[0]] if self.time else []))

    @property
    def table_columns(self) -> list[str]:
        """The columns that this lookup reads from the table, each once."""
        order = [self.event_id] if self.event_id and self.time else []
        return list(dict.fromkeys([*self.keys.values(), *([self.time[1]] if self.time else []), *order, *self.columns]))

    def without(self, given: Collection[str]) -> PinnedLookup:
        """Return this lookup less the outputs that a frame or a request brings itself; none may be left."""
        columns = {name: out for name, out in self.columns.items() if out not in given}
        defaults = {name: value for name, value in self.defaults.items() if name in columns}
        mask = self.mask if self.mask not in given else None
        return replace(self, columns=columns, defaults=defaults, mask=mask)

    def as_json(self) -> LookupRecord:
        """Return the record that a model keeps."""
        return {
            "table": str(self.table),
            "version": self.version,
            "keys": self.keys,
            "time": list(self.time) if self.time else None,
            "lag_seconds": self.lag.total_seconds(),
            "lookback_seconds": self.lookback.total_seconds() if self.lookback is not None else None,
            "columns": self.columns,
            "defaults": self.defaults,
            "schema": self.schema,
            "definition_hash": self.definition_hash,
            "sequence_length": self.sequence_length,
            "step_seconds": None if self.step is None else self.step.total_seconds(),
            "short": self.short,
            "event_id": self.event_id,
            "mask": self.mask,
            "meanings": self.meanings,
        }

    @classmethod
    def from_json(cls, record: LookupRecord) -> PinnedLookup:
        """Read the record that a model keeps."""
        lookback, step = record["lookback_seconds"], record["step_seconds"]
        return cls(
            table=TableName.parse(record["table"]),
            version=record["version"],
            keys=dict(record["keys"]),
            time=(record["time"][0], record["time"][1]) if record["time"] else None,
            lag=timedelta(seconds=record["lag_seconds"]),
            lookback=timedelta(seconds=lookback) if lookback is not None else None,
            columns=dict(record["columns"]),
            defaults=dict(record["defaults"]),
            schema=dict(record["schema"]),
            definition_hash=record["definition_hash"],
            sequence_length=record["sequence_length"],
            step=None if step is None else timedelta(seconds=step),
            short=cast(Short, record["short"]),
            event_id=record["event_id"],
            mask=record["mask"],
            meanings=record["meanings"],
        )


def pin(lookup: FeatureLookup, lake: Lake, spine: pl.DataFrame, *, catalog: str | None = None) -> PinnedLookup:
    """Check a lookup against its table and the spine's columns, and pin the table's version; reads metadata only.

    Args:
        lookup: The lookup.
        lake: The lake.
        spine: A frame with the spine's columns.
        catalog: The catalog of a table name that has none.

    Returns:
        The lookup with its table's present version, key columns and types.

    Raises:
        TableNotFound: There is no such table.
        FeatureNotFound: There is no such feature; the message has the nearest name.
        ColumnMissing: The spine has no such column; the message has the nearest name.
        LookupKeyMismatch: ``lookup_key`` does not match the table's primary key.
        WrongCall: The arguments of a sequence contradict each other.
        SchemaMismatch: A sequence's feature is not a number.
    """
    info = lake.info(TableName.parse(lookup.table_name, catalog=catalog))
    check_types(FeatureLookup, vars(lookup), "FeatureLookup")
    _check_spans(lookup)
    _check_sequence(lookup)
    features = _select_features(lookup, info)
    keys, time = _match_keys(lookup, info)
    for column in (*keys, *([time[0]] if time else [])):
        if column not in spine.columns:
            raise ColumnMissing(
                f"the lookup of {info.name} needs the column {column!r}, and the frame has none",
                where=f"columns: {', '.join(spine.columns)}",
                remedy=did_you_mean(column, spine.columns),
            )
    columns = {name: lookup.rename_outputs.get(name, name) for name in features}
    event_id = info.properties.get("karat.event_id") or None
    read = dict.fromkeys(
        [*keys.values(), *([time[1]] if time else []), *([event_id] if event_id and time else []), *features]
    )
    sequence = lookup.sequence_length is not None
    meanings = json.loads(info.properties.get("karat.meanings", "{}"))
    return PinnedLookup(
        table=info.name,
        version=info.version,
        keys=keys,
        time=time,
        lag=info.lag if lookup.lag is None else lookup.lag,
        lookback=lookup.lookback_window,
        columns=columns,
        defaults=dict(lookup.default_values),
        schema={name: str(info.schema.field(name).type) for name in read},
        definition_hash=info.properties.get("karat.definition_hash", ""),
        sequence_length=lookup.sequence_length,
        step=_sequence_step(lookup, info) if sequence else None,
        short=lookup.short,
        event_id=event_id,
        mask=lookup.rename_outputs.get(_mask_name(info), _mask_name(info)) if sequence else None,
        meanings={name: meanings[name] for name in features if name in meanings},
    )


def _mask_name(info: TableInfo) -> str:
    return f"{info.name.table}__mask"


def _sequence_step(lookup: FeatureLookup, info: TableInfo) -> timedelta | None:
    step = info.grain if lookup.step is None else lookup.step
    return None if step == timedelta.max else step


def _check_spans(lookup: FeatureLookup) -> None:
    """A negative lag would let the future in; a negative lookback finds nothing."""
    for name in ("lag", "lookback_window", "step"):
        span: timedelta | None = getattr(lookup, name)
        if span is not None and span < timedelta(0):
            raise WrongCall(
                f"{name}={span} is negative", where=f"FeatureLookup({lookup.table_name!r})", remedy="give 0 or more"
            )


def _check_sequence(lookup: FeatureLookup) -> None:
    where = f"FeatureLookup({lookup.table_name!r})"
    if lookup.short not in get_args(Short):
        raise WrongCall(f"short={lookup.short!r} is neither 'pad' nor 'refuse'", where=where, remedy="give one of them")
    if lookup.sequence_length is None:
        if lookup.step is not None or lookup.short != "pad":
            raise WrongCall("step and short need a sequence", where=where, remedy="give sequence_length")
        return
    if lookup.sequence_length < 1:
        raise WrongCall(f"sequence_length is {lookup.sequence_length}", where=where, remedy="give 1 or more")
    if lookup.timestamp_lookup_key is None:
        raise WrongCall(
            "a sequence needs a time: it holds the rows known at that time",
            where=where,
            remedy="give timestamp_lookup_key",
        )
    if lookup.default_values:
        raise WrongCall(
            "a sequence takes no default_values: missing rows are padded and masked",
            where=where,
            remedy="leave default_values out",
        )


def _select_features(lookup: FeatureLookup, info: TableInfo) -> list[str]:
    """Return the features asked for, in order; every name that the lookup uses must be a feature."""
    known = [name for name in info.schema.names if name not in info.primary_key]
    renamed = [n for n in lookup.rename_outputs if lookup.sequence_length is None or n != _mask_name(info)]
    names = [lookup.feature_names] if isinstance(lookup.feature_names, str) else lookup.feature_names
    chosen = list(known if names is None else names)
    if ... in chosen:  # [..., "a"] puts all other features where the dots are
        others = [name for name in known if name not in chosen]
        chosen = [name for part in chosen for name in (others if part is ... else [part])]
    for name in (*chosen, *lookup.default_values, *renamed):
        if name not in known:
            raise FeatureNotFound(
                f"{info.name} has no feature {name!r}", where=str(info.name), remedy=did_you_mean(name, known)
            )
    for name in (*lookup.default_values, *renamed):
        if name not in chosen:
            raise FeatureNotFound(
                f"the lookup gives feature {name!r} a default or a new name, but does not select it",
                where=str(info.name),
                remedy="add it to feature_names",
            )
    if lookup.sequence_length is not None:
        _check_numbers(chosen, info)
    return list(dict.fromkeys(chosen))


def _check_numbers(features: list[str], info: TableInfo) -> None:
    for name in features:
        kind = info.schema.field(name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise SchemaMismatch(
                f"the feature {name!r} is a {kind}, and a sequence holds numbers only",
                where=str(info.name),
                remedy=f"leave it out: exclude: [{name}] beside the lookup's sequence_length in the model's file, or "
                "name the numeric features alone",
            )


def _match_keys(lookup: FeatureLookup, info: TableInfo) -> tuple[dict[str, str], tuple[str, str] | None]:
    """Map spine columns to key columns, and return the two time columns of a point-in-time join."""
    given = [lookup.lookup_key] if isinstance(lookup.lookup_key, str) else list(lookup.lookup_key)
    wanted = list(info.primary_key)
    time: tuple[str, str] | None = None
    if lookup.timestamp_lookup_key is not None:
        if info.timeseries is None:
            raise LookupKeyMismatch(
                f"{info.name} has no timeseries column to compare with timestamp_lookup_key="
                f"{lookup.timestamp_lookup_key!r}",
                where=f"primary key: {', '.join(info.primary_key)}",
                remedy="leave timestamp_lookup_key out, or create the table with a timeseries column",
            )
        time = (lookup.timestamp_lookup_key, info.timeseries)
        event_id = info.properties.get("karat.event_id")
        wanted = [key for key in wanted if key not in (info.timeseries, event_id)]
    elif info.timeseries is not None and len(given) < len(wanted):
        raise LookupKeyMismatch(
            f"lookup_key={given} lacks the timeseries column {info.timeseries!r} of {info.name}",
            where=f"primary key: {', '.join(info.primary_key)}",
            remedy=f"add {info.timeseries!r} to lookup_key for an exact match, or give timestamp_lookup_key for a "
            "point-in-time join",
        )
    if len(given) != len(wanted) or len(set(given)) != len(given):
        raise LookupKeyMismatch(
            f"lookup_key={given} does not match the primary key of {info.name}",
            where=f"primary key: {', '.join(info.primary_key)}",
            remedy=f"give one column for each of: {', '.join(wanted)}",
        )
    if set(given) == set(wanted):
        return {name: name for name in wanted}, time
    return dict(zip(given, wanted, strict=True)), time


def declared_lookups(model: DeclaredModel) -> list[FeatureLookup]:
    """Return the lookups of a declared model.

    A table with the spine's whole key is matched exactly: its row of a day ends where the label begins. Any other table
    with a time is joined at the spine's time.
    """
    return [_resolve_lookup(model, lookup, model.spine_columns) for lookup in model.spec.lookups]


def _resolve_lookup(model: DeclaredModel, lookup: Lookup, spine_key: tuple[str, ...]) -> FeatureLookup:
    project, spec, spine_time = model.project, model.spec, model.spine.time
    table = project.tables[lookup.table]
    names = [f.name for f in table.stored] if lookup.features == "*" else list(lookup.features)
    taken = [name for name in names if name not in lookup.exclude]
    name = str(project.table_name(table.name))
    if not set(table.entity) <= set(spine_key):
        raise LookupKeyMismatch(
            f"the spine {spec.spine_table!r} lacks the key of {table.name!r}: {', '.join(table.entity)}",
            where=f"model {spec.name!r} of project {project.name!r}",
            remedy=f"choose a spine table whose key holds {', '.join(table.entity)}",
        )
    if set(table.primary_key) <= set(spine_key):
        # An exact match ignores the lag: row D is complete at D + grain, and the label must not begin earlier.
        least = table.least_label_offset
        label = spec.label if spec.task not in UNSUPERVISED else None
        if least is not None and label and label.horizon and label.offset < least:
            raise LabelOverlapsFeatures(
                f"the label of {spec.name!r} begins before the features of {table.name!r} end",
                where=f"label.offset {label.offset}, grain {least}",
                remedy="set label.offset to at least one grain",
            )
        if lookup.sequence_length is None or table.time is None:
            return _with_missing(FeatureLookup(name, taken, lookup_key=list(table.primary_key)), lookup)
        # As an exact match does, the sequence ends with the row of the spine's own day.
        known = FeatureLookup(name, taken, lookup_key=list(table.entity), timestamp_lookup_key=spine_time)
        return replace(_with_sequence(known, lookup), lag=timedelta(0))
    if spine_time is None:
        raise LookupKeyMismatch(
            f"{table.name!r} has a time, and the spine {spec.spine_table!r} has none",
            where=f"model {spec.name!r} of project {project.name!r}",
            remedy="choose a spine table with a time",
        )
    return _with_sequence(
        FeatureLookup(name, taken, lookup_key=list(table.entity), timestamp_lookup_key=spine_time), lookup
    )


def _with_sequence(lookup: FeatureLookup, declared: Lookup) -> FeatureLookup:
    lookup = replace(lookup, sequence_length=declared.sequence_length, step=declared.step, short=declared.short)
    return _with_missing(lookup, declared)


def _with_missing(lookup: FeatureLookup, declared: Lookup) -> FeatureLookup:
    """The lookup with the greatest age of its rows, and what stands in for values that are not found."""
    return replace(lookup, lookback_window=declared.lookback_window, default_values=declared.default_values)
