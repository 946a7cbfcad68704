"""Publication: copies an offline table to the online store by Delta version, in small transactions.

A plan is the difference between what the store holds and what it should hold, so a second try after a kill finds what
the first one wrote and goes on behind it. The published version is set in the transaction that writes the last piece.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime

from karat.clock import DAY_MICROSECONDS, microseconds, utc_now
from karat.declare.project_catalog import ProjectCatalog
from karat.dtypes import dtype_of
from karat.errors import LookupKeyMismatch, WrongCall
from karat.executors import Progress, silent
from karat.lake import Lake, TableInfo
from karat.names import TableName
from karat.online._rows import same_values, split_rows
from karat.online._source import OfflineRows
from karat.online._store import Index, KeySpace, OnlineStore, PublishState
from karat.online._tails import EventSource

_CHUNK = 10_000


@dataclass(frozen=True)
class PublishResult:
    """Result of a publication.

    Attributes:
        table: The feature table.
        index: The index that was published.
        version: The Delta version that is online now.
        changed: Whether anything was written.
        written: Keys written.
        deleted: Keys deleted.
        whole: Whether every row was compared, not only the days that changed.
        others: Results of the table's other indexes.
    """

    table: TableName
    index: Index
    version: int
    changed: bool
    written: int = 0
    deleted: int = 0
    whole: bool = False
    others: tuple[PublishResult, ...] = ()


def publish_table(
    lake: Lake,
    store: OnlineStore,
    name: TableName,
    progress: Progress = silent,
    *,
    index: Index | None = None,
    sequence_length: int | None = None,
    projects: ProjectCatalog | None = None,
    at: datetime | None = None,
) -> PublishResult:
    """Bring the online rows of a table to its current Delta version.

    The first publication, and one after a change of columns, copies the whole table; later ones copy the days that
    differ from the published version. Entities and rows that the table no longer has are deleted.

    Args:
        lake: The offline store.
        store: The online store.
        name: The feature table.
        progress: Called with keys done and in total.
        index: ``latest`` keeps, per entity, the newest row known at ``at`` and those known later; ``sequence`` the
            last ``sequence_length`` known ones, or as many as before if that was more; ``exact`` every row under its
            whole primary key; ``events`` the gold events that the windows of a table with a row per event read. None
            takes what the table needs, and ``sequence`` if a length is given or one is online already.
        sequence_length: Rows per entity of a sequence.
        projects: The declarations of tables with a row per event.
        at: What counts as now.

    Returns:
        What was written.

    Raises:
        TableNotFound: There is no such table.
        LookupKeyMismatch: The table has no entity.
        WrongCall: A sequence without length or time; events that no project declares.
        DiskFull: The store has no room.
        StoreUnreachable: The store can't be reached.
    """
    moment = at or utc_now()
    if index is not None and index != "events":
        return _publish(lake, store, KeySpace(str(name), index), progress, moment, length=sequence_length)
    declared = projects.event_table(name) if projects is not None else None
    if declared is not None:
        events = EventSource.of(*declared)
        first = _publish(lake, store, KeySpace(str(name), "events"), progress, moment, events=events)
    elif index == "events":
        raise WrongCall(f"no project declares {name} with a row per event", remedy="publish it without an index")
    else:
        first = _publish(lake, store, KeySpace(str(name)), progress, moment)
    if sequence_length is None and store.state(KeySpace(str(name), "sequence")) is None:
        return first
    second = _publish(lake, store, KeySpace(str(name), "sequence"), progress, moment, length=sequence_length)
    return replace(first, changed=first.changed or second.changed, others=(second,))


def _publish(
    lake: Lake,
    store: OnlineStore,
    space: KeySpace,
    progress: Progress,
    at: datetime,
    *,
    length: int | None = None,
    events: EventSource | None = None,
) -> PublishResult:
    name, index = TableName.parse(space.table), space.index
    read = events.gold if events is not None else name
    lake.info(read)
    with store.lock(space):
        info = lake.info(read)  # only now: another process may have published while we waited
        known = store.state(space)
        wanted = _next_state(info, known, index, length) if events is None else events.state(lake, known)
        state = known if known is not None and _means(known) == _means(wanted) else wanted
        if state is known and state.version == info.version and not state.pending:
            return PublishResult(name, index, info.version, changed=False)
        if known is not None and known.key != state.key:
            store.drop(space)
        source = OfflineRows(lake, info, state, at, events)
        days = _days(lake, info, known, source) if state is known else None
        plan = _plan(store, source, space, days)
        pending = tuple(dict.fromkeys([*state.pending, info.version]))
        begun = replace(state, pending=pending, horizon=source.horizon)
        _write(store, begun, info.version, plan, progress)
        return PublishResult(name, index, info.version, True, len(plan.puts), len(plan.deletes), whole=days is None)


def _next_state(info: TableInfo, known: PublishState | None, index: Index, length: int | None) -> PublishState:
    """The state with one more layout; it is not needed where ``known`` means the same."""
    event_id = getattr(info, "event_id", None)
    key = info.primary_key
    if index != "exact":
        key = tuple(k for k in key if k not in (info.timeseries, event_id))
    if not key:
        raise LookupKeyMismatch(
            f"the table {info.name} has no key beside its time, so there is nothing to look up by",
            remedy="publish it with index='exact'",
        )
    dtypes = {f.name: dtype_of(f.type) for f in info.schema}
    columns = tuple((n, d) for n, d in dtypes.items() if n not in info.primary_key)
    layouts = dict(known.layouts) if known is not None else {}
    number = max(layouts, default=0) + 1  # never used before: a reader may still hold the older ones
    return PublishState(
        table=str(info.name),
        index=index,
        key=tuple((k, dtypes[k]) for k in key),
        time=info.timeseries,
        lag=round(info.lag.total_seconds() * 1_000_000),
        layouts={**layouts, number: columns},
        layout=number,
        keep=_keep(info, known, length) if index == "sequence" else 1,
        event_id=event_id,
        time_type=dtypes[info.timeseries] if info.timeseries else "",
    )


def _means(state: PublishState) -> tuple[object, ...]:
    """What makes the records of a space what they are."""
    return state.key, state.time, state.lag, state.columns, state.keep, state.span, state.event_id


def _keep(info: TableInfo, known: PublishState | None, length: int | None) -> int:
    """How many known rows of an entity a sequence has online: never less than somebody reads by now."""
    if info.timeseries is None:
        raise WrongCall(f"{info.name} has no time, so its rows are in no order", remedy="publish it without an index")
    if length is not None and length < 1:
        raise WrongCall(f"a sequence of length {length} holds nothing", remedy="give sequence_length=1 or more")
    if length is None and known is None:
        raise WrongCall(f"how many rows of {info.name} belong in a sequence?", remedy="give sequence_length=N")
    return max(length or 1, known.keep if known is not None else 1)


def _days(lake: Lake, info: TableInfo, known: PublishState | None, source: OfflineRows) -> frozenset[date] | None:
    """The days whose rows may differ from what is online; None for all of them."""
    if known is None or known.time is None or known.version is None:
        return None
    if known.horizon is not None and source.horizon is not None and source.horizon < known.horizon:
        return None  # asked for an earlier moment: what had left the window belongs in it
    begun = (known.version, *known.pending)
    if max(begun) > info.version:  # the table was made anew
        return None
    # A publication that was broken off may have copied rows that its version alone had.
    return frozenset(d for since in begun for d in lake.changed_days(info.name, known.time, since, info.version))


@dataclass(frozen=True)
class _PublishPlan:
    """Records to put, keys to delete, and how many keys the space has afterwards."""

    puts: list[tuple[bytes, bytes]]
    deletes: list[bytes]
    total: int


def _plan(store: OnlineStore, source: OfflineRows, space: KeySpace, days: frozenset[date] | None) -> _PublishPlan:
    """The difference between what is online and what should be. ``days`` None compares every row."""
    wanted = source.records(days)
    changed = None if days is None else {microseconds(d) for d in days}
    puts: list[tuple[bytes, bytes]] = []
    deletes: list[bytes] = []
    orphans: dict[bytes, bytes] = {}
    total = 0
    for key, record in store.scan(space):
        total += 1
        merged = fresh = wanted.pop(key, None)
        if changed is not None:
            rows = list(split_rows(record))
            kept = [(t, r) for t, r in rows if t - t % DAY_MICROSECONDS not in changed]
            if fresh is None and len(kept) == len(rows) and source.horizon is None:
                continue
            merged = _merge(kept, fresh, source)
            if source.by_entity and _lost(rows, merged, source):
                orphans[key] = record
                continue
        _compare(key, record, merged, puts, deletes)
    found = source.records_of(list(orphans))
    for key, record in orphans.items():
        _compare(key, record, found.get(key), puts, deletes)
    puts.extend(wanted.items())
    return _PublishPlan(puts, deletes, total + len(wanted) - len(deletes))


def _compare(
    key: bytes, record: bytes, wanted: bytes | None, puts: list[tuple[bytes, bytes]], deletes: list[bytes]
) -> None:
    if wanted is None:
        deletes.append(key)
    elif not same_values(wanted, record):
        puts.append((key, wanted))


def _merge(kept: list[tuple[int, bytes]], fresh: bytes | None, source: OfflineRows) -> bytes | None:
    """The rows that stay online with those that the changed days have: newest first, down to the last to be kept."""
    rows = sorted([*kept, *(split_rows(fresh) if fresh else ())], key=lambda r: r[0], reverse=True)
    out: list[bytes] = []
    known = 0
    for time, row in rows:
        if known >= source.keep and (source.horizon is None or time <= source.horizon):
            break
        known += time <= source.known_until
        out.append(row)
    return b"".join(out) or None


def _lost(rows: list[tuple[int, bytes]], merged: bytes | None, source: OfflineRows) -> bool:
    """Whether rows were removed and too few replace them.

    Older rows of unchanged days may then be among the newest, and only the offline table has them.
    """
    if len(rows) < source.keep:
        return False  # these were all that the table had
    oldest = rows[-1][0]
    return sum(oldest <= time <= source.known_until for time, _ in split_rows(merged or b"")) < source.keep


def _write(store: OnlineStore, state: PublishState, version: int, plan: _PublishPlan, progress: Progress) -> None:
    """Piece by piece, each with the state as it stands; the last says that the version is online."""
    puts, done, total = sorted(plan.puts), 0, len(plan.puts) + len(plan.deletes)
    pieces: list[tuple[list[tuple[bytes, bytes]], list[bytes]]]
    pieces = [(puts[at : at + _CHUNK], []) for at in range(0, len(puts), _CHUNK)]
    pieces += [([], plan.deletes[at : at + _CHUNK]) for at in range(0, len(plan.deletes), _CHUNK)]
    ended = replace(
        state,
        version=version,
        pending=(),
        layouts={state.layout: state.columns},
        rows=plan.total,
        published_at=utc_now().isoformat(timespec="seconds"),
    )
    for number, (some, gone) in enumerate(pieces or [([], [])], start=1):
        store.apply(ended if number >= len(pieces) else state, some, gone)
        done += len(some) + len(gone)
        progress(done, total, f"publish {state.table}: {state.index}")
