"""Shape of a file: what a row of it is, its key, whose it is, and when it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import polars as pl

from infra.new.column_roles import is_id, is_moment, is_owner, may_be_when, measure_of
from infra.new.columns import InferredColumn
from karat.declare import Column
from karat.dtypes import KEY_TYPES
from karat.errors import ColumnMissing, WrongCall, did_you_mean
from karat.sql import quote

#: The key of a file in which no column and no pair of columns tells the rows apart.
SURROGATE = "row_id"
#: The entity of rows that are all of one thing: a single series.
SERIES = "series"
#: Rows that a value must have on average for its column to be what the events are of.
_REPEATS = 2
#: Rows of one time, on average, from which a pair of a column and a time is a key, and not one by chance.
_PANEL = 1.5


@dataclass(frozen=True)
class FileShape:
    """What a row of a file is.

    Attributes:
        key: The columns that tell the rows apart.
        entity: The column whose features are wanted; "" for a table without one.
        time: The event time; None without one.
        made: Columns that the file does not have -> their SQL.
        told: What was chosen, in words, each with the option that says otherwise.
    """

    key: tuple[str, ...]
    entity: str
    time: str | None
    made: Mapping[str, str] = field(default_factory=dict)
    told: tuple[str, ...] = ()


@dataclass(frozen=True)
class _File:
    """The columns of a file, and what the user says of them."""

    columns: Mapping[str, InferredColumn]
    rows: pl.DataFrame
    path: Path
    table: str

    def named(self, name: str) -> str:
        """A column's name in gold, whichever of both is given. Raises ColumnMissing."""
        names = {column.source: column.name for column in self.columns.values()} | {n: n for n in self.columns}
        if name not in names:
            raise ColumnMissing(f"there is no column {name!r}", where=str(self.path), remedy=did_you_mean(name, names))
        return names[name]

    @property
    def times(self) -> list[InferredColumn]:
        """The columns that may say when a row was, the likeliest first."""
        found = [c for c in self.columns.values() if c.dtype in ("date", "timestamp") and may_be_when(c.name)]
        return sorted(found, key=lambda c: (not self.complete(c), not is_moment(c.name)))

    def complete(self, column: InferredColumn) -> bool:
        """Whether each row has a value."""
        return len(column.values) == max(len(c.values) for c in self.columns.values())

    def owners(self) -> list[InferredColumn]:
        """The columns that events may be of: ids, owners by name, then texts of which each stands in several rows."""
        named = [c for c in self.named_owners() if not is_clock(c.values)]
        texts = [c for c in self._columns_of("string") if self.complete(c) and _repeats(c) and not is_clock(c.values)]
        return [*named, *sorted((c for c in texts if c not in named), key=lambda c: -c.values.n_unique())]

    def named_owners(self) -> list[InferredColumn]:
        """The owners that their names call so, those first of which each stands in several rows."""
        ids = [c for c in self._columns_of("string", "int64") if is_id(c.name, c.source)]
        owners = [c for c in self._columns_of("string", "int64") if is_owner(c.name) and not c.unique and c not in ids]
        return [*sorted(ids, key=lambda c: not _repeats(c)), *owners]

    def _columns_of(self, *dtypes: str) -> list[InferredColumn]:
        flat = (c for c in self.columns.values() if not c.values.dtype.is_nested() and not c.values.is_empty())
        return [c for c in flat if c.dtype in dtypes]


def _repeats(column: InferredColumn) -> bool:
    """Whether there are several values, each of which stands in several rows."""
    return 2 <= column.values.n_unique() <= len(column.values) / _REPEATS


def shape_of(
    columns: Mapping[str, InferredColumn],
    rows: pl.DataFrame,
    path: Path,
    table: str,
    *,
    key: Sequence[str] = (),
    entity: str | None = None,
    time: str | None = None,
) -> FileShape:
    """Decide what a row of a file is: an event of somebody, a reading of a single series, or somebody's only row.

    Args:
        columns: The inferred columns by their gold name.
        rows: The file's rows.
        path: The file.
        table: The gold table's name, the value of a made series.
        key: Columns that the user says tell the rows apart.
        entity: The column whose features the user wants; ``series`` for all rows together.
        time: The event time, if the user says it.

    Returns:
        The shape, with all that was chosen in words.

    Raises:
        ColumnMissing: The user names a column that the file does not have.
        WrongCall: No column tells the rows apart, and the file has a column ``row_id``.
    """
    file = _File(columns, rows, path, table)
    one_series = entity == SERIES and SERIES not in columns
    given = None if entity is None or one_series else file.named(entity)
    keys, told = (tuple(file.named(k) for k in key), []) if key else _key(file, given, one_series=one_series)
    when = file.named(time) if time else None
    surrogate = keys == (SURROGATE,) and SURROGATE not in columns
    made = {SURROGATE: _fingerprint(rows)} if surrogate else {}
    whose = given or ("" if one_series else _entity(file, keys, timed=bool(when or file.times)))
    if given is None and not whose and not one_series:
        one_series = any(keys == (c.name,) for c in file.times) or (surrogate and _is_series(file, when))
    when = when or _time(file, keys, whose, one_series=one_series)
    if when and not time:
        told.append(f"event time {when} (--time names another)")
    if one_series and when:
        made, keys = made | {SERIES: f"'{table}'"}, ((SERIES, when) if keys == (when,) else keys)
        if entity is None:
            told.append(f"entity {SERIES}, always {table!r}: the file names none (--entity names a column)")
        whose = SERIES
    return FileShape(keys, whose, when, made, (*told, *_of_rows(file, keys, whose, when, asked=given)))


def _of_rows(file: _File, keys: tuple[str, ...], whose: str, when: str | None, *, asked: str | None) -> list[str]:
    """What a row is taken for, what follows from that, and how to say otherwise."""
    others = [c for c in file.owners() if c.name not in (whose, *keys)]
    shown = ", ".join(f"{c.name} ({c.values.n_unique():,} values)" for c in others[:4])
    if when is None:
        if not file.times or whose not in ("", *keys):
            return []
        times = " and ".join(c.name for c in file.times)
        who = ", ".join(keys)
        alone = keys == (SURROGATE,) and SURROGATE not in file.columns
        told = (
            f"{'a row stands for itself' if alone else f'a row is all there is of one {who}'}: {times} "
            f"{'is a column' if len(file.times) == 1 else 'are columns'} as others, and no feature looks back in time. "
            "If rows are events of somebody, say whose: "
        )
        options = ", ".join(f"--entity {c.name} ({c.values.n_unique():,} values)" for c in others[:4])
        return [told + ", ".join(filter(None, (options, f"--entity {SERIES} (all rows are of one thing)")))]
    if whose == SERIES and SERIES not in file.columns:
        told = f"a row is a reading of one series at {when}: features look back over all rows"
        return [told + (f" (--entity splits them: {shown})" if shown else "")]
    told = f"a row is an event of one {whose} at {when}: features look back over its earlier rows"
    if asked:
        return [told]
    single = next((k for k in keys if len(keys) == 1 and k not in (whose, when) and k in file.columns), "")
    more = [f"--entity takes another: {shown}"] if shown else []
    more += [f"--entity {single} if that is all there is of one {single}"] if single else []
    return [told + (f" ({'; '.join(more)})" if more else "")]


def _key(file: _File, entity: str | None, *, one_series: bool) -> tuple[tuple[str, ...], list[str]]:
    """The key, and what is to be told of it."""
    found = file.columns
    fit = [c for c in found.values() if c.dtype in ("string", "int64") and file.complete(c) and c.unique]
    ids = [c for c in fit if is_id(c.name, c.source)]
    first = [c for c in fit if c.name == next(iter(found)) and not _is_measure(c)]
    texts = [c for c in fit if c.dtype == "string" and c.values.dtype == pl.String]
    others = [c for c in texts if all(len(v) <= 64 for v in c.values)]
    named = [c for c in file.named_owners() if entity in (None, c.name)]
    pair = None if first or ids else _pair(file, named)
    if best := next(iter((*first, *ids, *(() if pair else others))), None):
        return (best.name,), [f"key {best.name}: no two rows are alike in it (--key names others)"]
    series = [c for c in file.times if file.complete(c) and c.unique and not entity and not file.named_owners()]
    if series and (is_moment(series[0].name) or series[0].name == next(iter(found)) or one_series):
        return (series[0].name,), [f"key {series[0].name}: a single series, a row a time (--key names others)"]
    if pair := pair or _pair(file, _paired(file, entity)):
        return pair, [f"key {', '.join(pair)}: no two rows are alike in both (--key names others)"]
    told = f"key {SURROGATE}: made from each row's values, as no column tells the rows apart (--key names some)"
    if SURROGATE in found:
        raise WrongCall(
            "no single column tells the rows apart",
            where=str(file.path),
            remedy=f"name those that do together: --key {','.join(list(found)[:2])}",
        )
    return (SURROGATE,), [told]


def _pair(file: _File, columns: Sequence[InferredColumn]) -> tuple[str, str] | None:
    """The first of the columns that tells the rows apart together with a time."""
    for one, time in product(columns, file.times):
        if file.complete(one) and file.complete(time) and _alike(one, time) == 0 and _is_key(file, one, time):
            return one.name, time.name
    return None


def _is_measure(column: InferredColumn) -> bool:
    """Whether a column is a number of something, which tells rows apart by chance alone."""
    if column.dtype != "int64":
        return False
    return measure_of(column.name, Column(dtype="int64", description=column.source)).measure in ("amount", "level")


def _paired(file: _File, entity: str | None) -> list[InferredColumn]:
    """The columns that may be a key together with a time: the entity, else owners, then whole numbers."""
    if entity is not None:
        return [file.columns[entity]]
    owners = file.owners()
    return [*owners, *(c for c in file.columns.values() if c.dtype == "int64" and c not in owners and _repeats(c))]


def _is_key(file: _File, one: InferredColumn, time: InferredColumn) -> bool:
    """Whether a pair without two equal rows says something: by chance any column is one beside times to the second."""
    return one in file.owners() or len(time.values) >= _PANEL * time.values.n_unique()


def _alike(one: InferredColumn, other: InferredColumn) -> int:
    pairs = pl.DataFrame([one.values.alias("one"), other.values.alias("other")])
    return pairs.height - pairs.n_unique()


def _entity(file: _File, keys: tuple[str, ...], *, timed: bool) -> str:
    """Whose the rows are: of a key with a time its other column, else the likeliest owner; "" for the key's own row."""
    found = file.columns
    rest = [k for k in keys if k in found and found[k].dtype not in ("date", "timestamp")]
    if len(rest) < len(keys) and rest:
        return rest[0]
    if timed and len(rest) == 1 and is_owner(rest[0]):  # the row of one customer
        return ""
    owners = [c for c in file.owners() if c.name not in keys and c.dtype in KEY_TYPES]
    named = [c for c in file.named_owners() if c in owners and (timed or is_id(c.name, c.source))]
    if not named and timed and keys == (SURROGATE,) and SURROGATE not in found:
        named = owners  # nothing else names a row: it is an event
    return named[0].name if named else ""


def _time(file: _File, keys: tuple[str, ...], whose: str, *, one_series: bool) -> str | None:
    """The event time: the key's, else the likeliest time if the rows are of an entity beside the key."""
    names = [c.name for c in file.times]
    of_key = [n for n in names if n in keys]
    events = one_series or whose not in ("", *(keys if len(keys) == 1 else ()))
    return next(iter(of_key or (names if events else [])), None)


def _is_series(file: _File, when: str | None) -> bool:
    """Whether rows of nobody are readings of one thing: hardly two at a time. Others are things without a name."""
    if when is not None:
        return True
    return bool(file.times) and len(file.times[0].values) < _PANEL * file.times[0].values.n_unique()


def _fingerprint(rows: pl.DataFrame) -> str:
    """SQL that gives equal rows numbers, and every row the fingerprint of its values."""
    values = ", ".join(f"CAST({quote(c)} AS VARCHAR)" for c in rows.columns)
    equal = ", ".join(map(quote, rows.columns))
    return f"md5(CAST([{values}] AS VARCHAR)) || '-' || row_number() OVER (PARTITION BY {equal})"


def is_clock(values: pl.Series) -> bool:
    """Whether each text is a time of day."""
    shape = r"^([01]?[0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]+)?)?( ?[AaPp][Mm])?$"
    return values.dtype == pl.String and len(values) > 0 and bool(values.str.contains(shape).all())
