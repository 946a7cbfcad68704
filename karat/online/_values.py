"""Types of the values that an online store holds and that requests bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

#: A value of a key column; a ``datetime`` is a ``date``.
KeyValue = str | int | date
#: A feature's value; a sequence is oldest first.
Value = str | int | float | bool | date | Sequence["Value"] | None
#: Key column -> value; a null finds no row.
Keys = Mapping[str, KeyValue | None]
#: Column -> value, as a request brings them.
Values = Mapping[str, Value]
