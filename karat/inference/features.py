"""Feature values by reference, without a model: ``table:feature`` for many entities at once, now or as of a time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from karat.declare.project_catalog import ProjectCatalog
from karat.dtypes import ARROW, dtype_of
from karat.errors import (
    FeatureLookupFailed,
    FeatureNotFound,
    InvalidRequest,
    LookupKeyMismatch,
    StoreUnreachable,
    TableNotFound,
    did_you_mean,
)
from karat.features import Status
from karat.inference.feature_reader import FeatureReader
from karat.inference.request import moment_of, typed_values
from karat.inference.value_rules import ValueRules
from karat.lake import Lake
from karat.names import FeatureRef, TableName
from karat.online import KeySpace, KeyValue, OnlineStore, Value, Values, coerce_key
from karat.training_sets.lookups import PinnedLookup


@dataclass(frozen=True)
class FeatureValues:
    """Features of many entity rows; ``values[i][j]`` is of row ``i`` and reference ``j``, in the caller's order.

    Attributes:
        references: What was asked for.
        names: The features' names, ``table__feature`` where two tables have the same.
        keys: The entity rows, typed.
        values: Rows of values.
        statuses: Rows of statuses.
        times: Rows of the times of the feature rows used; None if there is none or its table has no time.
    """

    references: tuple[FeatureRef, ...]
    names: tuple[str, ...]
    keys: list[dict[str, Value]]
    values: list[list[Value]]
    statuses: list[list[Status]]
    times: list[list[datetime | None]]

    @property
    def unknown(self) -> list[int]:
        """The rows of which no table knows anything."""
        return [i for i, row in enumerate(self.statuses) if all(s is Status.NOT_FOUND for s in row)]

    def to_dict(self) -> dict[str, list[Value]]:
        """Column name -> values: the key columns, then the features by name, as Feast's answer has them."""
        columns = dict.fromkeys(name for row in self.keys for name in row)
        out = {name: [row.get(name) for row in self.keys] for name in columns}
        return out | {name: [row[j] for row in self.values] for j, name in enumerate(self.names)}


def online_features(
    lake: Lake,
    store: OnlineStore,
    references: Sequence[str | FeatureRef],
    rows: Sequence[Values],
    *,
    catalog: str | None = None,
    as_of: datetime | None = None,
    projects: ProjectCatalog | None = None,
) -> FeatureValues:
    """Read features by reference for every entity row, with one read per table.

    What is known now comes from the online store, what was known at a past ``as_of`` from the offline one, by the
    same rules. A null key finds nothing. A column with the name of a table's time column asks for the row of that
    time. Features of a table with a row per event are finished at the moment asked for; a row may bring values of its
    own event.

    Args:
        lake: The offline store.
        store: The online store.
        references: ``table:feature``. A bare table is read in ``catalog``, or where just one catalog has it online.
        rows: Key column -> value, one mapping per entity.
        catalog: Where bare tables are.
        as_of: The moment, with its time zone; None is now.
        projects: The declarations of tables with a row per event.

    Returns:
        Values and statuses in the order of rows and references.

    Raises:
        WrongCall: A reference is not of the form ``table:feature``.
        TableNotFound: No such table; names the nearest.
        FeatureNotFound: No such feature; names the nearest.
        InvalidRequest: ``where`` is the row's number and column.
        StoreUnreachable: The online store is down, or the table was never published.
        FeatureLookupFailed: The offline store can't be read.
    """
    if not references:
        raise InvalidRequest("no feature is asked for", where="features", remedy="give references: table:feature")
    as_of = None if as_of is None else moment_of(as_of)
    asked = [FeatureRef.parse(r) for r in references]
    tables = {text: table_of(lake, store, text, catalog) for text in dict.fromkeys(r.table for r in asked)}
    outputs = [f"{tables[r.table]}:{r.feature}" for r in asked]
    lookups = _lookups(lake, store, [(tables[r.table], r.feature) for r in asked], projects or ProjectCatalog())
    unique = list(dict.fromkeys(outputs))
    reader = FeatureReader(lookups, unique, store, lake, projects)
    try:
        keys, events = _typed(rows, reader)
        rules = ValueRules(lookups, projects or ProjectCatalog())
        for i, event in enumerate(events):
            rules.check(event, f"entities.{i}")
        vectors = reader.read_many(keys, as_of, events)
    except FeatureLookupFailed as error:
        if isinstance(error.__cause__, StoreUnreachable):
            raise error.__cause__ from None
        raise
    places = [unique.index(output) for output in outputs]
    table_names = [str(tables[r.table]) for r in asked]
    return FeatureValues(
        references=tuple(asked),
        names=_names(asked),
        keys=[{**key, **event} for key, event in zip(keys, events, strict=True)],
        values=[[vector.values[p] for p in places] for vector in vectors],
        statuses=[[vector.statuses[p] for p in places] for vector in vectors],
        times=[[vector.times[name] for name in table_names] for vector in vectors],
    )


def table_of(lake: Lake, store: OnlineStore, text: str, catalog: str | None) -> TableName:
    """The table that ``text`` names.

    Raises:
        TableNotFound: No such table; names the nearest.
        InvalidRequest: Several catalogs have such a table.
    """
    if catalog is not None or text.count(".") == 2:
        return TableName.parse(text, catalog=catalog)
    schema, _, table = text.rpartition(".")
    known = {TableName.parse(state.table) for state in store.states()} or set(lake.tables())
    found = sorted(n for n in known if (n.schema, n.table) == (schema or "features", table))
    if len(found) > 1:
        raise InvalidRequest(
            f"several catalogs have a table {text!r}",
            where="features",
            remedy=f"name one of: {', '.join(map(str, found))}; or give the project",
        )
    if not found:
        near = did_you_mean(table, {n.table for n in known}) or "there is none online yet: karat run PROJECT"
        raise TableNotFound(f"there is no feature table {text!r}", remedy=near)
    return found[0]


def _lookups(
    lake: Lake, store: OnlineStore, features: Sequence[tuple[TableName, str]], projects: ProjectCatalog
) -> list[PinnedLookup]:
    """An exact lookup per table: a row that names no time gets the latest row known."""
    wanted: dict[TableName, dict[str, str]] = {}
    for table, feature in features:
        wanted.setdefault(table, {})[feature] = f"{table}:{feature}"
    return [_lookup(lake, store, table, columns, projects) for table, columns in wanted.items()]


def _lookup(
    lake: Lake, store: OnlineStore, table: TableName, columns: dict[str, str], projects: ProjectCatalog
) -> PinnedLookup:
    keys, event_id = _event_keys(table, projects), None
    if keys is not None:
        *_, event_id = keys
    else:
        keys, known, event_id = _stored_keys(lake, store, table)
        for column in columns:
            if column not in known:
                raise FeatureNotFound(
                    f"feature {column!r} is not in {table}", where=str(table), remedy=did_you_mean(column, known)
                )
    return PinnedLookup(
        table=table,
        version=0,  # of a training set alone
        keys={name: name for name in keys},
        time=None,
        lag=timedelta(0),
        lookback=None,
        columns=columns,
        defaults={},
        schema={name: str(ARROW[dtype]) for name, dtype in keys.items()},
        event_id=event_id,
    )


def _event_keys(table: TableName, projects: ProjectCatalog) -> dict[str, str] | None:
    """Key column -> type of a table with a row per event, the event id last; None if it is another table."""
    declared = projects.event_table(table)
    if declared is None:
        return None
    project, features = declared
    gold = project.gold[features.source].columns
    return {name: gold[name].dtype for name in (*features.entity, features.time, features.event_id)}


def _stored_keys(
    lake: Lake, store: OnlineStore, table: TableName
) -> tuple[dict[str, str], Collection[str], str | None]:
    """Key column -> type, the features, and the event id's column: as published, else as the lake has them."""
    state = store.state(KeySpace(str(table)))
    if state is not None and (state.time is None or state.time_type) and state.event_id is None:
        time = {state.time: state.time_type} if state.time else {}
        return dict(state.key) | time, dict(state.columns), None
    info = lake.info(table)
    keys: dict[str, str] = {name: dtype_of(info.schema.field(name).type) for name in info.primary_key}
    return keys, info.features, info.event_id


def _typed(
    rows: Sequence[Values], reader: FeatureReader
) -> tuple[list[dict[str, KeyValue | None]], list[dict[str, Value]]]:
    """Keys and own events of the rows in their declared types. Raises InvalidRequest, which names row and column."""
    types, optional = reader.key_types, reader.optional_keys()
    own = {name: dtype for name, dtype in reader.own_types.items() if name not in types}
    needed = [name for name in types if name not in optional]
    keys = [_keys_of(row, types, own, where=f"entities.{i}", needed=needed) for i, row in enumerate(rows)]
    events: list[dict[str, Value]] = [
        typed_values({n: v for n, v in row.items() if n in own}, own, f"entities.{i}") for i, row in enumerate(rows)
    ]
    return keys, events


def _keys_of(
    row: Values, types: Mapping[str, str], own: Mapping[str, str], *, where: str, needed: list[str]
) -> dict[str, KeyValue | None]:
    for name in needed:
        if name not in row:
            raise InvalidRequest(f"the key column {name!r} is missing", where=where, remedy=f"give {', '.join(needed)}")
    out: dict[str, KeyValue | None] = {}
    for name, value in row.items():
        if name in own:
            continue
        if name not in types:
            raise InvalidRequest(
                f"no table asked for has a key column {name!r}",
                where=f"{where}.{name}",
                remedy=did_you_mean(name, {*types, *own}),
            )
        try:
            out[name] = None if value is None else coerce_key(value, types[name], name)
        except LookupKeyMismatch as error:
            raise InvalidRequest(error.what, where=f"{where}.{name}", remedy=error.remedy) from error
    return out


def _names(asked: Sequence[FeatureRef]) -> tuple[str, ...]:
    """The features' names, with their table where two tables have the same."""
    tables: dict[str, set[str]] = {}
    for ref in asked:
        tables.setdefault(ref.feature, set()).add(ref.table)
    return tuple(
        r.feature if len(tables[r.feature]) == 1 else f"{r.table.rpartition('.')[2]}__{r.feature}" for r in asked
    )
