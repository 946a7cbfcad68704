"""A table's definition: its schema and metadata in Delta, and which changes are allowed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable

from karat.dtypes import ARROW, KEY_TYPES, UTC_MICROSECONDS, dtype_of
from karat.errors import ColumnMissing, NaiveTimestamp, SchemaMismatch, did_you_mean
from karat.lake.partitions import PARTITION_PREFIX, with_hidden_columns
from karat.lake.records import DAY_COLUMN, EVENT, TableInfo
from karat.names import TableName

#: Delta's properties of every table: automatic clean-up of the log would make pinned versions unreadable.
TABLE_PROPERTIES = {"delta.enableExpiredLogCleanup": "false"}
#: The property that maps hidden partition columns to the columns of whose values they hold tokens.
_TOKENS = "karat.partition_tokens"


@dataclass(frozen=True)
class Definition:
    """A checked definition of a table, in the types that the lake stores.

    Attributes:
        schema: Its columns, hidden ones too.
        primary_key: Its key columns.
        timeseries: Its time column.
        partitions: Partition column -> the column whose values it groups: itself, unless it holds tokens.
        description: What it holds.
        properties: Table properties.
    """

    schema: pa.Schema
    primary_key: tuple[str, ...]
    timeseries: str | None
    partitions: dict[str, str]
    description: str
    properties: dict[str, str]

    @property
    def partition_by(self) -> tuple[str, ...]:
        """The partition columns of the Delta table."""
        return tuple(self.partitions)

    @property
    def visible(self) -> pa.Schema:
        """The columns without the hidden ones."""
        tokens = tokens_of(self.properties)
        return pa.schema([f for f in self.schema if f.name != DAY_COLUMN and f.name not in tokens])


def define(
    name: TableName,
    schema: pa.Schema,
    *,
    primary_key: Sequence[str],
    timeseries: str | None,
    partition_by: Sequence[str] | None,
    grain: timedelta | str | None,
    lag: timedelta,
    event_id: str | None,
    owner: str,
    description: str,
    properties: Mapping[str, str],
) -> Definition:
    """Check a table's definition; the arguments are those of ``Lake.create``.

    Args:
        name: The table.
        schema: Its columns.
        primary_key: Its key columns.
        timeseries: Its time column.
        partition_by: Partition columns; None for the default.
        grain: The time between two rows of an entity, or ``"event"``.
        lag: How long after its time a row is known.
        event_id: The column that tells rows of one entity and time apart.
        owner: Who is responsible for it.
        description: What it holds.
        properties: Table properties.

    Returns:
        The definition.

    Raises:
        ColumnMissing: A key, time or partition column is not in the schema.
        SchemaMismatch: The definition contradicts itself.
        NaiveTimestamp: A timestamp column has no time zone.
    """
    stored = stored_schema(name, schema, primary_key)
    _check_key(name, stored, primary_key, timeseries)
    _check_event(name, primary_key, timeseries, grain, event_id)
    _check_names(name, stored)
    columns, partitions = _partition(name, stored, timeseries, partition_by)
    own = {
        "karat.primary_key": json.dumps(list(primary_key)),
        "karat.timeseries": timeseries or "",
        "karat.grain": str(grain.total_seconds()) if isinstance(grain, timedelta) else grain or "",
        "karat.lag": str(lag.total_seconds()),
        "karat.owner": owner,
    }
    if event_id is not None:
        own["karat.event_id"] = event_id
    tokens = {hidden: column for hidden, column in partitions.items() if hidden != column}
    if tokens:
        own[_TOKENS] = json.dumps(tokens)
    _check_durations(name, grain, lag)
    prefixed = {k if "." in k else f"karat.{k}": v for k, v in properties.items()}
    return Definition(columns, tuple(primary_key), timeseries, partitions, description, {**prefixed, **own})


def stored_schema(name: TableName, schema: pa.Schema, primary_key: Sequence[str]) -> pa.Schema:
    """The schema that the lake stores: key columns NOT NULL, another original type as ``karat.type``."""
    fields = []
    for field in schema:
        kept = stored_type(name, field)
        metadata = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
        metadata = {k: v for k, v in metadata.items() if k == "comment" or k.startswith("karat.")}
        if dtype_of(field.type) != "other" and kept != field.type and not pa.types.is_large_string(field.type):
            metadata["karat.type"] = str(field.type)
        fields.append(pa.field(field.name, kept, field.nullable and field.name not in primary_key, metadata or None))
    return pa.schema(fields)


def stored_type(name: TableName, field: pa.Field) -> pa.DataType:
    """The type in which the lake stores a column.

    Args:
        name: The table, for the error.
        field: The column.

    Returns:
        int64 for integers, double for floats and decimals, UTC microseconds for timestamps.

    Raises:
        NaiveTimestamp: A timestamp has no time zone.
    """
    kind, is_ = _plain(field.type), pa.types
    if is_.is_integer(kind):
        return pa.int64()
    if is_.is_floating(kind) or is_.is_decimal(kind):
        return pa.float64()
    return _delta_type(name, field.name, kind)


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values of a dictionary, of runs or of an extension type."""
    while True:
        if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
            kind = kind.value_type
        elif isinstance(kind, pa.BaseExtensionType):
            kind = pa.string() if kind.extension_name == "arrow.uuid" else kind.storage_type
        else:
            return kind


def _delta_type(name: TableName, column: str, kind: pa.DataType) -> pa.DataType:
    """The type as Delta returns it; within lists and structs numbers keep their width."""
    kind, is_ = _plain(kind), pa.types
    if is_.is_timestamp(kind):
        if kind.tz is None:
            raise NaiveTimestamp(
                f"column {column!r} is a timestamp without a time zone",
                where=str(name),
                remedy="give its zone, as in create_table(timezone='Europe/Berlin'), or declare it as "
                "pa.timestamp('us', tz='UTC'); if it holds days, cast it to a date: in pandas "
                f"df[{column!r}].dt.date",
            )
        return UTC_MICROSECONDS
    if is_.is_string(kind) or is_.is_large_string(kind) or is_.is_string_view(kind):
        return pa.string()
    if is_.is_binary(kind) or is_.is_large_binary(kind) or is_.is_binary_view(kind) or is_.is_fixed_size_binary(kind):
        return pa.binary()
    if is_.is_date(kind):
        return pa.date32()
    if is_.is_boolean(kind) or is_.is_signed_integer(kind) or is_.is_float32(kind) or is_.is_float64(kind):
        return kind
    if is_.is_unsigned_integer(kind) or is_.is_float16(kind):
        return pa.int64() if is_.is_integer(kind) else pa.float32()
    if is_.is_decimal(kind):
        return pa.float64()
    if _is_list(kind):
        return pa.list_(pa.field("element", _delta_type(name, column, kind.value_type)))
    if is_.is_struct(kind) and kind.num_fields:
        _check_distinct(name, [f.name for f in kind], f"the parts of column {column!r}")
        return pa.struct([pa.field(f.name, _delta_type(name, column, f.type)) for f in kind])
    what = f"column {column!r} is of type {kind}, which the lake cannot hold"
    if is_.is_null(kind):
        what = f"no table can be created with column {column!r}: it has no value, so its type is unknown"
    raise SchemaMismatch(what, where=str(name), remedy=_remedy(kind, column))


def _is_list(kind: pa.DataType) -> bool:
    is_ = pa.types
    views = is_.is_list_view(kind) or is_.is_large_list_view(kind)
    return bool(is_.is_list(kind) or is_.is_large_list(kind) or is_.is_fixed_size_list(kind) or views)


def _remedy(kind: pa.DataType, column: str) -> str:
    """How to bring a column into a type that the lake holds."""
    is_ = pa.types
    if is_.is_null(kind):
        return (
            f"give it a type, as in pl.col({column!r}).cast(pl.Float64) or df[{column!r}].astype('float64') of pandas, "
            "or create the table with schema= and write the rows after"
        )
    if is_.is_duration(kind):
        return f"store a number: pl.col({column!r}).dt.total_seconds(), or pandas' .dt.total_seconds()"
    if is_.is_time(kind):
        return f"store it as text or as seconds since midnight: pl.col({column!r}).cast(pl.String)"
    return "store it as text, number, flag, date, timestamp, bytes, or a list or struct of these, or drop the column"


def _check_names(name: TableName, schema: pa.Schema) -> None:
    """Names that Delta, Parquet or a reader cannot tell apart or cannot hold."""
    _check_distinct(name, schema.names, "columns")
    for column in schema.names:
        if column == DAY_COLUMN or column.startswith(PARTITION_PREFIX):
            raise SchemaMismatch(
                f"the column name {column!r} is reserved for partitions", where=str(name), remedy="rename the column"
            )


def _check_distinct(name: TableName, names: Sequence[str], what: str) -> None:
    spelled: dict[str, str] = {}
    for column in names:
        if not column or "\0" in column:
            raise SchemaMismatch(
                f"{what}: {column!r} is no name that every reader returns", where=str(name), remedy="rename it"
            )
        other = spelled.setdefault(column.lower(), column)
        if other is not column:
            twice = "occurs twice" if other == column else f"and {other!r} differ in capitals alone"
            raise SchemaMismatch(
                f"{what}: {column!r} {twice}, and Delta does not distinguish them",
                where=str(name),
                remedy="rename or drop one of them",
            )


def _check_durations(name: TableName, grain: timedelta | str | None, lag: timedelta) -> None:
    if lag < timedelta(0):
        raise SchemaMismatch(
            f"the lag {lag} is negative: a row would be known before its time",
            where=str(name),
            remedy="give the time from a row's timestamp until it is known, 0 or more",
        )
    if isinstance(grain, timedelta) and grain <= timedelta(0):
        raise SchemaMismatch(f"the grain {grain} is not positive", where=str(name), remedy="give the time between rows")


def _check_key(name: TableName, schema: pa.Schema, primary_key: Sequence[str], timeseries: str | None) -> None:
    if not primary_key:
        raise SchemaMismatch("a table needs a primary key", where=str(name), remedy="name at least one key column")
    if len(set(primary_key)) < len(primary_key):
        raise SchemaMismatch(f"the primary key {list(primary_key)} names a column twice", where=str(name))
    for column in (*primary_key, *([timeseries] if timeseries else [])):
        if column not in schema.names:
            near = did_you_mean(column, schema.names)
            raise ColumnMissing(f"the key or time column {column!r} is not in the schema", where=str(name), remedy=near)
    for column in primary_key:
        if schema.field(column).type not in [ARROW[k] for k in KEY_TYPES]:
            raise SchemaMismatch(
                f"key column {column!r} is of type {schema.field(column).type}",
                where=str(name),
                remedy="keys are strings, 64-bit integers, dates or timestamps",
            )
    if timeseries and schema.field(timeseries).type not in (ARROW["date"], ARROW["timestamp"]):
        raise SchemaMismatch(f"the time column {timeseries!r} is neither date nor timestamp", where=str(name))
    if timeseries and name.schema == "features" and timeseries not in primary_key:
        raise SchemaMismatch(
            f"the time column {timeseries!r} is not part of the primary key {list(primary_key)}",
            where=str(name),
            remedy="add the time column to the primary key: a row of a feature table is one entity at one time",
        )


def _check_event(
    name: TableName,
    primary_key: Sequence[str],
    timeseries: str | None,
    grain: timedelta | str | None,
    event_id: str | None,
) -> None:
    """A table with a row per event has a time, an event id and the grain ``event``; other tables have no event id."""
    if isinstance(grain, str) and grain != EVENT:
        raise SchemaMismatch(f"the grain {grain!r} is neither a duration nor {EVENT!r}", where=str(name))
    if (grain == EVENT) != (event_id is not None):
        raise SchemaMismatch(
            "a table with a row per event needs grain and event_id",
            where=str(name),
            remedy="give grain='event' and event_id",
        )
    if event_id is not None and (timeseries is None or event_id not in primary_key):
        raise SchemaMismatch(
            f"the event id {event_id!r} is not part of the primary key {list(primary_key)} beside a time column",
            where=str(name),
            remedy="the key of a table with a row per event is entity, time and event id; the time may be the id",
        )


def _partition(
    name: TableName, schema: pa.Schema, timeseries: str | None, partition_by: Sequence[str] | None
) -> tuple[pa.Schema, dict[str, str]]:
    """The schema with hidden columns, and the partitions; by day for gold and feature tables with a time."""
    if partition_by is None:
        by_day = timeseries is not None and name.schema in ("gold", "features")
        partition_by = [timeseries] if by_day and timeseries is not None else []
    for column in partition_by:
        if column not in schema.names:
            raise ColumnMissing(
                f"partition column {column!r} is not in the schema",
                where=str(name),
                remedy=did_you_mean(column, schema.names),
            )
        if pa.types.is_nested(schema.field(column).type) or list(partition_by).count(column) > 1:
            raise SchemaMismatch(
                f"the partition column {column!r} is of type {schema.field(column).type}, or named twice",
                where=str(name),
                remedy="partition by columns of texts, numbers, flags or dates, each named once",
            )
    if timeseries in partition_by and schema.field(timeseries).type == UTC_MICROSECONDS:
        partition_by = [DAY_COLUMN if c == timeseries else c for c in partition_by]
        schema = schema.append(pa.field(DAY_COLUMN, pa.date32(), metadata={"comment": f"UTC day of {timeseries}"}))
    return with_hidden_columns(schema, partition_by)


def new_columns(info: TableInfo, wanted: Definition) -> list[pa.Field]:
    """The nullable columns that a new definition adds to a table.

    Args:
        info: The table's contract.
        wanted: The new definition.

    Returns:
        The new columns.

    Raises:
        SchemaMismatch: The definitions differ in anything else; the message lists all differences.
    """
    problems = []
    if wanted.primary_key != info.primary_key:
        problems.append(f"key: {', '.join(info.primary_key)} in the table, {', '.join(wanted.primary_key)} declared")
    if wanted.timeseries != info.timeseries:
        there, now = info.timeseries or "none", wanted.timeseries or "none"
        problems.append(f"time column: {there} in the table, {now} declared")
    stored = [info.tokens.get(c, c) for c in info.partition_by]
    if stored != list(wanted.partitions.values()):  # tables of before 0132 have the column itself
        there, now = ", ".join(stored) or "none", ", ".join(wanted.partitions.values()) or "none"
        problems.append(f"partitions: {there} in the table, {now} declared")
    new = {f.name: f for f in wanted.visible}
    for field in info.schema:
        problems += _column_difference(field, new.pop(field.name, None), {*info.primary_key, *wanted.primary_key})
    problems += [
        f"column {f.name}: not in the table, declared as {_in_words(f)}" for f in new.values() if not f.nullable
    ]
    if problems:
        listed = "".join(f"\n    {problem}" for problem in problems)
        raise SchemaMismatch(
            f"{info.name} exists, and its declaration is another now:{listed}",
            where=str(info.path),
            remedy="declare it as the table has it, or under a new name: a table may only gain columns that may be "
            "null. Or remove the table with its rows, then write them again from their files or by the next run: "
            f"karat drop table {info.name} --yes",
        )
    return list(new.values())


def _column_difference(there: pa.Field, now: pa.Field | None, keys: set[str]) -> list[str]:
    """What differs between a column of the table and its declaration; a key's must have values, which says its key."""
    if now is None:
        return [f"column {there.name}: {_in_words(there)} in the table, not declared"]
    alike = there.nullable == now.nullable or there.name in keys
    if there.type == now.type:
        return [] if alike else [f"column {there.name}: {_nulls(there)} in the table, {_nulls(now)} as declared"]
    if alike:
        return [f"column {there.name}: {_type_name(there)} in the table, {_type_name(now)} declared"]
    return [f"column {there.name}: {_in_words(there)} in the table, {_in_words(now)} declared"]


def _type_name(field: pa.Field) -> str:
    """A column's type as declarations call it."""
    known = dtype_of(field.type)
    return str(field.type) if known == "other" else known


def _nulls(field: pa.Field) -> str:
    return "may be null" if field.nullable else "may not be null"


def _in_words(field: pa.Field) -> str:
    return f"{_type_name(field)} that {_nulls(field)}"


def tokens_of(properties: Mapping[str, str]) -> dict[str, str]:
    """Hidden partition column -> the column of whose values it holds tokens, from a table's properties."""
    tokens: dict[str, str] = json.loads(properties.get(_TOKENS, "{}"))
    return tokens


def new_properties(info: TableInfo, wanted: Definition) -> dict[str, str]:
    """The properties in which a table differs from a definition; its partitions stay as they are."""
    return {k: v for k, v in wanted.properties.items() if info.properties.get(k) != v and k != _TOKENS}


def info_of(name: TableName, path: Path, table: DeltaTable) -> TableInfo:
    """The contract in a Delta table's metadata. A table of another program has no key and no owner."""
    metadata = table.metadata()
    schema = pa.schema(table.schema())
    properties = dict(metadata.configuration)
    grain, tokens, partition_by = properties.get("karat.grain"), tokens_of(properties), metadata.partition_columns
    hidden = {*tokens, *(c for c in partition_by if c == DAY_COLUMN)}
    return TableInfo(
        name=name,
        version=table.version(),
        schema=pa.schema([f for f in schema if f.name not in hidden]),
        primary_key=tuple(json.loads(properties.get("karat.primary_key", "[]"))),
        timeseries=properties.get("karat.timeseries") or None,
        grain=timedelta(seconds=float(grain)) if grain and grain != EVENT else None,
        event_id=properties.get("karat.event_id") or None,
        tokens=tokens,
        lag=timedelta(seconds=float(properties.get("karat.lag", 0))),
        owner=properties.get("karat.owner", ""),
        description=metadata.description or "",
        properties={k: v for k, v in properties.items() if not k.startswith("delta.")},
        comments={f.name: (f.metadata or {}).get(b"comment", b"").decode() for f in schema if f.name not in hidden},
        partition_by=tuple(partition_by),
        path=path,
        id=str(metadata.id),
    )
