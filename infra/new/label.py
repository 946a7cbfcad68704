"""The label of a drafted model: as given, or proposed from the gold table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import duckdb
import polars as pl

from infra.new.column_roles import measure_of
from karat.clock import DAY
from karat.declare import Feature, FeatureTable, GoldTable
from karat.declare.base import format_duration
from karat.errors import LabelNotFound, WrongCall, did_you_mean
from karat.sql import columns_read, connect, identifier, missing_column, plain_times

#: A forecast's windows ahead: of days, or of the horizon that an event table is asked for.
STEPS = 7
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UINTEGER", "UBIGINT")


@dataclass(frozen=True)
class LabelChoice:
    """The label of a drafted model.

    Attributes:
        task: The model's task.
        fields: The fields of ``label`` in YAML; None for a clustering.
        told: The label in words.
        columns: The gold columns that it reads.
        chosen: What was chosen because the call left it open.
    """

    task: str
    fields: dict[str, Any] | None
    told: str
    columns: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()

    @property
    def ahead(self) -> bool:
        """Whether it lies after its row, and so may come from columns that features read too."""
        return self.fields is not None and "horizon" in self.fields


@dataclass(frozen=True)
class Rows:
    """The rows that the label is for.

    Attributes:
        spine: The feature table whose rows are labelled.
        gold: The gold table that the label comes from.
        horizon: How far ahead the label looks; None for a label of the row's own gold row.
        transform: The transform under which a number is learned.
    """

    spine: FeatureTable
    gold: GoldTable
    horizon: timedelta | None
    transform: str | None = None

    @property
    def windowed(self) -> bool:
        """Whether the label is computed from the gold rows of a window after the row."""
        return self.horizon is not None

    @property
    def daily(self) -> bool:
        """Whether the spine has one row per entity and day."""
        return self.spine.row_span is not None

    @property
    def whose(self) -> str:
        """The entity columns in words."""
        return " and ".join(self.spine.entity)

    def columns(self, *dtypes: str) -> list[str]:
        """Gold's columns of these types that are no keys or times."""
        own = {*self.gold.key, *self.spine.entity, self.gold.event_time}
        return [n for n, c in self.gold.columns.items() if n not in own and c.dtype in dtypes]

    def read_by(self, expressions: Iterable[str]) -> tuple[str, ...]:
        """The gold columns that SQL expressions read."""
        return columns_read(expressions, self.gold.columns)


def wanted(rows: Rows, task: str | None, given: Sequence[str]) -> LabelChoice:
    """The label of a model of ``task`` (by the label's type where it is None).

    Raises LabelNotFound where what is given does not bind, WrongCall where nothing is given and gold has nothing.
    """
    if task == "clustering":
        return LabelChoice(task, None, f"Which of a few groups of alike rows one of {rows.spine.name} belongs to")
    if task == "anomaly" and not given:
        return _unmarked(rows)
    if task == "multilabel" or len(given) > 1:
        return _several(rows, task, given)
    if given:
        return _one(rows, task, given[0])
    sql = _default(rows, task)
    found = _one(rows, task, sql)
    chosen = f"label {sql}, task {found.task} (--label and --task say others)"
    return LabelChoice(found.task, found.fields, found.told, found.columns, (chosen,))


def _one(rows: Rows, task: str | None, sql: str) -> LabelChoice:
    dtype, nothing, aggregate = _bound(rows.gold, sql)
    task = task or {"BOOLEAN": "binary", "VARCHAR": "multiclass"}.get(dtype, "regression")
    name = _name(rows, sql, task)
    fields: dict[str, Any] = {"name": name} if name else {}
    fields |= {"source": rows.gold.name, "expression": f"({sql})::int" if dtype == "BOOLEAN" else sql}
    if rows.transform is not None:
        if task not in ("regression", "forecast"):
            raise WrongCall(f"--transform is for numbers, and the label {sql!r} makes a {task} model")
        fields["transform"] = rows.transform
    _check_aggregate(rows, sql, aggregate)
    if rows.windowed:
        fields |= _horizon(rows, task)
        if nothing is not None or re.match(r"sum\s*\(", sql, re.I):
            fields["default"] = nothing if isinstance(nothing, str) else float(nothing) if nothing else 0
    return LabelChoice(task, fields, _told(rows, sql, task), rows.read_by([sql]))


def _check_aggregate(rows: Rows, sql: str, aggregate: bool) -> None:
    """Refuse an aggregate of one event's own row, and a plain column of all the rows of a window."""
    if rows.daily or rows.spine.time is None or rows.windowed == aggregate:
        return
    if aggregate:
        raise WrongCall(
            f"the label {sql!r} is an aggregate over rows, and without a horizon it is of each event's own row",
            remedy="say how far ahead it looks, as in --horizon 1h, or write a column of the row",
        )
    raise WrongCall(
        f"the label {sql!r} is a column of one row, and a horizon may hold several rows",
        remedy=f"write an aggregate, as in max({sql}), or leave out --horizon to foretell the row's own {sql}",
    )


def _horizon(rows: Rows, task: str | None = None) -> dict[str, Any]:
    """The label's window: of days it begins after the features' day, of an event right after it."""
    assert rows.horizon is not None
    horizon = DAY if task == "forecast" and rows.daily else rows.horizon
    found: dict[str, Any] = {"horizon": format_duration(horizon)}
    if not rows.daily:
        found["offset"] = "0d"
    return found | ({"steps": STEPS} if task == "forecast" else {})


def _bound(gold: GoldTable, sql: str) -> tuple[str, Any, bool]:
    """The type of an expression over gold's columns, what it makes of no rows, and whether it is an aggregate."""
    empty = pl.from_arrow(gold.schema.empty_table())
    assert isinstance(empty, pl.DataFrame)
    with connect() as connection:
        connection.register("gold", plain_times(empty))
        try:
            found = connection.sql(f"SELECT ({sql}\n) AS v FROM gold")
            rows = found.fetchall()
            return str(found.types[0]), rows[0][0] if rows else None, bool(rows)
        except duckdb.Error as error:
            missing = missing_column(error)
            raise LabelNotFound(
                f"the label {sql!r} can't be computed from gold table {gold.name!r}: {str(error).splitlines()[0]}",
                remedy=did_you_mean(missing, gold.columns) if missing else "write it as DuckDB reads it",
            ) from error


def _default(rows: Rows, task: str | None) -> str:
    """What comes in the days after, where there are days; else the last column of the table that is fit."""
    numbers, texts = rows.columns("float64", "int64"), rows.columns("string")
    if rows.windowed:
        of_task = {"binary": "count(*) > 0", "multiclass": f"mode({identifier(texts[0])})" if texts else ""}
        sql = of_task.get(task or "regression", _number_ahead(rows.gold, numbers))
    else:
        fit = {"binary": rows.columns("bool"), "regression": rows.columns("float64") or numbers, "multiclass": texts}
        sql = next((identifier(columns[-1]) for kind, columns in fit.items() if columns and task in (None, kind)), "")
    if not sql:
        raise WrongCall(
            f"gold table {rows.gold.name!r} has no column that a {task or 'first'} model could foretell",
            remedy="say with --label what is to be foretold: SQL over its columns, as in --label 'max(size) > 100'",
        )
    return sql


def _number_ahead(gold: GoldTable, numbers: Sequence[str]) -> str:
    """The sum of the first amount; where nothing adds up the mean of the first number, or the number of rows."""
    amount = next((n for n in numbers if measure_of(n, gold.columns[n]).measure == "amount"), None)
    if amount is not None:
        return f"sum({identifier(amount)})"
    return f"avg({identifier(numbers[0])})" if numbers else "count(*)"


def _name(rows: Rows, sql: str, task: str) -> str | None:
    """The name of the label's column; None where ``label`` has to do."""
    if rows.horizon is None:
        return sql.strip('"') if sql.strip('"') in rows.gold.columns else None
    found = re.fullmatch(r"(?:sum|mode)\(\"?(\w+)\"?\)", sql)
    return f"{found[1]}_next_{_ahead(rows, task)}" if found else None


def _told(rows: Rows, sql: str, task: str) -> str:
    step = "Day by day" if rows.daily else "Step by step"
    what = {"binary": f"The probability of {sql}", "forecast": f"{step}, {sql}"}.get(task, sql)
    if not rows.windowed:
        return f"{what}, of {rows.gold.name}"
    return f"{what}, of the {rows.gold.name} of each {rows.whose} in the {_ahead(rows, task)} after"


def _ahead(rows: Rows, task: str) -> str:
    """How far ahead the label looks, as in ``7d``."""
    assert rows.horizon is not None
    if task == "forecast":
        return format_duration((DAY if rows.daily else rows.horizon) * STEPS)
    return format_duration(rows.horizon)


def _unmarked(rows: Rows) -> LabelChoice:
    fields: dict[str, Any] = {"source": rows.gold.name, "expression": "NULL::int"}
    if rows.daily:  # an event without a horizon has the label of its own row
        fields |= {"horizon": "1d", "offset": "0d"}
    told = f"Rows of {rows.spine.name} that are not as the others"
    return LabelChoice(
        "anomaly", fields, told, chosen=("no known anomalies (--label names a condition that marks some)",)
    )


def _several(rows: Rows, task: str | None, given: Sequence[str]) -> LabelChoice:
    """The labels of a multi-label model, each ``name=SQL``."""
    if task not in (None, "multilabel"):
        raise WrongCall(f"a {task} model has one label, and {len(given)} were given", remedy="--task multilabel")
    named = [re.fullmatch(r"\s*([a-z]\w*)\s*=\s*([^=].*)", one, re.S) for one in given]
    if len(given) < 2 or not all(named):
        raise WrongCall(
            "a multilabel model has several labels, each with its name",
            remedy="name them as in --label late='max(days) > 3' --label big='sum(amount) > 100'",
        )
    expressions = {m[1]: _condition(rows.gold, m[1], m[2]) for m in named if m is not None}
    fields: dict[str, Any] = {"source": rows.gold.name, "expressions": expressions}
    if rows.windowed:
        fields |= _horizon(rows) | {"default": 0}
    columns = rows.read_by(expressions.values())
    return LabelChoice("multilabel", fields, f"The probabilities of {', '.join(expressions)}", columns)


def _condition(gold: GoldTable, name: str, sql: str) -> str:
    dtype, _, _ = _bound(gold, sql)
    if dtype != "BOOLEAN" and dtype not in _WHOLE:
        raise LabelNotFound(f"the label {name!r} is no condition: {sql!r} is {dtype}", remedy="compare it with a value")
    return f"({sql})::int" if dtype == "BOOLEAN" else sql


def telling(table: FeatureTable, columns: Sequence[str]) -> list[str]:
    """The stored features of a row that are made from these gold columns of its own row, or derived from such."""
    found: list[str] = []
    for feature in table.features:
        if (not feature.derived and feature.window is None and _reads(feature, columns)) or feature.reads(found):
            found.append(feature.name)
    stored = {f.name for f in table.stored}
    return [name for name in found if name in stored]


def _reads(feature: Feature, columns: Sequence[str]) -> bool:
    return bool(columns_read([feature.column, feature.where, feature.event], columns))
