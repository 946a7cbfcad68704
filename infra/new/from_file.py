"""A draft of a project from a user's file: its gold contract, and the map to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from infra.new.columns import InferredColumn, columns_of
from infra.new.drafts import File, check_name
from infra.new.file_shape import SERIES, FileShape, is_clock, shape_of
from infra.new.render import call, literal, render
from infra.new.text_variety import variety_of
from karat.errors import ColumnMissing, UnreadableInput, WrongCall, did_you_mean
from karat.quality.dialect import infer_format, looks_like_data, other_word
from karat.quality.documents import first_rows
from karat.quality.header_rows import has_two_headers
from karat.quality.maps import Format
from karat.quality.sources import InputFile, kind_of, read_source
from karat.sql import quote


@dataclass(frozen=True)
class Told:
    """What a user says of a file.

    Attributes:
        key: Columns that tell the rows apart, as gold or as the file names them.
        time: The event time.
        entity: The column whose features are wanted; ``series`` for all rows together.
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
        shape: What a row of the file is.
    """

    files: tuple[File, ...]
    chosen: tuple[str, ...]
    columns: tuple[InferredColumn, ...]
    shape: FileShape


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
    shape = shape_of(found, source.rows, path, table, key=told.key, entity=told.entity, time=told.time)
    chosen += shape.told
    chosen += [column.told for column in columns if "could be" in column.told]
    chosen += _joinable(columns, told)
    chosen += _incomplete(columns, shape)
    columns = [_with_variety(column) if column.name not in (*shape.key, shape.entity) else column for column in columns]
    lines = [_line(column, must=column.name in (shape.entity, shape.time)) for column in columns]
    lines[:0] = [_made_line(name, table, shape) for name in reversed(list(shape.made))]
    text = render(
        "contract.py",
        project=project,
        file=path.name,
        table=table,
        description=f"One row each, as {path.name} has them",
        owner=owner,
        key=f"({', '.join(literal(k) for k in shape.key)}{',' if len(shape.key) == 1 else ''})",
        time=shape.time,
        columns=lines,
    )
    mapped = _map(path, table, found, form, shape.made)
    files = (
        File("gold.py", text, f"gold table {table}: the contract of its {len(lines)} columns"),
        File(f"maps/{table}.yaml", mapped, f"how the columns of {path.name} become those"),
    )
    return FileContract(files, tuple(chosen), tuple(columns), shape)


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
    asked = {"header", "header_rows", "names"} & told.format.model_fields_set
    if kind_of(path) == "excel" and not asked and has_two_headers(first_rows(path, sheet=form.sheet, skip=form.skip)):
        form = form.model_copy(update={"header_rows": 2})
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
    clocks = [c for c in columns if c.dtype == "string" and is_clock(c.values)]
    if len(days) == len(clocks) == 1 and not told.joined:
        day, clock = days[0].source, clocks[0].source
        yield f"{day} and {clock} could be one time (--join at={literal(f'{day},{clock}')})"


def _with_variety(column: InferredColumn) -> InferredColumn:
    """The column; if it is a text of which no model learns much, its note says so."""
    if column.dtype != "string" or column.values.dtype != pl.String:
        return column
    found = variety_of(column.values)
    if not found.too_many or found.rows < _FEW:
        return column
    told = f"{found.different:,} different texts in {found.rows:,} rows: too many to learn; windows count them"
    return replace(column, told="; ".join(filter(None, (column.told, told))))


#: Rows below which the number of different texts says nothing.
_FEW = 50


def _incomplete(columns: Sequence[InferredColumn], shape: FileShape) -> Iterator[str]:
    """Rows without an entity or a time, which the contract will set aside."""
    rows = max((len(c.values) for c in columns), default=0)
    for column in columns:
        if column.name in (shape.entity, shape.time) and (gone := rows - len(column.values)):
            yield f"{gone:,} of {rows:,} rows have no {column.name}: they will be set aside"


def _told_of_format(path: Path, form: Format, declared: Format) -> Iterator[str]:
    if form.encoding != declared.encoding:
        yield f"encoding {form.encoding}, as in {other_word(path, form.encoding)!r} (--encoding names another)"
    if form.quote != declared.quote:
        yield f"quote {form.quote} (--quote names another)"
    if form.escape != declared.escape:
        yield f"{form.escape} stands before a quote within quotes (format: {{escape: ...}} in the map)"
    if form.skip != declared.skip:
        yield f"lines before the header: {form.skip} (--skip says how many)"
    if form.header_rows != declared.header_rows:
        yield f"header of {form.header_rows} rows, groups above names, which are joined (--header-rows says how many)"


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


def _line(column: InferredColumn, *, must: bool) -> str:
    must_have = ("nullable=False",) if must else ()
    told = f"description={literal(column.source)}"
    return call(f"{literal(column.name)}: Column", f'dtype="{column.dtype}"', *must_have, told, indent=8)


def _made_line(name: str, table: str, shape: FileShape) -> str:
    """The contract's line of a column that the file does not have."""
    told = f"The one series that there is: {table}" if name == SERIES else _FINGERPRINT
    must_have = () if name in shape.key else ("nullable=False",)
    return call(f"{literal(name)}: Column", 'dtype="string"', *must_have, f"description={literal(told)}", indent=8)


_FINGERPRINT = "Fingerprint of the row, counted among equal rows"


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
