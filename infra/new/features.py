"""A draft of a feature table over one gold table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, get_args

from infra.new.column_roles import IDS, is_id, is_owner, may_be_when
from infra.new.drafts import Draft, File, check_name
from infra.new.durations import duration_option
from infra.new.feature_lines import Choice, FeatureLines, Grain, aggregates_of, daily_lines, entity_lines, event_lines
from infra.new.render import literal, render
from infra.new.text_variety import TextVariety
from karat.clock import DAY
from karat.declare import Column, GoldTable, Project
from karat.declare.base import format_duration
from karat.declare.features import Function
from karat.errors import AlreadyThere, ColumnMissing, TableNotFound, WrongCall, did_you_mean

#: The windows where none are named: whole weeks, so that each weekday counts alike.
WINDOWS: dict[Grain, tuple[timedelta, ...]] = {
    "day": (7 * DAY, 28 * DAY),
    "event": (DAY, 7 * DAY, 28 * DAY),
    "entity": (),
}


@dataclass(frozen=True)
class TableOptions:
    """What a call says of the table; each field left out is chosen from the gold table's contract.

    Attributes:
        gold: The gold table to read.
        entity: The entity columns.
        grain: What a row stands for.
        columns: The gold columns that become features.
        windows: The lengths of the windows, as in ``1h``.
        aggregates: Gold column -> the aggregates to make of it.
        texts: The variety of the gold table's texts, where its rows are known.
        owner: Who answers for the table.
    """

    gold: str | None = None
    entity: Sequence[str] = ()
    grain: Grain | None = None
    columns: Sequence[str] = ()
    windows: Sequence[str] = ()
    aggregates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    texts: Mapping[str, TextVariety] = field(default_factory=dict)
    owner: str | None = None


@dataclass(frozen=True)
class ColumnUse:
    """What a drafted feature table makes of a gold column, and why."""

    column: str
    made: str
    reason: str


@dataclass(frozen=True)
class FeaturesDraft(Draft):
    """The draft of a feature table; ``uses`` says what becomes of each gold column."""

    uses: tuple[ColumnUse, ...] = ()


def draft_features(project: Project, name: str, options: TableOptions = TableOptions()) -> FeaturesDraft:
    """Draft ``features/NAME.py``.

    A row stands for an entity on a day (counts, and sums or means of past days, by what a column holds), for an event
    (its own columns, and what its entity did before it), or for an entity (its gold columns as they are). Every gold
    column that can be a feature becomes one; each that is left out is named with the reason.

    Args:
        project: The project that gets the table.
        name: The table's name.
        options: What the call says of it.

    Returns:
        The draft.

    Raises:
        InvalidName: The name is no name of a table.
        AlreadyThere: The project has such a table.
        TableNotFound: There is no such gold table.
        ColumnMissing: There is no such column.
        WrongCall: No gold table, entity or event id can be chosen, or an option does not fit the grain.
    """
    check_name(name, "feature table")
    if name in project.tables:
        raise AlreadyThere(
            f"project {project.name!r} has a feature table {name!r} already", remedy="take another name, or edit that"
        )
    source, chosen = source_of(project, options.gold)
    grain, of_grain = _grain(source, options.grain)
    keys, how = _entity(project, source, options.entity, grain)
    columns, left = _columns(source, keys, grain, options)
    windows = _windows(grain, options.windows)
    event_id = _event_id(source, keys) if grain == "event" else None
    functions = _functions(source, options.aggregates, columns)
    choice = Choice(source, keys, columns, windows, _time(source, grain), functions, grain)
    if functions and choice.single:
        raise WrongCall(
            f"--aggregate: each {' and '.join(keys)} has one row of {source.name!r}, so there is nothing to aggregate",
            remedy="leave it out, or name another --entity",
        )
    made = {"day": daily_lines, "event": event_lines, "entity": entity_lines}[grain](choice)
    answers = options.owner or source.owner or project.spec.owner
    text = _text(choice, name, made, grain=grain, event_id=event_id, owner=answers)
    number = f"{made.stored} feature{'s' if made.stored != 1 else ''}"
    of = f"each row of {source.name}" if grain == "event" else f"each {' and '.join(keys)}"
    file = File(f"features/{name}.py", text, f"feature table {name}: {number} of {of}")
    told = (*chosen, *of_grain, *how, *_timeless(source, keys, grain), *left)
    return FeaturesDraft((file,), told, tuple(_uses(choice)))


def _uses(choice: Choice) -> Iterator[ColumnUse]:
    """What becomes of each column, where there is a choice."""
    for name in () if choice.single else choice.columns:
        found = aggregates_of(choice, name)
        functions = ", ".join(found.functions)
        yield ColumnUse(
            name, f"as it is; before it {functions}" if choice.grain == "event" else functions, found.reason
        )


def _functions(
    source: GoldTable, given: Mapping[str, tuple[str, ...]], columns: Mapping[str, Column]
) -> dict[str, tuple[Function, ...]]:
    """The aggregates that the user names, checked."""
    _check_named(source, tuple(given))
    known = get_args(Function)
    for column, functions in given.items():
        if column not in columns:
            raise WrongCall(f"--aggregate {column}: it becomes no feature", remedy="name it with --columns, too")
        for function in functions:
            if function not in (*known, *_SAME):
                raise WrongCall(
                    f"--aggregate {column}={function}: there is no such aggregate",
                    remedy=did_you_mean(function, known) or f"they are {', '.join(known)}",
                )
    meant = {c: {_SAME.get(f, f) for f in functions} for c, functions in given.items()}
    return {c: tuple(f for f in known if f in functions) for c, functions in meant.items()}


#: Other names of aggregates.
_SAME = {"avg": "mean", "average": "mean", "stddev": "std"}


def _timeless(source: GoldTable, keys: tuple[str, ...], grain: Grain) -> tuple[str, ...]:
    """What a table without time means for gold rows that have one."""
    if grain != "entity" or set(source.key) <= set(keys):
        return ()
    who = " and ".join(keys)
    told = f"a row per {who}, without time: it aggregates all rows of {who}, also those after the row that is foretold"
    times = _times(source)
    if source.event_time is not None:
        return (f"{told} (--grain day or event looks back only)",)
    return (f"{told}. {_with_time(source, times)}",) if times else ()


def _times(source: GoldTable) -> list[str]:
    return [n for n, c in source.columns.items() if c.dtype in ("date", "timestamp") and may_be_when(n)]


def _with_time(source: GoldTable, times: Sequence[str]) -> str:
    """How a gold table that declares no time gets one."""
    return (
        f"{source.name} has the time {', '.join(times)}: for features that look back, begin the project again with "
        f"--time {times[0]} and --entity, or write event_time={literal(times[0])} into gold.py and nullable=False into "
        "that column, before its first rows are ingested"
    )


def _text(choice: Choice, name: str, made: FeatureLines, **more: Any) -> str:
    source, keys = choice.source, choice.entity
    described = f"What {source.name} tell of each {' and '.join(keys)}"
    described = described if len(described) < 90 else f"Features from {source.name}"
    return render(
        "features.py",
        title=described,
        imports=sorted({"FeatureTable", *made.imports}, key=lambda n: (not n[0].isupper(), n)),
        name=name,
        description=described,
        source=source.name,
        entity=f"({', '.join(literal(k) for k in keys)}{',' if len(keys) == 1 else ''})",
        time=choice.time,
        features=made.features,
        check=made.check,
        **more,
    )


def _time(source: GoldTable, grain: Grain) -> str | None:
    """The name of the time column: gold's of an event, or of a date; ``day`` where gold has times of the day."""
    if grain == "entity" or source.event_time is None:
        return None
    own = grain == "event" or source.columns[source.event_time].dtype == "date"
    return source.event_time if own else "day"


def source_of(project: Project, gold: str | None) -> tuple[GoldTable, tuple[str, ...]]:
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


def _grain(source: GoldTable, given: Grain | None) -> tuple[Grain, tuple[str, ...]]:
    """What a row stands for: as said, else a day where gold has a time."""
    if given is not None and given not in get_args(Grain):
        raise WrongCall(f"there is no grain {given!r}", remedy=did_you_mean(given, get_args(Grain)))
    if source.event_time is None:
        if given in ("day", "event"):
            times = _times(source)
            raise WrongCall(
                f"a row per {given} needs a time, and gold table {source.name!r} declares no event_time",
                remedy=_with_time(source, times) if times else "take --grain entity: it has no column of times",
            )
        return "entity", ()
    if given == "event" and source.columns[source.event_time].dtype != "timestamp":
        raise WrongCall(
            f"a row per event needs a time of the day, and {source.event_time!r} of {source.name!r} is a date",
            remedy="take --grain day; or begin the project with --set "
            f"{source.event_time}=timestamp, which makes each date its midnight",
        )
    if given is not None:
        return given, ()
    if source.event_time not in source.key and not _owners(source):
        told = f"a row per {' and '.join(source.key)}: no column says whose events these are (--entity names one)"
        return "entity", (told,)
    others = "event: a row per row of gold, also hourly; entity: a row per entity, without time"
    return "day", (f"a row per day (--grain {others})",)


def _windows(grain: Grain, given: Sequence[str]) -> tuple[timedelta, ...]:
    if given and grain == "entity":
        raise WrongCall("a table without time has no windows", remedy="leave out --windows, or take --grain day")
    found = []
    for text in given:
        window = duration_option(text, "window")
        if grain == "day" and window % DAY:
            raise WrongCall(
                f"a row per day has windows of whole days, and {text!r} is none",
                remedy=f"take --grain event for windows of hours, or write {format_duration(-(-window // DAY) * DAY)}",
            )
        found.append(window)
    return tuple(sorted(set(found))) or WINDOWS[grain]


def _check_named(source: GoldTable, names: Sequence[str]) -> None:
    for column in names:
        if column not in source.columns:
            raise ColumnMissing(
                f"gold table {source.name!r} has no column {column!r}", remedy=did_you_mean(column, source.columns)
            )


def _entity(
    project: Project, source: GoldTable, given: Sequence[str], grain: Grain
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Whose features they are: as named, as other tables on that gold have it, else by the look of its columns."""
    _check_named(source, given)
    if given:
        return tuple(given), ()
    if grain == "entity" and source.event_time not in source.key:
        return source.key, ()
    found = next((t.entity for t in project.tables.values() if t.source == source.name), None) or _guessed(source)
    return found, (f"features of each {' and '.join(found)} (--entity names another)",)


def _guessed(source: GoldTable) -> tuple[str, ...]:
    """The key, but for the time; where that tells single events apart, the column that says whose they are."""
    rest = tuple(c for c in source.key if c != source.event_time)
    if rest and (source.event_time is None or source.event_time in source.key):
        return rest
    if owners := _owners(source):
        return (owners[0],)
    could = [n for n, c in source.columns.items() if n not in source.key and c.dtype in ("string", "int64")]
    known = ", ".join(could) or ", ".join(c for c in source.key if c != source.event_time)
    raise WrongCall(
        f"nothing in gold table {source.name!r} says whose features are wanted",
        remedy=(f"name a column with --entity: {known}. " if known else "")
        + "If all rows are of one thing, begin the project with --entity series; or declare a constant column: "
        '"series": Column(dtype="string", nullable=False) in gold.py, and series: {sql: "\'all\'"} in the map; then '
        "--entity series",
    )


def _owners(source: GoldTable) -> list[str]:
    """The columns beside the key that events may be of: ids and owners by name, and what must have a value."""
    could = {n: c for n, c in source.columns.items() if n not in source.key and c.dtype in ("string", "int64")}
    told = {n: (not c.nullable, is_id(n, c.description or ""), is_owner(n)) for n, c in could.items()}
    return sorted((n for n, signs in told.items() if any(signs)), key=lambda n: told[n], reverse=True)


def _event_id(source: GoldTable, keys: tuple[str, ...]) -> str | None:
    """The column that tells events of one entity and time apart; None where there is one event at a time."""
    own = {*keys, source.event_time}
    rest = [c for c in source.key if c not in own]
    if len(rest) > 1:
        raise WrongCall(
            f"a row per event needs one column that tells events of one {' and '.join(keys)} and time apart: the key "
            f"of {source.name!r} has {', '.join(rest)} beside entity and time",
            remedy=f"name some of them as the entity, too: --entity {','.join((*keys, *rest[:-1]))}",
        )
    return rest[0] if rest else None


def _columns(
    source: GoldTable, keys: tuple[str, ...], grain: Grain, options: TableOptions
) -> tuple[dict[str, Column], tuple[str, ...]]:
    """The columns that become features, and what is left out, with the reason."""
    given = options.columns
    _check_named(source, given)
    own = {*keys, *source.key, source.event_time}
    left: dict[str, list[str]] = {}
    taken = {}
    for name, column in source.columns.items():
        if name in own:
            continue
        as_it_is = grain == "event" or (grain == "entity" and set(source.key) <= set(keys))
        reason = _unfit(name, column, grain, options.texts.get(name) if as_it_is else None)
        if given and name not in given:
            left.setdefault("not among --columns", []).append(name)
        elif reason and not (given and column.dtype not in ("date", "timestamp")):
            left.setdefault(reason, []).append(name)
        else:
            taken[name] = column
    if not taken and not source.event_time:
        raise WrongCall(
            f"gold table {source.name!r} has no column besides its key and times", remedy="take another with --gold"
        )
    told = tuple(f"left out: {', '.join(names)} ({reason})" for reason, names in left.items())
    return taken, told


def _unfit(name: str, column: Column, grain: Grain, texts: TextVariety | None) -> str:
    """Why a column becomes no feature by itself; "" where it does. ``texts`` are those that would be a feature."""
    if column.dtype in ("date", "timestamp"):
        return "no model reads a time: write a line that derives a number, as in year(COLUMN)"
    if grain != "day" and column.dtype == "int64" and name.endswith(IDS):
        return "the number of a name means nothing: --columns takes it all the same"
    return f"{texts.told}; --columns takes it all the same" if texts is not None and texts.too_many else ""
