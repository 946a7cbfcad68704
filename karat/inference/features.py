"""Feature values by reference, without a model: ``table:feature`` for many entities at once, now or as of a time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from karat.declare.project_catalog import ProjectCatalog
from karat.errors import InvalidRequest, LookupKeyMismatch, TableNotFound, did_you_mean
from karat.features import Status
from karat.inference.request import typed_values
from karat.inference.table import EventReads, TableReads, reads_of
from karat.lake import Lake
from karat.names import FeatureRef, TableName
from karat.online import OnlineStore, coerce_key, microseconds


@dataclass(frozen=True)
class FeatureValues:
    """``values[i][j]`` and ``statuses[i][j]`` are of entity row ``i`` and reference ``j``, both in the caller's order.

    ``names``: the features' names, ``table__feature`` where two tables have the same. ``times[i][j]``: the time of the
    feature row that was taken; None where there is none or its table has no time. ``keys``: the rows, typed.
    """

    references: tuple[FeatureRef, ...]
    names: tuple[str, ...]
    keys: list[dict[str, Any]]
    values: list[list[Any]]
    statuses: list[list[Status]]
    times: list[list[datetime | None]]

    @property
    def unknown(self) -> list[int]:
        """The rows of which no table knows anything."""
        return [i for i, row in enumerate(self.statuses) if all(s is Status.NOT_FOUND for s in row)]

    def to_dict(self) -> dict[str, list[Any]]:
        """Column name -> values: the key columns, then the features by name, as Feast's answer has them."""
        columns = dict.fromkeys(name for row in self.keys for name in row)
        out = {name: [row.get(name) for row in self.keys] for name in columns}
        return out | {name: [row[j] for row in self.values] for j, name in enumerate(self.names)}


def online_features(
    lake: Lake,
    store: OnlineStore,
    references: Sequence[str | FeatureRef],
    rows: Sequence[Mapping[str, Any]],
    *,
    catalog: str | None = None,
    as_of: datetime | None = None,
    projects: ProjectCatalog | None = None,
) -> FeatureValues:
    """The features of ``references`` for every entity row (key column -> value), one read per table.

    A bare table is read in ``catalog``; without one, where just one catalog has published it. What is known now comes
    from the online store, what was known at an ``as_of`` in the past from the offline one, by the same rules. A key
    that is null finds nothing. A column that bears the name of a table's time column asks for the row of that time.
    Tables that one of ``projects`` declares with a row per event are finished at the moment asked for; a row may bring
    values of its own event.

    Raises WrongCall, TableNotFound, FeatureNotFound, InvalidRequest (``where``: the row's number and column),
    StoreUnreachable.
    """
    if not references:
        raise InvalidRequest("no feature is asked for", where="features", remedy="give references: table:feature")
    if as_of is not None and as_of.tzinfo is None:
        raise InvalidRequest("as_of has no time zone", where="as_of_date", remedy="write it as in 2026-01-15T10:30:00Z")
    asked = [FeatureRef.parse(r) for r in references]
    tables = {text: table_of(lake, store, text, catalog) for text in dict.fromkeys(r.table for r in asked)}
    wanted: dict[TableName, list[str]] = {}
    for ref in asked:
        columns = wanted.setdefault(tables[ref.table], [])
        if ref.feature not in columns:
            columns.append(ref.feature)
    known = projects or ProjectCatalog()
    reads = {table: reads_of(lake, store, table, columns, known) for table, columns in wanted.items()}
    keys = _typed(rows, reads.values())
    now = datetime.now(UTC)
    past = as_of is not None and as_of < now
    at = microseconds(as_of if as_of is not None else now)
    found = {table: read.rows(keys, at, offline=past) for table, read in reads.items()}
    places = [(tables[r.table], wanted[tables[r.table]].index(r.feature)) for r in asked]
    taken = [[found[table][i] for table, _ in places] for i in range(len(keys))]
    return FeatureValues(
        references=tuple(asked),
        names=_names(asked),
        keys=keys,
        values=[[row.values[j] for row, (_, j) in zip(line, places, strict=True)] for line in taken],
        statuses=[[row.statuses[j] for row, (_, j) in zip(line, places, strict=True)] for line in taken],
        times=[[row.at for row in line] for line in taken],
    )


def table_of(lake: Lake, store: OnlineStore, text: str, catalog: str | None) -> TableName:
    """The table that ``text`` names. Raises TableNotFound with the nearest, InvalidRequest where it may be several."""
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


def _typed(rows: Sequence[Mapping[str, Any]], reads: Collection[TableReads | EventReads]) -> list[dict[str, Any]]:
    """The rows with every value in its declared type. Raises InvalidRequest, which names row and column."""
    types = {name: dtype for read in reads for name, dtype in read.key_types.items()}
    own = {name: dtype for read in reads for name, dtype in read.own.items() if name not in types}
    needed = list(dict.fromkeys(name for read in reads for name in read.key))
    return [
        _keys_of(row, types, own, where=f"entities.{i}", needed=needed)
        | typed_values({n: v for n, v in row.items() if n in own}, own, f"entities.{i}")
        for i, row in enumerate(rows)
    ]


def _keys_of(
    row: Mapping[str, Any], types: Mapping[str, str], own: Mapping[str, str], *, where: str, needed: list[str]
) -> dict[str, Any]:
    for name in needed:
        if name not in row:
            raise InvalidRequest(f"the key column {name!r} is missing", where=where, remedy=f"give {', '.join(needed)}")
    out = {}
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
    tables: dict[str, set[str]] = {}
    for ref in asked:
        tables.setdefault(ref.feature, set()).add(ref.table)
    return tuple(
        r.feature if len(tables[r.feature]) == 1 else f"{r.table.rpartition('.')[2]}__{r.feature}" for r in asked
    )
