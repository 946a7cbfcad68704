"""Dialect of a text file: its compression, encoding, delimiter, header and line ends."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, cast

import pyarrow as pa

from karat.errors import UnreadableInput, is_disk_full
from karat.quality.header_rows import has_two_headers, join_headers
from karat.quality.maps import Format

if TYPE_CHECKING:
    import _csv

WHITESPACE = "whitespace"
_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE = 1 << 20
#: Records of the sample by which a delimiter is judged.
_JUDGED = 200
#: Lines before the header that are looked at.
_PREAMBLE = 30
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: A first line of Excel's that names the delimiter.
_EXCEL = re.compile(r"^\"?sep=(.)\"?[\r\n]*$", re.IGNORECASE)
#: A quote that is doubled within quotes.
_DOUBLED = re.compile(r'[^\\,;\t|]""[^,;\t|\r\n]')
_NUMBER = re.compile(r"\s*[-+]?(\d+([.,]\d*)*|[.,]\d+)([eE][-+]?\d+)?\s*%?\s*")


@dataclass(frozen=True)
class Dialect:
    """The dialect of a delimited text file.

    Attributes:
        names: The columns, those without a name as ``column_N``.
        delimiter: One character, or ``whitespace``.
        quote: The quote character; empty for none.
        escape: What stands before a quote within quotes; empty if it is doubled.
        skip: Lines before the header.
        header: Lines of the header; a name may hold a line's end.
        unnamed: The columns that the file gives no name.
        spaced: Whether blanks stand between a delimiter and a quote.
        plain: Whether DuckDB reads the lines as they are if all end alike; other files are rewritten first.
    """

    names: tuple[str, ...]
    delimiter: str
    quote: str
    escape: str
    skip: int
    header: int
    unnamed: tuple[str, ...]
    spaced: bool
    plain: bool


@contextmanager
def binary(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, decompressed if its first bytes say gzip, zstd, bzip2, xz or zip.

    Raises UnreadableInput if it is damaged, or if a zip archive does not hold exactly one file.
    """
    try:
        with _unpacked(path) as file:
            yield file
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, OSError) as error:
        if isinstance(error, OSError) and is_disk_full(error):
            raise
        raise UnreadableInput(
            f"{path} cannot be read: {error}", remedy="check that it is complete, and what its suffix says"
        ) from None


@contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        first = file.read(6)
    if first.startswith(b"\x1f\x8b"):
        with gzip.open(path) as out:
            yield cast("IO[bytes]", out)
    elif first.startswith(b"\x28\xb5\x2f\xfd"):
        with pa.CompressedInputStream(pa.OSFile(str(path)), "zstd") as stream:
            yield cast("IO[bytes]", stream)
    elif first.startswith(b"BZh"):
        with bz2.open(path) as out:
            yield cast("IO[bytes]", out)
    elif first.startswith(b"\xfd7zXZ"):
        with lzma.open(path) as out:
            yield cast("IO[bytes]", out)
    elif first.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(path) as archive, archive.open(_member(path, archive)) as out:
            yield out
    else:
        with path.open("rb") as file:
            yield file


def member_name(path: Path) -> str:
    """The name of the only file in a zip archive; the archive's own if it cannot be opened as such."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _member(path, archive).filename
    except (zipfile.BadZipFile, OSError):
        return path.name


def _member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    inside = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX/")]
    if len(inside) != 1:
        listed = ", ".join(m.filename for m in inside[:5])
        raise UnreadableInput(f"{path} holds {len(inside)} files: {listed}", remedy="unpack it, and give one of them")
    return inside[0]


def sample_of(path: Path) -> bytes:
    """The first bytes of a file, decompressed."""
    with binary(path) as file:
        return b"".join(_blocks(file, _SAMPLE))


def _blocks(file: IO[bytes], most: int) -> Iterator[bytes]:
    while most > 0 and (block := file.read(most)):
        most -= len(block)
        yield block


def encoding_of(sample: bytes, declared: str) -> str:
    """The encoding: what a byte order mark says, else the declared one."""
    return next((name for mark, name in _MARKS if sample.startswith(mark)), declared)


@contextmanager
def text(path: Path, encoding: str) -> Iterator[IO[str]]:
    """Open a file as text, its line ends as they are."""
    chosen = encoding_of(sample_of_start(path), encoding)
    with binary(path) as file:
        yield io.TextIOWrapper(cast("IO[bytes]", io.BufferedReader(_Raw(file), 1 << 20)), encoding=chosen, newline="")


def sample_of_start(path: Path) -> bytes:
    """The first four bytes, decompressed."""
    with binary(path) as file:
        return b"".join(_blocks(file, 4))


class _Raw(io.RawIOBase):
    """Any object with ``read`` as a raw stream."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        block = self._file.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)


def records(lines: Iterable[str], delimiter: str, quote: str, escape: str = "", *, spaced: bool = False) -> _csv.Reader:
    """The records of lines, whatever ends each line; ``spaced`` drops blanks after a delimiter."""
    csv.field_size_limit(1 << 30)
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    if delimiter == WHITESPACE:
        tidy = (line.strip(" \t\r\n").replace("\t", " ") for line in lines)
        return csv.reader(
            tidy,
            delimiter=" ",
            skipinitialspace=True,
            quotechar=quote or None,
            quoting=quoting,
            escapechar=escape or None,
        )
    delimiter = "\t" if delimiter == "\\t" else delimiter
    return csv.reader(
        iter(lines),
        delimiter=delimiter,
        skipinitialspace=spaced,
        quotechar=quote or None,
        quoting=quoting,
        escapechar=escape or None,
    )


def dialect_of(path: Path, options: Format) -> Dialect:
    """Find the dialect of a text file.

    Args:
        path: The file.
        options: What is declared of it.

    Returns:
        The dialect.

    Raises:
        UnreadableInput: It is no delimited text, or its header names a column twice.
        UnicodeError: It is not written in the declared encoding.
    """
    with text(path, options.encoding) as file:
        sample = file.read(_SAMPLE)
    lines = _lines(sample)
    if len(sample) == _SAMPLE and len(lines) > 2:
        lines = lines[:-1]
    skip, named = options.skip, None
    if lines and not skip and (match := _EXCEL.match(lines[0])):
        skip, named = 1, match[1]
    lines = lines[skip:]
    if "\0" in sample or not "".join(lines[:_PREAMBLE]).strip():
        raise UnreadableInput(f"{path} is not a CSV file", remedy="its first line must name the columns")
    delimiter = options.delimiter or named or judged_delimiter(lines, options.quote)
    delimiter = "\t" if delimiter == "\\t" else delimiter
    spaced = _is_spaced(lines, delimiter, options.quote)
    reader = records(lines, delimiter, options.quote, options.escape, spaced=spaced)
    first = next((r for r in reader if any(f.strip() for f in r)), [])
    if options.header and options.header_rows > 1:
        first = join_headers([first, *(r for _, r in zip(range(options.header_rows - 1), reader, strict=False))])
    header = reader.line_num if options.header else 0
    body = [r for _, r in zip(range(_JUDGED), reader, strict=False) if r]
    width = Counter(map(len, body)).most_common(1)[0][0] if body else len(first)
    given = _given(first, body, width, options)
    names = tuple(n or f"column_{place}" for place, n in enumerate(given, 1))
    check_names(path, names)
    unnamed = tuple(n for n, own in zip(names, given, strict=True) if not own)
    plain = delimiter != WHITESPACE and len(given) == len(first) and not spaced and options.header_rows == 1
    return Dialect(names, delimiter, options.quote, options.escape, skip, header, unnamed, spaced, plain)


def _is_spaced(lines: Sequence[str], delimiter: str, quote: str) -> bool:
    """Whether blanks stand between a delimiter and a quoted field: without them the quotes would be text."""
    if delimiter == WHITESPACE or not quote:
        return False
    sign, mark = re.escape(delimiter), re.escape(quote)
    after, at_once = re.compile(f"{sign} +{mark}[^{mark}]*{mark}"), re.compile(f"{sign}{mark}")
    found = [bool(after.search(line)) - bool(at_once.search(line)) for line in lines[:_JUDGED]]
    return sum(found) > 0


def _lines(sample: str) -> list[str]:
    """Lines with their ends: CR, LF or both, and nothing else that Unicode calls a line's end."""
    return io.StringIO(sample, newline="").readlines()


def _given(first: list[str], body: list[list[str]], width: int, options: Format) -> list[str]:
    """The names that the file or the format gives; empty for a column without one."""
    if options.names:
        return [*options.names, *[""] * (width - len(options.names))]
    if not options.header:
        return [""] * max(width, len(first))
    given = [n.strip() for n in first]
    if width == len(given) + 1:  # a delimiter at the end of each row, or R's names of rows, which have no header
        ends = all(r[-1].strip() == "" for r in body if len(r) == width)
        given = [*given, ""] if ends else ["", *given]
    return given


def check_names(path: Path, names: Sequence[str]) -> None:
    """Refuse columns whose names differ by case alone: SQL takes them for one. Raises UnreadableInput."""
    counts = Counter(n.lower() for n in names)
    doubled = next((n for n in names if counts[n.lower()] > 1), None)
    if doubled is not None:
        raise UnreadableInput(
            f"the header of {path} names the column {doubled!r} twice",
            remedy="rename one of them in the file (case does not count), or give all names: --names a,b,c; or, if "
            "names of groups stand above them: --header-rows 2",
        )


def mixed_ends(path: Path, encoding: str) -> bool:
    """Whether the lines of a file end in several ways; ends within quotes count too, and do no harm."""
    wide = codecs.lookup(encoding_of(sample_of_start(path), encoding)).name.startswith(("utf-16", "utf-32"))
    with text(path, encoding) if wide else binary(path) as file:
        ends, last = Counter[str](), ""
        while block := file.read(_SAMPLE):
            shown = last + (block if isinstance(block, str) else block.decode("latin-1"))
            last = "\r" if shown.endswith("\r") else ""
            shown = shown.removesuffix("\r") if last else shown
            both = shown.count("\r\n")
            ends.update({"\r\n": both, "\n": shown.count("\n") - both, "\r": shown.count("\r") - both})
    ends["\r"] += len(last)
    return sum(n > 0 for n in ends.values()) > 1


def judged_delimiter(lines: Sequence[str], quote: str) -> str:
    """The delimiter that splits header and rows into the same number of fields, at least two.

    Args:
        lines: The first lines.
        quote: The quote character; empty for none.

    Returns:
        The delimiter; a comma if none splits them.
    """
    judged = {d: _judge(lines, d, quote) for d in _DELIMITERS}
    best = max(_DELIMITERS, key=lambda d: judged[d])
    _, share, width = _judge(lines, WHITESPACE, quote)
    columns = best == "\t" and share == 1 and width > judged[best][2] and all("  " in x for x in lines if x.strip())
    if judged[best][2] > 1 and not columns:
        return best
    return WHITESPACE if width > 2 and share == 1 and len(lines) > 2 else ","


def _judge(lines: Sequence[str], delimiter: str, quote: str) -> tuple[int, float, int]:
    """How well the header fits (2: as many fields), the share of rows with the usual number, and that number."""
    found = [len(r) for _, r in zip(range(_JUDGED), records(lines, delimiter, quote), strict=False) if r]
    if not found:
        return 0, 0.0, 0
    skipped = found[0] == 1 and len(found) > _PREAMBLE
    if skipped:
        found = found[next((n for n, f in enumerate(found[:_PREAMBLE]) if f > 1), 0) :]
    header, *body = found
    width, often = Counter(body or found).most_common(1)[0]
    if width < 2 and header < 2:
        return 0, 0.0, 1
    # A first line that the delimiter does not split is rather a header of another delimiter: "id;price" above "1;3,50".
    fits = (1 if skipped else 2) if header == width > 1 else int(1 < header == width - 1)
    return fits, round(often / len(body or found), 1), width


def looks_like_data(path: Path, options: Format) -> str:
    """The first line, if it has numbers where the rows below have numbers: it may be no header.

    Args:
        path: The file.
        options: Its format.

    Returns:
        The line; empty if it looks like a header.
    """
    with text(path, options.encoding) as file:
        lines = _lines(file.read(_SAMPLE))[options.skip :]
    if lines and _EXCEL.match(lines[0]):
        lines = lines[1:]
    delimiter = options.delimiter or judged_delimiter(lines, options.quote)
    found = [r for _, r in zip(range(_JUDGED), records(lines, delimiter, options.quote), strict=False) if r]
    if not found:
        return ""
    first, *body = found
    for place, value in enumerate(first):
        below = [r[place] for r in body if place < len(r)]
        if _NUMBER.fullmatch(value) and below and sum(bool(_NUMBER.fullmatch(b)) for b in below) > len(below) / 2:
            return lines[0].strip()
    return ""


def infer_format(path: Path, options: Format) -> Format:
    """Complete a format by what the file shows: encoding, quote, the lines before the header and those of the header.

    Args:
        path: The file.
        options: What is declared.

    Returns:
        The format; what is declared stays.

    Raises:
        UnreadableInput: The encoding must be declared.
    """
    declared = options.model_fields_set
    update: dict[str, object] = {}
    if "encoding" not in declared:
        if not (likely := likely_encoding(path)):
            raise UnreadableInput(
                f"{path} is written neither in UTF-8 nor, by its words, in Windows-1252",
                remedy="name its encoding, as in --encoding cp1250 (Central European), cp1251 (Cyrillic), shift_jis, "
                "gb18030 or latin-1",
            )
        update["encoding"] = likely
    found = options.model_copy(update=update)
    with text(path, found.encoding) as file:
        lines = _lines(file.read(_SAMPLE))
    if "escape" not in declared and any('\\"' in x for x in lines) and not any(_DOUBLED.search(x) for x in lines):
        update["escape"] = "\\"
    if "quote" not in declared and '"' not in "".join(lines) and _single_quoted(lines):
        update["quote"] = "'"
    found = options.model_copy(update=update)
    if not {"skip", "header"} & declared and (skip := _preamble(lines, found)):
        update["skip"] = skip
    if not {"header", "header_rows", "names"} & declared:
        found = options.model_copy(update=update)
        delimiter = found.delimiter or judged_delimiter(lines[found.skip :], found.quote)
        head = records(lines[found.skip :], delimiter, found.quote, found.escape)
        if has_two_headers([r for _, r in zip(range(_JUDGED), head, strict=False) if r]):
            update["header_rows"] = 2
    return Format.model_validate({**options.model_dump(exclude_unset=True), **update})


def likely_encoding(path: Path) -> str:
    """The encoding by a mark, by zeros between letters, by what can be decoded; empty if the words make no sense."""
    sample = sample_of(path)
    marked = encoding_of(sample, "")
    if marked:
        return "utf-8" if marked == "utf-8-sig" else marked
    if len(sample) > 3 and sample[1::2].count(0) > len(sample) / 4:
        return "utf-16-le"
    if len(sample) > 3 and sample[::2].count(0) > len(sample) / 4:
        return "utf-16-be"
    for encoding in ("utf-8", "windows-1252"):
        try:
            with text(path, encoding) as file:
                while file.read(_SAMPLE):
                    pass
        except UnicodeError:
            continue
        return "" if encoding == "windows-1252" and _is_foreign(sample.decode(encoding, "replace")) else encoding
    return ""


def _is_foreign(sample: str) -> bool:
    """Whether most words with letters beside ASCII have little else: another script, read as Western European."""
    words = {w for w in re.findall(r"[^\W\d_]{3,}", sample) if not w.isascii()}
    foreign = [w for w in words if sum(c > "\x7f" for c in w) > 0.6 * len(w)]
    return len(foreign) > 1 and len(foreign) > len(words) / 2


def other_word(path: Path, encoding: str) -> str:
    """The first word of a file with a letter or sign beside ASCII; empty if its first part has none."""
    with text(path, encoding) as file:
        found = re.search(r"\w*[^\x00-\x7f]\w*", file.read(_SAMPLE))
    return found[0] if found else ""


def _single_quoted(lines: Sequence[str]) -> bool:
    begun, whole = (re.compile(rf"(?:^|[,;\t|]){form}") for form in ("'", r"'[^']*'(?=[,;\t|\r\n]|$)"))
    counted = [(len(begun.findall(line)), len(whole.findall(line))) for line in lines[:_JUDGED]]
    return sum(b for b, _ in counted) > 1 and all(b == w for b, w in counted)


def _preamble(lines: Sequence[str], options: Format) -> int:
    """Lines before the header: comments, and lines of other widths than the rows have."""
    if lines and _EXCEL.match(lines[0]):
        return 0
    delimiter = options.delimiter or judged_delimiter(lines, options.quote)
    widths = [len(next(records([line], delimiter, options.quote), [])) for line in lines[:_JUDGED]]
    usual = Counter(widths).most_common(1)[0][0] if widths else 0
    comments = next((n for n, line in enumerate(lines) if not line.startswith("#")), 0)
    if comments and (body := widths[comments:]):
        usual = Counter(body).most_common(1)[0][0]
        return comments if all(w != usual for w in widths[:comments]) else 0
    if usual < 3 or len(lines) < 6:
        return 0
    if widths[0] == usual - 1 and widths[1] == usual:  # R's names of rows have no header
        return 0
    return next((n for n, w in enumerate(widths[:_PREAMBLE]) if w >= usual), 0)
