"""Gold tables: the schema contract, key, event time and owner of each."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from pydantic import model_validator

from karat.declare.base import Declaration, FieldErrors, TimeZone
from karat.declare.checks import AnyCheck, Between, IsIn, NotNull, RowCheck, attached
from karat.dtypes import ARROW, Dtype
from karat.errors import did_you_mean


class Column(Declaration):
    """One column's contract.

    ``nullable``, ``minimum``, ``maximum`` (both ends count) and ``allowed`` are short for the checks ``not_null``,
    ``between`` and ``is_in`` that set rows aside.
    """

    dtype: Dtype
    description: str = ""
    nullable: bool = True
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] | None = None

    def rules(self, name: str, *, key: bool) -> Iterator[NotNull | Between | IsIn]:
        """The column's contract as checks."""
        if key or not self.nullable:
            yield NotNull(column=name, key=key, on_fail="set_aside")
        if self.minimum is not None or self.maximum is not None:
            yield Between(column=name, low=self.minimum, high=self.maximum, on_fail="set_aside")
        if self.allowed is not None:
            yield IsIn(column=name, values=self.allowed, on_fail="set_aside")


class GoldTable(Declaration):
    """A gold table: where a team's features start.

    ``key`` is unique and not null. ``event_time`` names the date or timestamp column by which late rows are found;
    a table without one is recomputed whole. ``timezone`` (IANA) is what naive timestamps of an input mean.
    ``cluster_by`` names the columns by which the rows of each file are sorted: those by which features are mostly asked
    for one at a time (an entity), so that few rows are read for one.
    ``truth`` marks a table that only sample data have: the planted truth, for evaluation, never for features.
    ``checks`` are its further rules: those of rows that set aside, or set a value to null, do so when rows come in, and
    all of them are looked at before features are computed.
    """

    name: str
    description: str
    owner: str = ""
    key: tuple[str, ...]
    event_time: str | None = None
    timezone: TimeZone | None = None
    columns: dict[str, Column]
    cluster_by: tuple[str, ...] = ()
    truth: bool = False
    checks: tuple[AnyCheck, ...] = ()

    @model_validator(mode="after")
    def _columns_exist(self) -> GoldTable:
        used = {
            "key": self.key,
            "event_time": (self.event_time,) if self.event_time else (),
            "cluster_by": self.cluster_by,
        }
        if unknown := [(f, c) for f, columns in used.items() for c in columns if c not in self.columns]:
            raise FieldErrors(
                ((field,), f"gold table {self.name!r} has no column {column!r}. {did_you_mean(column, self.columns)}")
                for field, column in unknown
            )
        if ours := [c for c in self.columns if c.startswith("__")]:
            raise ValueError(f"{ours[0]!r} of {self.name!r}: names that begin with two underscores are Karat's")
        if self.name.endswith("_set_aside"):
            raise ValueError(f"{self.name!r} is the name of the table in which rows of another table are set aside")
        if self.event_time and self.columns[self.event_time].dtype not in ("date", "timestamp"):
            raise ValueError(f"event_time {self.event_time!r} of {self.name!r} is neither date nor timestamp")
        dtypes = {name: column.dtype for name, column in self.columns.items()}
        attached((*self.column_rules, *self.checks), f"gold table {self.name!r}", dtypes, self.event_time, gold=True)
        for rule in self.null_rules:
            if why := self._needs_value(rule.column):
                raise ValueError(
                    f"the check {rule.name!r} of gold table {self.name!r} can't set {rule.column!r} to null: {why}. "
                    "Use on_fail='set_aside'"
                )
        return self

    def _needs_value(self, column: str) -> str | None:
        """Why each row needs a value in this column, or None."""
        if column in self.key:
            return "it is part of the key"
        if column == self.event_time:
            return "it is the event time"
        required = any(isinstance(c, NotNull) and c.column == column and c.on_fail != "warn" for c in self.checks)
        return "the column is not nullable" if required or not self.columns[column].nullable else None

    @property
    def column_rules(self) -> tuple[NotNull | Between | IsIn, ...]:
        """The contracts of all columns as checks."""
        return tuple(rule for n, c in self.columns.items() for rule in c.rules(n, key=n in self.key))

    @property
    def declared_checks(self) -> tuple[AnyCheck, ...]:
        """``checks`` with their defaults."""
        dtypes = {name: column.dtype for name, column in self.columns.items()}
        return attached(self.checks, f"gold table {self.name!r}", dtypes, self.event_time, gold=True)

    @property
    def null_rules(self) -> tuple[Between | IsIn, ...]:
        """The checks by which ingest writes null in place of a value; they run before all others."""
        return tuple(c for c in self.checks if isinstance(c, Between | IsIn) and c.on_fail == "null")

    @property
    def aside_rules(self) -> tuple[RowCheck, ...]:
        """The checks whose broken rows features never read, in the order in which they run.

        Those of ``null_rules`` are among them: a row that another program wrote is read only if it keeps them.
        """
        acts = ("set_aside", "null")
        declared = (c for c in self.declared_checks if isinstance(c, RowCheck) and c.on_fail in acts)
        return (*self.column_rules, *declared)

    @property
    def schema(self) -> pa.Schema:
        """The Arrow contract; key columns are not nullable."""
        return pa.schema(
            pa.field(n, ARROW[c.dtype], nullable=c.nullable and n not in self.key, metadata={"comment": c.description})
            for n, c in self.columns.items()
        )
