"""Checks: what must hold of a gold or feature table, declared beside it, and what is done where it does not.

``on_fail``: ``block`` (nothing is computed from a gold table that fails, nothing committed to a feature table),
``warn`` (it is told), ``set_aside`` (the rows that break it are left out, and kept beside the table with the reason),
``null`` (of gold: ingest writes null in place of the value; the original row is kept beside the table).
By default it is ``set_aside`` for the row checks of a gold table without ``at_most``, ``warn`` for freshness, and
``block`` for everything else.
"""

from karat.declare.checks.attach import AnyCheck, attached
from karat.declare.checks.base import Check, OnFail
from karat.declare.checks.rows import Between, IsIn, Matches, NotNull, RowCheck, between, is_in, matches, not_null
from karat.declare.checks.tables import Fresh, Unique, Volume, fresh, unique, volume

__all__ = [
    "AnyCheck",
    "Between",
    "Check",
    "Fresh",
    "IsIn",
    "Matches",
    "NotNull",
    "OnFail",
    "RowCheck",
    "Unique",
    "Volume",
    "attached",
    "between",
    "fresh",
    "is_in",
    "matches",
    "not_null",
    "unique",
    "volume",
]
