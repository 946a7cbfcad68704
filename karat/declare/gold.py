"""Gold tables: the schema contract, key, event time and owner of each."""

from __future__ import annotations

import pyarrow as pa
from pydantic import model_validator

from karat.declare.base import ARROW, Declaration, Dtype, TimeZone


class Column(Declaration):
    """One column's contract. ``minimum``, ``maximum`` (both ends count) and ``allowed`` set rows aside."""

    dtype: Dtype
    description: str = ""
    nullable: bool = True
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] | None = None


class GoldTable(Declaration):
    """A gold table: where a team's features start.

    ``key`` is unique and not null. ``event_time`` names the date or timestamp column by which late rows are found;
    a table without one is recomputed whole. ``timezone`` (IANA) is what naive timestamps of an input mean.
    ``truth`` marks a table that only sample data have: the planted truth, for evaluation, never for features.
    """

    name: str
    description: str
    owner: str = ""
    key: tuple[str, ...]
    event_time: str | None = None
    timezone: TimeZone | None = None
    columns: dict[str, Column]
    truth: bool = False

    @model_validator(mode="after")
    def _columns_exist(self) -> GoldTable:
        for column in (*self.key, *([self.event_time] if self.event_time else [])):
            if column not in self.columns:
                raise ValueError(f"gold table {self.name!r} has no column {column!r}")
        if self.event_time and self.columns[self.event_time].dtype not in ("date", "timestamp"):
            raise ValueError(f"event_time {self.event_time!r} of {self.name!r} is neither date nor timestamp")
        return self

    @property
    def schema(self) -> pa.Schema:
        """The Arrow contract; key columns are not nullable."""
        return pa.schema(
            pa.field(n, ARROW[c.dtype], nullable=c.nullable and n not in self.key, metadata={"comment": c.description})
            for n, c in self.columns.items()
        )
