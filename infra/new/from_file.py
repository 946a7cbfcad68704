"""A draft of a project from a user's file: its gold contract, and the map to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from infra.new.columns import InferredColumn, columns_of
from infra.new.drafts import File, check_name
from infra.new.feature_lines import IDS
from infra.new.render import call, literal, render
from karat.dtypes import KEY_TYPES
from karat.errors import ColumnMissing, UnreadableInput, WrongCall, did_you_mean
from karat.quality.dialect import infer_format, looks_like_data, other_word
from karat.quality.maps import Format
from karat.quality.sources import InputFile, kind_of, read_source
from karat.sql import quote

#: The key of a file in which no column and no pair of columns tells the rows apart.
SURROGATE = "row_id"
#: The entity of a file that has none: a single series.
SERIES = "series"
#: How the time of a series without an entity is called, beside names that hold "date" or "time".
_MOMENTS = ("day", "month", "week", "hour", "ts", "when")


@dataclass(frozen=True)
class Told:
    """What a user says of a file.

    Attributes:
        key: Columns that tell the rows apart, as gold or as the file names them.
        time: The event time.
        entity: The column whose features are wanted.
        format: What is declared of a CSV file.
        types: Types of columns: ``float64``, ``date:%m/%d/%Y``.
        nulls: Texts that are a missing value in every column.
        joined: A time -> the file's column of its day, and the one of its clock.
    """

    key: Sequence[str] = ()
    time: str | None = None
    entity: str | None = None
    format: Format = field(default_factory=Format)
    types: Mapping[str, str] = field(default_factory=dict)
    nulls: Sequence[str] = ()
    joined: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class FileContract:
    """A gold contract and a map that are drafted from a file.

    Attributes:
        files: ``gold.py`` and ``maps/TABLE.yaml``.
        chosen: What was taken where the user left it open.
        columns: The inferred columns.
    """

    files: tuple[File, ...]
    chosen: tuple[str, ...]
    columns: tuple[InferredColumn, ...]


def contract_of(path: Path, project: str, table: str, *, owner: str, told: Told = Told()) -> FileContract:
    """Draft ``gold.py`` and ``maps/TABLE.yaml`` from a file.

    Args:
        path: The file.
        project: The project's name.
        table: The gold table's name.
        owner: Who answers for it.
        told: What the user says of the file.

    Returns:
        The draft.

    Raises:
        InputNotFound: There is no such file.
        UnreadableInput: It cannot be read, or its format must be declared.
        ColumnMissing: ``told`` names a column that the file does not have.
        WrongCall: ``told`` sets a type that does not exist.
    """
    check_name(table, "gold table")
    source, form = _read(path, told)
    rows, computed = _joined(source.rows, told, path)
    columns = columns_of(rows, texts=source.texts, given=told.types, computed=computed)
    _check_joined(columns, told)
    named = set(told.types)
    empty = [c for c in columns if c.source in source.unnamed and c.values.is_empty() and not {c.name} & named]
    columns = [c for c in columns if c not in empty]
    found = {column.name: column for column in columns}
    chosen = [*_told_of_format(path, form, told.format), *source.notes, *_told_of_rows(source, empty)]
    keys, how = _key(found, told, path)
    chosen += how
    surrogate = keys == (SURROGATE,) and SURROGATE not in found
    whose = _named(found, told.entity, path) if told.entity else _entity(found, keys)
    chosen += [column.told for column in columns if "could be" in column.told]
    chosen += _joinable(columns, told)
    when = _time(found, keys, whose, told, path)
    if when and not told.time:
        chosen.append(f"event time {when} (--time names another)")
    lines = [_line(column, must=column.name in (whose, when)) for column in columns]
    made = {SURROGATE: _surrogate(source.rows)} if surrogate else {}
    if surrogate:
        lines.insert(0, _made_line(SURROGATE, "Fingerprint of the row, counted among equal rows"))
    if when and keys == (when,) and not whose and SERIES not in found:
        # Features are of somebody, and here there is one.
        keys, made = (SERIES, when), made | {SERIES: f"'{table}'"}
        lines.insert(0, _made_line(SERIES, f"The one series that there is: {table}"))
        chosen.append(f"entity {SERIES}, always {table!r}: the file names none (--entity names a column)")
    text = render(
        "contract.py",
        project=project,
        file=path.name,
        table=table,
        description=f"One row each, as {path.name} has them",
        owner=owner,
        key=f"({', '.join(literal(k) for k in keys)}{',' if len(keys) == 1 else ''})",
        time=when,
        columns=lines,
    )
    mapped = _map(path, table, found, form, made)
    files = (
        File("gold.py", text, f"gold table {table}: the contract of its {len(lines)} columns"),
        File(f"maps/{table}.yaml", mapped, f"how the columns of {path.name} become those"),
    )
    return FileContract(files, tuple(chosen), tuple(columns))


def _read(path: Path, told: Told) -> tuple[InputFile, Format]:
    """The rows, and the format in which they are read."""
    form = told.format
    if kind_of(path) == "csv":
        form = infer_format(path, form)
        if form.encoding.startswith(("utf-16", "utf-32")) and "encoding" not in told.format.model_fields_set:
            raise UnreadableInput(f"{path} is written in {form.encoding}", remedy=f"say so: --encoding {form.encoding}")
        if "header" not in told.format.model_fields_set and (line := looks_like_data(path, form)):
            raise UnreadableInput(
                f"the first line of {path} looks like a row, not like names: {line[:100]}",
                remedy="say which it is: --header, or --no-header (with --names a,b,c if you like)",
            )
    if told.nulls:
        padded = (f" {text}" for text in told.nulls)  # as in files that have a blank after each delimiter
        form = form.model_copy(update={"null_values": ("", *told.nulls, *padded)})
    source = read_source(path, form)
    if not source.rows.width:
        raise UnreadableInput(f"{path} has no columns", remedy="give a file with rows")
    if not source.rows.height and source.unread.height:
        first = source.unread.row(0, named=True)
        raise UnreadableInput(
            f"none of the {source.unread.height} rows of {path} fits its header of {source.rows.width} columns: "
            f"{first['place']}: {first['reason']}",
            remedy="say the format: --delimiter, --quote, --skip, --no-header; or correct the file",
        )
    if len(source.short) == source.rows.height > 1:
        raise UnreadableInput(
            f"none of the {source.rows.height} rows of {path} has the {source.rows.width} columns of its header",
            remedy="say the format: --delimiter, --quote, --skip, --no-header; or correct the file",
        )
    return source, form


def _joined(rows: pl.DataFrame, told: Told, path: Path) -> tuple[pl.DataFrame, dict[str, str]]:
    """The rows with the times that the user joins from a day and a clock, and the SQL of each."""
    computed = {}
    for name, parts in told.joined.items():
        if missing := [p for p in parts if p not in rows.columns]:
            raise ColumnMissing(
                f"--join names a column {missing[0]!r}", where=str(path), remedy=did_you_mean(missing[0], rows.columns)
            )
        if name in rows.columns:
            raise WrongCall(f"--join {name}: the file has such a column", remedy="give the time another name")
        texts = [pl.col(p).cast(pl.String).str.strip_chars() for p in parts]
        rows = rows.with_columns(pl.concat_str(texts, separator=" ").alias(name))
        computed[name] = " || ' ' || ".join(f"trim(CAST({quote(p)} AS VARCHAR))" for p in parts)
    return rows, {name: f"({sql})" for name, sql in computed.items()}


def _check_joined(columns: Sequence[InferredColumn], told: Told) -> None:
    for column in columns:
        if column.source in told.joined and column.dtype != "timestamp":
            raise WrongCall(
                f"--join {column.source}: these are no times: {', '.join(column.evidence)}",
                remedy=f"name a column of days and one of clocks, or a format: --set {column.name}=timestamp:FORMAT",
            )


def _joinable(columns: Sequence[InferredColumn], told: Told) -> Iterator[str]:
    """A column of days and one of clocks could be one time; it is proposed, never made."""
    days = [c for c in columns if c.dtype == "date"]
    clocks = [c for c in columns if c.dtype == "string" and _is_clock(c.values)]
    if len(days) == len(clocks) == 1 and not told.joined:
        day, clock = days[0].source, clocks[0].source
        yield f"{day} and {clock} could be one time (--join at={literal(f'{day},{clock}')})"


def _is_clock(values: pl.Series) -> bool:
    shape = r"^([01]?[0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]+)?)?( ?[AaPp][Mm])?$"
    return values.dtype == pl.String and len(values) > 0 and bool(values.str.contains(shape).all())


def _told_of_format(path: Path, form: Format, declared: Format) -> Iterator[str]:
    if form.encoding != declared.encoding:
        yield f"encoding {form.encoding}, as in {other_word(path, form.encoding)!r} (--encoding names another)"
    if form.quote != declared.quote:
        yield f"quote {form.quote} (--quote names another)"
    if form.escape != declared.escape:
        yield f"{form.escape} stands before a quote within quotes (format: {{escape: ...}} in the map)"
    if form.skip != declared.skip:
        yield f"lines before the header: {form.skip} (--skip says how many)"


def _told_of_rows(source: InputFile, empty: Sequence[InferredColumn]) -> Iterator[str]:
    if source.short:
        some = ", ".join(source.short[:3]) + (", ..." if len(source.short) > 3 else "")
        yield f"{len(source.short)} lines have fewer fields than the header; the missing ones are null: {some}"
    if source.unread.height:
        shown = source.unread.row(0, named=True)
        yield f"{source.unread.height} lines are no rows, and will be set aside: {shown['place']}: {shown['reason']}"
    if empty:
        yield f"left out: {', '.join(c.source for c in empty)}, without a name and without values"
    named = [c for c in source.unnamed if c not in {e.source for e in empty}]
    if named and len(named) < source.rows.width:
        yield f"{', '.join(named)}: without a name in the file"


def _key(found: dict[str, InferredColumn], told: Told, path: Path) -> tuple[tuple[str, ...], list[str]]:
    """The key, and what is to be told of it."""
    if told.key:
        return tuple(_named(found, name, path) for name in told.key), []
    rows = max((len(c.values) for c in found.values()), default=0)
    fit = [c for c in found.values() if c.dtype in ("string", "int64") and len(c.values) == rows and c.unique]
    ids = [c for c in fit if c.name == "id" or c.name.endswith(IDS)]
    first = [c for c in fit if c.name == next(iter(found))]
    others = [c for c in fit if c.values.dtype == pl.String and all(len(v) <= 64 for v in c.values)]
    times = [c for c in found.values() if c.dtype in ("date", "timestamp")]
    if best := next(iter((*first, *ids, *others)), None):
        return (best.name,), [f"key {best.name}: no two rows are alike in it (--key names others)"]
    series = [c for c in times if len(c.values) == rows and c.unique and not told.entity]
    if series and _is_moment(series[0].name):
        return (series[0].name,), [f"key {series[0].name}: a single series, a row a time (--key names others)"]
    entity = _named(found, told.entity, path) if told.entity else None
    for one in (c for c in found.values() if c.dtype in ("string", "int64") and entity in (None, c.name)):
        for time in times:
            if len(one.values) == len(time.values) == rows and _alike(one, time) == 0:
                pair = (one.name, time.name)
                return pair, [f"key {', '.join(pair)}: no two rows are alike in both (--key names others)"]
    told_of = f"key {SURROGATE}: made from each row's values, as no column tells the rows apart (--key names some)"
    if SURROGATE in found:
        raise WrongCall(
            "no single column tells the rows apart",
            where=str(path),
            remedy=f"name those that do together: --key {','.join(list(found)[:2])}",
        )
    return (SURROGATE,), [told_of]


def _complete(column: InferredColumn, found: dict[str, InferredColumn]) -> bool:
    """Whether each row has a value."""
    return len(column.values) == max(len(c.values) for c in found.values())


def _alike(one: InferredColumn, other: InferredColumn) -> int:
    pairs = pl.DataFrame([one.values.alias("one"), other.values.alias("other")])
    return pairs.height - pairs.n_unique()


def _is_moment(name: str) -> bool:
    """Whether a column may say when its row was: not when somebody was born."""
    return "birth" not in name and ("date" in name or "time" in name or "day" in name or name in _MOMENTS)


def _entity(found: dict[str, InferredColumn], keys: tuple[str, ...]) -> str:
    """The first column beside the key that is named an id; of a key with a time its other column."""
    rest = [k for k in keys if k in found and found[k].dtype not in ("date", "timestamp")]
    if len(rest) < len(keys) and rest:
        return rest[0]
    fit = (n for n, c in found.items() if n not in keys and n.endswith(IDS) and c.dtype in KEY_TYPES)
    return next(fit, "")


def _time(found: dict[str, InferredColumn], keys: tuple[str, ...], whose: str, told: Told, path: Path) -> str | None:
    """The event time: as told, the key's, else the first time if the rows are of an entity."""
    if told.time:
        return _named(found, told.time, path)
    times = [n for n, c in found.items() if c.dtype in ("date", "timestamp")]
    of_key = [n for n in times if n in keys]
    series = [n for n in times if found[n].unique and _complete(found[n], found) and _is_moment(n)]
    return next(iter(of_key or (times if whose else series)), None)


def _surrogate(rows: pl.DataFrame) -> str:
    """SQL that gives equal rows numbers, and every row the fingerprint of its values."""
    values = ", ".join(f"CAST({quote(c)} AS VARCHAR)" for c in rows.columns)
    equal = ", ".join(map(quote, rows.columns))
    return f"md5(CAST([{values}] AS VARCHAR)) || '-' || row_number() OVER (PARTITION BY {equal})"


def _named(found: dict[str, InferredColumn], name: str, path: Path) -> str:
    """A column's name in gold, whichever of both is given."""
    names = {column.source: column.name for column in found.values()} | {n: n for n in found}
    if name not in names:
        raise ColumnMissing(f"there is no column {name!r}", where=str(path), remedy=did_you_mean(name, names))
    return names[name]


def _line(column: InferredColumn, *, must: bool) -> str:
    must_have = ("nullable=False",) if must else ()
    told = f"description={literal(column.source)}"
    return call(f"{literal(column.name)}: Column", f'dtype="{column.dtype}"', *must_have, told, indent=8)


def _made_line(name: str, description: str) -> str:
    return call(f"{literal(name)}: Column", 'dtype="string"', f"description={literal(description)}", indent=8)


def _map(path: Path, table: str, found: dict[str, InferredColumn], form: Format, made: Mapping[str, str]) -> str:
    """The map; ``made`` are columns that the file does not have -> their SQL."""
    columns: dict[str, Any] = {name: {"sql": sql} for name, sql in made.items()}
    columns |= {n: {"sql": c.sql} if c.sql else c.source for n, c in found.items()}
    plain = Format().model_dump(mode="json")
    return render(
        "map.yaml",
        description=f"Files such as {path.name}",
        table=table,
        format={k: v for k, v in form.model_dump(mode="json").items() if v != plain[k]},
        columns=columns,
    )
