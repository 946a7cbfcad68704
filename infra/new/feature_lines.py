"""The lines of a drafted feature table, for each grain: how the gold columns become features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from infra.new.render import call, literal
from karat.clock import DAY
from karat.declare import Column, GoldTable
from karat.declare.base import format_duration
from karat.sql import identifier

#: How columns end that name somebody or something.
IDS = ("_id", "_key", "_no", "_nr", "_number")
_NUMBERS = ("int64", "float64")


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
    """

    source: GoldTable
    entity: tuple[str, ...]
    columns: Mapping[str, Column]
    windows: tuple[timedelta, ...] = ()
    time: str | None = None

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


def _is_number(name: str, column: Column) -> bool:
    return column.dtype in _NUMBERS and not name.endswith(IDS)


def _dtype(column: Column) -> tuple[str, ...]:
    return () if column.dtype == "float64" else (f'dtype="{column.dtype}"',)


def _windows_in_words(choice: Choice, count: str) -> Iterator[tuple[str, str, str]]:
    """For each window its text, its argument, and ``count`` in the last so long."""
    for window in choice.windows:
        text = format_duration(window)
        yield text, f'window="{text}"', f"{count}, last {text}"


# A row per entity and day.


def daily_lines(choice: Choice) -> FeatureLines:
    """Counts, sums and shares over windows of past days."""
    lines = [*_counts(choice), *_recency(choice)]
    for name, column in choice.columns.items():
        lines += _daily_column(choice, name, column)
    return FeatureLines(lines, 'volume(fall=0.8, on_fail="warn")', frozenset({"aggregate", "from_sql", "volume"}))


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


def _daily_column(choice: Choice, name: str, column: Column) -> Iterator[str]:
    own, longest = literal(identifier(name)), format_duration(choice.windows[-1])
    if _is_number(name, column):
        for text, window, told in _windows_in_words(choice, f"Sum of {name}"):
            yield _line("aggregate", f"{name}_{text}", '"sum"', own, window, description=told)
        if len(choice.windows) > 1:
            yield _trend(name, choice.windows[0], choice.windows[-1])
        return
    function, made, told = (
        ("share", f"{name}_share_{longest}", f"Share of the rows with {name}, last {longest}")
        if column.dtype == "bool"
        else ("count_distinct", f"distinct_{name}_{longest}", f"Different values of {name}, last {longest}")
    )
    yield _line("aggregate", made, f'"{function}"', own, f'window="{longest}"', description=told)


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
    for name, column in choice.columns.items():
        lines += _before_event(choice, name, column)
    check = f'between("{hour}", 0, 23, on_fail="warn")'
    return FeatureLines(lines, check, frozenset({"aggregate", "between", "from_event"}))


def _before_event(choice: Choice, name: str, column: Column) -> Iterator[str]:
    own = literal(identifier(name))
    if _is_number(name, column):
        for text, window, told in _windows_in_words(choice, f"Mean {name} before this one"):
            yield _line("aggregate", f"{name}_mean_{text}", '"mean"', own, window, description=told)
        return
    text = format_duration(choice.windows[-1])
    function, made, told = (
        ("share", f"{name}_share_{text}", f"Share of the rows before with {name}, last {text}")
        if column.dtype == "bool"
        else ("count_distinct", f"distinct_{name}_{text}", f"Different values of {name} before, last {text}")
    )
    yield _line("aggregate", made, f'"{function}"', own, f'window="{text}"', description=told)


# A row per entity, without time.


def entity_lines(choice: Choice) -> FeatureLines:
    """The columns of an entity's one row as they are; of several rows their number, mean and variety."""
    single = set(choice.source.key) <= set(choice.entity)
    lines = []
    if not single:
        told = f"Rows of {choice.source.name}"
        lines.append(_line("aggregate", f"{choice.rows_name}_count", '"count"', description=told))
    for name, column in choice.columns.items():
        own, told = literal(identifier(name)), column.description or f"As in {choice.source.name}"
        if single:
            lines.append(_line("aggregate", name, '"max"', own, *_dtype(column), description=told))
        elif _is_number(name, column):
            lines.append(_line("aggregate", f"{name}_mean", '"mean"', own, description=f"Mean of {name}"))
        else:
            function = "share" if column.dtype == "bool" else "count_distinct"
            made = f"{name}_share" if function == "share" else f"distinct_{name}"
            lines.append(_line("aggregate", made, f'"{function}"', own, description=told))
    first = lines[0].split('"')[1]
    check = f'not_null({literal(first)}, at_most=0.5, on_fail="warn")'
    return FeatureLines(lines, check, frozenset({"aggregate", "not_null"}))
