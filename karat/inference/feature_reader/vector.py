"""Feature vector: values and statuses of one key, in the order asked for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import NamedTuple

from karat.clock import EPOCH, MICROSECOND
from karat.features import Status
from karat.names import TableName
from karat.online import Keys, KeyValue, Row, Value, Values


def keys_text(keys: Mapping[str, object]) -> str:
    """Keys as a message shows them: a time as it is written in a request."""
    return ", ".join(f"{name}={v.isoformat() if isinstance(v, date) else repr(v)}" for name, v in keys.items())


class FeatureVector(NamedTuple):
    """Features of one key, in the order asked for.

    Attributes:
        values: One value per feature. A sequence is a list, oldest first, with None where no row is.
        statuses: One status per feature.
        times: Table -> time of the (newest) row used; None if there is none or if the table has no time.
        found: Table -> whether it has a row of the key at all.
        row: The time, and the event id, of the model's row that was found for keys that do not name it.
    """

    values: list[Value]
    statuses: list[Status]
    times: dict[str, datetime | None]
    found: dict[str, bool]
    row: dict[str, KeyValue]

    @classmethod
    def empty(cls, count: int) -> FeatureVector:
        """Make a vector of ``count`` features, none of them found."""
        return cls([None] * count, [Status.NOT_FOUND] * count, {}, {}, {})

    def record(self, table: TableName, row: Row) -> None:
        """Keep the time of the row that was read from ``table``, and whether there was one."""
        self.times[str(table)] = None if row.time is None else EPOCH + row.time * MICROSECOND
        self.found[str(table)] = Status.NOT_FOUND not in row.statuses


class EntityRow(NamedTuple):
    """One key to be read, with the vector that the reads fill.

    Attributes:
        keys: Key column of the request -> value.
        event: Columns of the request's own event, for tables with a row per event.
        vector: Where values and statuses go.
        gold: The gold table of which the request is a new event; None where it is of none.
    """

    keys: Keys
    event: Values
    vector: FeatureVector
    gold: TableName | None = None
