"""A draft of a feature table over one gold table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, get_args

from infra.new.drafts import Draft, File, check_name
from infra.new.durations import duration_option
from infra.new.feature_lines import IDS, Choice, FeatureLines, daily_lines, entity_lines, event_lines
from infra.new.render import literal, render
from karat.clock import DAY
from karat.declare import Column, GoldTable, Project
from karat.declare.base import format_duration
from karat.errors import AlreadyThere, ColumnMissing, TableNotFound, WrongCall, did_you_mean

#: What a row of a feature table stands for.
Grain = Literal["day", "event", "entity"]
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
        owner: Who answers for the table.
    """

    gold: str | None = None
    entity: Sequence[str] = ()
    grain: Grain | None = None
    columns: Sequence[str] = ()
    windows: Sequence[str] = ()
    owner: str | None = None


def draft_features(project: Project, name: str, options: TableOptions = TableOptions()) -> Draft:
    """Draft ``features/NAME.py``.

    A row stands for an entity on a day (counts, sums and shares of past days), for an event (its own columns, and what
    its entity did before it), or for an entity (its gold columns as they are). Every gold column that can be a feature
    becomes one; each that is left out is named with the reason.

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
    columns, left = _columns(source, keys, options.columns, grain)
    windows = _windows(grain, options.windows)
    event_id = _event_id(source, keys) if grain == "event" else None
    choice = Choice(source, keys, columns, windows, _time(source, grain))
    made = {"day": daily_lines, "event": event_lines, "entity": entity_lines}[grain](choice)
    answers = options.owner or source.owner or project.spec.owner
    text = _text(choice, name, made, grain=grain, event_id=event_id, owner=answers)
    number = f"{made.stored} feature{'s' if made.stored != 1 else ''}"
    of = f"each row of {source.name}" if grain == "event" else f"each {' and '.join(keys)}"
    file = File(f"features/{name}.py", text, f"feature table {name}: {number} of {of}")
    return Draft((file,), (*chosen, *of_grain, *how, *left))


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
            raise WrongCall(
                f"a row per {given} needs a time, and gold table {source.name!r} declares no event_time",
                remedy="declare event_time in gold.py, or take --grain entity",
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
    """The key, but for the time; where that tells single events apart, the first other column that is named an id."""
    rest = tuple(c for c in source.key if c != source.event_time)
    if rest and (source.event_time is None or source.event_time in source.key):
        return rest
    could = [n for n, c in source.columns.items() if n not in source.key and c.dtype in ("string", "int64")]
    named = [n for n in could if n.endswith(IDS)]
    if named:
        return (named[0],)
    known = ", ".join(could) or ", ".join(c for c in source.key if c != source.event_time)
    raise WrongCall(
        f"nothing in gold table {source.name!r} says whose features are wanted",
        remedy=(f"name a column with --entity: {known}. " if known else "")
        + "Of a single series declare a constant column: "
        '"series": Column(dtype="string", nullable=False) in gold.py, and series: {sql: "\'all\'"} in the map; then '
        "--entity series. karat new project --from FILE does so where the key is a time",
    )


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
    source: GoldTable, keys: tuple[str, ...], given: Sequence[str], grain: Grain
) -> tuple[dict[str, Column], tuple[str, ...]]:
    """The columns that become features, and what is left out, with the reason."""
    _check_named(source, given)
    own = {*keys, *source.key, source.event_time}
    left: dict[str, list[str]] = {}
    taken = {}
    for name, column in source.columns.items():
        if name in own:
            continue
        reason = _unfit(name, column, grain)
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


def _unfit(name: str, column: Column, grain: Grain) -> str:
    """Why a column becomes no feature by itself; "" where it does."""
    if column.dtype in ("date", "timestamp"):
        return "no model reads a time: write a line that derives a number, as in year(COLUMN)"
    if grain != "day" and column.dtype == "int64" and name.endswith(IDS):
        return "the number of a name means nothing: --columns takes it all the same"
    return ""
