"""Request plan: how to compute some features of an event table for one request, worked out once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from karat.clock import MICROSECOND
from karat.declare import EventFeatureTable, Feature
from karat.features.projection import narrowed
from karat.sql import column_references, is_column_name

#: Delay and width of a window in microseconds, and the side on which it is closed.
WindowBounds = tuple[int, int, str]


@dataclass(frozen=True)
class RequestPlan:
    """How to compute some features of an event table for one request.

    Attributes:
        table: The table with only the features asked for and what they read.
        columns: The columns of the tail.
        plain: What is aggregated or a condition, and is a column's name.
        expressions: The same, if it needs SQL.
        own: The features of the event itself.
        counts_current: Whether a window holds the event itself.
    """

    table: EventFeatureTable
    columns: tuple[str, ...]
    plain: tuple[str, ...]
    expressions: tuple[str, ...]
    windows: tuple[WindowBounds, ...]
    aggregated: tuple[tuple[Feature, WindowBounds], ...]
    own: tuple[Feature, ...]
    own_plain: tuple[str, ...]
    own_expressions: tuple[str, ...]
    derived: tuple[Feature, ...]
    counts_current: bool

    @property
    def key(self) -> tuple[str, ...]:
        """The key columns besides the time."""
        return tuple(c for c in (*self.table.entity, self.table.event_id) if c != self.table.time)


class TableIdentity:
    """A declaration as a cache's key: the same object."""

    __slots__ = ("table",)

    def __init__(self, table: EventFeatureTable) -> None:
        self.table = table

    def __hash__(self) -> int:
        return id(self.table)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TableIdentity) and other.table is self.table


@lru_cache(maxsize=512)
def plan_of(identity: TableIdentity, features: tuple[str, ...]) -> RequestPlan:
    """Raises FeatureNotFound with the nearest name."""
    table = narrowed(identity.table, features)
    aggregated = tuple((f, _window(table, f)) for f in table.features if f.function)
    own = tuple(f for f in table.features if f.event)
    read = list(dict.fromkeys(t for f, _ in aggregated for t in (f.column, f.where) if t))
    read += [table.where] if table.where and table.where not in read else []
    mine = list(dict.fromkeys(str(f.event) for f in own))
    ids = () if table.event_id == table.time else (table.event_id,)
    return RequestPlan(
        table=table,
        columns=tuple(dict.fromkeys([*ids, *(c for t in read for c in columns_of(t))])),
        plain=tuple(t for t in read if is_column_name(t)),
        expressions=tuple(t for t in read if not is_column_name(t)),
        windows=tuple(dict.fromkeys(w for _, w in aggregated)),
        aggregated=aggregated,
        own=own,
        own_plain=tuple(t for t in mine if is_column_name(t)),
        own_expressions=tuple(t for t in mine if not is_column_name(t)),
        derived=tuple(f for f in table.features if f.derived),
        counts_current=any(delay == 0 and closed == "right" for _, (delay, _, closed) in aggregated),
    )


def _window(table: EventFeatureTable, feature: Feature) -> WindowBounds:
    assert feature.window is not None
    delay, width = (span // MICROSECOND for span in (table.delay_of(feature), feature.window))
    return delay, width, table.closed_of(feature)


def columns_of(sql: str) -> tuple[str, ...]:
    """The columns that an expression names, in their order."""
    return tuple(dict.fromkeys(path[0] for path in column_references(sql) or ()))
