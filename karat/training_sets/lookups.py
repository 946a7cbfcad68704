"""FeatureLookup: which features of which table, by which keys; checked and pinned against the lake before any read."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import EllipsisType
from typing import Any, get_args

import polars as pl
import pyarrow as pa

from karat.declare.models import UNSUPERVISED, Lookup, ModelSpec
from karat.declare.project import Project
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


@dataclass(frozen=True)
class FeatureLookup:
    """Features of one table, found by the spine's ``lookup_key`` columns.

    Without a ``timestamp_lookup_key`` the match is exact on the whole primary key. With one, ``lookup_key`` names the
    other key columns and the row taken is the latest known at that time, not older than ``lookback_window``.
    Key columns are matched by name, or by their order where the names differ. ``feature_names`` None takes every
    feature of the table, and ``...`` among them all that are not named. ``default_values`` replace what is not found or
    expired; ``rename_outputs`` maps a feature's name to that of its column.

    With ``sequence_length`` N (as-of only) each feature is the N latest such rows, an Array(Float64, N), oldest first,
    padded in front with null; one more column, ``TABLE__mask`` (which ``rename_outputs`` may rename), is true where a
    row is. A gap wider than ``step`` (the table's grain by default; ``timedelta.max``: none is too wide) ends the
    sequence. ``short="refuse"`` makes an error of rows with fewer than N. ``lag`` replaces the table's own: 0 for a
    spine whose row of a day stands for that day's end.
    """

    table_name: str
    feature_names: str | Sequence[str | EllipsisType] | None = None
    lookup_key: str | Sequence[str] = ()
    timestamp_lookup_key: str | None = None
    lookback_window: timedelta | None = None
    default_values: Mapping[str, Any] = field(default_factory=dict)
    rename_outputs: Mapping[str, str] = field(default_factory=dict)
    sequence_length: int | None = None
    step: timedelta | None = None
    short: Short = "pad"
    lag: timedelta | None = None


@dataclass(frozen=True)
class PinnedLookup:
    """A FeatureLookup as it was resolved: what a model keeps, and what batch and online inference read.

    ``keys`` maps spine columns to the table's; ``time`` is that pair of an as-of join; ``columns`` maps each feature
    to its output's name, in order; ``schema`` gives the Arrow type of every column that is read. ``event_id`` is the
    column that orders rows of the same time; ``step`` None: no gap ends a sequence; ``mask`` names its mask's output.
    ``meanings`` has the hash of each feature's meaning (``FeatureTable.meanings``), where the table was computed.
    """

    table: TableName
    version: int
    keys: dict[str, str]
    time: tuple[str, str] | None
    lag: timedelta
    lookback: timedelta | None
    columns: dict[str, str]
    defaults: dict[str, Any]
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
        """The columns that this lookup adds, in order: its features, then the mask of a sequence."""
        return (*self.columns.values(), *([self.mask] if self.mask else []))

    @property
    def spine_columns(self) -> tuple[str, ...]:
        """What a frame must bring so that this lookup can be made."""
        return (*self.keys, *([self.time[0]] if self.time else []))

    @property
    def table_columns(self) -> list[str]:
        """What is read of the table, each column once."""
        order = [self.event_id] if self.event_id and self.time else []
        return list(dict.fromkeys([*self.keys.values(), *([self.time[1]] if self.time else []), *order, *self.columns]))

    def without(self, given: Collection[str]) -> PinnedLookup:
        """This lookup less the outputs that a frame or a request brings itself; ``outputs`` may be empty then."""
        columns = {name: out for name, out in self.columns.items() if out not in given}
        defaults = {name: value for name, value in self.defaults.items() if name in columns}
        mask = self.mask if self.mask not in given else None
        return replace(self, columns=columns, defaults=defaults, mask=mask)

    def as_json(self) -> dict[str, Any]:
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
    def from_json(cls, record: Mapping[str, Any]) -> PinnedLookup:
        lookback, step = record["lookback_seconds"], record.get("step_seconds")
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
            definition_hash=record.get("definition_hash", ""),
            sequence_length=record.get("sequence_length"),
            step=None if step is None else timedelta(seconds=step),
            short=record.get("short", "pad"),
            event_id=record.get("event_id"),
            mask=record.get("mask"),
            meanings=record.get("meanings", {}),
        )


def pin(lookup: FeatureLookup, lake: Lake, spine: pl.DataFrame, *, catalog: str | None = None) -> PinnedLookup:
    """Checks a lookup against its table and the spine's columns; reads metadata only.

    Raises TableNotFound, FeatureNotFound, ColumnMissing and LookupKeyMismatch, each with the nearest known name;
    WrongCall and SchemaMismatch for a sequence that can't be.
    """
    info = lake.info(TableName.parse(lookup.table_name, catalog=catalog))
    _check_sequence(lookup)
    features = _features(lookup, info)
    keys, time = _keys(lookup, info)
    for column in (*keys, *([time[0]] if time else [])):
        if column not in spine.columns:
            raise ColumnMissing(
                f"the frame has no column {column!r}, which the lookup of {info.name} needs",
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
        step=_step(lookup, info) if sequence else None,
        short=lookup.short,
        event_id=event_id,
        mask=lookup.rename_outputs.get(_mask(info), _mask(info)) if sequence else None,
        meanings={name: meanings[name] for name in features if name in meanings},
    )


def _mask(info: TableInfo) -> str:
    return f"{info.name.table}__mask"


def _step(lookup: FeatureLookup, info: TableInfo) -> timedelta | None:
    step = info.grain if lookup.step is None else lookup.step
    return None if step == timedelta.max else step


def _check_sequence(lookup: FeatureLookup) -> None:
    where = f"FeatureLookup({lookup.table_name!r})"
    if lookup.short not in get_args(Short):
        raise WrongCall(f"short={lookup.short!r} is neither 'pad' nor 'refuse'", where=where)
    if lookup.sequence_length is None:
        if lookup.step is not None or lookup.short != "pad":
            raise WrongCall("step and short are of a sequence", where=where, remedy="give sequence_length")
        return
    if lookup.sequence_length < 1:
        raise WrongCall(f"sequence_length={lookup.sequence_length} holds nothing", where=where, remedy="give 1 or more")
    if lookup.timestamp_lookup_key is None:
        raise WrongCall(
            "a sequence is of the rows known at a time, and no time is named", where=where,
            remedy="give timestamp_lookup_key",
        )  # fmt: skip
    if lookup.default_values:
        raise WrongCall(
            "a sequence has no default_values: what is short is padded and masked", where=where, remedy="leave them out"
        )


def _features(lookup: FeatureLookup, info: TableInfo) -> list[str]:
    """The features asked for, in the order asked; every name that the lookup uses must be a feature."""
    known = [name for name in info.schema.names if name not in info.primary_key]
    renamed = [n for n in lookup.rename_outputs if lookup.sequence_length is None or n != _mask(info)]
    names = [lookup.feature_names] if isinstance(lookup.feature_names, str) else lookup.feature_names
    chosen = list(known if names is None else names)
    if ... in chosen:  # [..., "a"] as documents write it: these, and all others
        others = [name for name in known if name not in chosen]
        chosen = [name for part in chosen for name in (others if part is ... else [part])]
    for name in (*chosen, *lookup.default_values, *renamed):
        if name not in known:
            raise FeatureNotFound(
                f"feature {name!r} is not in {info.name}", where=str(info.name), remedy=did_you_mean(name, known)
            )
    for name in (*lookup.default_values, *renamed):
        if name not in chosen:
            raise FeatureNotFound(
                f"feature {name!r} has a default or another name, but the lookup does not take it",
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
                f"the feature {name!r} is a {kind}, and a sequence holds numbers",
                where=str(info.name),
                remedy="name the numbers in feature_names",
            )


def _keys(lookup: FeatureLookup, info: TableInfo) -> tuple[dict[str, str], tuple[str, str] | None]:
    """Spine column -> key column, and the pair of time columns of an as-of join."""
    given = [lookup.lookup_key] if isinstance(lookup.lookup_key, str) else list(lookup.lookup_key)
    wanted = list(info.primary_key)
    time: tuple[str, str] | None = None
    if lookup.timestamp_lookup_key is not None:
        if info.timeseries is None:
            raise LookupKeyMismatch(
                f"{info.name} has no timeseries column, so timestamp_lookup_key={lookup.timestamp_lookup_key!r} "
                "has nothing to be compared with",
                where=f"primary key: {', '.join(info.primary_key)}",
                remedy="leave timestamp_lookup_key out, or name the table's timeseries column when it is created",
            )
        time = (lookup.timestamp_lookup_key, info.timeseries)
        event_id = info.properties.get("karat.event_id")
        wanted = [key for key in wanted if key not in (info.timeseries, event_id)]
    elif info.timeseries is not None and len(given) < len(wanted):
        raise LookupKeyMismatch(
            f"lookup_key={given} does not name the timeseries column {info.timeseries!r} of {info.name}",
            where=f"primary key: {', '.join(info.primary_key)}",
            remedy=f"for an exact match add {info.timeseries!r} to lookup_key; for the latest row known at a time give "
            "timestamp_lookup_key",
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


def lookups_of(project: Project, spec: ModelSpec) -> list[FeatureLookup]:
    """A declared model's lookups. A table that shares the spine's whole key is matched exactly (its row of a day ends
    where the label begins); any other table with a time is joined as of the spine's day."""
    spine = project.tables[spec.spine_table]
    return [_declared(project, lookup, project.spine_columns(spec), spine.time, spec) for lookup in spec.lookups]


def _declared(
    project: Project, lookup: Lookup, spine_key: tuple[str, ...], spine_time: str | None, spec: ModelSpec
) -> FeatureLookup:
    table = project.tables[lookup.table]
    names = [f.name for f in table.stored] if lookup.features == "*" else list(lookup.features)
    taken = [name for name in names if name not in lookup.exclude]
    name = str(project.table_name(table.name))
    if not set(table.entity) <= set(spine_key):
        raise LookupKeyMismatch(
            f"{table.name!r} has the key {', '.join(table.entity)}, which the rows of {spec.spine_table!r} do not have",
            where=f"model {spec.name!r} of project {project.name!r}",
            remedy=f"name as spine a table whose key holds {', '.join(table.entity)}",
        )
    if set(table.primary_key) <= set(spine_key):
        # An exact match ignores the lag: row D is complete at D + grain, and the label must not begin before.
        grain = timedelta(0) if isinstance(table.grain, str) else table.grain
        label = spec.label if spec.task not in UNSUPERVISED else None
        if table.time and label and label.horizon and label.offset < grain:
            raise LabelOverlapsFeatures(
                f"the label of {spec.name!r} begins before the features of {table.name!r} end",
                where=f"label.offset {label.offset}, grain {grain}",
                remedy="set label.offset to at least one grain",
            )
        if lookup.sequence_length is None or table.time is None:
            return FeatureLookup(name, taken, lookup_key=list(table.primary_key))
        # As an exact match does, the sequence ends with the row of the spine's own day.
        known = FeatureLookup(name, taken, lookup_key=list(table.entity), timestamp_lookup_key=spine_time)
        return replace(_sequenced(known, lookup), lag=timedelta(0))
    if spine_time is None:
        raise LookupKeyMismatch(
            f"{table.name!r} has a time, and the rows of {spec.spine_table!r} have none",
            where=f"model {spec.name!r} of project {project.name!r}",
            remedy="name a spine with a time",
        )
    return _sequenced(
        FeatureLookup(name, taken, lookup_key=list(table.entity), timestamp_lookup_key=spine_time), lookup
    )


def _sequenced(found: FeatureLookup, declared: Lookup) -> FeatureLookup:
    step = declared.step
    return replace(found, sequence_length=declared.sequence_length, step=step, short=declared.short)


def arrow_type(text: str) -> pa.DataType:
    """The Arrow type that ``str(type)`` wrote into a pin."""
    aliases = {"date32[day]": pa.date32(), "timestamp[us, tz=UTC]": pa.timestamp("us", tz="UTC")}
    return aliases[text] if text in aliases else pa.type_for_alias(text)
