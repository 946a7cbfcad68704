"""A draft of a feature table over one gold table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from infra.new.drafts import Draft, File, check_name
from infra.new.render import call, literal, render
from karat.declare import Column, GoldTable, Project
from karat.errors import AlreadyThere, ColumnMissing, TableNotFound, WrongCall, did_you_mean
from karat.sql import identifier

#: Days of the windows; a week and a month of weeks, so that each weekday counts alike.
WINDOWS = (7, 28)
#: Columns that a first table takes; more are a line each.
MOST = 8
#: How columns end that name somebody or something.
IDS = ("_id", "_key", "_no", "_nr", "_number")
_NUMBERS = ("int64", "float64")


def draft_features(
    project: Project, name: str, *, gold: str | None = None, entity: Sequence[str] = (), owner: str | None = None
) -> Draft:
    """Draft ``features/NAME.py``.

    With an event time the table has counts, sums and shares of the last 7 and 28 days per entity, one row a day.
    Without one it has the gold columns as they are.

    Args:
        project: The project that gets the table.
        name: The table's name.
        gold: The gold table to read; by default the one that fits.
        entity: The entity columns; by default the gold table's.
        owner: Who answers for the table.

    Returns:
        The draft.

    Raises:
        InvalidName: The name is no name of a table.
        AlreadyThere: The project has such a table.
        TableNotFound: There is no such gold table.
        ColumnMissing: There is no such entity column.
        WrongCall: No gold table or entity can be chosen.
    """
    check_name(name, "feature table")
    if name in project.tables:
        raise AlreadyThere(
            f"project {project.name!r} has a feature table {name!r} already", remedy="take another name, or edit that"
        )
    source, chosen = _source(project, gold)
    keys, how = _entity(project, source, entity)
    lines, check, used, left = _static(source, keys) if source.event_time is None else _timed(source, keys)
    if left:
        how = (*how, f"left out: {', '.join(left)}; a line each")
    answers = owner or source.owner or project.spec.owner
    text = _text(source, name, keys, owner=answers, features=lines, check=check, imports=used)
    about = f"feature table {name}: {_shown(lines)} of each {' and '.join(keys)}"
    return Draft((File(f"features/{name}.py", text, about),), (*chosen, *how))


def _text(source: GoldTable, name: str, keys: tuple[str, ...], *, imports: set[str], **lines: Any) -> str:
    described = f"What {source.name} tell of each {' and '.join(keys)}"
    described = described if len(described) < 90 else f"Features from {source.name}"
    return render(
        "features.py",
        title=described,
        imports=sorted({"FeatureTable", *imports}, key=lambda n: (not n[0].isupper(), n)),
        name=name,
        description=described,
        source=source.name,
        entity=f"({', '.join(literal(k) for k in keys)}{',' if len(keys) == 1 else ''})",
        time=time_of(source),
        **lines,
    )


def _shown(lines: list[str]) -> str:
    number = sum("intermediate=True" not in line for line in lines)
    return f"{number} feature{'s' if number != 1 else ''}"


def time_of(source: GoldTable) -> str | None:
    """What the days are called: as in gold, or ``day`` where gold has times of the day."""
    if source.event_time is None:
        return None
    return source.event_time if source.columns[source.event_time].dtype == "date" else "day"


def _source(project: Project, gold: str | None) -> tuple[GoldTable, tuple[str, ...]]:
    """The named gold table, or the first from which no features are made yet, or simply the first."""
    tables = {n: t for n, t in project.gold.items() if not t.truth}
    if gold is not None:
        if gold in project.gold and gold not in tables:
            raise WrongCall(f"{gold!r} is a planted truth, which features may not read", remedy="take its own table")
        if gold not in tables:
            raise TableNotFound(
                f"project {project.name!r} has no gold table {gold!r}", remedy=did_you_mean(gold, tables)
            )
        return tables[gold], ()
    if not tables:
        raise TableNotFound(f"project {project.name!r} has no gold table", remedy="declare one in its gold.py")
    taken = {t.source for t in project.tables.values()}
    first = next((t for n, t in tables.items() if n not in taken), next(iter(tables.values())))
    return first, () if len(tables) == 1 else (f"gold table {first.name} (--gold names another)",)


def _entity(project: Project, source: GoldTable, given: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Whose features they are: as named, as other tables on that gold have it, else by the look of its columns."""
    for column in given:
        if column not in source.columns:
            raise ColumnMissing(
                f"gold table {source.name!r} has no column {column!r}", remedy=did_you_mean(column, source.columns)
            )
    if given:
        return tuple(given), ()
    found = next((t.entity for t in project.tables.values() if t.source == source.name), None) or _guessed(source)
    return found, (f"a row for each {' and '.join(found)} (--entity names another)",)


def _guessed(source: GoldTable) -> tuple[str, ...]:
    """The key, but for the time; where that tells single events apart, the first other column that is named an id."""
    rest = tuple(c for c in source.key if c != source.event_time)
    if rest and (source.event_time is None or source.event_time in source.key):
        return rest
    could = [n for n, c in source.columns.items() if n not in source.key and c.dtype in ("string", "int64")]
    named = [n for n in could if n.endswith(IDS)]
    if not named:
        raise WrongCall(
            f"nothing in gold table {source.name!r} says whose features are wanted",
            remedy=f"name a column with --entity: {', '.join(could) or ', '.join(source.key)}",
        )
    return (named[0],)


def _line(function: str, name: str, *rest: str, description: str) -> str:
    return call(function, literal(name), *rest, f"description={literal(description)}", indent=8)


def _columns(source: GoldTable, keys: tuple[str, ...]) -> tuple[dict[str, Column], list[str]]:
    """Those that become features, and those that are left out."""
    own = {*keys, *source.key, source.event_time}
    could = {n: c for n, c in source.columns.items() if n not in own and c.dtype not in ("date", "timestamp")}
    taken = dict(list(could.items())[:MOST])
    return taken, [n for n in could if n not in taken]


_Lines = tuple[list[str], str, set[str], list[str]]


def _timed(source: GoldTable, keys: tuple[str, ...]) -> _Lines:
    """Feature lines, a check, the functions that both use, and the columns left out."""
    columns, left = _columns(source, keys)
    lines = [*_counts(source), *_recency(source)]
    for name, column in columns.items():
        lines += _of_column(source, name, column)
    return lines, 'volume(fall=0.8, on_fail="warn")', {"aggregate", "from_sql", "volume"}, left


def _counts(source: GoldTable) -> Iterator[str]:
    name = "rows" if source.name in source.columns else source.name
    for days in WINDOWS:
        told = f"Rows of {source.name} in the last {days} days"
        yield _line("aggregate", f"{name}_{days}d", '"count"', f'window="{days}d"', description=told)


def _recency(source: GoldTable) -> Iterator[str]:
    assert source.event_time is not None
    seen, days = f"floor(epoch({identifier(source.event_time)}) / 86400)", WINDOWS[-1]
    yield _line(
        "aggregate",
        "last_seen",
        '"max"',
        literal(seen),
        f'window="{days}d"',
        "intermediate=True",
        description="Day of the latest row, counted from 1970",
    )
    yield _line(
        "from_sql",
        "days_since_last",
        literal(f"epoch({identifier(time_of(source) or source.event_time)}) / 86400 - last_seen"),
        description=f"Days since the latest row; null where there is none in {days} days",
    )


def _of_column(source: GoldTable, name: str, column: Column) -> Iterator[str]:
    if column.dtype in _NUMBERS and not name.endswith(IDS):
        for days in WINDOWS:
            told = f"Sum of {name} in the last {days} days"
            yield _line(
                "aggregate",
                f"{name}_{days}d",
                '"sum"',
                literal(identifier(name)),
                f'window="{days}d"',
                description=told,
            )
        week, month = (f"{name}_{days}d" for days in WINDOWS)
        yield _line(
            "from_sql",
            f"{name}_trend",
            literal(f"{identifier(week)} / nullif({identifier(month)}, 0) * 4 - 1"),
            description=f"{week} over a usual week of the last 28 days, less 1",
        )
        return
    days = WINDOWS[-1]
    function, made, told = (
        ("share", f"{name}_share_{days}d", f"Share of the rows with {name}, last {days} days")
        if column.dtype == "bool"
        else ("count_distinct", f"distinct_{name}_{days}d", f"Different values of {name} in {days} days")
    )
    yield _line("aggregate", made, f'"{function}"', literal(identifier(name)), f'window="{days}d"', description=told)


def _static(source: GoldTable, keys: tuple[str, ...]) -> _Lines:
    columns, left = _columns(source, keys)
    if not columns:
        raise WrongCall(
            f"gold table {source.name!r} has no column besides its key and times", remedy="take another with --gold"
        )
    lines = []
    for name, column in columns.items():
        dtype = () if column.dtype == "float64" else (f'dtype="{column.dtype}"',)
        told = source.columns[name].description or f"As in {source.name}"
        lines.append(_line("aggregate", name, '"max"', literal(identifier(name)), *dtype, description=told))
    check = f'not_null({literal(next(iter(columns)))}, at_most=0.5, on_fail="warn")'
    return lines, check, {"aggregate", "not_null"}, left
