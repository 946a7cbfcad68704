"""Type inference for the columns of a file, with SQL where their text needs a conversion."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from infra.new.dates import EPOCHS, UnreadDates, date_reading, reading_by_format
from infra.new.number_forms import FORMS, number_reading, reading_by_form
from karat.dtypes import DTYPES, Dtype, dtype_of_polars, to_decimals
from karat.errors import ColumnMissing, UnreadableInput, WrongCall, did_you_mean
from karat.sql import literal, quote

#: Texts that stand for a missing value in a column of numbers or times.
NULL_MARKERS = (
    "?", "NA", "N/A", "n/a", "na", "#N/A", "NaN", "nan", "NAN", "NULL", "null", "None", "none", "nil", "-", "--", ".",
    "missing", "unknown",
)  # fmt: skip
#: Numbers that stand for a missing value where no other value is negative.
SENTINELS = re.compile(r"-(99|9{3,})(\.0+)?")


@dataclass(frozen=True)
class InferredColumn:
    """A column of a file and its inferred type.

    Attributes:
        source: The file's name of the column.
        name: The gold table's name of it.
        dtype: The inferred type.
        values: The values that are not null.
        sql: SQL that converts the value, if the contract cannot read it as it is.
        told: What was inferred, in words.
        refused: Why the column cannot be read without ``--set``.
        term: SQL that names the value as it is in the file.
    """

    source: str
    name: str
    dtype: Dtype
    values: pl.Series
    sql: str | None = None
    told: str = ""
    term: str = ""
    refused: str = ""

    @property
    def unique(self) -> bool:
        """Whether no value stands twice."""
        flat = not self.values.dtype.is_nested() and not self.values.is_empty()
        return flat and self.values.n_unique() == len(self.values)

    @property
    def evidence(self) -> tuple[str, ...]:
        """The first three different values of the file."""
        return tuple(dict.fromkeys(str(v) for v in self.values.head(1000).to_list()))[:3]


def columns_of(
    rows: pl.DataFrame,
    *,
    texts: frozenset[str] = frozenset(),
    given: Mapping[str, str] | None = None,
    computed: Mapping[str, str] | None = None,
) -> list[InferredColumn]:
    """Infer every column of a file's rows.

    Args:
        rows: The rows; those of a text file are all text.
        texts: Columns that the file itself declares as text: never numbers.
        given: Types that the user sets, by the file's or by gold's name: ``float64``, ``date:%m/%d/%Y``.
        computed: The SQL of columns that the file does not have.

    Returns:
        The columns.

    Raises:
        ColumnMissing: ``given`` names a column that the file does not have.
        WrongCall: ``given`` names a type that does not exist.
        UnreadableInput: A column has dates that cannot be read with certainty, and ``given`` does not name it.
    """
    sql_of = {name: quote(name) for name in rows.columns} | dict(computed or {})
    leaves = [leaf for column in rows.get_columns() for leaf in _leaves(column, sql_of[column.name])]
    found = [
        replace(_inferred(values, name, sql, texts), term=sql)
        for (values, sql), name in zip(leaves, names_of([v.name for v, _ in leaves]), strict=True)
    ]
    chosen = dict(_chosen(found, given or {}))
    if asked := next((c for c in found if c.refused and c.name not in chosen), None):
        raise UnreadableInput(
            f"column {asked.source!r}: {asked.refused}",
            remedy=f"say how it is read: --set {asked.name}=date:de:%d. %B %Y names a language and a format; "
            f"--set {asked.name}=string keeps the text",
        )
    return [_set(column, chosen[column.name]) if column.name in chosen else column for column in found]


def _leaves(column: pl.Series, sql: str) -> list[tuple[pl.Series, str]]:
    """The column, or the fields of a struct, each with the SQL that names it."""
    if not isinstance(column.dtype, pl.Struct):
        return [(column, sql)]
    fields = column.struct.fields
    parts = (_leaves(column.struct.field(f).alias(f"{column.name}.{f}"), f"{sql}.{quote(f)}") for f in fields)
    return [leaf for part in parts for leaf in part]


def names_of(sources: Sequence[str]) -> list[str]:
    """Small letters, digits and underscores, each name once."""
    made: list[str] = []
    for place, source in enumerate(sources):
        plain = unicodedata.normalize("NFKD", source.lower().replace("ß", "ss"))
        plain = "".join(c for c in plain if not unicodedata.combining(c))
        name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_") or f"column_{place + 1}"
        name = f"column_{name}" if name[0].isdigit() else name
        while name in made:
            name = f"{name}_{place + 1}"
        made.append(name)
    return made


def _inferred(column: pl.Series, name: str, sql: str, texts: frozenset[str]) -> InferredColumn:
    if column.dtype != pl.String:
        return _typed(column, name, sql)
    values = column.str.strip_chars()
    values = values.filter(values.is_not_null() & (values != ""))
    plain = InferredColumn(column.name, name, "string", values, None if sql == quote(column.name) else sql)
    if values.is_empty():
        return replace(plain, told="no values")
    try:
        return _of_texts(column, plain, sql, texts)
    except UnreadDates as error:
        return replace(plain, refused=str(error))


def _of_texts(column: pl.Series, plain: InferredColumn, sql: str, texts: frozenset[str]) -> InferredColumn:
    """A column of texts: numbers, times or texts. Raises UnreadDates."""
    values = plain.values
    if column.name in texts:
        return _without_markers(plain, sql, (date_reading,)) or plain
    if reason := _is_code(values):
        return replace(plain, told=reason)
    found = _truth(plain, sql) or _without_markers(plain, sql, (number_reading, date_reading)) or plain
    if found.dtype != "string":
        return found
    padded = column.drop_nulls()
    if (padded.str.starts_with(" ") | (padded == "")).all():
        found = replace(found, sql=f"trim({sql})", told="blanks around the text are dropped")
    marked = values.filter(values.is_in(["?", "NULL", "null", "#N/A", "N/A", "NaN", "nan"]))
    if marked.is_empty():
        return found
    told = f"{marked[0]!r} stays text (--null {literal(marked[0])} makes it null)"
    return replace(found, told="; ".join(filter(None, (found.told, told))))


def _typed(column: pl.Series, name: str, sql: str) -> InferredColumn:
    """A column that has a type already."""
    values = column.drop_nulls()
    plain = None if sql == quote(column.name) else sql
    declared = dtype_of_polars(column.dtype)
    if declared == "int64" and column.dtype in (pl.UInt64, pl.Int128) and (values > 2**63 - 1).any():
        return InferredColumn(column.name, name, "string", values, f"CAST({sql} AS VARCHAR)", "too large for int64")
    if isinstance(column.dtype, pl.Decimal) and to_decimals(values.cast(pl.Float64), column.dtype).null_count():
        told = "more digits than a double holds"
        return InferredColumn(column.name, name, "string", values, f"CAST({sql} AS VARCHAR)", told)
    if (
        isinstance(column.dtype, pl.Datetime)
        and column.dtype.time_unit == "ns"
        and (values.dt.nanosecond() % 1000 != 0).any()
    ):
        return InferredColumn(column.name, name, "timestamp", values, plain, "times are cut to microseconds")
    if declared == "other" and column.dtype != pl.Null:
        nested = column.dtype.is_nested()
        told = f"{column.dtype} becomes its JSON" if nested else f"{column.dtype} becomes text"
        shown = f"CAST(to_json({sql}) AS VARCHAR)" if nested else f"CAST({sql} AS VARCHAR)"
        return InferredColumn(column.name, name, "string", values, shown, told)
    return InferredColumn(column.name, name, "string" if declared == "other" else declared, values, plain)


def _is_code(values: pl.Series) -> str:
    """Why digits are a name and no number; empty if nothing says so."""
    if values.str.contains(r"^0[0-9]+$").any():
        return "zeros in front: a code, not a number"
    digits = values.filter(values.str.contains(r"^[-+]?[0-9]+$"))
    if digits.str.contains(r"^\+\d{6,}$").any():
        return "a plus sign in front, as phone numbers have it"
    if digits.cast(pl.Int64, strict=False).null_count():
        return "more digits than an int64 holds exactly"
    if values.str.contains(r"^[0-9]+[eE][0-9]+$").any() and not values.str.contains(r"\.|[eE][-+]").any():
        return "digits around an E: a code as well as a number (--set says float64)"
    return ""


def _truth(column: InferredColumn, sql: str) -> InferredColumn | None:
    """True and false, where both words stand and mean nothing else; markers of missing values become null."""
    words = set(column.values.head(100_000).str.to_lowercase().unique().head(8).to_list())
    if not words & {"true", "false", "yes", "no", "t", "f", "y", "n", "0", "1"}:
        return None
    found = column.values.unique(maintain_order=True).head(8).to_list()
    markers = [v for v in found if v in NULL_MARKERS]
    words = {v.lower() for v in found} - {m.lower() for m in markers}
    if len(found) > 7 or len(words) > 2:
        return None
    if words in ({"true", "false"}, {"yes", "no"}):
        kept = column.values.filter(~column.values.is_in(markers)) if markers else column.values
        made = _nulled(sql, markers) if markers else column.sql
        told = f"{', '.join(markers)} as null" if markers else ""
        return replace(column, dtype="bool", values=kept, sql=made, told=told)
    if markers:
        return None
    if words == {"0", "1"}:  # the next file may have a 2
        return replace(column, dtype="int64", told=f"0 and 1 stay numbers: --set {column.name}=bool")
    if words <= {"t", "f"} or words <= {"y", "n"} or words <= {"true", "false"} or words <= {"yes", "no"}:
        return replace(column, told=f"{column.name} could be bool: --set {column.name}=bool")
    return None


#: The SQL if the text is not as a contract reads it, the type, and what is to be told of it.
_Reading = tuple[str | None, Dtype, str]
_Reader = Callable[[pl.Series, str], _Reading | None]


def _without_markers(column: InferredColumn, sql: str, readers: Sequence[_Reader]) -> InferredColumn | None:
    """The first reading that fits the values besides markers of missing ones; the markers become null."""
    marked = column.values.is_in(list(NULL_MARKERS))
    markers = column.values.filter(marked).unique(maintain_order=True).to_list()
    kept = column.values.filter(~marked)
    if kept.is_empty():
        return None
    term = _nulled(sql, markers)
    for reader in readers:
        if (reading := reader(kept, term)) is None:
            continue
        made, dtype, told = reading
        if dtype == "string":
            return replace(column, told=told)
        if dtype in ("int64", "float64") and made is None and (gone := _sentinel(kept)):
            markers, term = [*markers, gone], _nulled(sql, [*markers, gone])
        told = told.replace(term, sql)
        told = "; ".join(filter(None, (f"{', '.join(markers)} as null" if markers else "", told)))
        made = made or (term if term != sql else column.sql)
        return InferredColumn(column.source, column.name, dtype, kept, made, told)
    return None


def _nulled(sql: str, markers: Sequence[str]) -> str:
    term = f"trim({sql})" if markers else sql
    for marker in markers:
        term = f"nullif({term}, {literal(marker)})"
    return term


def _sentinel(values: pl.Series) -> str:
    """-999 and the like, if it stands more than once and is the only negative number."""
    negative = values.filter(values.str.starts_with("-"))
    shown = negative.unique().to_list()
    return shown[0] if len(shown) == 1 and len(negative) > 1 and SENTINELS.fullmatch(shown[0]) else ""


def _chosen(found: Sequence[InferredColumn], given: Mapping[str, str]) -> list[tuple[str, str]]:
    names = {c.source: c.name for c in found} | {c.name: c.name for c in found}
    for column, wanted in given.items():
        if column not in names:
            raise ColumnMissing(f"--set names a column {column!r}", remedy=did_you_mean(column, names))
        if wanted.split(":", 1)[0] not in DTYPES:
            known = f"the types are {', '.join(DTYPES)}"
            raise WrongCall(f"--set {column}={wanted}: there is no such type", remedy=known)
    return [(names[column], wanted) for column, wanted in given.items()]


def _set(column: InferredColumn, wanted: str) -> InferredColumn:
    """The column in the type that the user sets; ``how`` is a form of numbers, an epoch or a format of times."""
    dtype, _, how = wanted.partition(":")
    kind: Dtype = next(d for d in DTYPES if d == dtype)
    told, source = f"set: {wanted}", column.term
    if how:
        return replace(column, dtype=kind, sql=_by_form(source, kind, how, column.values), told=told)
    if kind == column.dtype:
        return replace(column, told="; ".join(filter(None, (column.told, told))))
    if column.values.dtype != pl.String:
        return replace(column, dtype=kind, sql=f"CAST({column.sql or source} AS {_SQL[kind]})", told=told)
    readers: tuple[_Reader, ...] = ()
    if kind in ("int64", "float64"):
        readers = (lambda v, c: _as_number(v, c, kind),)
    elif kind in ("date", "timestamp"):
        readers = (lambda v, c: _time_reading(v, c, kind),)
    try:
        read = _without_markers(replace(column, sql=None), source, readers) if readers else None
    except UnreadDates as error:
        raise WrongCall(
            f"--set {column.name}={wanted}: {error}", remedy=f"name its format: --set {column.name}={kind}:de:%d. %B %Y"
        ) from None
    return replace(read or replace(column, sql=None), dtype=kind, told=told)


def _time_reading(values: pl.Series, column: str, wanted: Dtype) -> tuple[str | None, Dtype, str] | None:
    """The reading of dates or times of the wanted type; a date is a time as well, its midnight."""
    found = date_reading(values, column)
    if found is None or found[1] == wanted:
        return found
    if wanted != "timestamp":
        return None
    return f"CAST({found[0] or f'CAST({column} AS DATE)'} AS TIMESTAMP)", wanted, found[2]


_SQL = {"string": "VARCHAR", "int64": "BIGINT", "float64": "DOUBLE", "bool": "BOOLEAN", "date": "DATE"} | {
    "timestamp": "TIMESTAMP"
}


def _as_number(values: pl.Series, column: str, kind: Dtype) -> _Reading | None:
    """The reading of numbers in the type that the user sets."""
    read = number_reading(values, column, forced=True)
    if read is None or read[1] not in ("int64", "float64"):
        return read and (None, kind, read[2])
    call = "parse_integer(" if kind == "int64" else "parse_number("
    return read[0] and re.sub(r"^parse_\w+\(", call, read[0]), kind, read[2]


def _by_form(column: str, dtype: Dtype, how: str, values: pl.Series) -> str:
    if dtype in ("date", "timestamp"):
        return reading_by_format(column, dtype, how)
    if dtype in ("int64", "float64") and how in FORMS:
        return reading_by_form(values, column, how, whole=dtype == "int64")
    raise WrongCall(
        f"--set {dtype}:{how}: there is no such form",
        remedy=f"a number's form is one of {', '.join(FORMS)}; a time's a format such as %d/%m/%Y, or one of "
        f"{', '.join(EPOCHS)}",
    )
