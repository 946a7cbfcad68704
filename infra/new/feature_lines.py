"""The lines of a drafted feature table, for each grain: how the gold columns become features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from infra.new.column_roles import Measure, measure_of
from infra.new.render import call, literal
from karat.clock import DAY
from karat.declare import Column, GoldTable
from karat.declare.base import format_duration
from karat.declare.features import Function
from karat.sql import identifier

#: What a row of a feature table stands for.
Grain = Literal["day", "event", "entity"]
_NUMBERS = ("int64", "float64")
#: What is computed of the rows of a window, by what a column of numbers holds.
_FUNCTIONS: Mapping[Measure, tuple[Function, ...]] = {
    "level": ("mean", "min", "max"),
    "place": ("mean",),
    "code": ("count_distinct",),
    "unknown": ("mean", "min", "max"),
}
#: What is computed of an amount: over days its sum; before an event its mean, beside the number of rows.
_OF_AMOUNTS: Mapping[Grain, tuple[Function, ...]] = {"day": ("sum",), "event": ("mean",), "entity": ("sum", "mean")}
#: Functions that are computed in every window; the others in the longest alone.
_EVERY_WINDOW = ("sum", "mean")
_TOLD: Mapping[Function, str] = {
    "sum": "Sum of {}",
    "mean": "Mean {}",
    "min": "Least {}",
    "max": "Greatest {}",
    "std": "Standard deviation of {}",
    "variance": "Variance of {}",
    "first": "First {}",
    "last": "Latest {}",
    "count": "Rows with a value of {}",
    "count_distinct": "Different values of {}",
    "share": "Share of the rows with {}",
}


@dataclass(frozen=True)
class FeatureLines:
    """The generated part of a feature table's file.

    Attributes:
        features: One call a feature, in Python.
        check: The call of the table's one check.
        imports: What both need from ``karat.declare``.
    """

    features: list[str]
    check: str
    imports: frozenset[str]

    @property
    def stored(self) -> int:
        """How many features the table holds."""
        return sum("intermediate=True" not in line for line in self.features)


@dataclass(frozen=True)
class Choice:
    """What a table's lines are made from.

    Attributes:
        source: The gold table.
        entity: The key columns of the feature table.
        columns: The gold columns that become features.
        windows: The lengths of the windows, shortest first.
        time: The name of the feature table's time column; None without one.
        functions: The aggregates of columns for which the user names some.
        grain: What a row of the feature table stands for.
    """

    source: GoldTable
    entity: tuple[str, ...]
    columns: Mapping[str, Column]
    windows: tuple[timedelta, ...] = ()
    time: str | None = None
    functions: Mapping[str, tuple[Function, ...]] = field(default_factory=dict)
    grain: Grain = "day"

    @property
    def single(self) -> bool:
        """Whether each entity has one gold row, whose columns are its features as they are."""
        return self.grain == "entity" and set(self.source.key) <= set(self.entity)

    @property
    def rows_name(self) -> str:
        """What counts of rows are named after."""
        return "rows" if self.source.name in self.source.columns else self.source.name

    def free(self, name: str) -> str:
        """``name``, or with ``_of_row`` where the gold table or the key has such a column."""
        taken = {*self.source.columns, *self.entity, self.time}
        return f"{name}_of_row" if name in taken else name


def _line(function: str, name: str, *rest: str, description: str) -> str:
    return call(function, literal(name), *rest, f"description={literal(description)}", indent=8)


@dataclass(frozen=True)
class Aggregates:
    """How the rows of a window become values of a column.

    Attributes:
        functions: The aggregates.
        reason: Why these.
    """

    functions: tuple[Function, ...]
    reason: str


def aggregates_of(choice: Choice, name: str) -> Aggregates:
    """The aggregates of a gold column: as the user names them, else by what the column holds."""
    column = choice.columns[name]
    if given := choice.functions.get(name):
        return Aggregates(given, "as --aggregate says")
    if column.dtype == "bool":
        return Aggregates(("share",), "true or false")
    if column.dtype not in _NUMBERS:
        return Aggregates(("count_distinct",), "a text")
    role = measure_of(name, column)
    functions = _OF_AMOUNTS[choice.grain] if role.measure == "amount" else _FUNCTIONS[role.measure]
    return Aggregates(functions, role.reason)


def _dtype(column: Column) -> tuple[str, ...]:
    return () if column.dtype == "float64" else (f'dtype="{column.dtype}"',)


def _windows_in_words(choice: Choice, count: str) -> Iterator[tuple[str, str, str]]:
    """For each window its text, its argument, and ``count`` in the last so long."""
    for window in choice.windows:
        text = format_duration(window)
        yield text, f'window="{text}"', f"{count}, last {text}"


def _aggregated(choice: Choice, name: str, *, before: str = "") -> Iterator[str]:
    """One line for each aggregate of a column and each of its windows."""
    own, longest = literal(identifier(name)), choice.windows[-1:]
    for function in aggregates_of(choice, name).functions:
        for window in choice.windows if function in _EVERY_WINDOW else longest:
            text = format_duration(window)
            told = f"{_TOLD[function].format(name)}{before}, last {text}"
            made = _made_name(name, function, text, summed=not before)
            yield _line("aggregate", made, f'"{function}"', own, f'window="{text}"', description=told)


def _made_name(name: str, function: Function, window: str, *, summed: bool) -> str:
    """``amount_7d`` of a sum over days, else ``amount_mean_7d``; ``distinct_shop_7d`` of a number of values."""
    if function == "count_distinct":
        return f"distinct_{name}_{window}"
    return f"{name}_{window}" if function == "sum" and summed else f"{name}_{function}_{window}"


# A row per entity and day.


def daily_lines(choice: Choice) -> FeatureLines:
    """Counts, and sums, means and shares over windows of past days; weekday and month of the day itself."""
    lines = [*_calendar(choice), *_counts(choice), *_recency(choice)]
    for name in choice.columns:
        lines += _aggregated(choice, name)
        if "sum" in aggregates_of(choice, name).functions and len(choice.windows) > 1:
            lines.append(_trend(name, choice.windows[0], choice.windows[-1]))
    return FeatureLines(lines, 'volume(fall=0.8, on_fail="warn")', frozenset({"aggregate", "from_sql", "volume"}))


def _calendar(choice: Choice) -> Iterator[str]:
    """What each weekday and season has of its own."""
    assert choice.time is not None
    day = identifier(choice.time)
    for name, function, told in (
        ("weekday", "isodow", "Day of the week: 1 is Monday"),
        ("month", "month", "Month of the year: 1 is January"),
    ):
        yield _line("from_sql", choice.free(name), literal(f"{function}({day})"), 'dtype="int64"', description=told)


def _counts(choice: Choice) -> Iterator[str]:
    for text, window, told in _windows_in_words(choice, f"Rows of {choice.source.name}"):
        yield _line("aggregate", f"{choice.rows_name}_{text}", '"count"', window, description=told)


def _recency(choice: Choice) -> Iterator[str]:
    assert choice.source.event_time is not None
    assert choice.time is not None
    last, since = choice.free("last_seen"), choice.free("days_since_last")
    seen, longest = f"floor(epoch({identifier(choice.source.event_time)}) / 86400)", choice.windows[-1]
    yield _line(
        "aggregate",
        last,
        '"max"',
        literal(seen),
        f'window="{format_duration(longest)}"',
        "intermediate=True",
        description="Day of the latest row, counted from 1970",
    )
    yield _line(
        "from_sql",
        since,
        literal(f"epoch({identifier(choice.time)}) / 86400 - {last}"),
        description=f"Days since the latest row; null where there is none in {longest // DAY} days",
    )


def _trend(name: str, short: timedelta, long: timedelta) -> str:
    recent, usual = (f"{name}_{format_duration(w)}" for w in (short, long))
    return _line(
        "from_sql",
        f"{name}_trend",
        literal(f"{identifier(recent)} / nullif({identifier(usual)}, 0) * {long / short:g} - 1"),
        description=f"{recent} over its usual share of {usual}, less 1",
    )


# A row per event.


def event_lines(choice: Choice) -> FeatureLines:
    """The event's own columns, and what its entity did in the windows before it."""
    assert choice.time is not None
    at = identifier(choice.time)
    hour, weekday = choice.free("hour"), choice.free("weekday")
    lines = [
        _line("from_event", hour, literal(f"hour({at})"), 'dtype="int64"', description="Hour of the day, UTC"),
        _line("from_event", weekday, literal(f"isodow({at})"), 'dtype="int64"', description="1 is Monday, UTC"),
    ]
    for name, column in choice.columns.items():
        told = column.description or f"As in {choice.source.name}"
        own = () if identifier(name) == name else (literal(identifier(name)),)
        lines.append(_line("from_event", name, *own, *_dtype(column), description=told))
    for text, window, told in _windows_in_words(choice, f"Rows of {choice.source.name} before this one"):
        lines.append(_line("aggregate", f"{choice.rows_name}_{text}", '"count"', window, description=told))
    for name in choice.columns:
        lines += _aggregated(choice, name, before=" before this one")
    check = f'between("{hour}", 0, 23, on_fail="warn")'
    return FeatureLines(lines, check, frozenset({"aggregate", "between", "from_event"}))


# A row per entity, without time.


def entity_lines(choice: Choice) -> FeatureLines:
    """The columns of an entity's one row as they are; of several rows their number, mean and variety."""
    lines = []
    if not choice.single:
        told = f"Rows of {choice.source.name}"
        lines.append(_line("aggregate", f"{choice.rows_name}_count", '"count"', description=told))
    for name, column in choice.columns.items():
        own, told = literal(identifier(name)), column.description or f"As in {choice.source.name}"
        if choice.single:
            lines.append(_line("aggregate", name, '"max"', own, *_dtype(column), description=told))
            continue
        for function in aggregates_of(choice, name).functions:
            made = f"distinct_{name}" if function == "count_distinct" else f"{name}_{function}"
            lines.append(_line("aggregate", made, f'"{function}"', own, description=_TOLD[function].format(name)))
    first = lines[0].split('"')[1]
    check = f'not_null({literal(first)}, at_most=0.5, on_fail="warn")'
    return FeatureLines(lines, check, frozenset({"aggregate", "not_null"}))
