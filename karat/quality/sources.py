"""Input files as frames: CSV with every column as text, Parquet and Delta with their own types."""

from __future__ import annotations

import codecs
import csv
import gzip
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import duckdb
import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from polars.exceptions import PolarsError

from karat.errors import DiskFull, InputNotFound, UnreadableInput, is_disk_full
from karat.fingerprint import fingerprint_bytes, fingerprint_file
from karat.quality.maps import Format
from karat.sql import literal

_BLOCK = 1 << 20
_DELIMITERS = ",;\t|"
PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class InputFile:
    """One input.

    Attributes:
        path: The file or folder.
        rows: Its rows.
        unread: The lines of a CSV file that are no rows: ``place``, ``reason`` and ``row`` as text.
    """

    path: Path
    rows: pl.DataFrame
    unread: pl.DataFrame


def kind_of(path: Path) -> str:
    """The kind of an input.

    Args:
        path: The file or folder.

    Returns:
        ``csv``, ``parquet`` or ``delta``.

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
    return "parquet" if path.suffix.lower() in PARQUET else "csv"


def head_of(path: Path, options: Format) -> pl.DataFrame:
    """The input without its rows: names and types of the columns."""
    kind = kind_of(path)
    try:
        if kind == "delta":
            return pl.DataFrame(schema=pl.scan_delta(str(path)).collect_schema())
        if kind == "parquet":
            return pl.DataFrame(schema=pl.read_parquet_schema(path))
    except (PolarsError, DeltaError, OSError) as error:
        raise _unreadable(path, kind, error) from None
    return pl.DataFrame(schema=dict.fromkeys(_csv_header(path, options)[0], pl.String))


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
    kind = kind_of(path)
    none = pl.DataFrame(schema={"place": pl.String, "reason": pl.String, "row": pl.String})
    try:
        if kind == "delta":
            return InputFile(path, pl.scan_delta(str(path)).collect(), none)
        if kind == "parquet":
            return InputFile(path, pl.read_parquet(path), none)
    except (PolarsError, DeltaError, OSError) as error:
        raise _unreadable(path, kind, error) from None
    return _read_csv(path, options)


def _unreadable(path: Path, kind: str, error: Exception) -> UnreadableInput:
    return UnreadableInput(
        f"{path} cannot be read as {kind}: {error}", remedy="check that it is complete and of that kind"
    )


def _open(path: Path, encoding: str) -> IO[str]:
    opener = gzip.open if path.suffix == ".gz" else open
    # A byte order mark is not part of a column's name.
    chosen = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
    return opener(path, "rt", encoding=chosen, newline="")


def _csv_header(path: Path, options: Format) -> tuple[list[str], str]:
    """The column names in the first line, and the delimiter."""
    try:
        with _open(path, options.encoding) as file:
            first = file.read(_BLOCK)
    except UnicodeError as error:
        raise _wrong_encoding(path, options.encoding, str(error)) from None
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, "CSV", error) from None
    line = next(iter(first.splitlines()), "")
    if "\0" in first or not line.strip():
        raise UnreadableInput(f"{path} is not a CSV file", remedy="its first line must name the columns")
    delimiter = options.delimiter or max(_DELIMITERS, key=lambda d: _fields(line, d, options.quote))
    names = next(csv.reader(first.splitlines(keepends=True), delimiter=delimiter, quotechar=options.quote or None))
    names = [n.strip() for n in names]
    _check_names(path, names)
    return names, delimiter


def _fields(line: str, delimiter: str, quote: str) -> int:
    return len(next(csv.reader([line], delimiter=delimiter, quotechar=quote or None)))


def _check_names(path: Path, names: list[str]) -> None:
    lowered = [n.lower() for n in names]
    doubled = next((n for n in names if lowered.count(n.lower()) > 1), None)
    if doubled is not None:
        raise UnreadableInput(
            f"the header of {path} names the column {doubled!r} twice"
            if doubled
            else f"the header of {path} has columns without a name",
            remedy="rename one of them in the file (case does not count)",
        )


def _wrong_encoding(path: Path, encoding: str, what: str) -> UnreadableInput:
    return UnreadableInput(
        f"{path} is not written in {encoding}: {what}",
        remedy="declare its encoding in the map, as in  format: {encoding: latin-1}",
    )


@contextmanager
def _as_utf8(path: Path, encoding: str) -> Iterator[Path]:
    """The file in UTF-8, which DuckDB reads: a temporary copy if it has another encoding."""
    if codecs.lookup(encoding).name in ("utf-8", "ascii"):
        yield path
        return
    with tempfile.NamedTemporaryFile("w", suffix=".csv", encoding="utf-8", newline="") as copy:
        try:
            with _open(path, encoding) as file:
                while block := file.read(_BLOCK):
                    copy.write(block)
            copy.flush()
        except UnicodeError as error:
            raise _wrong_encoding(path, encoding, str(error)) from None
        except OSError as error:
            if is_disk_full(error):
                raise DiskFull(f"no space is left for a copy of {path} in UTF-8", where=copy.name) from error
            raise _unreadable(path, "CSV", error) from None
        yield Path(copy.name)


def _read_csv(path: Path, options: Format) -> InputFile:
    names, delimiter = _csv_header(path, options)
    with _as_utf8(path, options.encoding) as readable, duckdb.connect() as connection:
        query = _csv_query(readable, names, delimiter, options)
        try:
            rows = pl.DataFrame(connection.sql(query).to_arrow_table())
            unread = pl.DataFrame(
                connection.sql(
                    "SELECT DISTINCT ON (line) line, error_type, csv_line FROM reject_errors ORDER BY line"
                ).to_arrow_table()
            )
        except duckdb.Error as error:
            raise _unreadable(path, "CSV", error) from None
    broken = unread.filter(pl.col("error_type") == "INVALID ENCODING")
    if broken.height:
        raise _wrong_encoding(path, options.encoding, f"see line {broken['line'][0]}")
    return InputFile(path, rows, _unread(unread))


def _csv_query(path: Path, names: list[str], delimiter: str, options: Format) -> str:
    columns = ", ".join(f"{literal(n)}: 'VARCHAR'" for n in names)
    nulls = ", ".join(literal(n) for n in options.null_values) or "''"
    return (
        f"SELECT * FROM read_csv({literal(str(path))}, auto_detect = false, header = true, columns = {{{columns}}}, "
        f"delim = {literal(delimiter)}, quote = {literal(options.quote)}, escape = {literal(options.quote)}, "
        f"nullstr = [{nulls}], store_rejects = true, rejects_limit = 0)"
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
