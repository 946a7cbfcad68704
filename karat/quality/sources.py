"""Input files as frames: CSV and JSON with every column as text, Parquet, Delta and Excel with their own types."""

from __future__ import annotations

import codecs
import csv
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

import duckdb
import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from polars.exceptions import PolarsError

from karat.errors import DiskFull, InputNotFound, UnreadableInput, is_disk_full
from karat.fingerprint import fingerprint_bytes, fingerprint_file
from karat.quality.dialect import (
    Dialect,
    binary,
    check_names,
    dialect_of,
    encoding_of,
    likely_encoding,
    member_name,
    mixed_ends,
    records,
    sample_of_start,
    text,
)
from karat.quality.documents import read_excel, read_json
from karat.quality.maps import Format
from karat.sql import literal

_BLOCK = 1 << 20
#: The kind of a file by its suffix; a suffix of compression does not count.
KINDS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".xlsx": "excel",
    ".xls": "excel",
    ".xlsb": "excel",
    ".ods": "excel",
}
_COMPRESSED = (".gz", ".zst", ".zip", ".bz2", ".xz")


@dataclass(frozen=True)
class InputFile:
    """One input.

    Attributes:
        path: The file or folder.
        rows: Its rows.
        unread: The lines of a CSV or JSON file that are no rows: ``place``, ``reason`` and ``row`` as text.
        texts: Columns that the file itself declares as text: strings of JSON, Parquet, Delta and Excel.
        unnamed: Columns that have no name in the file.
        short: Places of the lines of a CSV file that have fewer fields than the header: the missing ones are null.
        notes: What else is to be told of the file.
    """

    path: Path
    rows: pl.DataFrame
    unread: pl.DataFrame
    texts: frozenset[str] = frozenset()
    unnamed: tuple[str, ...] = ()
    short: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def kind_of(path: Path) -> str:
    """The kind of an input.

    Args:
        path: The file or folder.

    Returns:
        ``csv``, ``parquet``, ``delta``, ``json`` or ``excel``.

    Raises:
        InputNotFound: It does not exist.
        UnreadableInput: It is empty, or a folder but not a Delta table.
    """
    if not path.exists():
        raise InputNotFound(
            f"there is no file {path}", remedy="check the path; a relative path starts at the current folder"
        )
    if path.is_dir():
        if not (path / "_delta_log").is_dir():
            raise UnreadableInput(
                f"{path} is a folder, but not a Delta table", remedy="give the files in it: folder/*.csv"
            )
        return "delta"
    if path.stat().st_size == 0:
        raise UnreadableInput(f"{path} is empty", remedy="the first line of a CSV names its columns")
    with path.open("rb") as file:
        if file.read(4) == b"PAR1":
            return "parquet"
    name = member_name(path) if path.suffix.lower() == ".zip" else path.name
    suffixes = [s.lower() for s in Path(name).suffixes if s.lower() not in _COMPRESSED]
    return KINDS.get(suffixes[-1] if suffixes else "", "csv")


def head_of(path: Path, options: Format) -> pl.DataFrame:
    """The input without its rows: names and types of the columns."""
    kind = kind_of(path)
    try:
        if kind == "delta":
            return pl.DataFrame(schema=pl.scan_delta(str(path)).collect_schema())
        if kind == "parquet":
            with _parquet(path) as file:
                return pl.DataFrame(schema=pl.read_parquet_schema(file))
    except (PolarsError, DeltaError, OSError) as error:
        raise _unreadable(path, kind, error) from None
    if kind in ("json", "excel"):
        return read_source(path, options).rows.clear()
    return pl.DataFrame(schema=dict.fromkeys(_csv_dialect(path, options).names, pl.String))


def digest_of(path: Path) -> str:
    """The fingerprint of a file's bytes, or of a Delta table's id and version."""
    if path.is_dir():
        table = DeltaTable(path)
        return fingerprint_bytes(f"{table.metadata().id}@{table.version()}".encode())
    return fingerprint_file(path)


def read_source(path: Path, options: Format) -> InputFile:
    """Read all rows of one input.

    Args:
        path: The file or folder.
        options: The format of a CSV file.

    Returns:
        The rows.

    Raises:
        InputNotFound: It does not exist.
        UnreadableInput: It cannot be read.
    """
    found = _read(path, options)
    check_names(path, found.rows.columns)
    return found


def _read(path: Path, options: Format) -> InputFile:
    kind = kind_of(path)
    none = pl.DataFrame(schema={"place": pl.String, "reason": pl.String, "row": pl.String})
    try:
        if kind == "delta":
            return _typed(path, pl.scan_delta(str(path)).collect(), none)
        if kind == "parquet":
            with _parquet(path) as file:
                return _typed(path, pl.read_parquet(file), none)
        if kind == "json":
            documents = read_json(path)
            return InputFile(path, documents.rows, documents.unread, texts=documents.texts)
        if kind == "excel":
            return _of_sheet(path, options, none)
    except (PolarsError, DeltaError, OSError) as error:
        raise _unreadable(path, kind, error) from None
    return _read_csv(path, options)


def _typed(path: Path, rows: pl.DataFrame, unread: pl.DataFrame) -> InputFile:
    """Rows with types of their own: what is text there is declared as text."""
    return InputFile(path, rows, unread, texts=frozenset(n for n, t in rows.schema.items() if t == pl.String))


def _of_sheet(path: Path, options: Format, unread: pl.DataFrame) -> InputFile:
    sheet = read_excel(
        path, sheet=options.sheet, skip=options.skip, header=options.header, header_rows=options.header_rows
    )
    notes = (f"sheet {sheet.name}, of {len(sheet.others) + 1}: {', '.join(sheet.others)} (--sheet names another)",)
    found = _typed(path, sheet.rows, unread)
    # A column of numbers with a "?" in it comes as texts: what they are is inferred, as in CSV.
    found = replace(found, texts=frozenset(c for c in found.texts if not _has_numbers(sheet.rows[c])))
    return replace(found, unnamed=sheet.unnamed, notes=notes if sheet.others and options.sheet is None else ())


def _has_numbers(cells: pl.Series) -> bool:
    """Whether most texts of a sheet's column are numbers as the sheet's reader writes them: no leading zeros."""
    share = cells.drop_nulls().str.contains(r"^-?(0|[1-9][0-9]*)([.][0-9]+)?(e[+-]?[0-9]+)?$").mean()
    return isinstance(share, float) and 0.5 <= share < 1


@contextmanager
def _parquet(path: Path) -> Iterator[Path | IO[bytes]]:
    """The file, or its bytes if it is compressed as a whole."""
    if path.suffix.lower() not in _COMPRESSED:
        yield path
        return
    with binary(path) as file:
        yield io.BytesIO(file.read())


def _unreadable(path: Path, kind: str, error: Exception) -> UnreadableInput:
    return UnreadableInput(
        f"{path} cannot be read as {kind}: {error}", remedy="check that it is complete and of that kind"
    )


def _csv_dialect(path: Path, options: Format) -> Dialect:
    try:
        return dialect_of(path, options)
    except UnicodeError as error:
        raise wrong_encoding(path, options.encoding, str(error)) from None
    except csv.Error as error:
        raise _unreadable(path, "CSV", error) from None


def wrong_encoding(path: Path, encoding: str, what: str) -> UnreadableInput:
    """The error of a file in another encoding; it names the likely one."""
    likely = likely_encoding(path) or "cp1250"
    return UnreadableInput(
        f"{path} is not written in {encoding}: {what}",
        remedy=f"declare its encoding in the map, as in  format: {{encoding: {likely}}}",
    )


@contextmanager
def _as_utf8(path: Path, encoding: str, dialect: Dialect, lines: _Lines) -> Iterator[Path]:
    """The file as DuckDB reads it: a temporary copy in UTF-8 unless it is plain already."""
    start = sample_of_start(path)
    plain = dialect.plain and codecs.lookup(encoding_of(start, encoding)).name in ("utf-8", "ascii")
    with path.open("rb") as file:
        if plain and file.read(4) == start and not start.startswith(codecs.BOM_UTF8):
            yield path
            return
    with tempfile.NamedTemporaryFile("w", suffix=".csv", encoding="utf-8", newline="") as copy:
        try:
            with text(path, encoding) as file:
                _copy(file, copy.file, dialect, lines)
            copy.flush()
        except UnicodeError as error:
            raise wrong_encoding(path, encoding, str(error)) from None
        except (OSError, csv.Error) as error:
            if isinstance(error, OSError) and is_disk_full(error):
                raise DiskFull(f"no space is left for a copy of {path} in UTF-8", where=copy.name) from error
            raise _unreadable(path, "CSV", error) from None
        yield Path(copy.name)


@dataclass
class _Lines:
    """The lines of a file that is read record by record.

    Attributes:
        unread: ``place``, ``reason`` and text of those that are no rows.
        short: Places of the rows that have fewer fields than the header.
        number: How many lines were read.
        text: The text of the present record.
    """

    unread: list[tuple[str, str, str]] = field(default_factory=list)
    short: list[str] = field(default_factory=list)
    number: int = 0
    text: str = ""

    def of(self, file: IO[str]) -> Iterator[str]:
        """The lines of a file; counted, and kept until the record ends."""
        for line in file:
            self.number += 1
            self.text += line
            yield line

    def accepted(self, record: list[str], dialect: Dialect, place: str) -> bool:
        """Bring a record to the header's width; note it if it is short or no row."""
        width, text, self.text = len(dialect.names), self.text, ""
        while len(record) > width and record[-1].strip() == "":  # a delimiter at the end of the line
            record.pop()
        if not record or (len(record) == 1 and not record[0].strip() and width > 1):
            return False
        quotes = text.count(dialect.quote) if dialect.quote and not dialect.escape else 0
        reason = "too many fields in the line" if len(record) > width else ""
        if quotes % 2 and len(text.splitlines()) > 1:
            reason = "a quote that is never closed"
        elif len(record) == 1 < width - 1:
            reason = "no delimiter in the line"
        if reason:
            self.unread.append((place, reason, text.rstrip("\r\n")))
            return False
        if len(record) < width:
            self.short.append(place)
            record += [""] * (width - len(record))
        return True


def _copy(file: IO[str], copy: IO[str], dialect: Dialect, lines: _Lines) -> None:
    """As it is, or record by record where DuckDB would not read the lines."""
    if dialect.plain:
        while block := file.read(_BLOCK):
            copy.write(block)
        return
    numbered = lines.of(file)
    for _ in range(dialect.skip + dialect.header):
        next(numbered, "")
    lines.text = ""
    out = csv.writer(copy, lineterminator="\n", quoting=csv.QUOTE_ALL)
    place = f"line {lines.number + 1}"
    for record in records(numbered, dialect.delimiter, dialect.quote, dialect.escape, spaced=dialect.spaced):
        if lines.accepted(record, dialect, place):
            out.writerow(record)
        place = f"line {lines.number + 1}"


def _read_csv(path: Path, options: Format) -> InputFile:
    dialect = _csv_dialect(path, options)
    if dialect.plain and mixed_ends(path, options.encoding):
        dialect = replace(dialect, plain=False)
    rows, unread, lines = _scan(path, options, dialect)
    errors = set(unread["error_type"])
    if "MISSING COLUMNS" in errors and dialect.plain:
        padded = replace(dialect, plain=False)
        if "UNQUOTED VALUE" not in errors:  # which would hold the lines below
            rows, unread, lines = _scan(path, options, padded)
    broken = unread.filter(pl.col("error_type") == "INVALID ENCODING")
    if broken.height:
        raise wrong_encoding(path, options.encoding, f"see line {broken['line'][0]}")
    noted = pl.DataFrame(lines.unread, schema=_UNREAD, orient="row")
    return InputFile(path, rows, pl.concat([noted, _unread(unread)]), unnamed=dialect.unnamed, short=tuple(lines.short))


_UNREAD = {"place": pl.String, "reason": pl.String, "row": pl.String}
#: The longest line that DuckDB is asked to read, in bytes: first its own default, then as much as Arrow holds.
_LONGEST = (2_097_152, 1 << 30)


def _scan(path: Path, options: Format, dialect: Dialect) -> tuple[pl.DataFrame, pl.DataFrame, _Lines]:
    """The rows, DuckDB's errors, and what was noted of the lines."""
    lines = _Lines()
    with _as_utf8(path, options.encoding, dialect, lines) as readable:
        for longest in _LONGEST:
            with duckdb.connect() as connection:
                try:
                    rows = pl.DataFrame(
                        connection.sql(_csv_query(readable, dialect, options, longest)).to_arrow_table()
                    )
                    unread = pl.DataFrame(
                        connection.sql(
                            "SELECT DISTINCT ON (line) line, error_type::VARCHAR AS error_type, csv_line "
                            "FROM reject_errors ORDER BY line"
                        ).to_arrow_table()
                    )
                except duckdb.Error as error:
                    raise _unreadable(path, "CSV", error) from None
            if "LINE SIZE OVER MAXIMUM" not in unread["error_type"]:
                break
    return rows, unread, lines


def _csv_query(path: Path, dialect: Dialect, options: Format, longest: int) -> str:
    columns = ", ".join(f"{literal(n)}: 'VARCHAR'" for n in dialect.names)
    nulls = ", ".join(literal(n) for n in dict.fromkeys(("", *options.null_values)))
    mark = dialect.quote if dialect.plain else '"'
    escape = dialect.escape if dialect.plain and dialect.escape else mark
    delimiter = dialect.delimiter if dialect.plain else ","
    return (
        f"SELECT * FROM read_csv({literal(str(path))}, auto_detect = false, "
        f"header = {str(dialect.plain and dialect.header > 0).lower()}, "
        f"skip = {dialect.skip if dialect.plain else 0}, columns = {{{columns}}}, delim = {literal(delimiter)}, "
        f"quote = {literal(mark)}, escape = {literal(escape)}, nullstr = [{nulls}], store_rejects = true, "
        f"rejects_limit = 0, max_line_size = {longest})"
    )


_REASONS = {
    "MISSING COLUMNS": "too few fields in the line",
    "TOO MANY COLUMNS": "too many fields in the line",
    "UNQUOTED VALUE": "a quote that is never closed",
    "LINE SIZE OVER MAXIMUM": "too long a line",
}


def _unread(errors: pl.DataFrame) -> pl.DataFrame:
    return errors.select(
        place=pl.format("line {}", "line"),
        reason=pl.col("error_type").cast(pl.String).replace_strict(_REASONS, default="not a row of a CSV"),
        row=pl.col("csv_line"),
    )
