"""What is to be done for some features of a table of events, worked out once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

from karat.declare import Feature, FeatureTable
from karat.features.connection import connect, kept_connection, literal
from karat.features.projection import narrowed

_PLAIN = re.compile(r"(?!(?:true|false|null)$)[a-z_]\w*", re.IGNORECASE)
#: Delay and width of a window in microseconds, and the side on which it is closed.
Window = tuple[int, int, str]


@dataclass(frozen=True)
class RequestPlan:
    """``table`` cut down to what is asked. ``columns`` are those of the tail; ``plain`` and ``expressions`` what is
    aggregated, or a condition; ``own`` the features of the event itself."""

    table: FeatureTable
    columns: tuple[str, ...]
    plain: tuple[str, ...]
    expressions: tuple[str, ...]
    windows: tuple[Window, ...]
    aggregated: tuple[tuple[Feature, Window], ...]
    own: tuple[Feature, ...]
    own_plain: tuple[str, ...]
    own_expressions: tuple[str, ...]
    derived: tuple[Feature, ...]
    counts_current: bool

    @property
    def key(self) -> tuple[str, ...]:
        """The key columns besides the time."""
        return (*self.table.entity, str(self.table.event_id))


class Same:
    """A declaration as a cache's key: the same object."""

    __slots__ = ("table",)

    def __init__(self, table: FeatureTable) -> None:
        self.table = table

    def __hash__(self) -> int:
        return id(self.table)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.table is self.table


@lru_cache(maxsize=512)
def plan_of(same: Same, features: tuple[str, ...]) -> RequestPlan:
    """Raises FeatureNotFound with the nearest name."""
    table = narrowed(same.table, features)
    aggregated = tuple((f, _window(table, f)) for f in table.features if f.function)
    own = tuple(f for f in table.features if f.event)
    read = list(dict.fromkeys(t for f, _ in aggregated for t in (f.column, f.where) if t))
    read += [table.where] if table.where and table.where not in read else []
    mine = list(dict.fromkeys(str(f.event) for f in own))
    return RequestPlan(
        table=table,
        columns=tuple(dict.fromkeys([str(table.event_id), *(c for t in read for c in referred(t))])),
        plain=tuple(t for t in read if is_plain(t)),
        expressions=tuple(t for t in read if not is_plain(t)),
        windows=tuple(dict.fromkeys(w for _, w in aggregated)),
        aggregated=aggregated,
        own=own,
        own_plain=tuple(t for t in mine if is_plain(t)),
        own_expressions=tuple(t for t in mine if not is_plain(t)),
        derived=tuple(f for f in table.features if f.derived),
        counts_current=any(delay == 0 and closed == "right" for _, (delay, _, closed) in aggregated),
    )


def _window(table: FeatureTable, feature: Feature) -> Window:
    assert feature.window is not None
    delay, width = (span // timedelta(microseconds=1) for span in (table.delay_of(feature), feature.window))
    return delay, width, table.closed_of(feature)


def is_plain(sql: str) -> bool:
    """Whether an expression is a column's name, and so needs no engine."""
    return _PLAIN.fullmatch(sql.strip()) is not None


@lru_cache(maxsize=4096)
def referred(sql: str) -> tuple[str, ...]:
    """The columns that an expression names, in their order."""
    if is_plain(sql):
        return (sql.strip(),)
    with kept_connection(), connect() as connection:
        text = connection.sql(f"SELECT json_serialize_sql({literal(f'SELECT ({sql}{chr(10)})')})").fetchall()[0][0]
    return tuple(dict.fromkeys(_columns(json.loads(text))))


def _columns(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("class") == "COLUMN_REF":
            yield node["column_names"][0]
        for value in node.values():
            yield from _columns(value)
    elif isinstance(node, list):
        for value in node:
            yield from _columns(value)
